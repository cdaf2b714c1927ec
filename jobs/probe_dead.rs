//! Tries instances that did not answer lately, in a lane of their own so that they never delay the living.
//!
//! Safe to run twice or late, for the reason [`crate::ProbeShard`] is.

use std::sync::Arc;
use std::time::Duration;

use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};

use crate::probing::{self, Failures};
use crate::{Context, Target};

/// Another try of some dead instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeDead {
    /// Whom to try.
    pub targets: Vec<Target>,
}

impl Job for ProbeDead {
    type Context = Context;
    const KIND: &'static str = "probe_dead";
    // The next due time is the retry.
    const LIMITS: Limits =
        Limits { queue: Queue::DeadProbes, timeout: Duration::from_secs(20), attempts: 1, backoff: Backoff::DEFAULT };

    async fn run(self, ctx: Arc<Context>, attempt: Attempt) -> Result<serde_json::Value, JobError> {
        let summary =
            probing::probe(&ctx, &self.targets, Failures::RecordTogether, Self::LIMITS.timeout, &attempt).await?;
        serde_json::to_value(summary).map_err(JobError::give_up)
    }
}
