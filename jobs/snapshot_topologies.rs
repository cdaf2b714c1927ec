//! Records who replicates from whom now, for people to look back at.
//!
//! Safe to run twice: the second run within a second finds its rows there, one later makes a second snapshot.

use std::sync::Arc;
use std::time::Duration;

use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Context;

/// One snapshot of all topologies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTopologies {}

impl Job for SnapshotTopologies {
    type Context = Context;
    const KIND: &'static str = "snapshot_topologies";
    const LIMITS: Limits =
        Limits { queue: Queue::Cleanup, timeout: Duration::from_secs(60), attempts: 3, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }

    async fn run(self, ctx: Arc<Context>, _: Attempt) -> Result<serde_json::Value, JobError> {
        let instances = store::snapshots::write(&ctx.pool).await.map_err(JobError::retry)?;
        Ok(json!({ "instances": instances }))
    }
}
