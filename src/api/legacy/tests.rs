//! Each wire format is held by one snapshot named after its type; a change of any of them breaks somebody's script.

use domain::instance::{GroupFacts, InstanceKey};
use domain::promotion::PromotionRule;
use serde::Serialize;
use serde_json::json;

use super::*;
use crate::clock::{backend_text, rfc3339};
use crate::fixtures::{self, NOW};
use crate::json::{or_null, to_legacy_bytes};

fn wire<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(to_legacy_bytes(value).expect("plain data")).expect("JSON is UTF-8")
}

/// The wire text with a line per field, for legible snapshots. Nothing is parsed, so nothing is reordered.
fn lines<T: Serialize + ?Sized>(value: &T) -> String {
    let compact = wire(value);
    let (mut text, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    for c in compact.chars() {
        text.push(c);
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 1 => text.push('\n'),
            _ => {}
        }
    }
    text
}

#[test]
fn instance_of_a_mysql_primary() {
    insta::assert_snapshot!(
        "legacy_instance_mysql_primary",
        lines(&Instance::stored(&fixtures::mysql_primary(), &fixtures::view()))
    );
}

#[test]
fn instance_of_a_mysql_replica() {
    insta::assert_snapshot!(
        "legacy_instance_mysql_replica",
        lines(&Instance::stored(&fixtures::mysql_replica(), &fixtures::view()))
    );
}

#[test]
fn instance_of_a_lost_primary() {
    let lost = fixtures::lost_mysql_primary();
    insta::assert_snapshot!("legacy_instance_lost_primary", lines(&Instance::stored(&lost, &fixtures::view())));
}

#[test]
fn instance_of_a_mariadb_replica() {
    let replica = fixtures::mariadb_replica();
    insta::assert_snapshot!("legacy_instance_mariadb_replica", lines(&Instance::stored(&replica, &fixtures::view())));
}

#[test]
fn instance_that_never_answered() {
    let record = Instance::stored(&fixtures::never_seen(), &fixtures::view());
    assert_eq!(record.last_seen_timestamp, "");
    assert_eq!(record.seconds_since_last_seen, NullInt::default());
    assert_eq!((record.is_last_check_valid, record.uptime), (false, 0));
    assert_eq!(record.problems, ["last_check_invalid"]);
    assert_eq!((record.replication_io_thread_state, record.replication_sql_thread_state), (-1, -1));
}

#[test]
fn live_records_carry_tls_and_not_what_only_the_backend_knows() {
    let mut known = fixtures::mysql_replica();
    known.downtime = fixtures::lost_mysql_primary().downtime;
    let (live, stored) = (Instance::live(&known, &fixtures::view()), Instance::stored(&known, &fixtures::view()));
    assert_eq!(live.replication_ssl_ca_file, "/etc/ssl/source.pem");
    assert_eq!(live.replication_ssl_verify_server_cert, NullBool { bool: true, valid: true });
    assert_eq!((live.is_downtimed, live.is_candidate, live.flavor_name.as_str()), (false, false, ""));
    assert_eq!(stored.replication_ssl_ca_file, "");
    assert_eq!(stored.replication_ssl_verify_server_cert, NullBool::default());
    assert_eq!((stored.is_downtimed, stored.is_candidate, stored.flavor_name.as_str()), (true, true, "MySQL"));
}

#[test]
fn a_downtime_that_is_over_is_none() {
    let mut known = fixtures::lost_mysql_primary();
    if let Some(downtime) = &mut known.downtime {
        downtime.ends_at = NOW;
    }
    let record = Instance::stored(&known, &fixtures::view());
    assert_eq!((record.is_downtimed, record.elapsed_downtime, record.downtime_owner.as_str()), (false, 0, ""));
}

#[test]
fn credentials_are_available_where_a_query_is_configured() {
    let view = crate::View { credentials_query_configured: true, ..fixtures::view() };
    let primary = fixtures::mysql_primary();
    assert!(Instance::stored(&primary, &view).replication_credentials_available);
    assert!(!Instance::stored(&primary, &fixtures::view()).replication_credentials_available);
}

