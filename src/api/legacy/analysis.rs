//! What analysis found: the record of listings, of hooks that read the API, and of stored detections.

use domain::analysis::{self, Finding};
use domain::instance::DbMicros;
use serde::{Deserialize, Serialize};

use super::{ClusterInfo, Coordinates, Key};
use crate::clock::backend_text;

const MICROS: DbMicros = 1_000_000;

/// One analysed instance, fields in emission order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReplicationAnalysis {
    pub analyzed_instance_key: Key,
    pub analyzed_instance_master_key: Key,
    /// With 0 for the counts; alias and domain equal the name where there is none.
    pub cluster_details: ClusterInfo,
    pub analyzed_instance_data_center: String,
    pub analyzed_instance_region: String,
    pub analyzed_instance_physical_environment: String,
    pub analyzed_instance_binlog_coordinates: Coordinates,
    pub is_master: bool,
    pub is_replication_group_member: bool,
    pub is_co_master: bool,
    pub last_check_valid: bool,
    pub last_check_partial_success: bool,
    pub count_replicas: usize,
    pub count_valid_replicas: usize,
    pub count_valid_replicating_replicas: usize,
    pub count_replicas_failing_to_connect_to_master: usize,
    pub count_downtimed_replicas: usize,
    pub replication_depth: u32,
    pub replicas: Vec<Key>,
    /// Equal to `Replicas`.
    pub slave_hosts: Vec<Key>,
    pub is_failing_to_connect_to_master: bool,
    pub analysis: String,
    pub description: String,
    /// `null` where there is none.
    pub structure_analysis: Option<Vec<String>>,
    pub is_downtimed: bool,
    pub is_replicas_downtimed: bool,
    pub downtime_end_timestamp: String,
    /// Negative while the downtime lasts, as in the original.
    pub downtime_remaining_seconds: i64,
    pub is_binlog_server: bool,
    #[serde(rename = "PseudoGTIDImmediateTopology")]
    pub pseudo_gtid_immediate_topology: bool,
    #[serde(rename = "OracleGTIDImmediateTopology")]
    pub oracle_gtid_immediate_topology: bool,
    #[serde(rename = "MariaDBGTIDImmediateTopology")]
    pub mariadb_gtid_immediate_topology: bool,
    pub binlog_server_immediate_topology: bool,
    pub semi_sync_master_enabled: bool,
    pub semi_sync_master_status: bool,
    pub semi_sync_master_wait_for_replica_count: u64,
    pub semi_sync_master_clients: u64,
    pub count_semi_sync_replicas_enabled: usize,
    pub count_logging_replicas: usize,
    pub count_statement_based_logging_replicas: usize,
    pub count_mixed_based_logging_replicas: usize,
    pub count_row_based_logging_replicas: usize,
    pub count_distinct_major_versions_logging_replicas: usize,
    pub count_delayed_replicas: usize,
    pub count_lagging_replicas: usize,
    /// Only of an analysis that is being acted on; false in listings.
    pub is_actionable_recovery: bool,
    pub processing_node_hostname: String,
    pub processing_node_token: String,
    /// Always 0.
    pub count_additional_agreeing_nodes: i64,
    /// Empty in listings.
    pub start_active_period: String,
    pub skippable_due_to_downtime: bool,
    #[serde(rename = "GTIDMode")]
    pub gtid_mode: String,
    #[serde(rename = "MinReplicaGTIDMode")]
    pub min_replica_gtid_mode: String,
    #[serde(rename = "MaxReplicaGTIDMode")]
    pub max_replica_gtid_mode: String,
    #[serde(rename = "MaxReplicaGTIDErrant")]
    pub max_replica_gtid_errant: String,
    /// The command that asked for a recovery; empty in listings.
    pub command_hint: String,
    pub is_read_only: bool,
}

/// How the analysis of one instance changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReplicationAnalysisChangelog {
    pub analyzed_instance_key: Key,
    /// `<time>;<code>,`, oldest first.
    pub changelog: Vec<String>,
}

impl ReplicationAnalysis {
    /// The record of a finding, as in listings. `cluster` is what is known about its cluster.
    pub fn new(finding: &Finding, cluster: Option<&ClusterInfo>, now: DbMicros) -> Self {
        let mut record = Self { cluster_details: details(finding, cluster), ..Self::default() };
        record.take_instance(finding);
        record.take_analysis(finding);
        record.take_downtime(finding, now);
        record.take_counts(finding);
        record
    }

    /// Who analysed.
    #[must_use]
    pub fn processed_by(mut self, hostname: &str, token: &str) -> Self {
        hostname.clone_into(&mut self.processing_node_hostname);
        token.clone_into(&mut self.processing_node_token);
        self
    }

