//! Managed servers: a summary for lists, and everything we know for one.

use domain::instance::{GroupFacts, Instance, PluginNaming, ReplicaFacts, SemiSyncFacts, ThreadState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Downtime;
use crate::clock::Timestamp;
use crate::view::{View, flavor, lag_seconds, uptime_seconds};

/// What an instance is to its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Replicates from nobody.
    Primary,
    /// Replicates, and others replicate from it.
    IntermediateSource,
    Replica,
    /// Two that replicate from each other.
    CoPrimary,
    /// It never answered.
    Unknown,
}

/// One instance at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceSummary {
    /// `host:port`.
    pub key: String,
    pub hostname: String,
    pub port: u16,
    pub alias: String,
    pub cluster_name: String,
    pub role: Role,
    /// `host:port` of its source; absent: none.
    pub source: Option<String>,
    pub replication_depth: u32,
    pub flavor: String,
    pub version: String,
    pub data_center: String,
    /// Datacenter whose workers probe it; empty: all.
    pub lane: String,
    pub read_only: bool,
    pub lag_seconds: Option<i64>,
    /// `ok`, `invalid`, `unchecked`, `nonreplicating`, `lag`.
    pub status: String,
    pub problems: Vec<String>,
    pub promotion_rule: String,
    pub is_downtimed: bool,
    pub last_seen_at: Option<Timestamp>,
    pub seconds_since_seen: Option<i64>,
}

/// Everything we know about one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceDetail {
    #[serde(flatten)]
    pub summary: InstanceSummary,
    pub server_id: u64,
    /// Empty on MariaDB.
    pub server_uuid: String,
    pub version_comment: String,
    /// When last seen.
    pub uptime_seconds: u64,
    pub super_read_only: bool,
    pub region: String,
    pub physical_environment: String,
    pub suggested_cluster_alias: String,
    pub unresolved_hostname: String,
    /// `host:port` of the replicas found on it.
    pub replicas: Vec<String>,
    pub binlog: Binlog,
    pub gtid: Gtid,
    pub semi_sync: SemiSync,
    pub replication: Option<Replication>,
    pub group: Option<Group>,
    pub downtime: Option<Downtime>,
    pub check: CheckDetail,
    /// Statements of the probe that the server refused, with the error.
    pub missing: Vec<String>,
}

/// Its own binary log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Binlog {
    pub enabled: bool,
    pub format: String,
    pub row_image: String,
    pub logs_replica_updates: bool,
    pub file: String,
    pub position: u64,
}

/// Its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gtid {
    /// MySQL; empty elsewhere.
    pub mode: String,
    /// MySQL; empty elsewhere.
    pub executed: String,
    /// MySQL; empty elsewhere.
    pub purged: String,
    /// MariaDB; empty elsewhere.
    pub mariadb_current_pos: String,
    /// Transactions it has and its source has not.
    pub errant: String,
}

/// Semi-synchronous replication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SemiSync {
    /// Variables are called `source` and `replica` (new) or `master` and `slave` (old); absent: no plugin.
    pub source_plugin: Option<String>,
    pub replica_plugin: Option<String>,
    pub source_enabled: bool,
    pub source_active: bool,
    pub source_clients: u64,
    pub source_timeout_ms: u64,
    pub wait_for_replica_count: u64,
    pub replica_enabled: bool,
    pub replica_active: bool,
    pub priority: u64,
}

/// How it replicates. Never holds a password; the user name is not shown either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replication {
    pub source: String,
    /// The source was made unreachable on purpose; reversible.
    pub is_detached: bool,
    pub source_uuid: String,
    /// `none`, `stopped`, `running`, `other`.
    pub io_thread: String,
    pub sql_thread: String,
    pub last_io_error: String,
    pub last_sql_error: String,
    pub seconds_behind: Option<i64>,
    pub delay_seconds: u64,
    pub uses_gtid: bool,
    pub has_filters: bool,
    pub uses_tls: bool,
    pub read_file: String,
    pub read_position: u64,
    pub applied_file: String,
    pub applied_position: u64,
    pub other_channels: Vec<String>,
}

/// Group Replication membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    pub name: String,
    pub single_primary: bool,
    pub state: String,
    pub role: String,
    pub members: Vec<String>,
    pub primary: Option<String>,
}

/// How its checks go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckDetail {
    pub is_valid: bool,
    pub is_recent: bool,
    pub last_checked_at: Option<Timestamp>,
    pub failures: u32,
    /// Empty after a good check.
    pub last_error: String,
    /// The last check failed, but with a sign of life.
    pub partial_success: bool,
    pub latency_micros: u64,
}

impl InstanceSummary {
    pub fn new(known: &Instance, view: &View) -> Self {
        let facts = &known.facts;
        Self {
            key: known.key.to_string(),
            hostname: known.key.hostname.clone(),
            port: known.key.port,
            alias: facts.alias.clone(),
            cluster_name: known.placement.cluster_name.clone(),
            role: role(known),
            source: facts.replica.as_ref().filter(|r| !r.source.hostname.is_empty()).map(|r| r.source.to_string()),
            replication_depth: known.placement.replication_depth,
            flavor: flavor(facts).to_owned(),
            version: facts.version.clone(),
            data_center: facts.data_center.clone(),
            lane: known.lane.clone(),
            read_only: facts.read_only,
            lag_seconds: lag_seconds(known),
            status: view.judgement.status(known).to_owned(),
            problems: view.judgement.problems(known).into_iter().map(str::to_owned).collect(),
            promotion_rule: known.promotion_rule.name().to_owned(),
            is_downtimed: known.downtime.as_ref().is_some_and(|downtime| downtime.ends_at > view.now()),
            last_seen_at: known.check.last_seen_at.map(Timestamp),
            seconds_since_seen: known.check.seconds_since_seen(view.now()),
        }
    }
}

