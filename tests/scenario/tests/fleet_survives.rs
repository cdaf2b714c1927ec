//! Two services and three workers on a real topology, hurt in every way a night can bring: the leader killed, a worker
//! killed in mid-batch, the leader frozen for 20 seconds, the backend away for 30. Nobody restarts anything by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::instance::InstanceKey;
use harness::{Flavor, Topology};
use queue::{Awaited, NewJob};
use scenario::{Fleet, wait};
use serde_json::json;
use sqlx::{MySqlPool, Row};
use tokio::sync::Mutex;

/// Poll interval of the fleet in this test.
const INTERVAL: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(3);
/// No instance may go unpolled for longer.
const UNPOLLED_LIMIT: Duration = Duration::from_secs(2 * 2 + 3);
/// Leadership moves within this.
const LEADERSHIP_LIMIT: Duration = Duration::from_secs(5);

/// Watches how long instances go unpolled, leaving out the time the backend is away.
struct AgeWatch {
    worst: Arc<Mutex<Duration>>,
    paused: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl AgeWatch {
    fn start(pool: MySqlPool, ports: Vec<u16>) -> Self {
        let worst = Arc::new(Mutex::new(Duration::ZERO));
        let paused = Arc::new(AtomicBool::new(false));
        let (shared, pause) = (Arc::clone(&worst), Arc::clone(&paused));
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if pause.load(Ordering::Relaxed) {
                    continue;
                }
                if let Ok(age) = oldest(&pool, &ports).await
                    && !pause.load(Ordering::Relaxed)
                {
                    let mut worst = shared.lock().await;
                    *worst = (*worst).max(age);
                }
            }
        });
        Self { worst, paused, task }
    }

    async fn worst(&self) -> Duration {
        *self.worst.lock().await
    }

    fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

impl Drop for AgeWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn oldest(pool: &MySqlPool, ports: &[u16]) -> Result<Duration> {
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let micros: i64 = sqlx::query_scalar(&format!(
        "SELECT CAST(COALESCE(MAX(TIMESTAMPDIFF(MICROSECOND, last_checked_at, NOW(6))), 0) AS SIGNED) \
         FROM instance WHERE port IN ({list})"
    ))
    .fetch_one(pool)
    .await?;
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// Name and term of the current leader.
async fn leader(pool: &MySqlPool) -> Result<Option<(String, u64)>> {
    let row = sqlx::query(
        "SELECT n.name, l.term FROM lease l JOIN node n ON n.token = l.holder \
         WHERE l.name = 'leader' AND l.expires_at > NOW(6)",
    )
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        Some(row) => Some((row.try_get_unchecked("name")?, row.try_get("term")?)),
        None => None,
    })
}

async fn some_leader(pool: &MySqlPool) -> Result<(String, u64)> {
    wait::until("a leader", Duration::from_secs(10), || leader(pool)).await
}

/// Waits for a term above `term`; gives how long it took.
async fn next_leader(pool: &MySqlPool, term: u64) -> Result<Duration> {
    let begun = Instant::now();
    wait::until("another leader", Duration::from_secs(15), || async {
        Ok(leader(pool).await?.filter(|(_, now)| *now > term))
    })
    .await?;
    Ok(begun.elapsed())
}

async fn known(fleet: &Fleet, count: usize) -> Result<()> {
    wait::until("the topology to be known", Duration::from_secs(40), || async {
        Ok((fleet.ok(&["-c", "all-instances"]).await?.lines().count() == count).then_some(()))
    })
    .await
}

/// A worker that holds a claimed job right now.
async fn busy_worker(pool: &MySqlPool) -> Result<String> {
    wait::until("a worker in mid-batch", Duration::from_secs(20), || async {
        let name = sqlx::query(
            "SELECT w.name FROM job_claimed c JOIN queue_worker w ON w.token = c.worker WHERE c.kind LIKE 'probe%' LIMIT 1",
        )
        .fetch_optional(pool)
        .await?;
        Ok(match name {
            Some(row) => Some(row.try_get_unchecked("name")?),
            None => None,
        })
    })
    .await
}

