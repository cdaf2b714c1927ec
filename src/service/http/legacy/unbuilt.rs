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

const PSEUDO_GTID: &str = "Pseudo-GTID";
const BINLOG_SERVERS: &str = "binlog servers";
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
