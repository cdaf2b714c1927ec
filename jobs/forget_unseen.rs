//! Forgets servers that were not seen for `UnseenInstanceForgetHours`.
//!
//! Safe to run twice: the second run finds nothing left to do.

use std::sync::Arc;
use std::time::Duration;

use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Context;

/// One round of forgetting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetUnseen {}

impl Job for ForgetUnseen {
    type Context = Context;
    const KIND: &'static str = "forget_unseen";
    const LIMITS: Limits =
        Limits { queue: Queue::Cleanup, timeout: Duration::from_secs(60), attempts: 3, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }

    async fn run(self, ctx: Arc<Context>, _: Attempt) -> Result<serde_json::Value, JobError> {
        let hours = ctx.config.get().settings.discovery.unseen_instance_forget_hours;
        let mut conn = ctx.pool.acquire().await.map_err(JobError::retry)?;
        let forgotten = store::instances::forget_unseen(&mut conn, hours).await.map_err(JobError::retry)?;
        if forgotten > 0 {
            let message = format!("forgot {forgotten} instances not seen for {hours} hours");
            store::audit::write(&mut conn, &store::audit::Entry::fleet("forget-unseen", "expiry", &message))
                .await
                .map_err(JobError::retry)?;
        }
        Ok(json!({ "forgotten": forgotten }))
    }
}