#[test]
fn group_members_are_shown_as_keys() {
    let mut known = fixtures::mysql_primary();
    known.facts.group = Some(GroupFacts {
        name: "33333333-aaaa-11f1-8000-000000000000".into(),
        single_primary: true,
        state: "RECOVERING".into(),
        role: "SECONDARY".into(),
        members: [InstanceKey::new("b", 2), InstanceKey::new("a", 9), InstanceKey::new("a", 1)].into(),
        primary: None,
    });
    let record = Instance::stored(&known, &fixtures::view());
    let members: Vec<_> =
        record.replication_group_members.iter().map(|key| (key.hostname.as_str(), key.port)).collect();
    assert_eq!(members, [("a", 1), ("a", 9), ("b", 2)]);
    assert_eq!(record.replication_group_primary_instance_key, Key::default());
    assert_eq!(record.problems, ["group_replication_member_not_online"]);
}

#[test]
fn reads_its_own_records_and_tolerates_missing_fields() {
    for known in [fixtures::mysql_primary(), fixtures::mysql_replica(), fixtures::mariadb_replica()] {
        let record = Instance::live(&known, &fixtures::view());
        assert_eq!(serde_json::from_str::<Instance>(&wire(&record)).expect("own record"), record);
    }
    let sparse = r#"{"Key":{"Hostname":"db1","Port":3306},"Replicas":null,"Unheard":[1],"QSP":{"x":1}}"#;
    let record: Instance = serde_json::from_str(sparse).expect("sparse record");
    assert_eq!(record, Instance { key: Key { hostname: "db1".into(), port: 3306 }, ..Instance::default() });
}

