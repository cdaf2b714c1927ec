//! Unique keys, batches, transactions and races of enqueuers.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::Flavor;
use queue::{Enqueued, Enqueuer, Queue, enqueue};
use rstest::rstest;
use sqlx::Connection;

use crate::support::{Act, fixture, keyed, task, until};

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn an_equal_job_joins_the_waiting_one(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let first = queue.submit(&[keyed("a", "k"), keyed("b", "l"), keyed("c", "k")]).await;
    assert!(first[0].is_new() && first[1].is_new());
    assert_eq!(first[2], Enqueued::AlreadyWaiting(first[0].id()));
    let second = queue.submit(&[keyed("d", "m"), keyed("e", "k ").wants_outcome(), keyed("f", "l")]).await;
    assert!(second[0].is_new());
    assert_eq!(second[1..], [Enqueued::AlreadyWaiting(first[0].id()), Enqueued::AlreadyWaiting(first[1].id())]);
    assert_eq!(queue.count("job_ready").await, 3);
    assert_eq!(queue.count("job_ready WHERE wants_outcome = 1 AND unique_key = 'k'").await, 1);
    assert_eq!(queue.count("job_ready WHERE wants_outcome = 1").await, 1);
}

/// One who enqueues a little all the time: many batches share a block of ids, and none gets an id twice.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn an_enqueuer_joins_too_and_keeps_its_ids_to_itself(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let mut conn = queue.conn().await;
    let mut enqueuer = Enqueuer::default();
    let mut ids = BTreeSet::new();
    for round in 0..4_u32 {
        let jobs = [keyed("a", "k"), keyed("b", &format!("l{round}")), keyed("c", "k"), task("d", Act::Wait)];
        let mut tx = conn.begin().await.unwrap();
        let answers = enqueuer.enqueue(&mut tx, &jobs).await.unwrap();
        assert_eq!(answers[0].id(), answers[2].id());
        assert_eq!((answers[0].is_new(), answers[1].is_new()), (round < 2, true));
        assert!(!answers[2].is_new() && answers[3].is_new());
        if round == 0 {
            tx.rollback().await.unwrap();
            continue;
        }
        tx.commit().await.unwrap();
        enqueuer.committed();
        ids.extend(answers.iter().map(|answer| answer.id()));
        // Others take ids too.
        ids.insert(queue.submit(&[task("e", Act::Wait)]).await[0].id());
    }
    assert_eq!(ids.len(), 1 + 3 * 3, "one that all joined, and three more each time");
    assert_eq!(queue.count("job_ready").await, 10);
    assert_eq!(queue.count("job_ready WHERE unique_key = 'k' AND merges = 2").await, 1);
    assert_eq!(queue.count("job_sequence").await, 1 + 3, "one for the enqueuer, one for each of the others");
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn joining_a_delayed_job_brings_it_forward_but_not_a_retry(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let hour = Duration::from_secs(3600);
    let later = queue.submit(&[keyed("a", "k").run_in(hour), keyed("b", "l").run_in(hour)]).await;
    queue.execute("UPDATE job_scheduled SET attempts = 1 WHERE unique_key = 'l'").await;
    let again = queue.submit(&[keyed("c", "k"), keyed("d", "l")]).await;
    assert_eq!(again, [Enqueued::AlreadyWaiting(later[0].id()), Enqueued::AlreadyWaiting(later[1].id())]);
    let promoted = queue::promote_due(&mut queue.conn().await).await.unwrap();
    assert_eq!((promoted.promoted, promoted.merged), (1, 0));
    assert_eq!(queue.count("job_ready WHERE unique_key = 'k'").await, 1);
    assert_eq!(queue.count("job_scheduled WHERE unique_key = 'l'").await, 1);
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_delayed_job_that_meets_its_equal_ends_as_merged(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let delayed = queue.submit(&[keyed("late", "k").run_in(Duration::from_secs(60)).wants_outcome()]).await;
    // An equal one that became ready meanwhile, as a race of two enqueuers leaves it.
    queue.execute("UPDATE job_scheduled SET unique_key = 'x'").await;
    let ready = queue.submit(&[keyed("early", "k")]).await;
    queue.execute("UPDATE job_scheduled SET unique_key = 'k'").await;
    let promoted = queue.promote_all().await;
    assert_eq!((promoted.promoted, promoted.merged), (0, 1));
    assert_eq!(queue.count("job_scheduled").await, 0);
    assert_eq!(queue.count(&format!("job_outcome WHERE merged_into = {}", ready[0].id())).await, 1);
    let worker = queue.worker();
    let awaited = queue::await_outcome(&queue.pool, delayed[0].id(), Duration::from_secs(20)).await.unwrap();
    let expected = serde_json::json!({ "name": "early", "by": "" });
    assert_eq!(awaited, queue::Awaited::Ended(queue::Outcome::Done(expected)));
    worker.drain().await;
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_rolled_back_transaction_leaves_no_job(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let mut conn = queue.conn().await;
    let mut tx = conn.begin().await.unwrap();
    enqueue(&mut tx, &[task("a", Act::Succeed)]).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(queue.count("job_ready").await, 0);
    assert!(enqueue(&mut conn, &[]).await.unwrap().is_empty());
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn a_job_joined_by_an_open_transaction_runs_after_its_commit(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    queue.submit(&[keyed("joined", "k")]).await;
    let mut conn = queue.conn().await;
    let mut tx = conn.begin().await.unwrap();
    assert!(!enqueue(&mut tx, &[keyed("mine", "k")]).await.unwrap()[0].is_new());
    let worker = queue.worker();
    queue.submit(&[task("other", Act::Succeed)]).await;
    until("the other job ran", async || queue.record.runs("other").len() == 1).await;
    assert!(queue.record.runs("joined").is_empty());
    tx.commit().await.unwrap();
    until("the joined job ran", async || queue.record.runs("joined").len() == 1).await;
    worker.drain().await;
}

/// Enqueuers with overlapping keys in different orders, while workers claim: nobody sees an error, no key waits twice.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread")]
async fn races_of_enqueuers_and_claims_end_well(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let workers: Vec<_> = (0..2).map(|_| queue.worker()).collect();
    let mut enqueuers = tokio::task::JoinSet::new();
    for enqueuer in 0..6_usize {
        let pool = queue.pool.clone();
        enqueuers.spawn(async move {
            let mut fresh = BTreeSet::new();
            for round in 0..15_usize {
                let mut jobs: Vec<_> = (0..20)
                    .map(|n| format!("k{}", (n * 7 + enqueuer * 3 + round) % 40))
                    .map(|key| keyed(&key, &key))
                    .collect();
                if round % 5 == 4 {
                    jobs = jobs.into_iter().map(|job| job.run_in(Duration::from_millis(1))).collect();
                }
                for answer in queue::submit(&pool, &jobs).await.unwrap() {
                    if let Enqueued::New(id) = answer {
                        assert!(fresh.insert(id), "id {id} was handed out twice");
                    }
                }
            }
            fresh
        });
    }
    let mut all = BTreeSet::new();
    for fresh in enqueuers.join_all().await {
        for id in fresh {
            assert!(all.insert(id), "id {id} was handed out to two enqueuers");
        }
    }
    queue.promote_all().await;
    queue.until_empty().await;
    let merged = queue.count("job_outcome WHERE outcome = 'merged'").await;
    assert_eq!(
        queue.record.count() + usize::try_from(merged).unwrap(),
        all.len(),
        "every accepted job ran once or was merged"
    );
    assert_eq!(queue.count("job_failed").await, 0);
    for worker in workers {
        worker.drain().await;
    }
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn hundreds_of_jobs_cost_a_few_statements(#[case] flavor: Flavor) {
    let queue = fixture(flavor).await;
    let jobs: Vec<_> =
        (0..1200).map(|n| keyed("n", &format!("k{n}")).datacenter("dc1").queue(Queue::Discovery).term(7)).collect();
    let mut conn = queue.conn().await;
    let before = questions(&mut conn).await;
    let answers = enqueue(&mut conn, &jobs).await.unwrap();
    let spent = questions(&mut conn).await - before;
    assert!(answers.iter().all(|answer| answer.is_new()));
    // Three batches of look-up, ids, insert; the rest is this measuring.
    assert!(spent <= 3 * 3 + 2, "{spent} statements");
    assert_eq!(queue.count("job_ready WHERE lane = 'discovery/dc1' AND enqueued_term = 7").await, 1200);
}

async fn questions(conn: &mut sqlx::MySqlConnection) -> i64 {
    use sqlx::Row;
    let row = sqlx::raw_sql("SHOW SESSION STATUS LIKE 'Questions'").fetch_one(conn).await.unwrap();
    row.try_get_unchecked::<String, _>(1).unwrap().parse().unwrap()
}
