//! Rescue, trimming, forgetting.

use std::time::Duration;

use harness::Flavor;
use queue::{Rescued, UPKEEP_COLUMNS, Upkeep, live_workers, promote_due, rescue};
use rstest::rstest;

use crate::support::{Act, Fixture, fixture, keyed, task, until};

/// Claims everything ready for a worker that died long ago.
async fn die_with_all(queue: &Fixture) {
    let waiting = queue.count("job_ready").await;
    let worker = queue.worker();
    queue.until_claimed(waiting).await;
    worker.running.abort();
    worker.running.await.unwrap_err();
    queue.execute("UPDATE queue_worker SET heartbeat_at = NOW(6) - INTERVAL 1 HOUR").await;
    queue
        .execute(&format!("UPDATE job_claimed SET worker = 'dead', claim_token = 1 WHERE worker = '{}'", worker.token))
        .await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn jobs_of_a_dead_worker_are_given_to_others(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    queue.submit(&[task("a", Act::Wait), task("b", Act::Wait)]).await;
    die_with_all(&queue).await;
    let done = rescue(&mut queue.conn().await).await.unwrap();
    assert_eq!(done, Rescued { released: 2, merged: 0, failed: 0 });
    assert_eq!(rescue(&mut queue.conn().await).await.unwrap(), Rescued::default(), "and once only");
    assert_eq!(queue.count("job_ready WHERE rescues = 1 AND attempts = 0").await, 2);
    queue.record.gate.cancel();
    let worker = queue.worker();
    queue.until_empty().await;
    assert_eq!(queue.record.runs("a"), [1, 1], "the lost run did not count as an attempt");
    worker.drain().await;
}

/// The one look sees what the functions would find, and no more.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_look_says_what_the_queue_needs(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let look = async || {
        let row = sqlx::query(&format!("SELECT {UPKEEP_COLUMNS}")).fetch_one(&queue.pool).await.unwrap();
        Upkeep::read(&row).unwrap()
    };
    assert_eq!(look().await, Upkeep::default());
    let hour = Duration::from_secs(3600);
    queue.submit(&[task("later", Act::Wait).run_in(hour), task("hers", Act::Wait).worker_hint("her", hour)]).await;
    let worker = queue.worker_with(|config| {
        config.datacenters = vec!["dc \"1\"".to_owned()];
        config.drain_deadline = Duration::from_millis(100);
    });
    queue.submit(&[task("now", Act::Wait)]).await;
    queue.until_claimed(1).await;
    let (mut seen, mut read) = (look().await, live_workers(&mut queue.conn().await).await.unwrap());
    // Their silence goes on between the two, and a heartbeat may come.
    for one in seen.workers.iter_mut().chain(&mut read) {
        (one.silent_for, one.running) = (Duration::ZERO, 0);
    }
    assert_eq!(seen, Upkeep { due: false, lost: false, workers: read });
    assert_eq!(seen.workers.len(), 1);

    queue.execute("UPDATE job_ready SET hint_until = NOW(6)").await;
    assert!(look().await.due);
    promote_due(&mut queue.conn().await).await.unwrap();
    assert!(!look().await.due);
    queue.execute("UPDATE job_scheduled SET run_at = NOW(6)").await;
    assert!(look().await.due);
    queue.execute("UPDATE job_claimed SET deadline_at = NOW(6) - INTERVAL 1 SECOND ORDER BY id LIMIT 1").await;
    assert!(look().await.lost);
    rescue(&mut queue.conn().await).await.unwrap();
    assert!(!look().await.lost);
    // The gate stays shut: what the next worker claims must not have ended before it dies.
    worker.drain().await;
    die_with_all(&queue).await;
    assert!(look().await.lost, "their worker is dead");
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn claims_of_the_living_stay_until_their_deadline(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    queue.submit(&[task("a", Act::Wait), task("b", Act::Wait)]).await;
    queue.until_claimed(2).await;
    assert_eq!(rescue(&mut queue.conn().await).await.unwrap(), Rescued::default());
    queue.execute("UPDATE job_claimed SET deadline_at = NOW(6) - INTERVAL 1 SECOND ORDER BY id LIMIT 1").await;
    assert_eq!(rescue(&mut queue.conn().await).await.unwrap().released, 1);
    queue.record.gate.cancel();
    queue.until_empty().await;
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_job_that_kills_its_workers_is_parked(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let id = queue.submit(&[task("poison", Act::Ignore)]).await[0].id();
    for _ in 0..queue::MAX_RESCUES {
        let worker = queue.worker();
        queue.until_claimed(1).await;
        worker.running.abort();
        queue.execute("UPDATE job_claimed SET worker = 'dead'").await;
        assert_eq!(rescue(&mut queue.conn().await).await.unwrap().released, 1);
    }
    die_with_all(&queue).await;
    assert_eq!(rescue(&mut queue.conn().await).await.unwrap(), Rescued { released: 0, merged: 0, failed: 1 });
    assert_eq!(queue.text("SELECT CAST(error AS CHAR) FROM job_failed").await, "killed its worker 6 times");
    let outcome = queue::await_outcome(&queue.pool, id, Duration::from_secs(5)).await.unwrap();
    assert_eq!(outcome, queue::Awaited::Ended(queue::Outcome::Failed("killed its worker 6 times".to_owned())));
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_rescued_job_merges_into_the_equal_one_that_waits(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let lost = queue.submit(&[keyed("lost", "k").wants_outcome()]).await[0].id();
    // Claimed by one who died at once.
    let insert = "INSERT INTO job_claimed (id, kind, lane, unique_key, payload, max_attempts, timeout_ms, wants_outcome, \
                  submitted_at, worker, claim_token, claimed_at, deadline_at) SELECT id, kind, lane, unique_key, payload, \
                  max_attempts, timeout_ms, wants_outcome, submitted_at, 'dead', 1, NOW(6), NOW(6) + INTERVAL 1 HOUR FROM job_ready";
    queue.execute(insert).await;
    queue.execute("DELETE FROM job_ready").await;
    let waiting = queue.submit(&[keyed("waiting", "k")]).await[0];
    assert!(waiting.is_new(), "a claimed job does not count as waiting");
    assert_eq!(rescue(&mut queue.conn().await).await.unwrap(), Rescued { released: 0, merged: 1, failed: 0 });
    assert_eq!(queue.count(&format!("job_outcome WHERE id = {lost} AND merged_into = {}", waiting.id())).await, 1);
    assert_eq!(queue.count("job_ready WHERE wants_outcome = 1").await, 1, "the wish for an outcome goes along");
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn old_outcomes_failures_and_workers_are_forgotten(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    queue.submit(&[task("a", Act::GiveUp), task("b", Act::GiveUp), task("c", Act::Succeed)]).await;
    queue.submit(&[task("d", Act::Succeed)]).await;
    queue.until_empty().await;
    until("both are parked", async || queue.count("job_failed").await == 2).await;
    queue.execute("UPDATE job_outcome SET finished_at = NOW(6) - INTERVAL 2 DAY ORDER BY id LIMIT 1").await;
    queue.execute("UPDATE job_failed SET failed_at = NOW(6) - INTERVAL 2 DAY ORDER BY id LIMIT 1").await;
    queue.execute("INSERT INTO queue_worker (token, name, lanes, concurrency, started_at, heartbeat_at) VALUES ('old', 'old', '[]', 1, NOW(6), NOW(6) - INTERVAL 2 DAY)").await;
    let (mut conn, day) = (queue.conn().await, Duration::from_secs(24 * 3600));
    assert_eq!(queue::trim_outcomes(&mut conn, day).await.unwrap(), 1);
    assert_eq!(queue::trim_failed(&mut conn, day).await.unwrap(), 1);
    assert_eq!(queue::forget_dead_workers(&mut conn, day).await.unwrap(), 1);
    assert_eq!(queue.count("job_outcome").await, 1);
    assert_eq!(queue.count("job_failed").await, 1);
    assert_eq!(queue.count("job_sequence").await, 1, "used id blocks go, the counter stays");
    let live = queue::live_workers(&mut conn).await.unwrap();
    assert_eq!(live.iter().map(|live| live.token.as_str()).collect::<Vec<_>>(), [worker.token.as_str()]);
    assert_eq!((live[0].concurrency, live[0].running), (33, 0));
    worker.drain().await;
}
