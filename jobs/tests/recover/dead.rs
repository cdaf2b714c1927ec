//! Primaries that are gone, that live, that are frozen, or that are declared dead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use config::Settings;
use harness::{Flavor, Link, replicate};
use jobs::Rejoin;
use queue::{Attempt, Job};
use scenario::key;
use store::maintenance::Claim;
use store::recoveries::{Outcome, Phase};

use crate::fleet::{Asked, DEAD, FOUR, Fleet, carry_out, first_of, hooks, process};

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_primary_is_replaced(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fleet = Fleet::start(flavor, FOUR, hooks(dir.path())).await?;
    fleet.topology["a"].execute("INSERT INTO app.t VALUES (1)").await?;
    fleet.all_caught_up("a").await?;
    store::clusters::set_override(&mut *fleet.ctx.pool.acquire().await?, &fleet.key("a").to_string(), "shop").await?;
    fleet.topology["a"].kill()?;
    fleet.discover().await;
    let id = fleet.open("a", &DEAD).await?;
    let began = Instant::now();
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    println!("took {:?}: {:#?}", began.elapsed(), fleet.timeline(id).await?);
    let outcome = outcome?;
    assert_eq!((outcome.outcome.as_str(), outcome.lost.len()), ("recovered", 0), "{outcome:?}");
    let successor = outcome.successor.clone().context("no successor")?;
    let name = fleet.topology.name_of(successor.port).context("who?")?;
    let others: Vec<&str> = ["b", "c", "d"].into_iter().filter(|other| *other != name).collect();
    fleet.check_primary(name, &others).await?;
    assert_eq!(fleet.topology[name].value("(SELECT COUNT(*) FROM app.t)").await?, "1");

    let row = fleet.row(id).await?;
    assert_eq!((row.phase, row.outcome, row.is_successful), (Phase::Closed, Some(Outcome::Recovered), true));
    assert!(row.choice.is_some() && row.outage.is_some() && !row.successor_coordinates.is_empty(), "{row:?}");
    assert_eq!(fleet.locks().await?, 0);
    let down = store::downtime::active(&fleet.ctx.pool).await?;
    assert_eq!(down.len(), 1);
    assert_eq!((&down[0].0, down[0].1.reason.as_str()), (&fleet.key("a"), "lost-in-recovery"));
    let former = store::former_primaries::of(&fleet.ctx.pool).await?;
    assert_eq!((former.len(), &former[0].key, &former[0].successor), (1, &fleet.key("a"), &successor));
    let aliases = store::clusters::overrides(&fleet.ctx.pool).await?;
    assert_eq!(aliases.get(&successor.to_string()).map(String::as_str), Some("shop"), "{aliases:?}");
    assert_eq!(first_of(dir.path()).await, ["pre", "post-master", "post"]);
    let audit = store::audit::page(&fleet.ctx.pool, Some(&fleet.key("a")), 0).await?;
    assert!(audit.iter().any(|entry| entry.audit_type == "recover-dead-master"), "{audit:?}");
    let again = carry_out(&fleet.ctx, id, "w2").await?;
    assert_eq!(again.successor, Some(successor), "what has ended is not taken up again");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_worker_finishes_whatever_the_phase_in_which_the_first_was_lost(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fleet = Fleet::start(flavor, FOUR, hooks(dir.path())).await?;
    let mut primary = "a".to_owned();
    let moments = [
        (Phase::Fencing, 0),
        (Phase::Fencing, 2),
        (Phase::Choosing, 0),
        (Phase::Promoting, 0),
        (Phase::Promoting, 2),
        (Phase::Promoting, 4),
        (Phase::Repointing, 0),
        (Phase::Repointing, 3),
        (Phase::Publishing, 0),
    ];
    for (round, (phase, steps_into)) in moments.into_iter().enumerate() {
        let row = u32::try_from(round)?;
        fleet.topology[primary.as_str()].execute(&format!("INSERT INTO app.t VALUES ({row})")).await?;
        fleet.all_caught_up(&primary).await?;
        fleet.topology[primary.as_str()].kill()?;
        fleet.discover().await;
        let id = fleet.open(&primary, &DEAD).await?;
        let lost = fleet.lose(id, phase, steps_into).await?;
        let began = Instant::now();
        let outcome = carry_out(&fleet.ctx, id, "w2").await;
        let (took, told) = (began.elapsed(), fleet.timeline(id).await?);
        let outcome = outcome.with_context(|| format!("lost in {phase:?} + {steps_into}: {told:#?}"))?;
        println!("lost in {phase:?} + {steps_into} ({lost}): finished in {took:?}");
        assert!(took < Duration::from_secs(12), "{took:?}: {told:#?}");
        assert_eq!((outcome.outcome.as_str(), outcome.lost.len()), ("recovered", 0), "{outcome:?} {told:#?}");
        let successor = outcome.successor.clone().context("no successor")?;
        let new = fleet.topology.name_of(successor.port).context("who?")?.to_owned();
        let all = ["a", "b", "c", "d"];
        let others: Vec<&str> = all.into_iter().filter(|name| *name != new && *name != primary).collect();
        fleet.check_primary(&new, &others).await?;
        assert_eq!(fleet.topology[new.as_str()].value("(SELECT COUNT(*) FROM app.t)").await?, (round + 1).to_string());
        let steps = store::operations::steps(&fleet.ctx.pool, fleet.row(id).await?.operation_id).await?;
        assert!(steps.iter().all(|step| step.state != "begun"), "{steps:?}");
        assert_eq!(fleet.locks().await?, 0);
        // Each hook once, whoever ran it. One whose worker died inside may have said nothing.
        let mut said = first_of(dir.path()).await;
        tokio::fs::remove_file(dir.path().join("said")).await.ok();
        said.dedup();
        assert!(said.starts_with(&["pre".to_owned()]), "{said:?}");
        let mut once = said.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), said.len(), "lost in {phase:?} + {steps_into}: {said:?}");

        // The dead one comes back as a replica.
        let (old, new_server) = (&fleet.topology[primary.as_str()], &fleet.topology[new.as_str()]);
        old.start_again().await?;
        old.execute("SET GLOBAL read_only = 1").await?;
        replicate(old, new_server, Link::default()).await?;
        let mut conn = fleet.ctx.pool.acquire().await?;
        store::downtime::end(&mut conn, &key(old)).await?;
        primary = new;
        fleet.discover().await;
        fleet.place(&primary).await?;
    }
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lives_is_left_alone(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fleet = Fleet::start(flavor, FOUR, hooks(dir.path())).await?;
    let id = fleet.open("a", &DEAD).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await?;
    assert_eq!((outcome.outcome.as_str(), outcome.successor), ("no_longer_needed", None));
    let row = fleet.row(id).await?;
    assert_eq!((row.outcome, row.is_active), (Some(Outcome::NoLongerNeeded), false));
    assert_eq!((fleet.locks().await?, first_of(dir.path()).await.len()), (0, 0));
    for name in ["b", "c", "d"] {
        assert_eq!(fleet.source_port(name).await?, fleet.topology["a"].port());
    }
    let steps = store::operations::steps(&fleet.ctx.pool, row.operation_id).await?;
    assert!(steps.is_empty(), "{steps:?}");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_and_holders_of_locks_are_heard(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = Settings::default();
    settings.hooks.pre_failover_processes = vec!["echo not today; exit 7".to_owned()];
    let mut fleet = Fleet::start(flavor, FOUR, settings).await?;
    fleet.topology["a"].kill()?;
    fleet.discover().await;
    let id = fleet.open("a", &DEAD).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await?;
    assert_eq!(outcome.outcome, "refused", "{outcome:?}");
    let told = fleet.timeline(id).await?;
    assert!(outcome.errors.iter().any(|error| error.contains("exit code 7")), "{outcome:?}");
    let steps = store::operations::steps(&fleet.ctx.pool, fleet.row(id).await?.operation_id).await?;
    assert!(steps.is_empty() && fleet.locks().await? == 0, "{told:#?}");

    // Somebody works on b: it is left out, and named.
    fleet.settings = Settings::default();
    fleet.ctx = process(&fleet.schema, &fleet.settings).await?;
    let claim = Claim { owner: "bob", reason: "backup", duration: Duration::from_secs(60), holder_node: "" };
    store::maintenance::begin(&fleet.ctx.pool, &fleet.key("b"), claim).await?;
    let id = fleet.open("a", &DEAD).await?;
    let (one, other) = tokio::join!(carry_out(&fleet.ctx, id, "w1"), carry_out(&fleet.ctx, id, "w2"));
    let told = fleet.timeline(id).await?;
    let outcome = one.or(other).with_context(|| format!("{told:#?}"))?;
    assert_eq!(outcome.outcome, "recovered", "{outcome:?} {told:#?}");
    assert!(told.iter().any(|line| line.contains("bob")), "{told:#?}");
    let successor = outcome.successor.clone().context("no successor")?;
    assert_ne!(successor, fleet.key("b"));
    let name = fleet.topology.name_of(successor.port).context("who?")?;
    let others: Vec<&str> = ["c", "d"].into_iter().filter(|other| *other != name).collect();
    fleet.check_primary(name, &others).await?;
    assert!(outcome.lost.iter().any(|one| one.instance == fleet.key("b")), "{outcome:?}");
    assert_eq!(fleet.locks().await?, 1, "bob's");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_primary_that_is_declared_dead_is_closed_first(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, FOUR, Settings::default()).await?;
    fleet.topology["a"].execute("INSERT INTO app.t VALUES (1)").await?;
    let hint = "force-master-takeover";
    let id = fleet.open("a", &Asked { hint, force: true, candidate: Some(fleet.key("d")), ..DEAD }).await?;
    let (outcome, told) = fleet.recover(id, "w1").await?;
    assert_eq!(outcome.successor, Some(fleet.key("d")), "{told:#?}");
    fleet.check_primary("d", &["b", "c"]).await?;
    fleet.check_closed("a").await.with_context(|| format!("{told:#?}"))?;
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_costs_bounded_time_and_is_closed_when_it_wakes_up(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, FOUR, Settings::default()).await?;
    let frozen = &fleet.topology["a"];
    frozen.freeze()?;
    fleet.discover().await;
    let id = fleet.open("a", &Asked { hint: "force-master-failover", force: true, ..DEAD }).await?;
    let began = Instant::now();
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    let took = began.elapsed();
    frozen.thaw()?;
    let told = fleet.timeline(id).await?;
    let outcome = outcome.with_context(|| format!("{told:#?}"))?;
    assert!(took < Duration::from_secs(5), "{took:?}: {told:#?}");
    let successor = outcome.successor.context("no successor")?;
    let settled = Rejoin::new(fleet.key("a"), id).run(Arc::clone(&fleet.ctx), Attempt::detached()).await?;
    let closed = frozen.value("@@read_only").await?;
    assert!(!["0", "OFF"].contains(&closed.as_str()), "{closed} {settled}");
    println!("{successor} after {took:?}: {settled} {told:#?}");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_may_be_promoted_everything_is_put_back_and_told(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut settings = hooks(dir.path());
    settings.recovery.promotion_ignore_hostname_filters = vec![".*".to_owned()];
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    // Declared dead while it lives: closed, refused, opened again.
    let asked = Asked { hint: "force-master-failover", force: true, ..DEAD };
    let id = fleet.open("a", &asked).await?;
    let failed = carry_out(&fleet.ctx, id, "w1").await;
    let told = fleet.timeline(id).await?;
    assert!(failed.is_err(), "{failed:?} {told:#?}");
    fleet.check_primary("a", &["b", "c", "d"]).await.with_context(|| format!("{told:#?}"))?;
    let row = fleet.row(id).await?;
    assert_eq!((row.outcome, row.is_successful, fleet.locks().await?), (Some(Outcome::Failed), false, 0));
    assert!(!row.errors.is_empty(), "{row:?}");
    let text = tokio::fs::read_to_string(dir.path().join("said")).await?;
    assert_eq!(first_of(dir.path()).await, ["pre", "unsuccessful"], "{text}");
    assert!(text.lines().all(|line| line.ends_with("false")), "{text}");
    assert!(store::downtime::active(&fleet.ctx.pool).await?.is_empty());
    Ok(())
}
