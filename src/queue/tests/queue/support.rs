//! A schema with the queue in it, a job that does as it is told, and waiting for conditions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::Flavor;
use queue::{Attempt, Backoff, Job, JobError, Limits, NewJob, Queue, Registry, Runner, WorkerConfig};
use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{MySqlConnection, MySqlPool};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SCHEMA: &str = include_str!("../../../../migrations/20261123000100_queue.sql");
const PATIENCE: Duration = Duration::from_secs(30);

/// What the jobs did.
#[derive(Debug, Default)]
pub(crate) struct Record {
    runs: Mutex<BTreeMap<String, Vec<u32>>>,
    /// `Act::Wait` jobs end when this fires.
    pub(crate) gate: CancellationToken,
}

impl Record {
    /// Attempt numbers of the runs of the job of that name.
    pub(crate) fn runs(&self, name: &str) -> Vec<u32> {
        self.runs.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn count(&self) -> usize {
        self.runs.lock().unwrap().values().map(Vec::len).sum()
    }

    pub(crate) fn names(&self) -> usize {
        self.runs.lock().unwrap().len()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Succeed,
    Fail,
    FailOnce,
    GiveUp,
    Panic,
    /// Until the gate opens.
    Wait,
    /// Until cancelled, then an error.
    Obey,
    /// For ever, cancelled or not.
    Ignore,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) act: Act,
    #[serde(default)]
    pub(crate) key: Option<String>,
}

impl Job for Task {
    type Context = Record;
    const KIND: &'static str = "task";
    const LIMITS: Limits =
        Limits { queue: Queue::Probes, timeout: Duration::from_secs(60), attempts: 3, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        self.key.clone()
    }

    async fn run(self, ctx: Arc<Record>, attempt: Attempt) -> Result<serde_json::Value, JobError> {
        ctx.runs.lock().unwrap().entry(self.name.clone()).or_default().push(attempt.number);
        match self.act {
            Act::Succeed => Ok(serde_json::json!({ "name": self.name, "by": attempt.submitted_by })),
            Act::FailOnce if attempt.number > 1 => Ok(serde_json::Value::Null),
            Act::Fail | Act::FailOnce => Err(JobError::retry("not today")),
            Act::GiveUp => Err(JobError::give_up("never")),
            Act::Panic => panic!("the {} sky falls", self.name),
            Act::Wait => {
                ctx.gate.cancelled().await;
                Ok(serde_json::Value::Null)
            }
            Act::Obey => {
                attempt.cancelled.cancelled().await;
                Err(JobError::retry("stopped on request"))
            }
            Act::Ignore => std::future::pending().await,
        }
    }
}

/// Like a task that waits, but with little time and no second attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hasty {}

impl Job for Hasty {
    type Context = Record;
    const KIND: &'static str = "hasty";
    const LIMITS: Limits =
        Limits { queue: Queue::Operations, timeout: Duration::from_millis(50), attempts: 1, backoff: Backoff::DEFAULT };

    async fn run(self, _: Arc<Record>, _: Attempt) -> Result<serde_json::Value, JobError> {
        std::future::pending().await
    }
}

/// A kind no worker here has code for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Alien {}

impl Job for Alien {
    type Context = ();
    const KIND: &'static str = "alien";
    const LIMITS: Limits =
        Limits { queue: Queue::Probes, timeout: Duration::from_secs(1), attempts: 3, backoff: Backoff::DEFAULT };

