//! Drops outcomes of jobs and failed jobs past their retention.
//!
//! Safe to run twice: the second run finds nothing left to do.

use std::sync::Arc;
use std::time::Duration;

use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Context;

/// One round of trimming.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimJobs {}

impl Job for TrimJobs {
    type Context = Context;
    const KIND: &'static str = "trim_jobs";
    const LIMITS: Limits =
        Limits { queue: Queue::Cleanup, timeout: Duration::from_secs(60), attempts: 3, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }

    async fn run(self, ctx: Arc<Context>, _: Attempt) -> Result<serde_json::Value, JobError> {
        let config = ctx.config.get();
        let outcomes = Duration::from_secs(config.settings.queue.retention_hours.max(1) * 3600);
        let failed = Duration::from_secs(config.settings.queue.failed_job_retention_days.max(1) * 86_400);
        let mut conn = ctx.pool.acquire().await.map_err(JobError::retry)?;
        let outcomes = queue::trim_outcomes(&mut conn, outcomes).await.map_err(JobError::retry)?;
        let failed = queue::trim_failed(&mut conn, failed).await.map_err(JobError::retry)?;
        Ok(json!({ "outcomes": outcomes, "failed": failed }))
    }
}
