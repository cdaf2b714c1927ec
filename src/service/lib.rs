//! The service: leadership and its duties, the HTTP API and page, the registry of nodes, and the worker of a process.
//!
//! What this is not: a place that talks to managed servers (jobs do, in workers), or one that reads process arguments
//! (`cli` does).
//!
//! Invariants: everything the leader writes is fenced by its term; every task is owned by the function that started it
//! and ends by its cancellation token; the loss of the backend is waited out, not died of.
//!
//! To add recurring work: a duty in `leader/duties/`. To add an endpoint: a function in `http/`.

pub mod actions;
mod gatekeeping;
pub mod http;
pub mod leader;
mod nodes;
mod outage;
mod worker;

use std::sync::Arc;

use domain::cadence::Cadence;
use domain::health::Judgement;
use jobs::SharedSettings;
use queue::{Bell, DbClock};
use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlPool};
use store::chain;
use tokio::sync::watch;

pub use nodes::{Identity, heartbeat};
pub use worker::{WorkerOptions, probe_settings, run_worker};

/// What the parts of a process share.
#[derive(Debug)]
pub struct Handles {
    /// The backend.
    pub pool: MySqlPool,
    /// The database's clock, estimated locally.
    pub clock: Arc<DbClock>,
    /// Settings in force.
    pub config: SharedSettings,
    /// Who this process is.
    pub identity: Identity,
    /// Term in which this node leads, if it does.
    pub leadership: watch::Sender<Option<u64>>,
    /// How its parts wake each other.
    pub bells: Bells,
}

/// Wake-ups between the worker and the leader of one process: what the other would find at its next look, it finds now.
/// Other processes look at their intervals.
#[derive(Debug, Clone, Default)]
pub struct Bells {
    /// A failure that cannot wait was recorded: the leader looks. Rung by the worker.
    pub news: Bell,
    /// A job that cannot wait was enqueued and committed: the worker looks. Ring it after such a commit.
    pub work: Bell,
}

impl Handles {
    /// A connection to the backend, for `doing`.
    pub async fn connection(&self, doing: &'static str) -> Result<PoolConnection<MySql>, store::Error> {
        self.pool.acquire().await.map_err(|cause| store::Error::Unavailable { doing, cause })
    }

    /// Cadence by the settings in force.
    pub fn cadence(&self) -> Cadence {
        let config = self.config.get();
        let discovery = &config.settings.discovery;
        Cadence {
            interval_micros: seconds(discovery.instance_poll_seconds),
            shard_size: usize::try_from(config.settings.probe.shard_size).unwrap_or(usize::MAX),
            dead_factor: discovery.dead_instance_poll_seconds_multiply_factor,
            dead_max_micros: seconds(discovery.dead_instance_poll_seconds_max),
        }
    }
}

/// Thresholds by which instances are judged.
pub fn judgement(settings: &config::Settings, now: i64) -> Judgement {
    let discovery = &settings.discovery;
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Judgement {
        now,
        poll_seconds: signed(discovery.instance_poll_seconds),
        reasonable_lag_seconds: signed(discovery.reasonable_replication_lag_seconds),
        maintenance_lag_seconds: signed(discovery.reasonable_maintenance_replication_lag_seconds),
    }
}

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