async fn submit_discoveries(pool: &MySqlPool, keys: &[InstanceKey]) -> Result<Vec<u64>> {
    let jobs: Result<Vec<NewJob>, queue::Error> =
        keys.iter().map(|key| Ok(NewJob::of(&jobs::Discover::by_person(key))?.wants_outcome())).collect();
    Ok(queue::submit(pool, &jobs?).await?.into_iter().map(queue::Enqueued::id).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_survives_the_loss_of_every_part() -> Result<()> {
    let topology = Topology::start(Flavor::MariaDb, "a\n  b\n  c\n  d").await?;
    let mut fleet = Fleet::new(Flavor::MariaDb, json!({ "InstancePollSeconds": INTERVAL.as_secs() })).await?;
    for service in ["s1", "s2"] {
        fleet.service(service, &["--no-worker"]).await?;
    }
    for worker in ["w1", "w2", "w3"] {
        fleet.worker(worker, &[]).await?;
    }
    let pool = fleet.pool().await?;
    fleet.ok(&["-c", "discover", "-i", &topology["a"].address()]).await?;
    known(&fleet, 4).await?;
    let keys: Vec<InstanceKey> =
        ["a", "b", "c"].iter().map(|name| InstanceKey::new(harness::HOST, topology[*name].port())).collect();
    let watch = AgeWatch::start(pool.clone(), keys.iter().map(|key| key.port).collect());
    let mut submitted = Vec::new();

    // 1. the leader is killed
    let (name, term) = some_leader(&pool).await?;
    submitted.extend(submit_discoveries(&pool, &keys).await?);
    fleet.kill(&name)?;
    let killed_leader = next_leader(&pool, term).await?;
    fleet.service(&name, &["--no-worker"]).await?;

    // 2. a worker is killed in mid-batch: a frozen server keeps a batch under way long enough to be caught
    topology["d"].freeze()?;
    let victim = busy_worker(&pool).await?;
    submitted.extend(submit_discoveries(&pool, &keys).await?);
    fleet.kill(&victim)?;
    topology["d"].thaw()?;
    tokio::time::sleep(UNPOLLED_LIMIT).await;
    fleet.worker(&victim, &[]).await?;

    // 3. the leader is frozen for 20 seconds
    let (name, term) = some_leader(&pool).await?;
    fleet.signal(&name, "STOP")?;
    let frozen_at = Instant::now();
    let frozen_leader = next_leader(&pool, term).await?;
    submitted.extend(submit_discoveries(&pool, &keys).await?);
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(frozen_at.elapsed())).await;
    fleet.signal(&name, "CONT")?;
    tokio::time::sleep(LEASE).await;
    let before_outage = watch.worst().await;

    // 4. the backend is away for 30 seconds
    submitted.extend(submit_discoveries(&pool, &keys).await?);
    watch.pause(true);
    fleet.backend.kill()?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    fleet.backend.start_again().await?;
    let back_at = Instant::now();
    wait::until("polling again after the outage", Duration::from_secs(20), || async {
        Ok((oldest(&pool, &[keys[0].port]).await? < INTERVAL).then_some(()))
    })
    .await?;
    let resumed = back_at.elapsed();
    known(&fleet, 4).await?;
    watch.pause(false);
    tokio::time::sleep(UNPOLLED_LIMIT).await;

    // nobody had to be restarted by hand
    for process in ["s1", "s2", "w1", "w2", "w3"] {
        assert!(fleet.is_running(process)?, "{}", fleet.log_tail(process));
    }
    println!(
        "leadership moved in {killed_leader:?} (killed) and {frozen_leader:?} (frozen); longest unpolled {before_outage:?} \
         before the outage, {:?} in all; polling {resumed:?} after the backend was back",
        watch.worst().await
    );
    assert!(killed_leader <= LEADERSHIP_LIMIT && frozen_leader <= LEADERSHIP_LIMIT);
    assert!(watch.worst().await <= UNPOLLED_LIMIT, "an instance went unpolled for {:?}", watch.worst().await);
    assert!(resumed <= UNPOLLED_LIMIT, "polling resumed only after {resumed:?}");
    no_job_lost(&pool, &submitted).await?;
    one_leader_at_a_time(&pool).await
}

async fn no_job_lost(pool: &MySqlPool, submitted: &[u64]) -> Result<()> {
    for id in submitted {
        let outcome = queue::await_outcome(pool, *id, Duration::from_secs(20)).await?;
        assert!(matches!(outcome, Awaited::Ended(queue::Outcome::Done(_))), "job {id}: {outcome:?}");
    }
    Ok(())
}

/// The audit of terms: each began after the last act of the one before.
async fn one_leader_at_a_time(pool: &MySqlPool) -> Result<()> {
    let rows = sqlx::query(
        "SELECT term, holder, CAST(acquired_at AS CHAR) AS acquired, CAST(COALESCE(last_acted_at, acquired_at) AS CHAR) AS acted \
         FROM lease_history WHERE name = 'leader' ORDER BY term",
    )
    .fetch_all(pool)
    .await?;
    assert!(rows.len() >= 3, "three terms at least: {}", rows.len());
    for pair in rows.windows(2) {
        let acted: String = pair[0].try_get_unchecked("acted").context("acted")?;
        let acquired: String = pair[1].try_get_unchecked("acquired").context("acquired")?;
        assert!(acted <= acquired, "a leader acted at {acted}, after the next began at {acquired}");
    }
    let doubled: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT term FROM lease_history GROUP BY term HAVING COUNT(DISTINCT holder) > 1) AS t",
    )
    .fetch_one(pool)
    .await?;
    assert_eq!(doubled, 0);
    Ok(())
}