impl InstanceDetail {
    pub fn new(known: &Instance, view: &View) -> Self {
        let facts = &known.facts;
        Self {
            summary: InstanceSummary::new(known, view),
            server_id: facts.server_id,
            server_uuid: facts.server_uuid.clone(),
            version_comment: facts.version_comment.clone(),
            uptime_seconds: uptime_seconds(known),
            super_read_only: facts.super_read_only,
            region: facts.region.clone(),
            physical_environment: facts.physical_environment.clone(),
            suggested_cluster_alias: known.placement.suggested_cluster_alias.clone(),
            unresolved_hostname: known.unresolved_hostname.clone(),
            replicas: facts.replicas.iter().map(ToString::to_string).collect(),
            binlog: binlog(known),
            gtid: gtid(known),
            semi_sync: semi_sync(&facts.semi_sync),
            replication: facts.replica.as_ref().map(replication),
            group: facts.group.as_ref().map(group),
            downtime: downtime(known, view),
            check: check(known, view),
            missing: facts.missing.clone(),
        }
    }
}

fn role(known: &Instance) -> Role {
    if known.check.last_seen_at.is_none() {
        Role::Unknown
    } else if known.placement.is_co_primary {
        Role::CoPrimary
    } else if !known.facts.is_replica() && !known.facts.is_group_secondary(&known.key) {
        Role::Primary
    } else if known.facts.replicas.is_empty() {
        Role::Replica
    } else {
        Role::IntermediateSource
    }
}

fn binlog(known: &Instance) -> Binlog {
    let facts = &known.facts;
    Binlog {
        enabled: facts.log_bin,
        format: facts.binlog_format.clone(),
        row_image: facts.binlog_row_image.clone(),
        logs_replica_updates: facts.log_replica_updates,
        file: facts.binlog.file.clone(),
        position: facts.binlog.position,
    }
}

fn gtid(known: &Instance) -> Gtid {
    let facts = &known.facts.gtid;
    Gtid {
        mode: facts.mode.clone(),
        executed: facts.executed.clone(),
        purged: facts.purged.clone(),
        mariadb_current_pos: facts.mariadb_current_pos.clone(),
        errant: known.placement.gtid_errant.clone(),
    }
}

fn semi_sync(facts: &SemiSyncFacts) -> SemiSync {
    let naming = |plugin: Option<PluginNaming>, old: &str, new: &str| {
        plugin.map(|naming| match naming {
            PluginNaming::MasterSlave => old.to_owned(),
            PluginNaming::SourceReplica => new.to_owned(),
        })
    };
    SemiSync {
        source_plugin: naming(facts.source_plugin, "master", "source"),
        replica_plugin: naming(facts.replica_plugin, "slave", "replica"),
        source_enabled: facts.source_enabled,
        source_active: facts.source_status,
        source_clients: facts.source_clients,
        source_timeout_ms: facts.source_timeout_ms,
        wait_for_replica_count: facts.wait_for_replica_count,
        replica_enabled: facts.replica_enabled,
        replica_active: facts.replica_status,
        priority: facts.priority,
    }
}

fn replication(replica: &ReplicaFacts) -> Replication {
    Replication {
        source: replica.source.to_string(),
        is_detached: replica.source.is_detached(),
        source_uuid: if replica.source_uuid == "No" { String::new() } else { replica.source_uuid.clone() },
        io_thread: thread(replica.io_thread),
        sql_thread: thread(replica.sql_thread),
        last_io_error: replica.last_io_error.clone(),
        last_sql_error: replica.last_sql_error.clone(),
        seconds_behind: replica.seconds_behind,
        delay_seconds: replica.sql_delay,
        uses_gtid: replica.auto_position || replica.using_mariadb_gtid,
        has_filters: replica.has_filters,
        uses_tls: replica.tls.allowed,
        read_file: replica.read.file.clone(),
        read_position: replica.read.position,
        applied_file: replica.exec.file.clone(),
        applied_position: replica.exec.position,
        other_channels: replica.other_channels.clone(),
    }
}

fn thread(state: ThreadState) -> String {
    match state {
        ThreadState::NoThread => "none",
        ThreadState::Stopped => "stopped",
        ThreadState::Running => "running",
        ThreadState::Other => "other",
    }
    .to_owned()
}

fn group(facts: &GroupFacts) -> Group {
    Group {
        name: facts.name.clone(),
        single_primary: facts.single_primary,
        state: facts.state.clone(),
        role: facts.role.clone(),
        members: facts.members.iter().map(ToString::to_string).collect(),
        primary: facts.primary.as_ref().map(ToString::to_string),
    }
}

fn downtime(known: &Instance, view: &View) -> Option<Downtime> {
    let downtime = known.downtime.as_ref().filter(|downtime| downtime.ends_at > view.now())?;
    Some(Downtime {
        instance: known.key.to_string(),
        owner: downtime.owner.clone(),
        reason: downtime.reason.clone(),
        begins_at: Timestamp(downtime.begins_at),
        ends_at: Timestamp(downtime.ends_at),
    })
}

fn check(known: &Instance, view: &View) -> CheckDetail {
    let check = &known.check;
    CheckDetail {
        is_valid: check.is_valid(),
        is_recent: view.judgement.is_recently_checked(check),
        last_checked_at: check.last_checked_at.map(Timestamp),
        failures: check.failures,
        last_error: check.last_error.clone(),
        partial_success: check.partial_success,
        latency_micros: check.latency_micros,
    }
}
