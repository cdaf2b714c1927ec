//! Health of a service and of its peers.

use serde::{Deserialize, Serialize};

use super::null::null_as_default;
use crate::clock::ZERO_TIME;

/// What `health` and `status` answer. The raft fields stay at their zero values: leadership comes from a lease in
/// the backend.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthStatus {
    pub healthy: bool,
    pub hostname: String,
    pub token: String,
    pub is_active_node: bool,
    pub active_node: NodeHealth,
    /// `null`, or an object whose content means nothing.
    pub error: Option<serde_json::Value>,
    /// `null` when none.
    pub available_nodes: Option<Vec<NodeHealth>>,
    pub raft_leader: String,
    pub is_raft_leader: bool,
    #[serde(rename = "RaftLeaderURI")]
    pub raft_leader_uri: String,
    pub raft_advertise: String,
    pub raft_healthy_members: Option<Vec<String>>,
}

/// One node. Times are backend text, empty where the original does not fill them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeHealth {
    pub hostname: String,
    pub token: String,
    pub app_version: String,
    pub first_seen_active: String,
    pub last_seen_active: String,
    pub extra_info: String,
    pub command: String,
    #[serde(rename = "DBBackend")]
    pub db_backend: String,
    #[serde(deserialize_with = "null_as_default")]
    pub last_reported: String,
}

impl Default for NodeHealth {
    fn default() -> Self {
        Self {
            hostname: String::new(),
            token: String::new(),
            app_version: String::new(),
            first_seen_active: String::new(),
            last_seen_active: String::new(),
            extra_info: String::new(),
            command: String::new(),
            db_backend: String::new(),
            last_reported: ZERO_TIME.to_owned(),
        }
    }
}
