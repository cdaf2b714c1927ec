//! Replies that show settings and the request itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Headers of the request as the server saw them, sorted by name.
pub type RequestHeaders = BTreeMap<String, Vec<String>>;

/// Which clusters are recovered automatically.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutomatedRecoveryFilters {
    pub recover_intermediate_master_cluster_filters: Vec<String>,
    pub recover_master_cluster_filters: Vec<String>,
    pub recovery_ignore_hostname_filters: Vec<String>,
}
