//! Commands that are known but wait for their stage: they say so, instead of being called unknown.

use crate::catalogue::{Command, Run};

const fn later(section: &'static str, name: &'static str, summary: &'static str) -> Command {
    Command { name, section, summary, help: "", run: Run::Later }
}

const SMART: &str = "Smart relocation";
const CLASSIC: &str = "Classic file:pos relocation";
const BINLOG_SERVER: &str = "Binlog server relocation";
const GTID: &str = "GTID relocation";
const PSEUDO_GTID: &str = "Pseudo-GTID relocation";

pub(crate) const RELOCATION: &[Command] = &[
    later(SMART, "relocate", "Move a replica below another instance, by whatever method fits"),
    later(SMART, "relocate-below", "The older name of relocate"),
    later(SMART, "relocate-replicas", "Move all or some replicas of an instance below another"),
    later(SMART, "take-siblings", "Move the siblings of a replica below it"),
    later(SMART, "regroup-replicas", "Make one replica of a lost source the source of the others"),
    later(CLASSIC, "move-up", "Move a replica one level up"),
    later(CLASSIC, "move-up-replicas", "Move the replicas of an instance one level up"),
    later(CLASSIC, "move-below", "Move a replica below its sibling"),
    later(CLASSIC, "move-equivalent", "Move a replica by a recorded equivalence of positions"),
    later(CLASSIC, "repoint", "Point a replica at another source without changing its position"),
    later(CLASSIC, "repoint-replicas", "Point all replicas at their instance again"),
    later(CLASSIC, "take-master", "Swap a replica with its source"),
    later(CLASSIC, "make-co-master", "Make the primary replicate from its replica, too"),
    later(CLASSIC, "get-candidate-replica", "Print the replica best suited for promotion"),
    later(BINLOG_SERVER, "regroup-replicas-bls", "Regroup the binlog servers below a lost source"),
    later(GTID, "move-gtid", "Move a replica below another instance by GTID"),
    later(GTID, "move-replicas-gtid", "Move replicas below another instance by GTID"),
    later(GTID, "regroup-replicas-gtid", "Regroup the replicas of a lost source by GTID"),
    later(GTID, "can-replicate-from-gtid", "Can an instance replicate from another by GTID?"),
    later(PSEUDO_GTID, "match", "Match a replica below another instance by Pseudo-GTID"),
    later(PSEUDO_GTID, "match-up", "Match a replica one level up by Pseudo-GTID"),
    later(PSEUDO_GTID, "rematch", "Match a replica below its source again by Pseudo-GTID"),
    later(PSEUDO_GTID, "match-replicas", "Match replicas below another instance by Pseudo-GTID"),
    later(PSEUDO_GTID, "match-up-replicas", "Match replicas one level up by Pseudo-GTID"),
    later(PSEUDO_GTID, "regroup-replicas-pgtid", "Regroup the replicas of a lost source by Pseudo-GTID"),
];

const GENERAL: &str = "Replication, general";

pub(crate) const REPLICATION: &[Command] = &[
    later(GENERAL, "enable-gtid", "Make a replica use GTID"),
    later(GENERAL, "disable-gtid", "Make a replica use file and position"),
    later(GENERAL, "which-gtid-errant", "Print the errant GTID set of a replica"),
    later(GENERAL, "gtid-errant-reset-master", "Remove errant GTIDs by resetting the binary logs"),
    later(GENERAL, "gtid-errant-inject-empty", "Make errant GTIDs harmless by empty transactions on the primary"),
    later(GENERAL, "skip-query", "Skip the statement that broke replication"),
    later(GENERAL, "stop-replica", "Stop replication"),
    later(GENERAL, "stop-replica-nice", "Stop replication when the applier has caught up"),
    later(GENERAL, "start-replica", "Start replication"),
    later(GENERAL, "restart-replica", "Stop and start replication"),
    later(GENERAL, "reset-replica", "Make a replica forget its source"),
    later(GENERAL, "delay-replication", "Set the delay of a replica"),
    later(GENERAL, "change-master-credentials", "Renew the replication user of a replica"),
    later(GENERAL, "detach-replica-master-host", "Stop replication and make the source's name unusable, reversibly"),
    later(GENERAL, "reattach-replica-master-host", "Undo detach-replica-master-host"),
    later(GENERAL, "master-pos-wait", "Wait until a replica has applied up to a position"),
    later(GENERAL, "enable-semi-sync-master", "Enable the semi-sync source side"),
    later(GENERAL, "disable-semi-sync-master", "Disable the semi-sync source side"),
    later(GENERAL, "enable-semi-sync-replica", "Enable the semi-sync replica side"),
    later(GENERAL, "disable-semi-sync-replica", "Disable the semi-sync replica side"),
    later(GENERAL, "restart-replica-statements", "Print the statements that restart replication"),
];

