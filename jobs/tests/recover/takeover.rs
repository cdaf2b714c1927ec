//! Planned takeovers: done, stopped, finished by another worker.

use anyhow::{Context as _, Result};
use harness::Flavor;
use store::recoveries::Phase;

use crate::fleet::{Asked, FOUR, Fleet, GRACEFUL, with_credentials};

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_takeover_swaps_the_roles(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, FOUR, with_credentials()).await?;
    let id = fleet.open("a", &Asked { candidate: Some(fleet.key("c")), ..GRACEFUL }).await?;
    let (outcome, told) = fleet.recover(id, "w1").await?;
    assert_eq!(outcome.outcome, "recovered", "{outcome:?} {told:#?}");
    fleet.check_primary("c", &["a", "b", "d"]).await?;
    let outage = outcome.outage.context("no pause")?;
    assert!(outage.is_write_pause && outage.seconds < 1.0, "{outage:?}");
    assert!(store::downtime::active(&fleet.ctx.pool).await?.is_empty());
    assert_eq!(fleet.locks().await?, 0);
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_that_a_hook_stops_is_taken_back(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = with_credentials();
    settings.hooks.pre_graceful_takeover_processes = vec!["echo no; exit 1".to_owned()];
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    let id = fleet.open("a", &Asked { candidate: Some(fleet.key("c")), ..GRACEFUL }).await?;
    let (outcome, told) = fleet.recover(id, "w1").await?;
    assert_eq!(outcome.outcome, "refused", "{told:#?}");
    fleet.check_primary("a", &["b", "c", "d"]).await?;
    assert_eq!(fleet.locks().await?, 0);
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_is_finished_by_another_worker_whenever_the_first_is_lost(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, FOUR, with_credentials()).await?;
    let (mut old, mut new) = ("a", "c");
    let moments = [
        (Phase::Choosing, 0),
        (Phase::Fencing, 3),
        (Phase::Promoting, 0),
        (Phase::Promoting, 1),
        (Phase::Promoting, 3),
        (Phase::Repointing, 0),
        (Phase::Repointing, 2),
        (Phase::Publishing, 0),
    ];
    for (phase, steps_into) in moments {
        fleet.discover().await;
        fleet.place(old).await?;
        let id = fleet.open(old, &Asked { candidate: Some(fleet.key(new)), ..GRACEFUL }).await?;
        let lost = fleet.lose(id, phase, steps_into).await?;
        let ended = fleet.recover(id, "w2").await;
        let (outcome, told) = ended.with_context(|| format!("lost in {phase:?} + {steps_into}"))?;
        assert_eq!(outcome.outcome, "recovered", "lost in {phase:?} + {steps_into} ({lost}): {outcome:?} {told:#?}");
        let others: Vec<&str> = ["a", "b", "c", "d"].into_iter().filter(|name| *name != new).collect();
        let checked = fleet.check_primary(new, &others).await;
        checked.with_context(|| format!("lost in {phase:?} + {steps_into}: {told:#?}"))?;
        fleet.check_closed(old).await.with_context(|| format!("{told:#?}"))?;
        assert_eq!(fleet.locks().await?, 0);
        (old, new) = (new, old);
    }
    Ok(())
}

/// Nobody else could give the old primary its credentials once the new one has forgotten its source.
#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_replica_takes_over_though_its_worker_is_lost(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, "a\n b", with_credentials()).await?;
    let (mut old, mut new) = ("a", "b");
    for steps_into in 1..=3 {
        fleet.discover().await;
        fleet.place(old).await?;
        let id = fleet.open(old, &Asked { candidate: Some(fleet.key(new)), ..GRACEFUL }).await?;
        fleet.lose(id, Phase::Repointing, steps_into).await?;
        let (outcome, told) = fleet.recover(id, "w2").await?;
        assert_eq!(outcome.outcome, "recovered", "{told:#?}");
        fleet.check_primary(new, &[old]).await.with_context(|| format!("{steps_into} steps: {told:#?}"))?;
        (old, new) = (new, old);
    }
    Ok(())
}
