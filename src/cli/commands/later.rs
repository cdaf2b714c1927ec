//! Commands that are known but wait for their stage: they say so, instead of being called unknown.

use crate::catalogue::{Command, Run};

pub(super) const fn later(section: &'static str, name: &'static str, summary: &'static str) -> Command {
    Command { name, section, summary, help: "", run: Run::Later }
}

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
];

pub(crate) const OTHER: &[Command] = &[
    later("Meta", "continuous", "Run discovery in the foreground; see http and worker"),
    later("Internal", "internal-suggest-promoted-replacement", "Print which instance is to replace a promoted one"),
    later("Agent", "custom-command", "Run a command on an agent"),
];