    async fn run(self, _: Arc<()>, _: Attempt) -> Result<serde_json::Value, JobError> {
        Ok(serde_json::Value::Null)
    }
}

pub(crate) fn task(name: &str, act: Act) -> NewJob {
    NewJob::of(&Task { name: name.to_owned(), act, key: None }).unwrap()
}

pub(crate) fn keyed(name: &str, key: &str) -> NewJob {
    NewJob::of(&Task { name: name.to_owned(), act: Act::Succeed, key: Some(key.to_owned()) }).unwrap()
}

pub(crate) struct Fixture {
    pub(crate) pool: MySqlPool,
    pub(crate) record: Arc<Record>,
}

/// A queue in an empty schema of the shared server.
pub(crate) async fn fixture(flavor: Flavor) -> Fixture {
    let schema = harness::backend(flavor).await.unwrap().schema().await.unwrap();
    fixture_at(schema.options).await
}

pub(crate) async fn fixture_at(options: MySqlConnectOptions) -> Fixture {
    // Shown by the test runner when a test fails.
    tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init().ok();
    let pool = queue::pool_options().max_connections(10).connect_with(queue::connect_options(options)).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    sqlx::raw_sql(SCHEMA).execute(&mut *conn).await.unwrap();
    Fixture { pool, record: Arc::default() }
}

impl Fixture {
    pub(crate) async fn conn(&self) -> MySqlConnection {
        self.pool.acquire().await.unwrap().detach()
    }

    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        sqlx::query(sql).execute(&self.pool).await.unwrap().rows_affected()
    }

    pub(crate) async fn count(&self, from: &str) -> i64 {
        sqlx::query_scalar(&format!("SELECT COUNT(*) FROM {from}")).fetch_one(&self.pool).await.unwrap()
    }

    /// `SELECT` of one text value.
    pub(crate) async fn text(&self, sql: &str) -> String {
        use sqlx::Row;
        sqlx::query(sql).fetch_one(&self.pool).await.unwrap().try_get_unchecked(0).unwrap()
    }

    /// A counter of the whole server.
    pub(crate) async fn status(&self, name: &str) -> i64 {
        use sqlx::Row;
        let sql = format!("SHOW GLOBAL STATUS LIKE '{name}'");
        let row = sqlx::raw_sql(&sql).fetch_one(&self.pool).await.unwrap();
        row.try_get_unchecked::<String, _>(1).unwrap().parse().unwrap()
    }

    /// Rows the server has read by walking along an index or a table.
    pub(crate) async fn reads(&self) -> i64 {
        self.status("Handler_read_next").await + self.status("Handler_read_rnd_next").await
    }

    pub(crate) async fn submit(&self, jobs: &[NewJob]) -> Vec<queue::Enqueued> {
        queue::submit(&self.pool, jobs).await.unwrap()
    }

    pub(crate) fn worker(&self) -> Worker {
        self.worker_with(|_| {})
    }

    pub(crate) fn worker_with(&self, change: impl FnOnce(&mut WorkerConfig)) -> Worker {
        let mut config = WorkerConfig::new("worker of a test");
        config.poll_interval = Duration::from_millis(50);
        config.drain_deadline = Duration::from_secs(5);
        change(&mut config);
        let registry = Registry::new().with::<Task>().with::<Hasty>();
        let runner = Runner::new(self.pool.clone(), config, registry, Arc::clone(&self.record));
        let (token, stop) = (runner.token().to_owned(), CancellationToken::new());
        let running = tokio::spawn(runner.run(stop.clone()));
        Worker { token, stop, running }
    }

    /// Waits until nothing waits, runs or is scheduled.
    pub(crate) async fn until_empty(&self) {
        until("the queue is empty", async || {
            self.count("job_ready").await + self.count("job_claimed").await + self.count("job_scheduled").await == 0
        })
        .await;
    }

    pub(crate) async fn until_claimed(&self, jobs: i64) {
        until("the jobs are claimed", async || self.count("job_claimed").await == jobs).await;
    }

    /// Makes scheduled jobs due and ready.
    pub(crate) async fn promote_all(&self) -> queue::Promoted {
        self.execute("UPDATE job_scheduled SET run_at = NOW(6) - INTERVAL 1 SECOND").await;
        queue::promote_due(&mut self.conn().await).await.unwrap()
    }
}

pub(crate) struct Worker {
    pub(crate) token: String,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), queue::Error>>,
}

impl Worker {
    /// Asks it to stop and waits for it.
    pub(crate) async fn drain(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
