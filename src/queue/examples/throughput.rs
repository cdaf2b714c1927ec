//! How fast the queue is here: `cargo run --release -p queue --example throughput`. Starts a server of each flavour, prints
//! figures, asserts nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::{Backend, Flavor};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use queue::{Attempt, Backoff, Concurrency, Job, JobError, Limits, NewJob, Queue, Registry, Runner, WorkerConfig};
use serde::{Deserialize, Serialize};
use sqlx::{MySqlPool, Row};
use tokio_util::sync::CancellationToken;

const SCHEMA: &str = include_str!("../../../migrations/20261123000100_queue.sql");
const WORKERS: usize = 3;
const JOBS: usize = 10_000;
const WAITING: usize = 20_000;

#[derive(Serialize, Deserialize)]
struct Nothing {
    number: usize,
}

impl Job for Nothing {
    type Context = AtomicU64;
    const KIND: &'static str = "nothing";
    const LIMITS: Limits =
        Limits { queue: Queue::Probes, timeout: Duration::from_secs(60), attempts: 1, backoff: Backoff::DEFAULT };

    async fn run(self, done: Arc<AtomicU64>, _: Attempt) -> Result<serde_json::Value, JobError> {
        done.fetch_add(1, Ordering::Relaxed);
        Ok(serde_json::Value::Null)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seen = Arc::new(Seen::default());
    metrics::set_global_recorder(ToSeen(Arc::clone(&seen)))
        .map_err(|_| anyhow::anyhow!("a recorder is set already"))?;
    for flavor in Flavor::ALL {
        let backend = Backend::start(flavor).await?;
        let options = queue::connect_options(backend.schema().await?.options);
        let pool = queue::pool_options().max_connections(10).connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        println!("{flavor} {}", backend.server().version());
        for batch in [10, 100] {
            run(&pool, &seen, batch, JOBS).await?;
        }
        run(&pool, &seen, 10, WAITING).await?;
        latency(&pool).await?;
    }
    Ok(())
}

/// Jobs per second, statements per job and claim latency.
async fn run(pool: &MySqlPool, seen: &Seen, batch: usize, jobs: usize) -> anyhow::Result<()> {
    let enqueuing = Instant::now();
    let new: Result<Vec<NewJob>, _> = (0..jobs).map(|number| NewJob::of(&Nothing { number })).collect();
    queue::submit(pool, &new?).await?;
    let enqueued = enqueuing.elapsed();
    seen.claims.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clear();
    let (done, stop, statements) = (Arc::new(AtomicU64::new(0)), CancellationToken::new(), questions(pool).await?);
    let start = Instant::now();
    let workers: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(worker(pool, batch, &done).run(stop.clone()))).collect();
    while done.load(Ordering::Relaxed) < jobs as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let elapsed = start.elapsed();
    stop.cancel();
    for worker in workers {
        worker.await??;
    }
    let statements = questions(pool).await? - statements;
    let mut claims = seen.claims.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clone();
    println!(
        "  {jobs} waiting, {WORKERS} workers x {batch}: {:.0} jobs/s, {:.2} statements/job, claim p50/p99 {}; enqueued {:.0}/s",
        jobs as f64 / elapsed.as_secs_f64(),
        statements as f64 / jobs as f64,
        quantiles(&mut claims),
        jobs as f64 / enqueued.as_secs_f64(),
    );
    Ok(())
}

/// From enqueue to start, on an idle queue polled every 20 ms, and what idling costs.
async fn latency(pool: &MySqlPool) -> anyhow::Result<()> {
    let (done, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let workers: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(worker(pool, 10, &done).run(stop.clone()))).collect();
    let mut samples = Vec::new();
    for number in 0..100 {
        tokio::time::sleep(Duration::from_millis(7)).await;
        let start = Instant::now();
        queue::submit(pool, &[NewJob::of(&Nothing { number })?]).await?;
        while done.load(Ordering::Relaxed) <= number as u64 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        samples.push(start.elapsed().as_secs_f64());
    }
    println!("  enqueue to start p50/p99 {}", quantiles(&mut samples));
    stop.cancel();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

fn worker(pool: &MySqlPool, batch: usize, done: &Arc<AtomicU64>) -> Runner<AtomicU64> {
    let mut config = WorkerConfig::new("throughput");
    config.concurrency = Concurrency::split(8).with(Queue::Probes, batch);
    config.poll_interval = Duration::from_millis(20);
    Runner::new(pool.clone(), config, Registry::new().with::<Nothing>(), Arc::clone(done))
}

async fn questions(pool: &MySqlPool) -> anyhow::Result<u64> {
    let row = sqlx::raw_sql("SHOW GLOBAL STATUS LIKE 'Questions'").fetch_one(pool).await?;
    Ok(row.try_get_unchecked::<String, _>(1)?.parse()?)
}

fn quantiles(seconds: &mut [f64]) -> String {
    seconds.sort_by(f64::total_cmp);
    let at = |share: usize| seconds.get(seconds.len() * share / 100).copied().unwrap_or_default() * 1e3;
    format!("{:.1}/{:.1} ms", at(50), at(99))
}

/// Keeps the durations of claims.
#[derive(Default)]
struct Seen {
    claims: Mutex<Vec<f64>>,
}

impl HistogramFn for Seen {
    fn record(&self, value: f64) {
        if let Ok(mut claims) = self.claims.lock() {
            claims.push(value);
        }
    }
}

struct ToSeen(Arc<Seen>);

impl Recorder for ToSeen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == "queue_claim_seconds" { Histogram::from_arc(Arc::clone(&self.0)) } else { Histogram::noop() }
    }
}
