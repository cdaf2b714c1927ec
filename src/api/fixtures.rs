//! Instances for tests: one small tree of MySQL and one of MariaDB, at one fixed moment.

use domain::analysis::{AnalysisPolicy, Finding, analyze};
use domain::health::Judgement;
use domain::instance::{
    BinlogCoordinates, CheckState, DbMicros, Downtime, GtidFacts, Instance, InstanceKey, Placement, PluginNaming,
    ReplicaFacts, SemiSyncFacts, ServerFacts, SourceTls, ThreadState,
};
use domain::promotion::PromotionRule;

use crate::View;

pub(crate) const NOW: DbMicros = 1_795_356_972_400_000;
const SEEN: DbMicros = NOW - 3_200_000;
const PRIMARY_UUID: &str = "11111111-aaaa-11f1-8000-000000016001";
const REPLICA_UUID: &str = "22222222-aaaa-11f1-8000-000000016002";

pub(crate) fn view() -> View {
    View {
        judgement: Judgement { now: NOW, poll_seconds: 5, reasonable_lag_seconds: 10, maintenance_lag_seconds: 20 },
        credentials_query_configured: false,
    }
}

fn key(port: u16) -> InstanceKey {
    InstanceKey::new("127.0.0.1", port)
}

fn at(file: &str, position: u64) -> BinlogCoordinates {
    BinlogCoordinates { file: file.into(), position }
}

fn instance(port: u16, facts: ServerFacts, placement: Placement) -> Instance {
    Instance {
        id: u64::from(port),
        lane: "dc1".into(),
        key: key(port),
        facts,
        placement,
        check: CheckState {
            last_attempted_at: Some(SEEN),
            last_checked_at: Some(SEEN),
            last_seen_at: Some(SEEN),
            latency_micros: 23_652,
            ..CheckState::default()
        },
        downtime: None,
        promotion_rule: PromotionRule::Neutral,
        unresolved_hostname: String::new(),
    }
}

fn mysql_facts(port: u16, uuid: &str) -> ServerFacts {
    ServerFacts {
        server_id: u64::from(port),
        server_uuid: uuid.into(),
        version: "9.7.4".into(),
        version_comment: "(Debian)".into(),
        started_at: SEEN / 1_000_000 - 101,
        binlog_format: "ROW".into(),
        binlog_row_image: "FULL".into(),
        log_bin: true,
        log_replica_updates: true,
        binlog: at("binlog.000001", 1673),
        gtid: GtidFacts {
            mode: "ON".into(),
            executed: format!("{PRIMARY_UUID}:1-6,\n{REPLICA_UUID}:1"),
            ..GtidFacts::default()
        },
        data_center: "dc1".into(),
        region: "region1".into(),
        physical_environment: "env1".into(),
        ..ServerFacts::default()
    }
}

pub(crate) fn mysql_primary() -> Instance {
    let facts = ServerFacts {
        replicas: [16004, 16002, 16003].into_iter().map(key).collect(),
        ..mysql_facts(16001, PRIMARY_UUID)
    };
    let placement = Placement {
        cluster_name: "127.0.0.1:16001".into(),
        suggested_cluster_alias: "shop".into(),
        ancestry_uuid: PRIMARY_UUID.into(),
        ..Placement::default()
    };
    instance(16001, facts, placement)
}

