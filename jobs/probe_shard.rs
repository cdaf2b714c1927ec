//! Asks every instance of one shard how it is, and records the answers.
//!
//! Safe to run twice or late: an observation is dated, and an older one never overwrites a newer.

use std::sync::Arc;
use std::time::Duration;

use domain::instance::InstanceKey;
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::probing::{self, Failures};

/// One instance to probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its row.
    #[serde(rename = "i")]
    pub id: u64,
    /// Its host.
    #[serde(rename = "h")]
    pub hostname: String,
    /// Its port.
    #[serde(rename = "p")]
    pub port: u16,
}

impl Target {
    /// The key to connect to.
    pub fn key(&self) -> InstanceKey {
        InstanceKey::new(self.hostname.clone(), self.port)
    }
}

/// Probe of one shard of a lane: the leader enqueues one per shard and slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeShard {
    /// Datacenter of the lane; empty for the common one.
    pub lane: String,
    /// Number of the shard within its lane.
    pub shard: u32,
    /// Its members.
    pub targets: Vec<Target>,
}

impl Job for ProbeShard {
    type Context = Context;
    const KIND: &'static str = "probe_shard";
    // The next slot is the retry. Ten seconds: every probe ends within two deadlines of about a second, and they run
    // side by side; what hangs longer is a bug that must not hold a slot for ever.
    const LIMITS: Limits =
        Limits { queue: Queue::Probes, timeout: Duration::from_secs(10), attempts: 1, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        Some(format!("probe:{}:{}", self.lane, self.shard))
    }

    async fn run(self, ctx: Arc<Context>, attempt: Attempt) -> Result<serde_json::Value, JobError> {
        let summary =
            probing::probe(&ctx, &self.targets, Failures::RecordAtOnce, Self::LIMITS.timeout, &attempt).await?;
        serde_json::to_value(summary).map_err(JobError::give_up)
    }
}
