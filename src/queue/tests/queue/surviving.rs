//! Fencing, cancellation, drain, outage.

use std::time::Duration;

use harness::{Backend, Flavor};
use queue::{Awaited, Outcome, await_outcome};
use rstest::rstest;

use crate::support::{Act, fixture, fixture_at, task, until};

const LONG: Duration = Duration::from_secs(20);

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_lost_claim_cannot_finish_its_job(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    let ids = queue.submit(&[task("plain", Act::Wait), task("awaited", Act::Wait).wants_outcome()]).await;
    queue.until_claimed(2).await;
    // As if rescued and claimed by another meanwhile.
    queue.execute("UPDATE job_claimed SET claim_token = claim_token ^ 1, worker = 'another'").await;
    queue.record.gate.cancel();
    worker.drain().await;
    assert_eq!(queue.count("job_claimed WHERE worker = 'another'").await, 2, "the other's claims are untouched");
    assert_eq!(queue.count("job_outcome").await, 0);
    assert!(ids.iter().all(|id| id.is_new()));
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_running_job_is_cancelled_through_its_worker(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    let id = queue.submit(&[task("obeys", Act::Obey)]).await[0].id();
    queue.until_claimed(1).await;
    assert_eq!(queue::cancel(&mut queue.conn().await, id).await.unwrap(), queue::Cancelled::Requested);
    assert_eq!(await_outcome(&queue.pool, id, LONG).await.unwrap(), Awaited::Ended(Outcome::Cancelled));
    assert_eq!(queue.count("job_scheduled").await, 0, "not retried");
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_drain_lets_jobs_finish_and_releases_the_stubborn(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker_with(|config| config.drain_deadline = Duration::from_millis(300));
    queue.submit(&[task("waits", Act::Wait), task("obeys", Act::Obey), task("ignores", Act::Ignore)]).await;
    queue.until_claimed(3).await;
    queue.record.gate.cancel();
    until("one is done", async || queue.count("job_claimed").await == 2).await;
    worker.stop.cancel();
    queue.submit(&[task("too late", Act::Succeed)]).await;
    worker.drain().await;
    assert_eq!(queue.count("job_claimed").await, 0);
    assert_eq!(queue.count("job_ready WHERE attempts = 0 AND rescues = 0").await, 3, "two released, one never taken");
    assert!(queue.record.runs("too late").is_empty());
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_drain_waits_for_what_can_finish(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    queue.submit(&[task("waits", Act::Wait)]).await;
    queue.until_claimed(1).await;
    worker.stop.cancel();
    queue.record.gate.cancel();
    let asked = std::time::Instant::now();
    worker.drain().await;
    assert!(asked.elapsed() < Duration::from_secs(4), "ends when its jobs have, not at the deadline");
    assert_eq!(queue.count("job_claimed").await + queue.count("job_ready").await, 0);
}

/// The backend restarts under a running worker, and is away when the jobs end.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_backend_loses_nothing(#[case] flavor: Flavor) {
    let backend = Backend::start(flavor).await.unwrap();
    let queue = fixture_at(backend.schema().await.unwrap().options).await;
    let worker = queue.worker();
    queue.submit(&[task("waits", Act::Wait).wants_outcome(), task("obeys", Act::Obey)]).await;
    queue.until_claimed(2).await;
    backend.server().kill().unwrap();
    until("the server is gone", async || !backend.server().is_running()).await;
    queue.record.gate.cancel();
    // Without a heartbeat in time, the worker no longer trusts its claims and stops its jobs.
    tokio::time::sleep(queue::TRUST_WINDOW + Duration::from_millis(500)).await;
    assert!(!worker.running.is_finished());
    backend.server().start_again().await.unwrap();
    until("the backend answers", async || sqlx::query("SELECT 1").execute(&queue.pool).await.is_ok()).await;
    until("both results arrived", async || {
        queue.count("job_outcome WHERE outcome = 'done'").await == 1 && queue.record.runs("obeys").len() == 2
    })
    .await;
    assert_eq!(queue.record.runs("waits"), [1], "its result was held and written");
    assert_eq!(queue.record.runs("obeys"), [1, 1], "stopped and run again, without counting an attempt");
    queue.submit(&[task("after", Act::Succeed)]).await;
    until("work goes on", async || queue.record.runs("after").len() == 1).await;
    queue.execute("DELETE FROM job_claimed").await;
    worker.stop.cancel();
    worker.running.await.unwrap().unwrap();
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_worker_started_during_an_outage_waits_for_the_backend(#[case] flavor: Flavor) {
    let backend = Backend::start(flavor).await.unwrap();
    let queue = fixture_at(backend.schema().await.unwrap().options).await;
    queue.submit(&[task("a", Act::Succeed)]).await;
    backend.server().stop().await.unwrap();
    let worker = queue.worker();
    backend.server().start_again().await.unwrap();
    until("the job ran", async || queue.record.runs("a").len() == 1).await;
    worker.drain().await;
}

/// A frozen backend answers nothing: statements hang, some of them take effect later.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_backend_delays_and_loses_nothing(#[case] flavor: Flavor) {
    let backend = Backend::start(flavor).await.unwrap();
    let queue = fixture_at(backend.schema().await.unwrap().options).await;
    let workers = [queue.worker(), queue.worker()];
    let obeys = queue.submit(&[task("obeys", Act::Obey).queue(queue::Queue::Urgent)]).await[0].id();
    // Before the others: what has not begun cannot be stopped.
    until("the obedient job runs", async || queue.record.runs("obeys").len() == 1).await;
    let jobs: Vec<_> = (0..300).map(|n| task(&format!("job {n}"), Act::Succeed)).collect();
    queue.submit(&jobs).await;
    until("work has begun", async || queue.record.count() > 20).await;
    backend.server().freeze().unwrap();
    tokio::time::sleep(queue::DEAD_AFTER + Duration::from_secs(1)).await;
    backend.server().thaw().unwrap();
    until("the queue is worked off", async || {
        let mut conn = queue.conn().await;
        queue::rescue(&mut conn).await.unwrap();
        // Two counts are two moments: a claim may be given back between them. Hence what ran is counted, too.
        queue.count("job_ready").await == 0 && queue.count("job_claimed").await <= 1 && queue.record.names() == 301
    })
    .await;
    until("the obedient job was stopped and runs again", async || queue.record.runs("obeys").len() > 1).await;
    assert_eq!(queue.count("job_failed").await, 0);
    queue::cancel(&mut queue.conn().await, obeys).await.unwrap();
    for worker in workers {
        worker.drain().await;
    }
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_claim_its_worker_does_not_know_is_given_back(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    queue.submit(&[task("stray", Act::Succeed).worker_hint("nobody", LONG), task("known", Act::Wait)]).await;
    queue.until_claimed(1).await;
    let insert = format!(
        "INSERT INTO job_claimed (id, kind, lane, payload, max_attempts, timeout_ms, submitted_at, worker, claim_token, \
         claimed_at, deadline_at) SELECT id, kind, lane, payload, max_attempts, timeout_ms, submitted_at, '{}', 1, NOW(6), \
         NOW(6) + INTERVAL 1 HOUR FROM job_ready",
        worker.token
    );
    queue.execute(&insert).await;
    queue.execute("DELETE FROM job_ready").await;
    until("the stray ran", async || queue.record.runs("stray").len() == 1).await;
    until("only the known one is left", async || queue.count("job_claimed").await == 1).await;
    queue.record.gate.cancel();
    queue.until_empty().await;
    assert_eq!(queue.record.runs("known"), [1]);
    worker.drain().await;
}
