//! Words of `orchestrator` that the API has no path for: they say so, instead of being called unknown.

use super::{Command, Run};

const fn missing(name: &'static str, instead: &'static str) -> Command {
    Command { name, summary: "Not offered over HTTP.", run: Run::Missing(instead) }
}

/// It needs the backend.
const THERE: &str = "Run it with orchestrator, where the backend can be reached";
const HERE: &str = "It concerns the machine it runs on: use orchestrator there";
const RECOVERY: &str = "Run it with orchestrator, or ask for -c api -P v2/recoveries/NUMBER; recoveries lists them";
const SINGLE_THREAD: &str = "Run it with orchestrator, or post it to /api/v2/operations";
const JOBS: &str = "Run it with orchestrator, or ask for -c api -P v2/jobs";

pub(super) const COMMANDS: &[Command] = &[
    missing("http", HERE),
    missing("worker", HERE),
    missing("migrate", THERE),
    missing("redeploy-internal-db", THERE),
    missing("sandbox", HERE),
    missing("config", HERE),
    missing("dump-config", HERE),
    missing("continuous", HERE),
    missing("access-token", THERE),
    missing("jobs", JOBS),
    missing("submit", "Use async-discover, or orchestrator submit"),
    missing("nodes", "Run it with orchestrator, or ask for -c api -P v2/nodes; active-nodes lists them"),
    missing("leadership", "Run it with orchestrator, or ask for -c api -P v2/leadership/terms"),
    missing("plan", "Run it with orchestrator, or use /api/v2/plans"),
    missing("instance-status", "It is the bracketed part of a line of topology"),
    missing("recovery", RECOVERY),
    missing("explain", "Run it with orchestrator, or ask for -c api -P v2/clusters/CLUSTER/explain"),
    missing("operations", "Run it with orchestrator, or ask for -c api -P v2/operations"),
    missing("start-replica-io-thread", SINGLE_THREAD),
    missing("stop-replica-io-thread", SINGLE_THREAD),
    missing("start-replica-sql-thread", SINGLE_THREAD),
    missing("stop-replica-sql-thread", SINGLE_THREAD),
    missing("ack-recovery", "Use ack-cluster-recoveries, or ask for -c api -P 'ack-recovery/NUMBER?comment=WHY'"),
    missing("get-cluster-heuristic-lag", THERE),
    missing("which-cluster-gh-ost-replicas", THERE),
    missing("which-heuristic-domain-instance", THERE),
    missing("set-heuristic-domain-instance", THERE),
    missing("show-unresolve-hosts", THERE),
    missing("get-candidate-replica", THERE),
    missing("internal-suggest-promoted-replacement", THERE),
    missing("rematch", "Use match-up"),
    missing("master-pos-wait", THERE),
    missing("custom-command", HERE),
    missing("last-executed-relay-entry", THERE),
    missing("correlate-relaylog-pos", THERE),
    missing("find-binlog-entry", THERE),
    missing("correlate-binlog-pos", THERE),
];
