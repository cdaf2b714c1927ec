//! Jobs of the queue.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a worker.
    Ready,
    /// Waits for its time: delayed, or to be tried again.
    Scheduled,
    Running,
    Done,
    /// Parked after its last attempt.
    Failed,
    Cancelled,
    /// An equal job runs in its place.
    Merged,
}

impl JobState {
    pub const ALL: [Self; 7] =
        [Self::Ready, Self::Scheduled, Self::Running, Self::Done, Self::Failed, Self::Cancelled, Self::Merged];

    /// The word on the wire, and in filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Merged => "merged",
        }
    }

    /// Reads the word of a filter.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Nothing will happen to it any more, unless somebody retries it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled | Self::Merged)
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    pub id: u64,
    pub kind: String,
    pub state: JobState,
    /// `queue/datacenter`.
    pub lane: String,
    /// Lower is claimed first.
    pub priority: u16,
    /// At most one waiting job has this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// Runs that ended in a failure.
    pub attempts: u32,
    pub max_attempts: u32,
    /// Times it was taken back from a dead or stuck worker.
    pub rescues: u32,
    pub age_seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Arguments; what they mean depends on the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub payload: Option<serde_json::Value>,
    /// What it returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<serde_json::Value>,
    /// The equal job that runs in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<u64>,
    /// Node token of the worker that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    pub submitted_by: String,
    pub submitted_at: Timestamp,
    /// When it becomes ready, for a scheduled job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// The answer (202) to a request that became a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobAccepted {
    /// The job to watch; an equal one that waited already, if `merged`.
    pub id: u64,
    pub merged: bool,
    /// Where to watch it.
    pub location: String,
}

impl JobAccepted {
    pub fn new(id: u64, merged: bool) -> Self {
        Self { id, merged, location: format!("/api/v2/jobs/{id}") }
    }
}
