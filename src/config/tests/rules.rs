//! One row per rule: what follows from what, and what is refused.

use config::{Settings, keys};
use rstest::rstest;

fn settings(text: &str) -> Settings {
    (*Settings::from_json(text).unwrap().settings).clone()
}

#[test]
fn every_key_of_the_original_is_there_once() {
    let original = keys().filter(|key| key.origin == config::Origin::Original).count();
    assert_eq!(original, 201);
    let mut names: Vec<_> = keys().map(|key| key.name.to_lowercase()).collect();
    names.extend(config::OBSOLETE.iter().map(|key| key.name.to_lowercase()));
    names.sort();
    let total = names.len();
    names.dedup();
    assert_eq!(names.len(), total, "a name is there twice");
    assert_eq!(config::OBSOLETE.len(), 20);
    for key in keys() {
        if let config::Status::Synonym(of) | config::Status::Superseded(of) = key.status {
            assert!(config::find_key(of).is_some(), "{} refers to {of}", key.name);
        }
    }
}

/// Rule, key whose shown value is looked at, expected value.
#[rstest]
#[case::block_minutes(
    r#"{"RecoveryPeriodBlockSeconds": 0, "RecoveryPeriodBlockMinutes": 3}"#,
    "RecoveryPeriodBlockSeconds",
    "180"
)]
#[case::block_minutes_alone(r#"{"RecoveryPeriodBlockMinutes": 3}"#, "RecoveryPeriodBlockSeconds", "3600")]
#[case::block_off(
    r#"{"RecoveryPeriodBlockSeconds": 0, "RecoveryPeriodBlockMinutes": 0}"#,
    "RecoveryPeriodBlockSeconds",
    "0"
)]
#[case::lag_query(r#"{"SlaveLagQuery": "select 1"}"#, "ReplicationLagQuery", r#""select 1""#)]
#[case::lag_query_cleared(r#"{"SlaveLagQuery": "select 1"}"#, "SlaveLagQuery", r#""""#)]
#[case::lag_query_same(r#"{"SlaveLagQuery": "q", "ReplicationLagQuery": "q"}"#, "ReplicationLagQuery", r#""q""#)]
#[case::detach_default("{}", "DetachLostReplicasAfterMasterFailover", "true")]
#[case::detach_off(
    r#"{"DetachLostSlavesAfterMasterFailover": false}"#,
    "DetachLostReplicasAfterMasterFailover",
    "false"
)]
#[case::detach_needs_synonym(
    r#"{"DetachLostReplicasAfterMasterFailover": false}"#,
    "DetachLostReplicasAfterMasterFailover",
    "true"
)]
#[case::detach_host(
    r#"{"MasterFailoverDetachSlaveMasterHost": true}"#,
    "MasterFailoverDetachReplicaMasterHost",
    "true"
)]
#[case::postpone(r#"{"PostponeSlaveRecoveryOnLagMinutes": 4}"#, "PostponeReplicaRecoveryOnLagMinutes", "4")]
#[case::prefix(r#"{"URLPrefix": "a/b/"}"#, "URLPrefix", r#""/a/b""#)]
#[case::prefix_slash(r#"{"URLPrefix": "/"}"#, "URLPrefix", r#""""#)]
#[case::raft_advertise("{}", "RaftAdvertise", r#""127.0.0.1:10008""#)]
#[case::kv_default("{}", "KVClusterMasterPrefix", r#""mysql/master/""#)]
#[case::kv_empty(r#"{"KVClusterMasterPrefix": ""}"#, "KVClusterMasterPrefix", r#""/""#)]
#[case::kv_slash(r#"{"KVClusterMasterPrefix": "/"}"#, "KVClusterMasterPrefix", r#""/""#)]
#[case::kv_many(r#"{"KVClusterMasterPrefix": "a//"}"#, "KVClusterMasterPrefix", r#""a/""#)]
#[case::pseudo_gtid(
    r#"{"AutoPseudoGTID": true, "PseudoGTIDPattern": "("}"#,
    "PseudoGTIDPattern",
    r#""drop view if exists `_pseudo_gtid_`""#
)]
#[case::pseudo_gtid_query(r#"{"AutoPseudoGTID": true}"#, "DetectPseudoGTIDQuery", r#""select 1""#)]
#[case::buffer(r#"{"BufferInstanceWrites": true, "InstanceWriteBufferSize": 0}"#, "BufferInstanceWrites", "false")]
#[case::consul_low(r#"{"ConsulMaxKVsPerTransaction": -1}"#, "ConsulMaxKVsPerTransaction", "5")]
#[case::consul_high(r#"{"ConsulMaxKVsPerTransaction": 100}"#, "ConsulMaxKVsPerTransaction", "64")]
#[case::semi_sync(r#"{"ReasonableReplicationLagSeconds": 12}"#, "ReasonableLockedSemiSyncMasterSeconds", "12")]
#[case::auth_none(r#"{"AuthenticationMethod": "none"}"#, "AuthenticationMethod", r#""""#)]
#[case::auth_case(r#"{"AuthenticationMethod": "PROXY"}"#, "AuthenticationMethod", r#""proxy""#)]
#[case::hostname(r#"{"MySQLHostnameResolveMethod": "hostname"}"#, "MySQLHostnameResolveMethod", r#""@@hostname""#)]
#[case::resolve(r#"{"HostnameResolveMethod": "CNAME"}"#, "HostnameResolveMethod", r#""cname""#)]
#[case::backoff("{}", "DeadInstancePollSecondsMultiplyFactor", "2.0")]
fn derived(#[case] text: &str, #[case] key: &str, #[case] expected: &str) {
    assert_eq!(config::find_key(key).unwrap().shown(&settings(text)).to_string(), expected);
}

