//! What a server says about itself. Stored as a document: every field has a serde default, none is ever renamed.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::InstanceKey;

/// A place in a binary or relay log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BinlogCoordinates {
    /// File name.
    pub file: String,
    /// Byte position.
    pub position: u64,
}

impl BinlogCoordinates {
    /// How two places in one log relate; `None` if the file names cannot be of one log. Files are numbered: `x.999` comes
    /// before `x.1000`.
    pub fn compare_in_log(&self, other: &Self) -> Option<Ordering> {
        let number = |file: &str| -> Option<(String, u64)> {
            let (base, number) = file.rsplit_once('.')?;
            Some((base.to_owned(), number.parse().ok()?))
        };
        let ((base, mine), (other_base, theirs)) = (number(&self.file)?, number(&other.file)?);
        (base == other_base).then(|| mine.cmp(&theirs).then(self.position.cmp(&other.position)))
    }
}

impl fmt::Display for BinlogCoordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position)
    }
}

/// State of a replication thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadState {
    /// The server is no replica: there is no such thread.
    #[default]
    NoThread,
    /// `No`.
    Stopped,
    /// `Yes`.
    Running,
    /// Anything else, `Connecting` for one.
    Other,
}

impl ThreadState {
    /// From the text of `Replica_IO_Running` or `Replica_SQL_Running`.
    pub fn from_status(text: &str) -> Self {
        match text {
            "Yes" => Self::Running,
            "No" => Self::Stopped,
            _ => Self::Other,
        }
    }

    /// The number used by the compatibility API: -1 none, 0 stopped, 1 running, 2 other.
    pub fn code(self) -> i64 {
        match self {
            Self::NoThread => -1,
            Self::Stopped => 0,
            Self::Running => 1,
            Self::Other => 2,
        }
    }
}

/// Everything a server says about itself in one probe.
///
/// Two equal values mean "nothing changed": a fact that moves on its own (uptime) is kept in a form that does not
/// (`started_at`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerFacts {
    /// `@@server_id`.
    pub server_id: u64,
    /// `@@server_uuid`; empty on MariaDB.
    pub server_uuid: String,
    /// `@@version`.
    pub version: String,
    /// `@@version_comment`.
    pub version_comment: String,
    /// When the server started: seconds since the Unix epoch, from its own clock and `Uptime`. The prober keeps the
    /// earlier value while it differs by rounding only.
    pub started_at: i64,
    /// `@@read_only` is not OFF.
    pub read_only: bool,
    /// `@@super_read_only` (MySQL).
    pub super_read_only: bool,
    /// `@@binlog_format`.
    pub binlog_format: String,
    /// `@@binlog_row_image`.
    pub binlog_row_image: String,
    /// `@@log_bin`.
    pub log_bin: bool,
    /// `@@log_replica_updates`.
    pub log_replica_updates: bool,
    /// Current position of the own binary log, if there is one.
    pub binlog: BinlogCoordinates,
    /// GTID facts.
    pub gtid: GtidFacts,
    /// Where it replicates from, if it is a replica.
    pub replica: Option<ReplicaFacts>,
    /// Semi-synchronous replication.
    pub semi_sync: SemiSyncFacts,
    /// Group Replication membership, if any.
    pub group: Option<GroupFacts>,
    /// Replicas found on the server (registered with it, or connected to it).
    pub replicas: BTreeSet<InstanceKey>,
    /// Result of `DetectInstanceAliasQuery`.
    pub alias: String,
    /// Result of `DetectClusterAliasQuery`.
    pub detected_cluster_alias: String,
    /// Result of `DetectClusterDomainQuery`.
    pub detected_cluster_domain: String,
    /// Data center, by pattern or query.
    pub data_center: String,
    /// Region, by pattern or query.
    pub region: String,
    /// Physical environment, by pattern or query.
    pub physical_environment: String,
    /// Result of `DetectPromotionRuleQuery`; empty if not configured or not valid.
    pub detected_promotion_rule: String,
    /// Result of `DetectPseudoGTIDQuery`.
    pub using_pseudo_gtid: bool,
    /// Replication credentials can be read from the server (or by a configured query).
    pub replication_credentials_available: bool,
    /// Statements of the probe that this server refused, with the error: facts that are therefore missing.
    pub missing: Vec<String>,
}

