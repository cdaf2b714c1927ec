//! Section: automatic recovery and planned takeover.

use crate::key::section;

section! {
    /// Automatic recovery and planned takeover.
    pub struct Recovery in recovery, "Recovery";
    recovery_period_block_seconds: u64 = 3600 => "RecoveryPeriodBlockSeconds", Effective, Live,
        "For this long after a recovery that nobody acknowledged there is no further automatic one in the cluster.";
    recovery_period_block_minutes: u64 = 60 => "RecoveryPeriodBlockMinutes", Synonym("RecoveryPeriodBlockSeconds"), Live,
        "Older form, used only where `RecoveryPeriodBlockSeconds` is 0.";
    max_concurrent: u64 = 50 => "RecoveryMaxConcurrent" (New), Effective, Live,
        "At most so many clusters are recovered automatically at once; others wait until one has ended. 0 = no limit.";
    recover_master_cluster_filters: Vec<String> = Vec::new() => "RecoverMasterClusterFilters", Effective, Live,
        "Clusters whose dead primary is replaced automatically, and which are made writable or given semi-sync replicas where that is on. Each entry is a cluster's name or alias, `alias=TEXT`, `alias~=REGEX`, `*` for all, or a regular expression on the name (never on the alias). Empty: none.";
    recover_intermediate_master_cluster_filters: Vec<String> = Vec::new() => "RecoverIntermediateMasterClusterFilters", Effective, Live,
        "Clusters in which dead intermediate sources are replaced automatically; entries as above.";
    recovery_ignore_hostname_filters: Vec<String> = Vec::new() => "RecoveryIgnoreHostnameFilters", Effective, Live,
        "Regular expressions on the host name, without port: matching servers are left out of lists of analyses, and never recovered.";
    promotion_ignore_hostname_filters: Vec<String> = Vec::new() => "PromotionIgnoreHostnameFilters", Effective, Live,
        "Matching servers are never promoted.";
    co_master_recovery_must_promote_other_co_master: bool = true => "CoMasterRecoveryMustPromoteOtherCoMaster", Effective, Live,
        "For a dead co-primary promote only the other one.";
    detach_lost_replicas_after_master_failover: bool = false => "DetachLostReplicasAfterMasterFailover", Effective, Live,
        "Detach replicas that found no place under the new primary. On unless `DetachLostSlavesAfterMasterFailover` is false.";
    detach_lost_slaves_after_master_failover: bool = true => "DetachLostSlavesAfterMasterFailover", Synonym("DetachLostReplicasAfterMasterFailover"), Live,
        "Older name; true (its default) sets the new one.";
    apply_mysql_promotion_after_master_failover: bool = true => "ApplyMySQLPromotionAfterMasterFailover", Effective, Live,
        "Reset replication on the promoted server and make it writable.";
    prevent_cross_data_center_master_failover: bool = false => "PreventCrossDataCenterMasterFailover", Effective, Live,
        "Promote only within the data center of the failed primary.";
    prevent_cross_region_master_failover: bool = false => "PreventCrossRegionMasterFailover", Effective, Live,
        "Promote only within the region of the failed primary.";
    master_failover_detach_replica_master_host: bool = false => "MasterFailoverDetachReplicaMasterHost", Effective, Live,
        "Detach the source host on the promoted server; without meaning where `ApplyMySQLPromotionAfterMasterFailover` is on.";
    master_failover_detach_slave_master_host: bool = false => "MasterFailoverDetachSlaveMasterHost", Synonym("MasterFailoverDetachReplicaMasterHost"), Live,
        "Older name; true sets the new one.";
    master_failover_lost_instances_downtime_minutes: u64 = 0 => "MasterFailoverLostInstancesDowntimeMinutes", Unused("lost servers are always put in downtime for a year"), Live,
        "Downtime of servers lost in a failover.";
    fail_master_promotion_on_lag_minutes: u64 = 0 => "FailMasterPromotionOnLagMinutes", Effective, Live,
        "Refuse a candidate that lags at least this long; 0 = off. Needs `ReplicationLagQuery`.";
    fail_master_promotion_if_sql_thread_not_up_to_date: bool = false => "FailMasterPromotionIfSQLThreadNotUpToDate", Effective, Live,
        "Refuse a candidate that has not applied everything it received.";
    delay_master_promotion_if_sql_thread_not_up_to_date: bool = false => "DelayMasterPromotionIfSQLThreadNotUpToDate", Unused("a candidate applies all it has received before it is opened for writes, whatever this says"), Live,
        "Wait until it has. Excludes the key above.";
    postpone_replica_recovery_on_lag_minutes: u64 = 0 => "PostponeReplicaRecoveryOnLagMinutes", Unused("all replicas are moved after the promotion, side by side"), Live,
        "Replicas with a greater configured delay are moved only after the promotion; 0 = off.";
    rejoin_former_primary: Vec<String> = Vec::new() => "RejoinFormerPrimary" (New), Effective, Live,
        "Clusters whose replaced primary becomes a replica again when it comes back and has nothing that the cluster lacks; in others it is only closed and shown.";
    postpone_slave_recovery_on_lag_minutes: u64 = 0 => "PostponeSlaveRecoveryOnLagMinutes", Synonym("PostponeReplicaRecoveryOnLagMinutes"), Live,
        "Older name; contradicting the new one is an error.";
}
