//! Processes of the fleet, and which of them leads.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// One live process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Unique per process start.
    pub token: String,
    pub name: String,
    /// `service`, `worker` or `service+worker`.
    pub role: String,
    /// Datacenters whose lanes its worker serves; empty: all.
    pub datacenters: Vec<String>,
    pub version: String,
    /// Where its HTTP API listens; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub pid: u64,
    pub is_leader: bool,
    pub started_at: Timestamp,
    pub heartbeat_at: Timestamp,
    pub seconds_since_heartbeat: f64,
    /// Running jobs, open connections, memory, CPU: as the node reports them.
    #[schema(value_type = Object)]
    pub load: serde_json::Value,
}

/// Who leads, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leader {
    /// Token of the node; absent: nobody leads.
    pub token: Option<String>,
    pub name: Option<String>,
    pub address: Option<String>,
    /// Grows by one with every take-over.
    pub term: u64,
    pub acquired_at: Timestamp,
    pub expires_at: Timestamp,
}
