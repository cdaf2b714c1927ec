//! A job that leaves a trace of each run.

use std::sync::Arc;
use std::time::Duration;

use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::MySqlPool;

/// Where runs are recorded.
#[derive(Debug)]
pub struct CountContext {
    /// The backend.
    pub pool: MySqlPool,
    /// Name of this process.
    pub worker: String,
}

/// Counts one run of job `number`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Count {
    /// Which of the many.
    pub number: u64,
}

impl Job for Count {
    type Context = CountContext;
    const KIND: &'static str = "count";
    const LIMITS: Limits =
        Limits { queue: Queue::Discovery, timeout: Duration::from_secs(10), attempts: 3, backoff: Backoff::DEFAULT };

    async fn run(self, ctx: Arc<CountContext>, _: Attempt) -> Result<serde_json::Value, JobError> {
        sqlx::query("INSERT INTO counted (number, worker, ran_at) VALUES (?, ?, NOW(6))")
            .bind(self.number)
            .bind(&ctx.worker)
            .execute(&ctx.pool)
            .await
            .map_err(JobError::retry)?;
        Ok(json!(null))
    }
}
