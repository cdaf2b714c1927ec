//! What people say about instances, and the record of what was done.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// "Do not act on this."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Downtime {
    /// `host:port`.
    pub instance: String,
    pub owner: String,
    pub reason: String,
    pub begins_at: Timestamp,
    pub ends_at: Timestamp,
}

/// Declares a downtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DowntimeRequest {
    pub owner: String,
    pub reason: String,
    /// Absent: the configured default.
    pub duration_seconds: Option<u64>,
}

/// "I am acting on this."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Maintenance {
    pub id: u64,
    /// `host:port`.
    pub instance: String,
    pub owner: String,
    pub reason: String,
    pub begins_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Begins a maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    pub owner: String,
    pub reason: String,
    /// Absent: the configured default.
    pub duration_seconds: Option<u64>,
}

/// A tag of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tag {
    /// `host:port`.
    pub instance: String,
    pub name: String,
    /// May be empty.
    pub value: String,
}

/// A pool and its instances (`host:port`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    pub name: String,
    pub instances: Vec<String>,
}

/// One audited act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    pub id: u64,
    pub audited_at: Timestamp,
    pub audit_type: String,
    /// `host:port`; absent: it concerned no single instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Who did it.
    pub actor: String,
    pub message: String,
}
