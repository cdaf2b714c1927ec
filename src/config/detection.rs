//! Section: noticing failures.

use std::collections::BTreeMap;

use crate::key::section;

section! {
    /// Noticing failures.
    pub struct Detection in detection, "Failure detection";
    failure_detection_period_block_minutes: u64 = 60 => "FailureDetectionPeriodBlockMinutes", Effective, Live,
        "For this long the same detection on the same server is not registered again.";
    reduce_replication_analysis_count: bool = true => "ReduceReplicationAnalysisCount", Unused("analyses list servers with a problem or a warning, whatever it says"), Live,
        "List only servers where something could be wrong.";
    recover_non_writeable_master: bool = false => "RecoverNonWriteableMaster", Effective, Live,
        "Treat a read-only primary as a failure and make it writable.";
    enforce_exact_semi_sync_replicas: bool = false => "EnforceExactSemiSyncReplicas", Effective, Live,
        "Keep exactly the wanted number of semi-sync replicas, in order of priority.";
    recover_locked_semi_sync_master: bool = false => "RecoverLockedSemiSyncMaster", Effective, Live,
        "Unblock a primary that waits for semi-sync by enabling it on replicas.";
    reasonable_locked_semi_sync_master_seconds: u64 = 0 => "ReasonableLockedSemiSyncMasterSeconds", Effective, Live,
        "How long that must last before it is reported; 0 = `ReasonableReplicationLagSeconds`.";
    failure_confirmation_seconds: u64 = 0 => "FailureConfirmationSeconds" (New), Effective, Live,
        "A failure must have been seen for so long before a recovery begins. 0: as soon as the evidence is complete, which takes fresh answers of the primary and of every replica in any case.";
    failure_confirmation_seconds_by_cluster: BTreeMap<String, String> = BTreeMap::new() => "FailureConfirmationSecondsByCluster" (New), Effective, Live,
        "The same for single clusters: from a filter, written as in `RecoverMasterClusterFilters`, to seconds. The first that matches, in alphabetical order with `*` last, decides.";
    restart_receivers_of_unreachable: bool = true => "RestartReceiversOfUnreachable" (New), Effective, Live,
        "A source that gives no answer while replicas still seem to hear it: once these got nothing for longer than their heartbeats take, restart the receivers, so that they connect anew and notice at once whether it is there. Only where a recovery would follow.";
    expect_failure_analysis_concensus: bool = true => "ExpectFailureAnalysisConcensus", Unused("the leader alone analyses, on facts shared through the backend"), Live,
        "Agreement of raft nodes on a failure (spelt like this).";
}