/// GTID facts of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GtidFacts {
    /// `@@gtid_mode` (MySQL); empty elsewhere.
    pub mode: String,
    /// `@@gtid_executed` (MySQL), without white space.
    pub executed: String,
    /// `@@gtid_purged` (MySQL), without white space.
    pub purged: String,
    /// `@@gtid_current_pos` (MariaDB).
    pub mariadb_current_pos: String,
    /// `@@gtid_slave_pos` (MariaDB).
    pub mariadb_slave_pos: String,
    /// `@@gtid_binlog_pos` (MariaDB).
    pub mariadb_binlog_pos: String,
}

/// What `SHOW REPLICA STATUS` says. Of several channels the one with a source is taken, the default channel first;
/// the others are named in `other_channels`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaFacts {
    /// The source as the server names it, after name resolution.
    pub source: InstanceKey,
    /// `Source_UUID`; `No` where the server has no such column.
    pub source_uuid: String,
    /// User name used for replication.
    pub user: String,
    /// State of the receiver thread.
    pub io_thread: ThreadState,
    /// State of the applier thread.
    pub sql_thread: ThreadState,
    /// Position read from the source. Of a MySQL replica by file and position whose receiver is stopped: as far as whole
    /// transactions go; part of one is as good as nothing.
    pub read: BinlogCoordinates,
    /// Position applied, in the source's binary log.
    pub exec: BinlogCoordinates,
    /// Position in the own relay log.
    pub relay: BinlogCoordinates,
    /// Text of the last applier error.
    pub last_sql_error: String,
    /// Number of the last applier error; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub last_sql_errno: u32,
    /// Text of the last receiver error.
    pub last_io_error: String,
    /// Number of the last receiver error; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub last_io_errno: u32,
    /// `Seconds_Behind_Source`.
    pub seconds_behind: Option<i64>,
    /// Lag by `ReplicationLagQuery`, else `seconds_behind`.
    pub lag_seconds: Option<i64>,
    /// Configured delay in seconds.
    pub sql_delay: u64,
    /// Auto-position (MySQL GTID).
    pub auto_position: bool,
    /// `Using_Gtid` is set and not `No` (MariaDB GTID).
    pub using_mariadb_gtid: bool,
    /// `Retrieved_Gtid_Set` (MySQL).
    pub retrieved_gtid_set: String,
    /// `Gtid_IO_Pos` (MariaDB).
    pub mariadb_io_pos: String,
    /// Any replication filter is set.
    pub has_filters: bool,
    /// TLS options of the connection to the source: every change of source re-states them.
    pub tls: SourceTls,
    /// Name of the channel all this is about; empty for the default channel, which nearly every replica has alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// Names of further channels that replicate from elsewhere (multi-source).
    pub other_channels: Vec<String>,
    /// Transactions may be applied in another order than the source committed them: several applier threads and no
    /// commit order. `None` when the server was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applies_out_of_order: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// TLS and key options of the connection to the source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceTls {
    /// `Source_SSL_Allowed`.
    pub allowed: bool,
    /// `Source_SSL_CA_File`.
    pub ca_file: String,
    /// `Source_SSL_CA_Path`.
    pub ca_path: String,
    /// `Source_SSL_Cert`.
    pub cert: String,
    /// `Source_SSL_Cipher`.
    pub cipher: String,
    /// `Source_SSL_Crl`.
    pub crl_file: String,
    /// `Source_SSL_Crlpath`.
    pub crl_path: String,
    /// `Source_SSL_Key` (a path).
    pub key: String,
    /// `Source_SSL_Verify_Server_Cert`; `None` when the server does not say.
    pub verify_server_cert: Option<bool>,
    /// `Source_TLS_Version`.
    pub version: String,
    /// `Source_TLS_Ciphersuites`.
    pub ciphersuites: String,
    /// `Source_public_key_path`.
    pub public_key_path: String,
    /// `Get_source_public_key`; `None` when the server does not say.
    pub get_public_key: Option<bool>,
}

