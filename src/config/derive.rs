//! Values that follow from others. Run once, after all files are merged, so that the order of files does not matter.

use crate::Settings;

/// Statement that marks an entry when Pseudo-GTID is injected automatically.
const PSEUDO_GTID_MARK: &str = "drop view if exists `_pseudo_gtid_`";

/// Fills in everything that follows from other values.
pub(crate) fn apply(settings: &mut Settings) {
    fold_synonyms(settings);
    let recovery = &mut settings.recovery;
    if recovery.recovery_period_block_seconds == 0 {
        recovery.recovery_period_block_seconds = recovery.recovery_period_block_minutes.saturating_mul(60);
    }
    let http = &mut settings.http;
    http.url_prefix = url_prefix(&http.url_prefix);
    if settings.raft.advertise.is_empty() {
        settings.raft.advertise.clone_from(&settings.raft.bind);
    }
    let kv = &mut settings.kv;
    kv.cluster_master_prefix = format!("{}/", kv.cluster_master_prefix.trim_end_matches('/'));
    kv.consul_max_kvs_per_transaction = kv.consul_max_kvs_per_transaction.clamp(5, 64);
    if settings.pseudo_gtid.auto_pseudo_gtid {
        let pseudo_gtid = &mut settings.pseudo_gtid;
        pseudo_gtid.pattern = PSEUDO_GTID_MARK.to_string();
        pseudo_gtid.pattern_is_fixed_substring = true;
        pseudo_gtid.monotonic_hint = "asc:".to_string();
        pseudo_gtid.detect_query = "select 1".to_string();
    }
    if settings.discovery.instance_write_buffer_size <= 0 {
        settings.discovery.buffer_instance_writes = false;
    }
    let detection = &mut settings.detection;
    if detection.reasonable_locked_semi_sync_master_seconds == 0 {
        detection.reasonable_locked_semi_sync_master_seconds = settings.discovery.reasonable_replication_lag_seconds;
    }
}

/// Copies older names to newer ones. `SlaveLagQuery` was folded file by file: see [`fold_lag_query`].
fn fold_synonyms(settings: &mut Settings) {
    let recovery = &mut settings.recovery;
    recovery.detach_lost_replicas_after_master_failover |= recovery.detach_lost_slaves_after_master_failover;
    recovery.master_failover_detach_replica_master_host |= recovery.master_failover_detach_slave_master_host;
    if recovery.postpone_slave_recovery_on_lag_minutes != 0 {
        recovery.postpone_replica_recovery_on_lag_minutes = recovery.postpone_slave_recovery_on_lag_minutes;
    }
}

/// Folds `SlaveLagQuery` into its newer name. Done after each file, so that a later file may override an older name
/// with the newer one. Returns false when both are set and differ.
pub(crate) fn fold_lag_query(settings: &mut Settings) -> bool {
    let discovery = &mut settings.discovery;
    let older = std::mem::take(&mut discovery.slave_lag_query);
    if older.is_empty() || older == discovery.replication_lag_query {
        return true;
    }
    if !discovery.replication_lag_query.is_empty() {
        return false;
    }
    discovery.replication_lag_query = older;
    true
}

/// One leading slash, none at the end; `/` alone is no prefix.
fn url_prefix(given: &str) -> String {
    let bare = given.trim_matches('/');
    if bare.is_empty() { String::new() } else { format!("/{bare}") }
}
