//! Recoveries, detections, and what is kept about them.

use serde::{Deserialize, Serialize};

use super::{Coordinates, Key, ReplicationAnalysis};

/// A recovery; or a detection, which has the same form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TopologyRecovery {
    /// Number of the recovery, or of the detection.
    pub id: u64,
    /// Nanoseconds, a colon, 64 hexadecimal digits; empty for detections.
    #[serde(rename = "UID")]
    pub uid: String,
    pub analysis_entry: ReplicationAnalysis,
    /// Who took over. Of recoveries the empty key when nobody did; of detections `null`.
    pub successor_key: Option<Key>,
    pub successor_alias: String,
    pub successor_binlog_coordinates: Option<Coordinates>,
    /// In its active period.
    pub is_active: bool,
    pub is_successful: bool,
    pub lost_replicas: Vec<Key>,
    pub participating_instance_keys: Vec<Key>,
    /// One empty text when there were none; `null` for detections.
    pub all_errors: Option<Vec<String>>,
    pub recovery_start_timestamp: String,
    /// Empty while it is going on.
    pub recovery_end_timestamp: String,
    pub processing_node_hostname: String,
    pub processing_node_token: String,
    pub acknowledged: bool,
    pub acknowledged_at: String,
    pub acknowledged_by: String,
    pub acknowledged_comment: String,
    /// Of recoveries: the detection that led to it.
    pub last_detection_id: u64,
    /// Of detections: the newest recovery that it led to.
    pub related_recovery_id: u64,
    /// `MasterRecovery`, `CoMasterRecovery`, `IntermediateMasterRecovery`, `ReplicationGroupMemberRecovery` or empty.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `MasterRecoveryGTID`, `MasterRecoveryPseudoGTID`, `MasterRecoveryBinlogServer` or `NotMasterRecovery`; empty for
    /// detections.
    pub recovery_type: String,
}

/// One entry of the timeline of a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TopologyRecoveryStep {
    pub id: u64,
    #[serde(rename = "RecoveryUID")]
    pub recovery_uid: String,
    pub audit_at: String,
    pub message: String,
}

/// A recovery that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BlockedTopologyRecovery {
    pub failed_instance_key: Key,
    pub cluster_name: String,
    pub analysis: String,
    pub last_blocked_timestamp: String,
    /// 0 where a gate other than an earlier recovery holds it back.
    pub blocking_recovery_id: u64,
}