const ON_INSTANCE: &str = "Instance";
const BINARY_LOGS: &str = "Binary logs";

pub(crate) const INSTANCE: &[Command] = &[
    later(ON_INSTANCE, "set-read-only", "Make an instance read-only"),
    later(ON_INSTANCE, "set-writeable", "Make an instance writable"),
    later(BINARY_LOGS, "flush-binary-logs", "Begin a new binary log"),
    later(BINARY_LOGS, "purge-binary-logs", "Remove old binary logs"),
    later(BINARY_LOGS, "last-pseudo-gtid", "Find the last Pseudo-GTID entry"),
    later(BINARY_LOGS, "locate-gtid-errant", "List the binary logs with errant GTIDs"),
    later(BINARY_LOGS, "last-executed-relay-entry", "Find the last relay log entry that was applied"),
    later(BINARY_LOGS, "correlate-relaylog-pos", "Find the place in a sibling's relay log"),
    later(BINARY_LOGS, "find-binlog-entry", "Find an entry in the binary logs by its text"),
    later(BINARY_LOGS, "correlate-binlog-pos", "Find the place in another instance's binary log"),
];

pub(crate) const KEY_VALUE: &[Command] = &[
    later("Key-value", "submit-masters-to-kv-stores", "Publish the primaries in the key-value stores"),
    later("Instance, meta", "set-heuristic-domain-instance", "Record the primary for the cluster's domain name"),
];

const ON_RECOVERY: &str = "Recovery";

pub(crate) const RECOVERY: &[Command] = &[
    later(ON_RECOVERY, "recover", "Recover from the failure of an instance"),
    later(ON_RECOVERY, "recover-lite", "Recover without external hooks"),
    later(ON_RECOVERY, "force-master-failover", "Fail over, whatever the state of the primary"),
    later(ON_RECOVERY, "force-master-takeover", "Fail over to a given replica, whatever the state of the primary"),
    later(ON_RECOVERY, "graceful-master-takeover", "Replace a healthy primary by a replica"),
    later(ON_RECOVERY, "graceful-master-takeover-auto", "The same, and let the old primary replicate"),
    later(ON_RECOVERY, "replication-analysis", "List what is wrong with replication"),
    later(ON_RECOVERY, "ack-all-recoveries", "Acknowledge all recoveries"),
    later(ON_RECOVERY, "ack-cluster-recoveries", "Acknowledge the recoveries of a cluster"),
    later(ON_RECOVERY, "ack-instance-recoveries", "Acknowledge the recoveries of an instance"),
    later("", "disable-global-recoveries", "Recover nothing by itself, anywhere"),
    later("", "enable-global-recoveries", "Undo disable-global-recoveries"),
    later("", "check-global-recoveries", "Are recoveries disabled everywhere?"),
    later(ON_RECOVERY, "explain", "Tell why a cluster would or would not fail over now"),
    later(ON_RECOVERY, "plan", "Print the steps of an operation without doing them"),
];

pub(crate) const OTHER: &[Command] = &[
    later("Meta", "continuous", "Run discovery in the foreground; see http and worker"),
    later("Internal", "internal-suggest-promoted-replacement", "Print which instance is to replace a promoted one"),
    later("Agent", "custom-command", "Run a command on an agent"),
];
