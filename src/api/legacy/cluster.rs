//! Clusters.

use serde::{Deserialize, Serialize};

/// One cluster. `ClusterAlias` equals the name where no alias is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ClusterInfo {
    pub cluster_name: String,
    pub cluster_alias: String,
    pub cluster_domain: String,
    pub count_instances: u64,
    /// Always 0 in the original, and kept so.
    pub heuristic_lag: i64,
    pub has_automated_master_recovery: bool,
    pub has_automated_intermediate_master_recovery: bool,
}

impl ClusterInfo {
    /// A cluster without automated recovery; the caller sets those two flags by its recovery filters.
    pub fn new(name: impl Into<String>, alias: &str, domain: impl Into<String>, count_instances: u64) -> Self {
        let cluster_name = name.into();
        let cluster_alias = if alias.is_empty() { cluster_name.clone() } else { alias.to_owned() };
        Self { cluster_name, cluster_alias, cluster_domain: domain.into(), count_instances, ..Self::default() }
    }
}
