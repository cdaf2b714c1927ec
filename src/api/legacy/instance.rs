//! The instance record: what most information endpoints answer.

use serde::{Deserialize, Serialize};

use super::null::null_as_default;
use super::{Coordinates, Key, NullBool, NullInt};

/// Always `{}`: the place of something internal to the original, which readers must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Qsp {}

/// One instance, fields in emission order. Missing fields read as their zero values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Instance {
    pub key: Key,
    pub instance_alias: String,
    pub uptime: u64,
    #[serde(rename = "ServerID")]
    pub server_id: u64,
    #[serde(rename = "ServerUUID")]
    pub server_uuid: String,
    pub version: String,
    pub version_comment: String,
    pub flavor_name: String,
    pub read_only: bool,
    #[serde(rename = "Binlog_format")]
    pub binlog_format: String,
    pub binlog_row_image: String,
    pub log_bin_enabled: bool,
    /// Equal to `LogReplicationUpdatesEnabled`.
    pub log_slave_updates_enabled: bool,
    pub log_replication_updates_enabled: bool,
    pub self_binlog_coordinates: Coordinates,
    pub master_key: Key,
    /// `No` where the server does not tell it (MariaDB).
    #[serde(rename = "MasterUUID")]
    pub master_uuid: String,
    #[serde(rename = "AncestryUUID")]
    pub ancestry_uuid: String,
    pub is_detached_master: bool,
    /// Equal to the next.
    #[serde(rename = "Slave_SQL_Running")]
    pub slave_sql_running: bool,
    /// The misspelling is part of the interface.
    #[serde(rename = "ReplicationSQLThreadRuning")]
    pub replication_sql_thread_runing: bool,
    /// Equal to the next.
    #[serde(rename = "Slave_IO_Running")]
    pub slave_io_running: bool,
    #[serde(rename = "ReplicationIOThreadRuning")]
    pub replication_io_thread_runing: bool,
    /// -1 no thread, 0 stopped, 1 running, 2 other.
    #[serde(rename = "ReplicationSQLThreadState")]
    pub replication_sql_thread_state: i64,
    /// -1 no thread, 0 stopped, 1 running, 2 other.
    #[serde(rename = "ReplicationIOThreadState")]
    pub replication_io_thread_state: i64,
    pub has_replication_filters: bool,
    #[serde(rename = "GTIDMode")]
    pub gtid_mode: String,
    #[serde(rename = "SupportsOracleGTID")]
    pub supports_oracle_gtid: bool,
    #[serde(rename = "UsingOracleGTID")]
    pub using_oracle_gtid: bool,
    #[serde(rename = "UsingMariaDBGTID")]
    pub using_mariadb_gtid: bool,
    #[serde(rename = "UsingPseudoGTID")]
    pub using_pseudo_gtid: bool,
    pub read_binlog_coordinates: Coordinates,
    pub exec_binlog_coordinates: Coordinates,
    pub is_detached: bool,
    pub relaylog_coordinates: Coordinates,
    /// Quoted, see [`crate::quote`].
    #[serde(rename = "LastSQLError")]
    pub last_sql_error: String,
    /// Quoted, see [`crate::quote`].
    #[serde(rename = "LastIOError")]
    pub last_io_error: String,
    pub seconds_behind_master: NullInt,
    #[serde(rename = "SQLDelay")]
    pub sql_delay: u64,
    /// MySQL only, without white space.
    pub executed_gtid_set: String,
    pub gtid_purged: String,
    pub gtid_errant: String,
    /// Equal to `ReplicationLagSeconds`.
    pub slave_lag_seconds: NullInt,
    pub replication_lag_seconds: NullInt,
    /// Equal to `Replicas`.
    #[serde(deserialize_with = "null_as_default")]
    pub slave_hosts: Vec<Key>,
    #[serde(deserialize_with = "null_as_default")]
    pub replicas: Vec<Key>,
    pub cluster_name: String,
    pub suggested_cluster_alias: String,
    pub data_center: String,
    pub region: String,
    pub physical_environment: String,
    pub replication_depth: u64,
    pub is_co_master: bool,
    pub has_replication_credentials: bool,
    pub replication_credentials_available: bool,
    pub semi_sync_available: bool,
    pub semi_sync_priority: u64,
    pub semi_sync_master_plugin_new_version: bool,
    pub semi_sync_replica_plugin_new_version: bool,
    pub semi_sync_master_enabled: bool,
    pub semi_sync_replica_enabled: bool,
    /// Milliseconds.
    pub semi_sync_master_timeout: u64,
    pub semi_sync_master_wait_for_replica_count: u64,
    pub semi_sync_master_status: bool,
    pub semi_sync_master_clients: u64,
    pub semi_sync_replica_status: bool,
    pub last_seen_timestamp: String,
    pub is_last_check_valid: bool,
    pub is_up_to_date: bool,
    pub is_recently_checked: bool,
    pub seconds_since_last_seen: NullInt,
    #[serde(rename = "CountMySQLSnapshots")]
    pub count_mysql_snapshots: i64,
    pub is_candidate: bool,
    /// `neutral` by default.
    pub promotion_rule: String,
    pub is_downtimed: bool,
    pub downtime_reason: String,
    pub downtime_owner: String,
    pub downtime_end_timestamp: String,
    /// Nanoseconds.
    pub elapsed_downtime: u64,
    pub unresolved_hostname: String,
    #[serde(rename = "AllowTLS")]
    pub allow_tls: bool,
    #[serde(rename = "ReplicationSSLCAFile")]
    pub replication_ssl_ca_file: String,
    #[serde(rename = "ReplicationSSLCAPath")]
    pub replication_ssl_ca_path: String,
    #[serde(rename = "ReplicationSSLCert")]
    pub replication_ssl_cert: String,
    #[serde(rename = "ReplicationSSLCipher")]
    pub replication_ssl_cipher: String,
    #[serde(rename = "ReplicationSSLCRLFile")]
    pub replication_ssl_crl_file: String,
    #[serde(rename = "ReplicationSSLCRLPath")]
    pub replication_ssl_crl_path: String,
    #[serde(rename = "ReplicationSSLKey")]
    pub replication_ssl_key: String,
    #[serde(rename = "ReplicationSSLVerifyServerCert")]
    pub replication_ssl_verify_server_cert: NullBool,
    #[serde(rename = "ReplicationTLSVersion")]
    pub replication_tls_version: String,
    #[serde(rename = "ReplicationTLSCiphersuites")]
    pub replication_tls_ciphersuites: String,
    pub replication_source_public_key_path: String,
    pub replication_get_source_public_key: NullBool,
    #[serde(deserialize_with = "null_as_default")]
    pub problems: Vec<String>,
    /// Nanoseconds.
    pub last_discovery_latency: u64,
    pub replication_group_name: String,
    pub replication_group_is_single_primary: bool,
    pub replication_group_member_state: String,
    pub replication_group_member_role: String,
    #[serde(deserialize_with = "null_as_default")]
    pub replication_group_members: Vec<Key>,
    pub replication_group_primary_instance_key: Key,
    #[serde(rename = "QSP")]
    pub qsp: Qsp,
}