/// Semi-synchronous replication facts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SemiSyncFacts {
    /// The source side is there, under its old or new name.
    pub source_plugin: Option<PluginNaming>,
    /// The replica side is there, under its old or new name.
    pub replica_plugin: Option<PluginNaming>,
    /// Source side enabled.
    pub source_enabled: bool,
    /// Replica side enabled.
    pub replica_enabled: bool,
    /// Timeout in milliseconds before falling back to asynchronous.
    pub source_timeout_ms: u64,
    /// Acknowledgements waited for; 0 where the server has no such variable (MariaDB waits for one).
    pub wait_for_replica_count: u64,
    /// Source side is operating semi-synchronously now.
    pub source_status: bool,
    /// Replica side is operating semi-synchronously now.
    pub replica_status: bool,
    /// Semi-sync replicas connected.
    pub source_clients: u64,
    /// Result of `DetectSemiSyncEnforcedQuery`: 0 always asynchronous, higher preferred.
    pub priority: u64,
}

/// Which words a semi-sync plugin uses for its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginNaming {
    /// `rpl_semi_sync_master_*`, `rpl_semi_sync_slave_*`.
    MasterSlave,
    /// `rpl_semi_sync_source_*`, `rpl_semi_sync_replica_*`.
    SourceReplica,
}

/// Group Replication membership of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupFacts {
    /// Group name (a UUID).
    pub name: String,
    /// Single-primary mode.
    pub single_primary: bool,
    /// `ONLINE`, `RECOVERING`, `OFFLINE`, `ERROR`.
    pub state: String,
    /// `PRIMARY` or `SECONDARY`.
    pub role: String,
    /// The other members.
    pub members: BTreeSet<InstanceKey>,
    /// The primary, if one is known.
    pub primary: Option<InstanceKey>,
}

impl ServerFacts {
    /// The source's key, if there is a replication configuration with one.
    pub fn source(&self) -> Option<&InstanceKey> {
        self.replica.as_ref().map(|replica| &replica.source)
    }

    /// Reads from a source: a configured source, and either a position in its log or GTID of either kind. A detached
    /// source still counts.
    pub fn is_replica(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| {
            !replica.source.hostname.is_empty()
                && replica.source.hostname != "_"
                && replica.source.port != 0
                && (!replica.read.file.is_empty() || self.is_using_gtid())
        })
    }

    /// Replicates with GTID of either kind.
    pub fn is_using_gtid(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.auto_position || replica.using_mariadb_gtid)
    }

    /// `gtid_mode` is set and not OFF.
    pub fn supports_oracle_gtid(&self) -> bool {
        !self.gtid.mode.is_empty() && self.gtid.mode != "OFF"
    }

    /// Both threads run.
    pub fn is_replica_running(&self) -> bool {
        self.is_replica() && self.threads() == (ThreadState::Running, ThreadState::Running)
    }

    /// States of the receiver and the applier thread.
    pub fn threads(&self) -> (ThreadState, ThreadState) {
        self.replica.as_ref().map_or((ThreadState::NoThread, ThreadState::NoThread), |r| (r.io_thread, r.sql_thread))
    }

    /// A member of a replication group that is not its primary. Needs the own key, because the group names members
    /// by key.
    pub fn is_group_secondary(&self, own: &InstanceKey) -> bool {
        self.group.as_ref().is_some_and(|group| group.primary.as_ref() != Some(own))
    }

    /// The primary of a replication group.
    pub fn is_group_primary(&self, own: &InstanceKey) -> bool {
        self.group.as_ref().is_some_and(|group| group.primary.as_ref() == Some(own))
    }

    /// A MaxScale binlog server.
    pub fn is_binlog_server(&self) -> bool {
        self.version.contains("maxscale")
    }
}