#[rstest]
#[case(r#"{"SlaveLagQuery": "a", "ReplicationLagQuery": "b"}"#, "ReplicationLagQuery")]
#[case(
    r#"{"FailMasterPromotionIfSQLThreadNotUpToDate": true, "DelayMasterPromotionIfSQLThreadNotUpToDate": true}"#,
    "FailMasterPromotionIfSQLThreadNotUpToDate"
)]
#[case(r#"{"FailMasterPromotionOnLagMinutes": 1}"#, "FailMasterPromotionOnLagMinutes")]
#[case(
    r#"{"PostponeReplicaRecoveryOnLagMinutes": 1, "PostponeSlaveRecoveryOnLagMinutes": 2}"#,
    "PostponeReplicaRecoveryOnLagMinutes"
)]
#[case(r#"{"FailureConfirmationSeconds": 3601}"#, "FailureConfirmationSeconds")]
#[case(r#"{"FailureConfirmationSecondsByCluster": {"shop": "soon"}}"#, "FailureConfirmationSecondsByCluster")]
#[case(r#"{"FailureConfirmationSecondsByCluster": {"shop": "-1"}}"#, "FailureConfirmationSecondsByCluster")]
#[case(r#"{"FailureConfirmationSecondsByCluster": {"shop": "3601"}}"#, "FailureConfirmationSecondsByCluster")]
#[case(r#"{"FailureConfirmationSecondsByCluster": {"alias~=(": "1"}}"#, "FailureConfirmationSecondsByCluster")]
#[case(r#"{"RejoinFormerPrimary": ["["]}"#, "RejoinFormerPrimary")]
#[case(r#"{"RecoverIntermediateMasterClusterFilters": ["("]}"#, "RecoverIntermediateMasterClusterFilters")]
#[case(r#"{"PromotionIgnoreHostnameFilters": ["("]}"#, "PromotionIgnoreHostnameFilters")]
#[case(r#"{"RecoveryIgnoreHostnameFilters": ["("]}"#, "RecoveryIgnoreHostnameFilters")]
#[case(r#"{"HookTimeoutSeconds": 0}"#, "HookTimeoutSeconds")]
#[case(r#"{"HookTimeoutSeconds": 3601}"#, "HookTimeoutSeconds")]
#[case(r#"{"BackendDB": "sqlite"}"#, "BackendDB")]
#[case(r#"{"BackendDB": "mysqll"}"#, "BackendDB")]
#[case(r#"{"RaftEnabled": true, "RaftDataDir": "/x"}"#, "RaftEnabled")]
#[case(r#"{"HTTPAdvertise": "host:3000"}"#, "HTTPAdvertise")]
#[case(r#"{"HTTPAdvertise": "http://host:3000/"}"#, "HTTPAdvertise")]
#[case(r#"{"HTTPAdvertise": "http://host"}"#, "HTTPAdvertise")]
#[case(r#"{"DeadInstancePollSecondsMultiplyFactor": 0.5}"#, "DeadInstancePollSecondsMultiplyFactor")]
#[case(r#"{"InstancePollSeconds": 301}"#, "DeadInstancePollSecondsMax")]
#[case(r#"{"InstancePollSeconds": 0}"#, "InstancePollSeconds")]
#[case(r#"{"UnseenInstanceForgetHours": 0}"#, "UnseenInstanceForgetHours")]
#[case(r#"{"FailureDetectionPeriodBlockMinutes": 99999999999}"#, "FailureDetectionPeriodBlockMinutes")]
#[case(r#"{"DefaultInstancePort": 0}"#, "DefaultInstancePort")]
#[case(r#"{"ListenAddress": "3000"}"#, "ListenAddress")]
#[case(r#"{"HTTPMaxConnections": 0}"#, "HTTPMaxConnections")]
#[case(r#"{"StatusEndpoint": "status"}"#, "StatusEndpoint")]
#[case(r#"{"UseSSL": true, "SSLCertFile": "c"}"#, "SSLPrivateKeyFile")]
#[case(r#"{"UseMutualTLS": true, "SSLCAFile": "c", "SSLValidOUs": ["x"]}"#, "UseMutualTLS")]
#[case(
    r#"{"UseSSL": true, "SSLCertFile": "c", "SSLPrivateKeyFile": "k", "UseMutualTLS": true, "SSLValidOUs": ["x"]}"#,
    "SSLCAFile"
)]
#[case(
    r#"{"UseSSL": true, "SSLCertFile": "c", "SSLPrivateKeyFile": "k", "UseMutualTLS": true, "SSLCAFile": "a"}"#,
    "SSLValidOUs"
)]
#[case(r#"{"MySQLTopologySSLCertFile": "c"}"#, "MySQLTopologySSLPrivateKeyFile")]
#[case(r#"{"AuthenticationMethod": "basic", "HTTPAuthPassword": "p"}"#, "HTTPAuthUser")]
#[case(r#"{"AuthenticationMethod": "multi", "HTTPAuthUser": "u"}"#, "HTTPAuthPassword")]
#[case(r#"{"AuthenticationMethod": "oauth"}"#, "AuthenticationMethod")]
#[case(r#"{"AuthenticationMethod": "proxy", "AuthUserHeader": ""}"#, "AuthUserHeader")]
#[case(r#"{"HostnameResolveMethod": "dns"}"#, "HostnameResolveMethod")]
#[case(r#"{"MissedTickPolicy": "run"}"#, "MissedTickPolicy")]
#[case(r#"{"DiscoverySeeds": ["ok", "no:port"]}"#, "DiscoverySeeds")]
#[case(r#"{"MySQLOrchestratorHosts": [":3306"]}"#, "MySQLOrchestratorHosts")]
#[case(r#"{"GraphiteAddr": "g:2003"}"#, "GraphitePath")]
#[case(r#"{"ProblemIgnoreHostnameFilters": [""]}"#, "ProblemIgnoreHostnameFilters")]
#[case(r#"{"RecoverMasterClusterFilters": ["alias~=("]}"#, "RecoverMasterClusterFilters")]
#[case(r#"{"DataCenterPattern": "dc1"}"#, "DataCenterPattern")]
#[case(r#"{"RejectHostnameResolvePattern": "["}"#, "RejectHostnameResolvePattern")]
#[case(r#"{"ClusterNameToAlias": {"(": "x"}}"#, "ClusterNameToAlias")]
#[case(r#"{"PseudoGTIDPattern": "("}"#, "PseudoGTIDPattern")]
#[case(r#"{"CleanupSchedule": "0 3 * * *"}"#, "CleanupSchedule")]
#[case(r#"{"CleanupSchedule": ""}"#, "CleanupSchedule")]
#[case(r#"{"SnapshotSchedule": "0 0 * * * *", "SnapshotTopologiesIntervalHours": 1}"#, "SnapshotSchedule")]
#[case(r#"{"WorkerConcurrency": 0}"#, "WorkerConcurrency")]
#[case(r#"{"WorkerDatacenters": [""]}"#, "WorkerDatacenters")]
#[case(r#"{"NodeName": "a\u001b[31m"}"#, "NodeName")]
fn refused(#[case] text: &str, #[case] key: &str) {
    let error = Settings::from_json(text).unwrap_err();
    let [problem] = error.problems() else { panic!("one problem expected: {error}") };
    assert_eq!(problem.key, Some(key), "{error}");
    assert!(!problem.remedy.is_empty(), "{error}");
}

