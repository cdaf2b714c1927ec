//! Listing, showing, retrying, cancelling, counting.

use std::time::Duration;

use harness::Flavor;
use queue::{Awaited, Cancelled, Filter, Outcome, State, await_outcome};
use rstest::rstest;

use crate::support::{Act, fixture, keyed, task, until};

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn every_state_is_visible(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    let failed = queue.submit(&[task("fails", Act::GiveUp).datacenter("dc1")]).await[0].id();
    let running = queue.submit(&[task("runs", Act::Wait).submitted_by("me")]).await[0].id();
    until("one failed, one runs", async || {
        queue.count("job_failed").await == 1 && queue.count("job_claimed").await == 1
    })
    .await;
    let scheduled = queue.submit(&[keyed("later", "k").run_in(Duration::from_secs(60))]).await[0].id();
    let waiting =
        queue.submit(&[task("waits", Act::Succeed).worker_hint("nobody", Duration::from_secs(60))]).await[0].id();

    let mut conn = queue.conn().await;
    let all = queue::list(&mut conn, &Filter::default(), 10).await.unwrap();
    let states: Vec<_> = all.iter().map(|job| (job.id, job.state)).collect();
    let expected =
        [(running, State::Claimed), (waiting, State::Ready), (scheduled, State::Scheduled), (failed, State::Failed)];
    assert_eq!(states, expected);
    assert_eq!((all[0].worker.as_deref(), all[0].submitted_by.as_str()), (Some(worker.token.as_str()), "me"));
    assert!(all[0].age_seconds >= 0.0 && all[0].age_seconds < 60.0);
    assert!(all[2].state_seconds < 0.0 && all[2].state_seconds > -61.0, "{}", all[2].state_seconds);
    assert_eq!((all[3].error.as_deref(), all[3].attempts), (Some("never"), 1));
    assert_eq!(queue::list(&mut conn, &Filter::default(), 2).await.unwrap().len(), 2);
    let filter =
        Filter { state: Some(State::Failed), kind: Some("task".to_owned()), lane: Some("probes/dc1".to_owned()) };
    assert_eq!(queue::list(&mut conn, &filter, 10).await.unwrap().len(), 1);
    let filter = Filter { kind: Some("else".to_owned()), ..Filter::default() };
    assert_eq!(queue::list(&mut conn, &filter, 10).await.unwrap(), []);
    assert_eq!(queue::show(&mut conn, scheduled).await.unwrap().unwrap().unique_key.as_deref(), Some("k"));
    assert_eq!(queue::show(&mut conn, 1).await.unwrap(), None);

    let depth = queue::depth(&mut conn).await.unwrap();
    let counts: Vec<_> = depth.iter().map(|d| (d.lane.as_str(), d.ready, d.claimed, d.scheduled, d.failed)).collect();
    assert_eq!(counts, [("probes/", 1, 1, 1, 0), ("probes/dc1", 0, 0, 0, 1)]);
    queue.record.gate.cancel();
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_failed_job_is_retried_by_hand(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    let id = queue.submit(&[task("a", Act::GiveUp).wants_outcome()]).await[0].id();
    until("it failed", async || queue.count("job_failed").await == 1).await;
    queue.execute("UPDATE job_failed SET payload = REPLACE(payload, 'GiveUp', 'Succeed')").await;
    let mut conn = queue.conn().await;
    queue::retry(&mut conn, id).await.unwrap();
    assert!(matches!(
        await_outcome(&queue.pool, id, Duration::from_secs(20)).await.unwrap(),
        Awaited::Ended(Outcome::Done(_))
    ));
    assert_eq!(queue.record.runs("a"), [1, 1], "with all its attempts");
    assert!(queue::retry(&mut conn, id).await.is_err());
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let ids = queue
        .submit(&[
            task("a", Act::Succeed),
            task("b", Act::Succeed).run_in(Duration::from_secs(9)),
            task("c", Act::Succeed),
        ])
        .await;
    let mut conn = queue.conn().await;
    for id in &ids[..2] {
        assert_eq!(queue::cancel(&mut conn, id.id()).await.unwrap(), Cancelled::Removed);
        let outcome = await_outcome(&queue.pool, id.id(), Duration::ZERO).await.unwrap();
        assert_eq!(outcome, Awaited::Ended(Outcome::Cancelled));
    }
    assert!(queue::cancel(&mut conn, ids[0].id()).await.is_err(), "it has ended");
    assert_eq!(queue.count("job_ready").await, 1, "others stay");
}