    fn take_instance(&mut self, finding: &Finding) {
        self.analyzed_instance_key = Key::from(&finding.key);
        self.analyzed_instance_master_key = Key::or_none(finding.source.as_ref());
        self.analyzed_instance_data_center.clone_from(&finding.data_center);
        self.analyzed_instance_region.clone_from(&finding.region);
        self.analyzed_instance_physical_environment.clone_from(&finding.physical_environment);
        self.analyzed_instance_binlog_coordinates = Coordinates::binary(&finding.coordinates);
        self.is_master = finding.is_primary;
        self.is_replication_group_member = finding.is_group_member;
        self.is_co_master = finding.is_co_primary;
        self.last_check_valid = finding.last_check_valid;
        self.last_check_partial_success = finding.last_check_partial_success;
        self.replication_depth = finding.depth;
        self.replicas = Key::list(&finding.replicas);
        self.slave_hosts.clone_from(&self.replicas);
        self.is_failing_to_connect_to_master = finding.is_failing_to_connect;
        self.is_binlog_server = finding.is_binlog_server;
        self.semi_sync_master_enabled = finding.semi_sync.source_enabled;
        self.semi_sync_master_status = finding.semi_sync.source_status;
        self.semi_sync_master_wait_for_replica_count = finding.semi_sync.wait_for_replica_count;
        self.semi_sync_master_clients = finding.semi_sync.source_clients;
        self.gtid_mode.clone_from(&finding.gtid_mode);
        self.is_read_only = finding.read_only;
    }

    fn take_analysis(&mut self, finding: &Finding) {
        finding.code.name().clone_into(&mut self.analysis);
        finding.code.description().clone_into(&mut self.description);
        let structure: Vec<String> = finding.structure.iter().map(|code| code.name().to_owned()).collect();
        self.structure_analysis = (!structure.is_empty()).then_some(structure);
        let analysis::ImmediateTopology { oracle_gtid, mariadb_gtid, pseudo_gtid, binlog_servers } = finding.immediate;
        self.oracle_gtid_immediate_topology = oracle_gtid;
        self.mariadb_gtid_immediate_topology = mariadb_gtid;
        self.pseudo_gtid_immediate_topology = pseudo_gtid;
        self.binlog_server_immediate_topology = binlog_servers;
    }

    fn take_downtime(&mut self, finding: &Finding, now: DbMicros) {
        self.is_downtimed = finding.is_downtimed;
        self.is_replicas_downtimed = finding.is_replicas_downtimed;
        self.skippable_due_to_downtime = finding.skippable_due_to_downtime;
        if let Some(downtime) = finding.downtime.as_ref().filter(|_| finding.is_downtimed) {
            self.downtime_end_timestamp = backend_text(Some(downtime.ends_at));
            self.downtime_remaining_seconds = (now - downtime.ends_at) / MICROS;
        }
    }

    fn take_counts(&mut self, finding: &Finding) {
        let counts = &finding.counts;
        self.count_replicas = counts.replicas;
        self.count_valid_replicas = counts.valid;
        self.count_valid_replicating_replicas = counts.replicating;
        self.count_replicas_failing_to_connect_to_master = counts.failing_to_connect;
        self.count_downtimed_replicas = counts.downtimed;
        self.count_semi_sync_replicas_enabled = counts.semi_sync_enabled;
        self.count_logging_replicas = counts.logging;
        self.count_statement_based_logging_replicas = counts.logging_statement;
        self.count_mixed_based_logging_replicas = counts.logging_mixed;
        self.count_row_based_logging_replicas = counts.logging_row;
        self.count_distinct_major_versions_logging_replicas = counts.logging_major_versions;
        self.count_delayed_replicas = counts.delayed;
        self.count_lagging_replicas = counts.lagging;
        self.min_replica_gtid_mode.clone_from(&counts.min_gtid_mode);
        self.max_replica_gtid_mode.clone_from(&counts.max_gtid_mode);
        self.max_replica_gtid_errant.clone_from(&counts.max_gtid_errant);
    }
}

fn details(finding: &Finding, cluster: Option<&ClusterInfo>) -> ClusterInfo {
    let name = &finding.cluster_name;
    let known = cluster.cloned().unwrap_or_else(|| ClusterInfo::new(name, "", finding.cluster_domain.clone(), 0));
    let domain = if known.cluster_domain.is_empty() { name.clone() } else { known.cluster_domain };
    ClusterInfo { cluster_domain: domain, count_instances: 0, heuristic_lag: 0, ..known }
}