#[test]
fn a_key_that_is_too_new_for_its_file_order_still_works() {
    let order = |texts: [&str; 2]| {
        let sources = texts.iter().map(|text| ("f".into(), text.as_bytes().to_vec())).collect();
        config::load_bytes(sources, &config::Environment::empty())
    };
    // The older name in the first file, the newer one in a later one: the later wins.
    let loaded = order([r#"{"SlaveLagQuery": "a"}"#, r#"{"ReplicationLagQuery": "b"}"#]).unwrap();
    assert_eq!(loaded.settings.discovery.replication_lag_query, "b");
    assert!(order([r#"{"ReplicationLagQuery": "a"}"#, r#"{"SlaveLagQuery": "b"}"#]).is_err());
    // Derived values follow the merged ones, whatever the order.
    let loaded = order(["{}", r#"{"ReasonableReplicationLagSeconds": 30}"#]).unwrap();
    assert_eq!(loaded.settings.detection.reasonable_locked_semi_sync_master_seconds, 30);
}

#[test]
fn doubtful_values_are_warned_about() {
    let loaded = Settings::from_json(r#"{"HTTPAuthUser": "u"}"#).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].to_string().contains("everybody may do everything"));
    let idle = Settings::from_json(r#"{"MySQLOrchestratorSSLCAFile": "ca"}"#).unwrap().warnings;
    let text = idle[0].to_string();
    assert!(idle.len() == 1 && text.contains("MySQLOrchestratorSSLCAFile") && text.contains("UseMutualTLS"), "{text}");
    let waived = r#"{"MySQLOrchestratorUseMutualTLS": true, "MySQLOrchestratorSSLSkipVerify": true,
                     "MySQLOrchestratorSSLCertFile": "c", "MySQLOrchestratorSSLPrivateKeyFile": "k"}"#;
    let waived = Settings::from_json(waived).unwrap().warnings;
    assert!(waived.len() == 1 && waived[0].to_string().contains("MySQLOrchestratorSSLSkipVerify"), "{waived:?}");
}

#[test]
fn what_a_recovery_would_not_do_is_warned_about() {
    let warnings = |text: &str| {
        let told = Settings::from_json(text).unwrap().warnings;
        told.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let filter = r#""RecoverMasterClusterFilters": ["*"]"#;
    for (set, cured, key) in [
        (r#""PreventCrossDataCenterMasterFailover": true"#, r#""DataCenterPattern": "^(..)""#, "DetectDataCenterQuery"),
        (r#""PreventCrossRegionMasterFailover": true"#, r#""DetectRegionQuery": "select 'x'""#, "RegionPattern"),
        (r#""RecoverNonWriteableMaster": true"#, filter, "RecoverMasterClusterFilters"),
        (
            r#""EnforceExactSemiSyncReplicas": true"#,
            r#""DetectSemiSyncEnforcedQuery": "select 1""#,
            "DetectSemiSyncEnforcedQuery",
        ),
        (
            r#""MasterFailoverDetachSlaveMasterHost": true"#,
            r#""ApplyMySQLPromotionAfterMasterFailover": false"#,
            "ApplyMySQLPromotionAfterMasterFailover",
        ),
    ] {
        let told = warnings(&format!("{{{set}}}"));
        assert!(told.len() == 1 && told[0].contains(key), "{set}: {told:?}");
        assert_eq!(warnings(&format!("{{{set}, {cured}}}")), [""; 0], "{set}, {cured}");
    }
    let locked = r#"{"RecoverLockedSemiSyncMaster": true}"#;
    assert_eq!(warnings(locked).len(), 2, "nobody to recover, and nobody to acknowledge");
}

#[test]
fn the_first_filter_in_the_alphabet_gives_a_cluster_its_confirmation() {
    let text = r#"{"FailureConfirmationSecondsByCluster":
        {"alias~=^shop": "3", "alias=shop-eu": "5", "db1:3306": "7", "*": "0", "~other": "9"}}"#;
    let patterns = Settings::from_json(text).unwrap().patterns;
    let seconds = |name, alias| patterns.confirmation(name, alias, std::time::Duration::from_secs(60)).as_secs();
    assert_eq!((seconds("db1:3306", ""), seconds("db9:3306", "shop-eu")), (7, 5));
    assert_eq!(seconds("db9:3306", "crm"), 0, "`*` comes last, or there could be no exceptions");
    let without = text.replace(r#""*": "0", "#, "");
    let patterns = Settings::from_json(&without).unwrap().patterns;
    let seconds = |name, alias| patterns.confirmation(name, alias, std::time::Duration::from_secs(60)).as_secs();
    assert_eq!(seconds("db1:3306", "shop-eu"), 5, "alias=shop-eu comes before alias~=^shop and db1:3306");
    assert_eq!(seconds("db1:3306", "shop-us"), 3);
    assert_eq!(seconds("db1:3306", "crm"), 7);
    assert_eq!(seconds("db2:3306", "crm"), 60, "what FailureConfirmationSeconds says");
}

#[test]
fn all_secrets_that_are_set_are_known() {
    for key in keys().filter(|key| key.is_secret()) {
        let text = format!(r#"{{"{}": "the-{}"}}"#, key.name, key.name);
        assert_eq!(settings(&text).secrets(), [format!("the-{}", key.name)]);
    }
    assert_eq!(Settings::default().secrets(), [""; 0]);
}

#[test]
fn files_and_backend_are_checked_apart() {
    let s = settings(r#"{"UseSSL": true, "SSLCertFile": "/nonexistent/c", "SSLPrivateKeyFile": "/nonexistent/k"}"#);
    let keys = |problems: Vec<config::Problem>| problems.into_iter().filter_map(|p| p.key).collect::<Vec<_>>();
    assert_eq!(keys(s.check_files()), ["SSLPrivateKeyFile", "SSLCertFile"]);
    assert_eq!(
        keys(s.check_backend()),
        ["MySQLOrchestratorHost", "MySQLOrchestratorDatabase", "MySQLOrchestratorUser"]
    );
    assert!(Settings::default().check_files().is_empty());
}

#[test]
fn backend_addresses_in_turn() {
    let s = settings(
        r#"{"MySQLOrchestratorHost": "a", "MySQLOrchestratorPort": 3310, "MySQLOrchestratorHosts": ["b", "c:3311", "a:3310", "[::1]:5"]}"#,
    );
    let shown: Vec<_> = s.backend.addresses().into_iter().map(|(host, port)| format!("{host} {port}")).collect();
    assert_eq!(shown, ["a 3310", "b 3310", "c 3311", "::1 5"]);
}

#[test]
fn patterns_are_compiled() {
    let loaded = Settings::from_json(
        r#"{"DataCenterPattern": "\\.(dc[0-9])\\.", "ClusterNameToAlias": {"^m1": "one", "m": "other"}, "DiscoveryIgnoreHostnameFilters": ["10.0.0.1"]}"#,
    )
    .unwrap();
    let patterns = &loaded.patterns;
    assert_eq!(config::first_group(patterns.data_center.as_ref(), "db.dc2.example"), Some("dc2"));
    assert_eq!(config::first_group(patterns.data_center.as_ref(), "db"), None);
    assert_eq!(patterns.cluster_alias("m1:3306"), Some("one"));
    assert_eq!(patterns.cluster_alias("x"), None);
    assert!(patterns.discovery_ignore.matches("10.0.0.1", 3306));
}
