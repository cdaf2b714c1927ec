//! Paths of the original whose features are not built yet: they answer so, after the same checks as they will need.
//! A row leaves this table when its feature arrives.

use super::Access;

/// A path without a feature behind it.
#[derive(Debug)]
pub(super) struct Unbuilt {
    pub(super) pattern: &'static str,
    pub(super) access: Access,
    pub(super) feature: &'static str,
}

const DETECTION: &str = "failure detection";
const RECOVERY: &str = "recovery";
const PSEUDO_GTID: &str = "Pseudo-GTID";
const BINLOG_SERVERS: &str = "binlog servers";
const CREDENTIALS: &str = "change of replication credentials";
const STORES: &str = "key-value stores";
/// Not planned as such: the same and more is in the metrics.
const FIGURES: &str = "figures of this kind; see /metrics";

const fn reads(pattern: &'static str, feature: &'static str) -> Unbuilt {
    Unbuilt { pattern, access: Access::Read, feature }
}

const fn reads_guarded(pattern: &'static str, feature: &'static str) -> Unbuilt {
    Unbuilt { pattern, access: Access::GuardedRead, feature }
}

const fn changes(pattern: &'static str, feature: &'static str) -> Unbuilt {
    Unbuilt { pattern, access: Access::Write, feature }
}

pub(super) const PATHS: &[Unbuilt] = &[
    reads("audit-failure-detection", DETECTION),
    reads("audit-failure-detection/:page", DETECTION),
    reads("audit-failure-detection/id/:id", DETECTION),
    reads("audit-failure-detection/alias/:clusterAlias", DETECTION),
    reads("audit-failure-detection/alias/:clusterAlias/:page", DETECTION),
    changes("ack-all-recoveries", RECOVERY),
    changes("ack-recovery/cluster/:clusterHint", RECOVERY),
    changes("ack-recovery/cluster/alias/:clusterAlias", RECOVERY),
    changes("ack-recovery/instance/:host/:port", RECOVERY),
    changes("ack-recovery/:recoveryId", RECOVERY),
    changes("ack-recovery/uid/:uid", RECOVERY),
    changes("disable-global-recoveries", RECOVERY),
    changes("enable-global-recoveries", RECOVERY),
    changes("force-master-failover/:host/:port", RECOVERY),
    changes("force-master-failover/:clusterHint", RECOVERY),
    changes("force-master-takeover/:clusterHint/:designatedHost/:designatedPort", RECOVERY),
    changes("force-master-takeover/:host/:port/:designatedHost/:designatedPort", RECOVERY),
    changes("graceful-master-takeover/:host/:port", RECOVERY),
    changes("graceful-master-takeover/:host/:port/:designatedHost/:designatedPort", RECOVERY),
    changes("graceful-master-takeover/:clusterHint", RECOVERY),
    changes("graceful-master-takeover/:clusterHint/:designatedHost/:designatedPort", RECOVERY),
    changes("graceful-master-takeover-auto/:host/:port", RECOVERY),
    changes("graceful-master-takeover-auto/:host/:port/:designatedHost/:designatedPort", RECOVERY),
    changes("graceful-master-takeover-auto/:clusterHint", RECOVERY),
    changes("graceful-master-takeover-auto/:clusterHint/:designatedHost/:designatedPort", RECOVERY),
    changes("recover/:host/:port", RECOVERY),
    changes("recover/:host/:port/:candidateHost/:candidatePort", RECOVERY),
    changes("recover-lite/:host/:port", RECOVERY),
    changes("recover-lite/:host/:port/:candidateHost/:candidatePort", RECOVERY),
    reads("active-cluster-recovery/:clusterName", RECOVERY),
    reads("audit-recovery", RECOVERY),
    reads("audit-recovery/:page", RECOVERY),
    reads("audit-recovery/id/:id", RECOVERY),
    reads("audit-recovery/uid/:uid", RECOVERY),
    reads("audit-recovery/cluster/:clusterName", RECOVERY),
    reads("audit-recovery/cluster/:clusterName/:page", RECOVERY),
    reads("audit-recovery/alias/:clusterAlias", RECOVERY),
    reads("audit-recovery/alias/:clusterAlias/:page", RECOVERY),
    reads("audit-recovery-steps/:uid", RECOVERY),
    reads("blocked-recoveries", RECOVERY),
    reads("blocked-recoveries/cluster/:clusterName", RECOVERY),
    reads("check-global-recoveries", RECOVERY),
    reads("recently-active-cluster-recovery/:clusterName", RECOVERY),
    reads("recently-active-instance-recovery/:host/:port", RECOVERY),
    changes("change-master-credentials/:host/:port", CREDENTIALS),
    changes("match/:host/:port/:belowHost/:belowPort", PSEUDO_GTID),
    changes("match-below/:host/:port/:belowHost/:belowPort", PSEUDO_GTID),
    changes("match-slaves/:host/:port/:belowHost/:belowPort", PSEUDO_GTID),
    changes("match-replicas/:host/:port/:belowHost/:belowPort", PSEUDO_GTID),
    changes("match-up/:host/:port", PSEUDO_GTID),
    changes("match-up-slaves/:host/:port", PSEUDO_GTID),
    changes("match-up-replicas/:host/:port", PSEUDO_GTID),
    changes("regroup-slaves-bls/:host/:port", BINLOG_SERVERS),
    changes("regroup-replicas-bls/:host/:port", BINLOG_SERVERS),
    changes("regroup-slaves-pgtid/:host/:port", PSEUDO_GTID),
    changes("regroup-replicas-pgtid/:host/:port", PSEUDO_GTID),
    reads_guarded("last-pseudo-gtid/:host/:port", PSEUDO_GTID),
    changes("submit-masters-to-kv-stores", STORES),
    changes("submit-masters-to-kv-stores/:clusterHint", STORES),
    reads("backend-query-metrics-aggregated/:seconds", FIGURES),
    reads("backend-query-metrics-raw/:seconds", FIGURES),
    reads("discovery-metrics-aggregated/:seconds", FIGURES),
    reads("discovery-metrics-raw/:seconds", FIGURES),
    reads("discovery-queue-metrics-aggregated/:seconds", FIGURES),
    reads("discovery-queue-metrics-aggregated/:queue/:seconds", FIGURES),
    reads("discovery-queue-metrics-raw/:seconds", FIGURES),
    reads("discovery-queue-metrics-raw/:queue/:seconds", FIGURES),
    reads("write-buffer-metrics-aggregated/:seconds", FIGURES),
    reads("write-buffer-metrics-raw/:seconds", FIGURES),
];
