//! What a configuration says and hardly means: told as warnings, so that nobody relies on it.

use crate::auth::AuthMethod;
use crate::problem::Warning;
use crate::settings::Settings;

/// Values that work, but hardly as meant.
pub(crate) fn find(settings: &Settings) -> Vec<Warning> {
    let mut doubts = Vec::new();
    let mut doubt = |key, text: &str| doubts.push(Warning::Doubtful { key, text: text.to_string() });
    let auth = &settings.auth;
    if auth.authentication_method == AuthMethod::None && !auth.http_auth_user.is_empty() {
        doubt("HTTPAuthUser", "has no effect: AuthenticationMethod is not set, everybody may do everything");
    }
    if !settings.http.listen_socket.is_empty() && settings.http.use_ssl {
        doubt("UseSSL", "has no effect on ListenSocket: that is served without TLS, and TCP not at all");
    }
    if settings.topology.use_mutual_tls && settings.topology.ssl_skip_verify {
        doubt("MySQLTopologySSLSkipVerify", "also keeps the client certificate from being sent");
    }
    let backend = &settings.backend;
    if backend.use_mutual_tls && backend.ssl_skip_verify && !backend.ssl_cert_file.is_empty() {
        doubt("MySQLOrchestratorSSLSkipVerify", "also keeps the client certificate from being sent");
    }
    if !backend.use_mutual_tls {
        let idle = [
            ("MySQLOrchestratorSSLCAFile", &backend.ssl_ca_file),
            ("MySQLOrchestratorSSLCertFile", &backend.ssl_cert_file),
        ];
        for (key, _) in idle.into_iter().filter(|(_, file)| !file.is_empty()) {
            doubt(key, "has no effect without MySQLOrchestratorUseMutualTLS: TLS is used if offered, and not verified");
        }
    }
    doubts.extend(recovery_doubts(settings));
    doubts
}

/// What recoveries would not do, though a key reads as if they did.
fn recovery_doubts(settings: &Settings) -> Vec<Warning> {
    let (recovery, detection, classification) = (&settings.recovery, &settings.detection, &settings.classification);
    let nobody = recovery.recover_master_cluster_filters.is_empty();
    let unknown = |query: &String, pattern: &String| query.is_empty() && pattern.is_empty();
    let no_priorities = classification.detect_semi_sync_enforced_query.is_empty();
    let rows = [
        (
            recovery.prevent_cross_data_center_master_failover
                && unknown(&classification.detect_data_center_query, &classification.data_center_pattern),
            "PreventCrossDataCenterMasterFailover",
            "needs DetectDataCenterQuery or DataCenterPattern: without, all servers are in one place",
        ),
        (
            recovery.prevent_cross_region_master_failover
                && unknown(&classification.detect_region_query, &classification.region_pattern),
            "PreventCrossRegionMasterFailover",
            "needs DetectRegionQuery or RegionPattern: without, all servers are in one place",
        ),
        (
            detection.recover_non_writeable_master && nobody,
            "RecoverNonWriteableMaster",
            "has no effect: RecoverMasterClusterFilters is empty, and it goes by that list",
        ),
        (
            detection.recover_locked_semi_sync_master && nobody,
            "RecoverLockedSemiSyncMaster",
            "has no effect: RecoverMasterClusterFilters is empty, and it goes by that list",
        ),
        (
            detection.recover_locked_semi_sync_master && no_priorities,
            "RecoverLockedSemiSyncMaster",
            "needs DetectSemiSyncEnforcedQuery: without, no replica may acknowledge",
        ),
        (
            detection.enforce_exact_semi_sync_replicas && no_priorities,
            "EnforceExactSemiSyncReplicas",
            "needs DetectSemiSyncEnforcedQuery: without, no replica may acknowledge",
        ),
        (
            recovery.master_failover_detach_replica_master_host && recovery.apply_mysql_promotion_after_master_failover,
            "MasterFailoverDetachReplicaMasterHost",
            "has no effect: ApplyMySQLPromotionAfterMasterFailover is on, and the promoted server forgets its source",
        ),
    ];
    let doubt = |(is_so, key, text): (bool, &'static str, &str)| {
        is_so.then(|| Warning::Doubtful { key, text: text.to_owned() })
    };
    rows.into_iter().filter_map(doubt).collect()
}