#[test]
fn envelopes_always_have_three_fields() {
    assert_eq!(wire(&Envelope::done("bye")), r#"{"Code":"OK","Message":"bye","Details":null}"#);
    assert_eq!(
        wire(&Envelope::error("Cannot read instance: <db1>:1")),
        r#"{"Code":"ERROR","Message":"Cannot read instance: \u003cdb1\u003e:1","Details":null}"#
    );
    let key = Key { hostname: "db1".into(), port: 3306 };
    assert_eq!(
        wire(&Envelope::ok("found", key).said_by("o1")),
        r#"{"Code":"OK","Message":"Orchestrator o1 says: found","Details":{"Hostname":"db1","Port":3306}}"#
    );
    let read: Envelope<Option<Key>> = serde_json::from_str(&wire(&Envelope::error("no"))).expect("own envelope");
    assert_eq!((read.is_ok(), read.details), (false, None));
}

#[test]
fn small_shapes() {
    let key = InstanceKey::new("127.0.0.1", 16002);
    let shapes = [
        wire(&ClusterInfo::new("127.0.0.1:16001", "", "", 4)),
        wire(&ClusterInfo {
            has_automated_master_recovery: true,
            ..ClusterInfo::new("127.0.0.1:16001", "shop", "shop.example.com", 4)
        }),
        wire(&[Maintenance::active(7, &key, "ann", "disk <swap>", NOW - 61_900_000, NOW)]),
        wire(&Audit {
            audit_id: 3,
            audit_timestamp: backend_text(Some(NOW)),
            audit_type: "discover".into(),
            audit_instance_key: Key::from(&key),
            message: "by ann".into(),
        }),
        wire(&CandidateDatabaseInstance::new(&key, PromotionRule::Prefer, NOW, Some(NOW + 3_600_000_000))),
        wire(&KVPair { key: "mysql/primary/shop".into(), value: key.to_string() }),
        wire(&PoolMap::from([("b".into(), vec![Key::from(&key)]), ("a".into(), Vec::new())])),
        wire(&InstanceBinlogCoordinates { key: Key::from(&key), coordinates: Coordinates::default() }),
        wire(&ResolveCache::from([("db1".into(), ResolveEntry { object: "db1.example.com".into(), expiration: 9 })])),
        wire(&HostAttributes::default()),
        wire(&AutomatedRecoveryFilters { recover_master_cluster_filters: vec!["*".into()], ..Default::default() }),
        wire(&RequestHeaders::from([("Accept".into(), vec!["*/*".into()])])),
        wire(&NullBool::from(Some(true))),
        wire(&or_null(Vec::<Key>::new())),
    ];
    insta::assert_snapshot!("legacy_small_shapes", shapes.join("\n"));
}

#[test]
fn health() {
    let node = NodeHealth {
        hostname: "db-ops".into(),
        token: "f00d".into(),
        app_version: "0.1.0".into(),
        first_seen_active: backend_text(Some(NOW - 60_000_000)),
        last_seen_active: backend_text(Some(NOW)),
        db_backend: "127.0.0.1:16090".into(),
        ..NodeHealth::default()
    };
    let status = HealthStatus {
        healthy: true,
        hostname: "db-ops".into(),
        token: "f00d".into(),
        is_active_node: true,
        active_node: node.clone(),
        available_nodes: Some(vec![node]),
        ..HealthStatus::default()
    };
    insta::assert_snapshot!("legacy_health", lines(&Envelope::ok("Application node is healthy", status)));
    insta::assert_snapshot!("legacy_health_empty", wire(&HealthStatus::default()));
}

#[test]
fn metrics() {
    let timestamp = rfc3339(Some(NOW));
    let shapes = [
        wire(&DiscoveryMetric {
            timestamp: timestamp.clone(),
            hostname: "127.0.0.1".into(),
            port: 16002,
            backend_latency_seconds: 0.008_549_37,
            err: Some(json!({})),
            ..Default::default()
        }),
        wire(&AggregatedDiscoveryMetrics {
            first_seen: rfc3339(None),
            mean_total_seconds: 3.866e-7,
            p95_total_seconds: 2.0,
            ..Default::default()
        }),
        wire(&QueueMetric { active: 1, queued: 2 }),
        wire(&AggregatedQueueMetrics { active_min_entries: 9e9, ..Default::default() }),
        wire(&QueryMetric { timestamp: timestamp.clone(), wait_latency: 1272, ..Default::default() }),
        wire(&AggregatedQueryMetrics { count: 50, p95_latency_seconds: 0.25, ..Default::default() }),
        wire(&WriteBufferMetric { timestamp, instances: 3, ..Default::default() }),
        wire(&AggregatedWriteBufferMetric { instance_write_buffer_size: 100, ..Default::default() }),
    ];
    insta::assert_snapshot!("legacy_metrics", shapes.join("\n"));
}

#[test]
fn analysis_of_a_lost_primary() {
    let finding = fixtures::finding_about_the_lost_primary();
    let mut cluster = ClusterInfo::new("127.0.0.1:16001", "shop", "", 2);
    cluster.has_automated_master_recovery = true;
    let record = ReplicationAnalysis::new(&finding, Some(&cluster), NOW).processed_by("node1", "0c61");
    insta::assert_snapshot!("legacy_analysis", lines(&record));
    // Without anything but the finding.
    let alone = ReplicationAnalysis::new(&finding, None, NOW);
    assert_eq!(alone.cluster_details.cluster_alias, "127.0.0.1:16001");
    assert_eq!(alone.cluster_details.cluster_domain, "127.0.0.1:16001");
    let log = ReplicationAnalysisChangelog {
        analyzed_instance_key: record.analyzed_instance_key,
        changelog: vec!["2026-11-22 15:17:57;DeadMaster,".to_owned()],
    };
    assert_eq!(
        wire(&log),
        r#"{"AnalyzedInstanceKey":{"Hostname":"127.0.0.1","Port":16001},"Changelog":["2026-11-22 15:17:57;DeadMaster,"]}"#
    );
}