pub(crate) fn mysql_replica() -> Instance {
    let replica = ReplicaFacts {
        source: key(16001),
        source_uuid: PRIMARY_UUID.into(),
        user: "repl".into(),
        io_thread: ThreadState::Running,
        sql_thread: ThreadState::Running,
        read: at("binlog.000001", 1673),
        exec: at("binlog.000001", 1673),
        relay: at("relay.000002", 1884),
        seconds_behind: Some(0),
        lag_seconds: Some(0),
        auto_position: true,
        tls: SourceTls {
            allowed: true,
            ca_file: "/etc/ssl/source.pem".into(),
            verify_server_cert: Some(true),
            ..SourceTls::default()
        },
        ..ReplicaFacts::default()
    };
    let facts = ServerFacts {
        read_only: true,
        super_read_only: true,
        replica: Some(replica),
        replication_credentials_available: true,
        ..mysql_facts(16002, REPLICA_UUID)
    };
    let placement = Placement {
        cluster_name: "127.0.0.1:16001".into(),
        suggested_cluster_alias: "shop".into(),
        replication_depth: 1,
        ancestry_uuid: format!("{PRIMARY_UUID},{REPLICA_UUID}"),
        ..Placement::default()
    };
    Instance { promotion_rule: PromotionRule::Prefer, ..instance(16002, facts, placement) }
}

/// The old primary after a failover: not seen for 20 s, set aside by the recovery.
pub(crate) fn lost_mysql_primary() -> Instance {
    let mut lost = mysql_primary();
    lost.check.last_seen_at = Some(NOW - 20_500_000);
    lost.check.failures = 4;
    lost.check.last_error = "connection refused".into();
    lost.downtime = Some(Downtime {
        owner: "orchestrator".into(),
        reason: "lost-in-recovery".into(),
        begins_at: NOW - 13_700_000,
        ends_at: NOW + 31_536_000_000_000,
    });
    lost
}

pub(crate) fn mariadb_replica() -> Instance {
    let replica = ReplicaFacts {
        source: key(16011),
        source_uuid: "No".into(),
        user: "repl".into(),
        io_thread: ThreadState::Other,
        sql_thread: ThreadState::Running,
        read: at("binlog.000001", 1858),
        exec: at("binlog.000001", 1858),
        relay: at("relay.000002", 2154),
        last_io_error: "error connecting to master 'repl@127.0.0.1:16011' - \"Can't connect <é>\"".into(),
        using_mariadb_gtid: true,
        ..ReplicaFacts::default()
    };
    let facts = ServerFacts {
        server_id: 16012,
        version: "10.11.19-MariaDB-log".into(),
        version_comment: "Debian 12".into(),
        started_at: SEEN / 1_000_000 - 25,
        read_only: true,
        binlog_format: "MIXED".into(),
        binlog_row_image: "FULL".into(),
        log_bin: true,
        log_replica_updates: true,
        binlog: at("binlog.000001", 1858),
        replica: Some(replica),
        semi_sync: SemiSyncFacts {
            source_plugin: Some(PluginNaming::MasterSlave),
            replica_plugin: Some(PluginNaming::MasterSlave),
            replica_enabled: true,
            source_timeout_ms: 60_000,
            replica_status: true,
            ..SemiSyncFacts::default()
        },
        ..ServerFacts::default()
    };
    let placement = Placement { cluster_name: "127.0.0.1:16011".into(), replication_depth: 1, ..Placement::default() };
    instance(16012, facts, placement)
}

/// Known by name only: it never answered.
pub(crate) fn never_seen() -> Instance {
    let mut unseen = instance(16099, ServerFacts::default(), Placement::default());
    unseen.check = CheckState { last_checked_at: Some(SEEN), failures: 1, ..CheckState::default() };
    unseen
}

/// What analysis says about the old primary while a replica still names it as its source.
pub(crate) fn finding_about_the_lost_primary() -> Finding {
    let (primary, replica) = (lost_mysql_primary(), mysql_replica());
    let policy = AnalysisPolicy {
        poll_seconds: 5,
        check_seconds: 1,
        lag_seconds: 10,
        locked_semi_sync_seconds: 0,
        enforce_exact_semi_sync: false,
        recover_non_writeable: false,
        stale_after_seconds: 60,
    };
    let found = analyze(&[&primary, &replica], &std::collections::BTreeMap::new(), &policy, NOW);
    found.into_iter().find(|one| one.key == primary.key).expect("a finding")
}
