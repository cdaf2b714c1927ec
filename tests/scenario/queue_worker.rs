//! A worker process whose only job kind counts: each run leaves a row that says which job ran in which process.
//!
//! Usage: `queue-worker DATABASE_URL NAME`. For the test that kills such processes at random.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use queue::{Registry, Runner, WorkerConfig};
use scenario::counting::{Count, CountContext};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("usage: queue-worker DATABASE_URL NAME")?;
    let name = arguments.next().context("usage: queue-worker DATABASE_URL NAME")?;
    let pool = queue::pool_options().max_connections(8).connect_with(queue::connect_options(url.parse()?)).await?;
    let context = Arc::new(CountContext { pool: pool.clone(), worker: name.clone() });
    let mut config = WorkerConfig::new(&name);
    config.concurrency = queue::Concurrency::split(32);
    config.poll_interval = Duration::from_millis(50);
    let shutdown = CancellationToken::new();
    Runner::new(pool, config, Registry::new().with::<Count>(), context).run(shutdown).await?;
    Ok(())
}
