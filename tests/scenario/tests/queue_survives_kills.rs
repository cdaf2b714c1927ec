//! 20,000 jobs over 4 worker processes that are killed at random: each done at least once, none lost, twice only after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use harness::Flavor;
use queue::NewJob;
use rand::Rng;
use scenario::counting::Count;
use sqlx::{MySqlPool, Row};

const JOBS: u64 = 20_000;
const WORKERS: usize = 4;
/// Time between two kills: a few of them fall into the run, and workers get somewhere in between.
const KILL_EVERY: Duration = Duration::from_millis(1200);
const LIMIT: Duration = Duration::from_secs(180);

/// One of the killed processes' successors.
struct Worker {
    name: String,
    child: Child,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn start(url: &str, number: usize) -> Result<Worker> {
    let name = format!("counter-{number}");
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_queue-worker"), url, &name])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Worker { name, child })
}

async fn submit_all(pool: &MySqlPool) -> Result<()> {
    for from in (0..JOBS).step_by(1000) {
        let jobs: Result<Vec<NewJob>, queue::Error> =
            (from..from + 1000).map(|number| Ok(NewJob::of(&Count { number })?.wants_outcome())).collect();
        queue::submit(pool, &jobs?).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_jobs_survive_random_kills() -> Result<()> {
    let backend = harness::backend(Flavor::MariaDb).await?;
    let schema = backend.schema().await?;
    let pool = schema.pool(8).await?;
    store::schema::migrate(&pool).await?;
    sqlx::query("CREATE TABLE counted (number BIGINT UNSIGNED, worker VARCHAR(64), ran_at DATETIME(6), KEY (number))")
        .execute(&pool)
        .await?;
    submit_all(&pool).await?;

    let mut started = 0;
    let mut workers = Vec::new();
    let mut killed = BTreeSet::new();
    let (begun, mut last_kill, mut last_rescue) = (Instant::now(), Instant::now(), Instant::now());
    loop {
        while workers.len() < WORKERS {
            workers.push(start(&schema.url, started)?);
            started += 1;
        }
        if last_kill.elapsed() > KILL_EVERY && killed.len() < 12 {
            let victim: Worker = workers.swap_remove(rand::rng().random_range(0..WORKERS));
            killed.insert(victim.name.clone());
            drop(victim);
            last_kill = Instant::now();
        }
        if last_rescue.elapsed() > Duration::from_millis(500) {
            let mut conn = pool.acquire().await?;
            queue::promote_due(&mut conn).await?;
            queue::rescue(&mut conn).await?;
            last_rescue = Instant::now();
        }
        let ended: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM job_outcome").fetch_one(&pool).await?;
        if u64::try_from(ended)? >= JOBS {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{ended} of {JOBS} ended within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop(workers);
    check(&pool, &killed, seconds).await
}

async fn check(pool: &MySqlPool, killed: &BTreeSet<String>, seconds: f64) -> Result<()> {
    let rows = sqlx::query("SELECT number, worker FROM counted ORDER BY number, ran_at").fetch_all(pool).await?;
    let mut runs: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for row in &rows {
        runs.entry(row.try_get("number")?).or_default().push(row.try_get("worker")?);
    }
    assert_eq!(runs.len() as u64, JOBS, "every job ran at least once");
    let twice: Vec<_> = runs.iter().filter(|(_, workers)| workers.len() > 1).collect();
    for (number, workers) in &twice {
        let but_last = &workers[..workers.len() - 1];
        assert!(
            but_last.iter().all(|worker| killed.contains(worker)),
            "job {number} ran again although nobody was killed: {workers:?}"
        );
    }
    let outcomes =
        sqlx::query("SELECT outcome, COUNT(*) AS n FROM job_outcome GROUP BY outcome").fetch_all(pool).await?;
    for row in &outcomes {
        assert_eq!(row.try_get_unchecked::<String, _>("outcome")?, "done");
    }
    for table in ["job_ready", "job_scheduled", "job_claimed", "job_failed"] {
        let left: i64 = sqlx::query_scalar(&format!("SELECT COUNT(*) FROM {table}")).fetch_one(pool).await?;
        assert_eq!(left, 0, "{table} is empty");
    }
    assert!(killed.len() >= 3, "the run was long enough for some kills: {killed:?}");
    println!(
        "{JOBS} jobs in {seconds:.1} s with {} workers killed; {} jobs ran twice or more, each after a kill",
        killed.len(),
        twice.len()
    );
    Ok(())
}
