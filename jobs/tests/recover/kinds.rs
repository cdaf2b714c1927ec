//! Intermediate sources, primaries that are closed, pairs, and primaries that come back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use config::Settings;
use harness::{Flavor, Link};
use jobs::Rejoin;
use queue::{Attempt, Job};
use store::former_primaries::FormerState;
use store::recoveries::Kind;

use crate::fleet::{Asked, DEAD, FOUR, Fleet, GRACEFUL, carry_out, with_credentials};

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_dead_intermediate_source_get_another(#[case] flavor: Flavor) -> Result<()> {
    let text = "
        a
          b
            c
            d
          e
    ";
    let fleet = Fleet::start(flavor, text, Settings::default()).await?;
    fleet.topology["b"].kill()?;
    fleet.discover().await;
    let asked = Asked { kind: Kind::Intermediate, code: "DeadIntermediateMasterWithSingleReplica", ..DEAD };
    let id = fleet.open("b", &asked).await?;
    let (outcome, told) = fleet.recover(id, "w1").await?;
    assert_eq!((outcome.outcome.as_str(), outcome.lost.len()), ("recovered", 0), "{outcome:?} {told:#?}");
    let successor = outcome.successor.context("no successor")?;
    for name in ["c", "d"] {
        assert_eq!(fleet.source_port(name).await?, successor.port, "{told:#?}");
    }
    assert_eq!(fleet.locks().await?, 0);
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_primary_is_opened_and_counts_as_its_own_successor(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = Settings::default();
    settings.detection.recover_non_writeable_master = true;
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    fleet.topology["a"].execute("SET GLOBAL read_only = 1").await?;
    fleet.discover().await;
    let asked = Asked { kind: Kind::NonWriteable, code: "NoWriteableMasterStructureWarning", ..DEAD };
    let id = fleet.open("a", &asked).await?;
    let (outcome, told) = fleet.recover(id, "w1").await?;
    assert_eq!((outcome.outcome.as_str(), outcome.successor), ("recovered", Some(fleet.key("a"))), "{told:#?}");
    fleet.check_primary("a", &["b", "c", "d"]).await?;
    assert!(store::former_primaries::of(&fleet.ctx.pool).await?.is_empty());
    assert!(store::downtime::active(&fleet.ctx.pool).await?.is_empty());
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_pair_of_primaries_the_other_takes_over(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, "a\n b\n c", Settings::default()).await?;
    fleet.topology.link("a", "b", Link::default()).await?;
    fleet.topology["b"].execute("SET GLOBAL read_only = 1").await?;
    fleet.discover().await;
    sqlx::query("UPDATE instance SET is_co_primary = port <> ?")
        .bind(fleet.topology["c"].port())
        .execute(&fleet.ctx.pool)
        .await?;
    fleet.topology["a"].kill()?;
    fleet.discover().await;
    let id = fleet.open("a", &Asked { kind: Kind::CoPrimary, code: "DeadCoMaster", ..DEAD }).await?;
    let (outcome, told) = fleet.recover(id, "w1").await?;
    assert_eq!((outcome.outcome.as_str(), outcome.successor), ("recovered", Some(fleet.key("b"))), "{told:#?}");
    let read_only = fleet.topology["b"].value("@@read_only").await?;
    assert!(["0", "OFF"].contains(&read_only.as_str()), "{told:#?}");
    assert_eq!(fleet.source_port("c").await?, fleet.topology["b"].port(), "{told:#?}");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_comes_back_is_closed_and_joins_or_is_marked(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = with_credentials();
    settings.recovery.rejoin_former_primary = vec!["*".to_owned()];
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    let (mut primary, mut members) = ("a".to_owned(), vec!["b", "c", "d"]);
    for errant in [false, true] {
        let old = primary.clone();
        let server = &fleet.topology[old.as_str()];
        let row = i32::from(errant);
        server.execute(&format!("INSERT INTO app.t VALUES ({row})")).await?;
        for name in &members {
            harness::catch_up(&fleet.topology[*name], server, Duration::from_secs(20)).await?;
        }
        server.kill()?;
        fleet.discover().await;
        let id = fleet.open(&old, &DEAD).await?;
        let successor = carry_out(&fleet.ctx, id, "w1").await?.successor.context("no successor")?;
        primary = fleet.topology.name_of(successor.port).context("who?")?.to_owned();
        fleet.topology[primary.as_str()].execute(&format!("INSERT INTO app.t VALUES ({})", row + 10)).await?;

        server.start_again().await?;
        let writable = server.value("@@read_only").await?;
        println!("{old} is back, read_only is {writable}");
        if errant {
            server.execute("SET GLOBAL read_only = 0; INSERT INTO app.t VALUES (99)").await?;
        }
        let rejoin = Rejoin::new(fleet.key(&old), id);
        let settled = rejoin.clone().run(Arc::clone(&fleet.ctx), Attempt::detached()).await?;
        let told = fleet.timeline(id).await?;
        let former = store::former_primaries::of(&fleet.ctx.pool).await?;
        let former = former.iter().find(|one| one.key == fleet.key(&old)).context("forgotten")?;
        let closed = server.value("@@read_only").await?;
        assert!(!["0", "OFF"].contains(&closed.as_str()), "{closed}: {told:#?}");
        if errant {
            assert_eq!(settled["state"], "errant", "{told:#?}");
            assert!(former.state == FormerState::Errant && !former.errant_gtid.is_empty(), "{former:?}");
            assert!(told.iter().any(|line| line.contains(&former.errant_gtid)), "{told:#?}");
        } else {
            assert_eq!(
                (settled["state"].as_str(), former.state),
                (Some("rejoined"), FormerState::Rejoined),
                "{told:#?}"
            );
            assert_eq!(fleet.source_port(&old).await?, successor.port);
        }
        let again = rejoin.run(Arc::clone(&fleet.ctx), Attempt::detached()).await?;
        assert_eq!((again["state"].as_str(), fleet.locks().await?), (Some("settled"), 0));
        members.retain(|name| *name != primary);
        store::downtime::end(&mut *fleet.ctx.pool.acquire().await?, &fleet.key(&old)).await?;
        fleet.discover().await;
        fleet.place(&primary).await?;
    }
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_comes_back_after_a_planned_takeover_joins_the_present_one(
    #[case] flavor: Flavor,
) -> Result<()> {
    let mut settings = with_credentials();
    settings.recovery.rejoin_former_primary = vec!["*".to_owned()];
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    fleet.all_caught_up("a").await?;
    fleet.topology["a"].kill()?;
    fleet.discover().await;
    let died = fleet.open("a", &DEAD).await?;
    let (outcome, _) = fleet.recover(died, "w1").await?;
    let successor = fleet.topology.name_of(outcome.successor.context("no successor")?.port).context("who?")?;
    fleet.discover().await;
    fleet.place(successor).await?;
    // The successor follows its own one, and is no former primary.
    let (outcome, told) = fleet.recover(fleet.open(successor, &GRACEFUL).await?, "w1").await?;
    let present = outcome.successor.with_context(|| format!("no successor: {told:#?}"))?;
    fleet.topology["a"].start_again().await?;
    let settled = Rejoin::new(fleet.key("a"), died).run(Arc::clone(&fleet.ctx), Attempt::detached()).await?;
    let told = fleet.timeline(died).await?;
    assert_eq!(settled["state"], "rejoined", "{told:#?}");
    assert_eq!(fleet.source_port("a").await?, present.port, "{told:#?}");
    Ok(())
}
