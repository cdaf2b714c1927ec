//! Drops records older than `AuditPurgeDays`: audit entries, terms of leadership, ended maintenance, operations,
//! recoveries, detections, records of hooks; topology snapshots after three months.
//!
//! Safe to run twice: the second run finds nothing left to do.

use std::sync::Arc;
use std::time::Duration;

use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Context;

/// Topologies are looked back at for longer than acts are, but hourly ones of thousands of servers fill a disk.
const SNAPSHOT_DAYS: u64 = 90;

/// One round of trimming.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimAudit {}

impl Job for TrimAudit {
    type Context = Context;
    const KIND: &'static str = "trim_audit";
    const LIMITS: Limits =
        Limits { queue: Queue::Cleanup, timeout: Duration::from_secs(60), attempts: 3, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }

    async fn run(self, ctx: Arc<Context>, _: Attempt) -> Result<serde_json::Value, JobError> {
        let days = ctx.config.get().settings.audit.purge_days.max(1);
        let mut conn = ctx.pool.acquire().await.map_err(JobError::retry)?;
        let age = Duration::from_secs(days.saturating_mul(86_400));
        let snapshots = Duration::from_secs(days.max(SNAPSHOT_DAYS).saturating_mul(86_400));
        let mut dropped = store::audit::trim(&mut conn, age).await.map_err(JobError::retry)?;
        dropped += store::leases::trim_history(&mut conn, age).await.map_err(JobError::retry)?;
        dropped += store::maintenance::trim(&mut conn, age).await.map_err(JobError::retry)?;
        dropped += store::operations::trim(&mut conn, age).await.map_err(JobError::retry)?;
        dropped += store::recoveries::trim(&mut conn, age).await.map_err(JobError::retry)?;
        dropped += store::detections::trim(&mut conn, age).await.map_err(JobError::retry)?;
        dropped += store::hook_runs::trim(&mut conn, age).await.map_err(JobError::retry)?;
        dropped += store::snapshots::trim(&mut conn, snapshots).await.map_err(JobError::retry)?;
        Ok(json!({ "dropped": dropped }))
    }
}
