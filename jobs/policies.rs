//! The settings that decide, in the words of the pure functions that decide: for jobs, and for the leader, who must ask the
//! same questions.

use std::collections::BTreeSet;

use domain::analysis::AnalysisPolicy;
use domain::instance::InstanceKey;
use domain::operation::Policy;
use domain::recovery::RecoveryPolicy;

use crate::context::Configuration;

/// What planners of operations go by.
pub fn planner_policy(config: &Configuration) -> Policy {
    let discovery = &config.settings.discovery;
    Policy {
        lower_replica_version_allowed: discovery.lower_replica_version_allowed,
        verify_replication_filters: discovery.verify_replication_filters,
        reasonable_maintenance_lag_seconds: discovery.reasonable_maintenance_replication_lag_seconds,
        use_super_read_only: discovery.use_super_read_only,
        max_parallel: number(discovery.max_concurrent_replica_operations.max(1)),
        drain_limit_seconds: number(config.settings.worker.operation_drain_seconds),
        ..Policy::default()
    }
}

/// What planners of recoveries go by.
pub fn recovery_policy(config: &Configuration) -> RecoveryPolicy {
    let recovery = &config.settings.recovery;
    let drain = number(config.settings.worker.operation_drain_seconds);
    RecoveryPolicy {
        apply_promotion: recovery.apply_mysql_promotion_after_master_failover,
        prevent_cross_data_center: recovery.prevent_cross_data_center_master_failover,
        prevent_cross_region: recovery.prevent_cross_region_master_failover,
        fail_on_lag_seconds: recovery.fail_master_promotion_on_lag_minutes.saturating_mul(60),
        fail_if_sql_thread_not_up_to_date: recovery.fail_master_promotion_if_sql_thread_not_up_to_date,
        co_must_promote_other: recovery.co_master_recovery_must_promote_other_co_master,
        drain_limit_seconds: drain,
        catch_up_limit_seconds: drain,
        ..RecoveryPolicy::default()
    }
}

/// What the analysis goes by.
pub fn analysis_policy(config: &Configuration) -> AnalysisPolicy {
    let (discovery, detection) = (&config.settings.discovery, &config.settings.detection);
    let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let poll = seconds(discovery.instance_poll_seconds.max(1));
    AnalysisPolicy {
        poll_seconds: poll,
        check_seconds: seconds(discovery.reasonable_instance_check_seconds),
        lag_seconds: seconds(discovery.reasonable_replication_lag_seconds),
        locked_semi_sync_seconds: seconds(detection.reasonable_locked_semi_sync_master_seconds),
        enforce_exact_semi_sync: detection.enforce_exact_semi_sync_replicas,
        recover_non_writeable: detection.recover_non_writeable_master,
        stale_after_seconds: seconds(discovery.dead_instance_poll_seconds_max).max(poll).saturating_add(2 * poll),
    }
}

/// Those of these servers that nobody may promote (`PromotionIgnoreHostnameFilters`).
pub fn banned<'a>(config: &Configuration, members: impl IntoIterator<Item = &'a InstanceKey>) -> BTreeSet<InstanceKey> {
    let ignored = &config.patterns.promotion_ignore;
    members.into_iter().filter(|key| ignored.matches(&key.hostname, key.port)).cloned().collect()
}

fn number(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
