//! Claiming, finishing, retrying, fairness and lanes.

use std::time::Duration;

use harness::{Backend, Flavor};
use queue::{Awaited, Concurrency, NewJob, Outcome, Queue, await_outcome};
use rstest::rstest;

use crate::support::{Act, Alien, Fixture, Hasty, fixture, fixture_at, task, until};

const LONG: Duration = Duration::from_secs(20);

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread")]
async fn several_workers_run_each_job_once(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let jobs: Vec<_> = (0..400).map(|n| task(&format!("job {n}"), Act::Succeed)).collect();
    queue.submit(&jobs).await;
    let workers: Vec<_> = (0..4).map(|_| queue.worker()).collect();
    queue.until_empty().await;
    assert_eq!((queue.record.count(), queue.record.names()), (400, 400));
    assert_eq!(queue.count("job_outcome").await, 0, "nobody asked for outcomes");
    for worker in workers {
        worker.drain().await;
    }
    assert_eq!(queue.count("queue_worker").await, 0, "drained workers sign off");
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn the_submitter_gets_the_output(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    let id = queue.submit(&[task("Grüße", Act::Succeed).submitted_by("me").wants_outcome()]).await[0].id();
    let expected = serde_json::json!({ "name": "Grüße", "by": "me" });
    assert_eq!(await_outcome(&queue.pool, id, LONG).await.unwrap(), Awaited::Ended(Outcome::Done(expected)));
    assert_eq!(await_outcome(&queue.pool, 987_654_321, LONG).await.unwrap(), Awaited::Unknown);
    let later = queue.submit(&[task("b", Act::Succeed).run_in(LONG)]).await[0].id();
    assert_eq!(await_outcome(&queue.pool, later, Duration::ZERO).await.unwrap(), Awaited::Pending);
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_failure_is_retried_later_and_parked_at_last(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    let ids = queue.submit(&[task("always", Act::Fail), task("once", Act::FailOnce).wants_outcome()]).await;
    for _ in 0..2 {
        until("the next attempt is scheduled", async || {
            queue.count("job_ready").await + queue.count("job_claimed").await == 0
        })
        .await;
        assert_eq!(
            queue.count("job_scheduled WHERE run_at > submitted_at AND last_error = 'not today'").await,
            queue.count("job_scheduled").await
        );
        queue.promote_all().await;
    }
    until("it is parked", async || queue.count("job_failed").await == 1).await;
    assert_eq!(queue.record.runs("always"), [1, 2, 3]);
    assert_eq!(queue.record.runs("once"), [1, 2]);
    let failed = await_outcome(&queue.pool, ids[0].id(), LONG).await.unwrap();
    assert_eq!(failed, Awaited::Ended(Outcome::Failed("not today".to_owned())));
    let done = await_outcome(&queue.pool, ids[1].id(), LONG).await.unwrap();
    assert_eq!(done, Awaited::Ended(Outcome::Done(serde_json::Value::Null)));
    assert_eq!(queue.count("job_failed WHERE attempts = 3 AND error = 'not today'").await, 1);
    worker.drain().await;
}

/// What cannot succeed fails at once, with a text, and harms nobody else.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn hopeless_jobs_are_parked_with_their_reason(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let jobs = [
        task("gives up", Act::GiveUp),
        NewJob::of(&Hasty {}).unwrap(),
        NewJob::of(&Alien {}).unwrap(),
        task("corrupt", Act::Succeed),
        task("panics", Act::Panic),
        task("healthy", Act::Succeed).wants_outcome(),
    ];
    let ids = queue.submit(&jobs).await;
    queue.execute(&format!("UPDATE job_ready SET payload = '{{\"name\": 5' WHERE id = {}", ids[3].id())).await;
    queue.execute(&format!("UPDATE job_ready SET max_attempts = 1 WHERE id = {}", ids[4].id())).await;
    let worker = queue.worker();
    for (index, text) in [
        (0, "never"),
        (1, "timed out after 50 ms"),
        (2, "has no code for jobs of kind alien"),
        (3, "cannot read the payload of a task job"),
        (4, "panicked: the panics sky falls"),
    ] {
        let Awaited::Ended(Outcome::Failed(error)) = await_outcome(&queue.pool, ids[index].id(), LONG).await.unwrap()
        else {
            panic!("job {index} did not fail");
        };
        assert!(error.contains(text), "{error}");
        assert_eq!(queue.count(&format!("job_failed WHERE id = {}", ids[index].id())).await, 1);
    }
    let done = await_outcome(&queue.pool, ids[5].id(), LONG).await.unwrap();
    assert!(matches!(done, Awaited::Ended(Outcome::Done(_))));
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_flood_in_one_queue_starves_no_other(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let flood: Vec<_> = (0..200).map(|n| task(&format!("flood {n}"), Act::Wait)).collect();
    queue.submit(&flood).await;
    let worker = queue.worker_with(|config| config.concurrency = Concurrency::split(8).with(Queue::Probes, 5));
    queue.until_claimed(5).await;
    let others = [Queue::Recovery, Queue::Urgent, Queue::Operations, Queue::Discovery, Queue::Cleanup];
    for other in others {
        queue.submit(&[task(other.name(), Act::Succeed).queue(other)]).await;
    }
    until("the others ran", async || others.iter().all(|other| queue.record.runs(other.name()).len() == 1)).await;
    until("the flood fills its own slots and no more", async || queue.count("job_claimed").await == 5).await;
    queue.record.gate.cancel();
    queue.until_empty().await;
    assert_eq!(queue.record.count(), 205);
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn lower_priority_numbers_run_first(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    queue
        .submit(&[
            task("late", Act::Wait).priority(200),
            task("first", Act::Wait).priority(1),
            task("second", Act::Wait),
        ])
        .await;
    let worker = queue.worker_with(|config| config.concurrency = Concurrency::split(1).with(Queue::Probes, 2));
    queue.until_claimed(2).await;
    assert_eq!(
        queue.text("SELECT CAST(payload AS CHAR) FROM job_ready").await,
        r#"{"name":"late","act":"Wait","key":null}"#
    );
    queue.record.gate.cancel();
    queue.until_empty().await;
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_hinted_job_waits_for_its_worker_until_patience_ends(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let worker = queue.worker();
    let hour = Duration::from_secs(3600);
    queue.submit(&[task("mine", Act::Succeed).worker_hint(&worker.token, hour)]).await;
    queue.submit(&[task("other's", Act::Succeed).worker_hint("somebody else", hour)]).await;
    queue.submit(&[task("marker", Act::Succeed)]).await;
    until("mine ran", async || queue.record.runs("mine").len() + queue.record.runs("marker").len() == 2).await;
    assert!(queue.record.runs("other's").is_empty());
    queue.execute("UPDATE job_ready SET hint_until = NOW(6)").await;
    assert_eq!(queue::promote_due(&mut queue.conn().await).await.unwrap().released_hints, 1);
    queue.until_empty().await;
    assert_eq!(queue.record.runs("other's"), [1]);
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn lanes_of_a_dead_datacenter_are_taken_over_and_given_back(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    queue
        .execute(
            "INSERT INTO queue_worker (token, name, lanes, concurrency, started_at, heartbeat_at) \
             VALUES ('far', 'far', '[\"dc2\"]', 8, NOW(6), NOW(6) + INTERVAL 1 HOUR)",
        )
        .await;
    let worker = queue.worker_with(|config| config.datacenters = vec!["dc1".to_owned()]);
    far_jobs_wait(&queue, "before").await;
    queue.execute("UPDATE queue_worker SET heartbeat_at = NOW(6) - INTERVAL 7 SECOND WHERE token = 'far'").await;
    until("dc2 is taken over", async || queue.record.runs("far before").len() == 1).await;
    // Back: after the next heartbeats have been read, its jobs are its own again.
    queue.execute("UPDATE queue_worker SET heartbeat_at = NOW(6) + INTERVAL 1 HOUR WHERE token = 'far'").await;
    let now = queue.text("SELECT CAST(NOW(6) AS CHAR)").await;
    until("two heartbeats passed", async || {
        queue
            .count(&format!(
                "queue_worker WHERE token <> 'far' AND heartbeat_at > '{now}' + INTERVAL 2100000 MICROSECOND"
            ))
            .await
            == 1
    })
    .await;
    far_jobs_wait(&queue, "after").await;
    worker.drain().await;
}

/// Jobs in dc2 are left alone while those in dc1, the default lane and an unmanned datacenter run.
async fn far_jobs_wait(queue: &Fixture, when: &str) {
    queue.submit(&[task(&format!("far {when}"), Act::Succeed).datacenter("dc2")]).await;
    for (name, datacenter) in [("near", "dc1"), ("default", ""), ("unmanned", "dc3")] {
        let name = format!("{name} {when}");
        queue.submit(&[task(&name, Act::Succeed).datacenter(datacenter)]).await;
        until(&name, async || queue.record.runs(&name).len() == 1).await;
    }
    assert!(queue.record.runs(&format!("far {when}")).is_empty());
    assert_eq!(queue.count("job_ready WHERE lane = 'probes/dc2'").await, 1);
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_poll_is_one_statement_and_a_batch_a_few(#[case] flavor: Flavor) {
    let backend = Backend::start(flavor).await.unwrap();
    let queue = fixture_at(backend.schema().await.unwrap().options).await;
    let worker = queue.worker_with(|config| config.concurrency = Concurrency::split(8).with(Queue::Probes, 100));
    let began = queue.status("Com_begin").await;
    let (asked, inserts) = (queue.status("Questions").await, queue.status("Com_insert").await);
    let mut own = 2;
    until("it polled for a while", async || {
        own += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        queue.status("Questions").await - asked - own > 30
    })
    .await;
    assert_eq!(queue.status("Com_begin").await, began, "no transaction while idle");
    assert!(queue.status("Com_insert").await - inserts <= 3, "only heartbeats write");

    let mut conn = queue.conn().await;
    let jobs: Vec<_> = (0..100).map(|n| task(&format!("job {n}"), Act::Succeed)).collect();
    let (began, deletes) = (queue.status("Com_begin").await, queue.status("Com_delete").await);
    queue::enqueue(&mut conn, &jobs).await.unwrap();
    until("all ran", async || queue.record.names() == 100).await;
    worker.drain().await;
    assert_eq!(queue.status("Com_begin").await - began, 1, "one claim for all");
    // From ready, from claimed, goodbye; the window may split the finishes.
    assert!(queue.status("Com_delete").await - deletes <= 6);
}

/// Twenty thousand jobs in many lanes, kept for many workers: looking for work stays a matter of index dives.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread")]
async fn a_look_does_not_read_the_backlog(#[case] flavor: Flavor) {
    let backend = Backend::start(flavor).await.unwrap();
    let queue = fixture_at(backend.schema().await.unwrap().options).await;
    let jobs: Vec<_> = (0..20_000_u32)
        .map(|n| {
            let job = task("n", Act::Succeed).datacenter(&format!("dc{}", n % 20));
            if n % 2 == 0 { job } else { job.worker_hint(&format!("worker {}", n % 7), Duration::from_secs(3600)) }
        })
        .collect();
    queue.submit(&jobs).await;
    queue.execute("DELETE FROM job_ready WHERE worker_hint = ''").await;
    // What the servers do by themselves within seconds.
    sqlx::raw_sql("ANALYZE TABLE job_ready").execute(&queue.pool).await.unwrap();
    let worker = queue.worker();
    let (asked, read) = (queue.status("Questions").await, queue.reads().await);
    until("it polled for a while", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        queue.status("Questions").await - asked > 60
    })
    .await;
    let read = queue.reads().await - read;
    // Status rows are counted too, some hundred per look of ours.
    assert!(read < 60_000, "{read} rows read");
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn the_lanes_of_a_draining_worker_are_taken_over_before_its_jobs_end(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let leaving = queue.worker_with(|config| {
        config.datacenters = vec!["dc2".to_owned()];
        config.drain_deadline = LONG;
    });
    queue.submit(&[task("long", Act::Wait).datacenter("dc2")]).await;
    queue.until_claimed(1).await;
    let staying = queue.worker_with(|config| config.datacenters = vec!["dc1".to_owned()]);
    until("both are known", async || queue.count("queue_worker").await == 2).await;
    leaving.stop.cancel();
    queue.submit(&[task("next", Act::Succeed).datacenter("dc2")]).await;
    until("the other serves dc2", async || queue.record.runs("next").len() == 1).await;
    let long = format!("job_claimed WHERE worker = '{}'", leaving.token);
    assert_eq!(queue.count(&long).await, 1, "while the long job goes on");
    let live = queue::live_workers(&mut queue.conn().await).await.unwrap();
    assert_eq!(live.iter().map(|worker| worker.token.as_str()).collect::<Vec<_>>(), [staying.token.as_str()]);
    queue.record.gate.cancel();
    leaving.drain().await;
    staying.drain().await;
}

#[rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test]
async fn who_enqueues_in_the_same_process_may_ring(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let bell = queue::Bell::default();
    let worker = queue.worker_with(|config| {
        config.poll_interval = Duration::from_secs(600);
        config.bell = bell.clone();
    });
    let began = std::time::Instant::now();
    // Each look at routine work doubles the pause: half of these would wait for minutes.
    for number in 0..24 {
        let name = format!("job {number}");
        queue.submit(&[task(&name, Act::Succeed).queue(Queue::Probes)]).await;
        bell.ring();
        until("the job ran", async || queue.record.runs(&name) == [1]).await;
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    worker.drain().await;
}
