//! Section: automatic recovery and planned takeover.

use crate::key::section;

section! {
    /// Automatic recovery and planned takeover.
    pub struct Recovery in recovery, "Recovery";
    recovery_period_block_seconds: u64 = 3600 => "RecoveryPeriodBlockSeconds", NotYet("recovery"), Live,
        "For this long after a recovery that nobody acknowledged there is no further automatic one in the cluster.";
    recovery_period_block_minutes: u64 = 60 => "RecoveryPeriodBlockMinutes", NotYet("recovery"), Live,
        "Older form, used only where `RecoveryPeriodBlockSeconds` is 0.";
    max_concurrent: u64 = 50 => "RecoveryMaxConcurrent" (New), Effective, Live,
        "At most so many clusters are recovered automatically at once; others wait until one has ended. 0 = no limit.";
    recover_master_cluster_filters: Vec<String> = Vec::new() => "RecoverMasterClusterFilters", NotYet("recovery"), Live,
        "Clusters whose dead primary is replaced automatically.";
    recover_intermediate_master_cluster_filters: Vec<String> = Vec::new() => "RecoverIntermediateMasterClusterFilters", NotYet("recovery"), Live,
        "Clusters in which dead intermediate sources are replaced automatically.";
    recovery_ignore_hostname_filters: Vec<String> = Vec::new() => "RecoveryIgnoreHostnameFilters", NotYet("recovery"), Live,
        "Regular expressions on the host name, without port: matching servers are never analysed or recovered.";
    promotion_ignore_hostname_filters: Vec<String> = Vec::new() => "PromotionIgnoreHostnameFilters", NotYet("recovery"), Live,
        "Matching servers are never promoted.";
    co_master_recovery_must_promote_other_co_master: bool = true => "CoMasterRecoveryMustPromoteOtherCoMaster", NotYet("recovery"), Live,
        "For a dead co-primary promote only the other one.";
    detach_lost_replicas_after_master_failover: bool = false => "DetachLostReplicasAfterMasterFailover", NotYet("recovery"), Live,
        "Detach replicas that found no place under the new primary. On unless `DetachLostSlavesAfterMasterFailover` is false.";
    detach_lost_slaves_after_master_failover: bool = true => "DetachLostSlavesAfterMasterFailover", Synonym("DetachLostReplicasAfterMasterFailover"), Live,
        "Older name; true (its default) sets the new one.";
    apply_mysql_promotion_after_master_failover: bool = true => "ApplyMySQLPromotionAfterMasterFailover", NotYet("recovery"), Live,
        "Reset replication on the promoted server and make it writable.";
    prevent_cross_data_center_master_failover: bool = false => "PreventCrossDataCenterMasterFailover", NotYet("recovery"), Live,
        "Promote only within the data center of the failed primary.";
    prevent_cross_region_master_failover: bool = false => "PreventCrossRegionMasterFailover", NotYet("recovery"), Live,
        "Promote only within the region of the failed primary.";
    master_failover_detach_replica_master_host: bool = false => "MasterFailoverDetachReplicaMasterHost", NotYet("recovery"), Live,
        "Detach the source host on the promoted server; without meaning where `ApplyMySQLPromotionAfterMasterFailover` is on.";
    master_failover_detach_slave_master_host: bool = false => "MasterFailoverDetachSlaveMasterHost", Synonym("MasterFailoverDetachReplicaMasterHost"), Live,
        "Older name; true sets the new one.";
    master_failover_lost_instances_downtime_minutes: u64 = 0 => "MasterFailoverLostInstancesDowntimeMinutes", Unused("lost servers are always put in downtime for a year"), Live,
        "Downtime of servers lost in a failover.";
    fail_master_promotion_on_lag_minutes: u64 = 0 => "FailMasterPromotionOnLagMinutes", NotYet("recovery"), Live,
        "Refuse a candidate that lags at least this long; 0 = off. Needs `ReplicationLagQuery`.";
    fail_master_promotion_if_sql_thread_not_up_to_date: bool = false => "FailMasterPromotionIfSQLThreadNotUpToDate", NotYet("recovery"), Live,
        "Refuse a candidate that has not applied everything it received.";
    delay_master_promotion_if_sql_thread_not_up_to_date: bool = false => "DelayMasterPromotionIfSQLThreadNotUpToDate", NotYet("recovery"), Live,
        "Wait until it has. Excludes the key above.";
    postpone_replica_recovery_on_lag_minutes: u64 = 0 => "PostponeReplicaRecoveryOnLagMinutes", NotYet("recovery"), Live,
        "Replicas with a greater configured delay are moved only after the promotion; 0 = off.";
    postpone_slave_recovery_on_lag_minutes: u64 = 0 => "PostponeSlaveRecoveryOnLagMinutes", Synonym("PostponeReplicaRecoveryOnLagMinutes"), Live,
        "Older name; contradicting the new one is an error.";
}
