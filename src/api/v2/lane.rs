//! Lanes of the job queue.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How full one lane is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lane {
    /// `queue/datacenter`.
    pub name: String,
    pub queue: String,
    /// Empty: the default lane, served by all workers.
    pub datacenter: String,
    /// Jobs ready to be claimed.
    pub depth: u64,
    pub scheduled: u64,
    pub running: u64,
    pub failed: u64,
    /// Age of the oldest ready job; absent: none is ready.
    pub oldest_age_seconds: Option<f64>,
    /// Live workers that serve it.
    pub workers: u64,
}
