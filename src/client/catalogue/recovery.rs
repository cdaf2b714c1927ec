//! Failure detection and recovery.

use super::{Command, change, read};
use crate::print;

pub(super) const COMMANDS: &[Command] = &[
    read("replication-analysis", "replication-analysis", print::analyses, "List what is wrong, and where"),
    read(
        "recoveries",
        "audit-recovery",
        print::recoveries,
        "List the latest recoveries: number, time, code, failed, successor",
    ),
    read(
        "detections",
        "audit-failure-detection",
        print::recoveries,
        "List the latest detected failures, in the same way",
    ),
    read(
        "blocked-recoveries",
        "blocked-recoveries",
        print::blocked,
        "List recoveries that are held back at the moment",
    ),
    change("recover", "recover/{i}[/{d}]", print::key, "Recover from the failure of an instance"),
    change("recover-lite", "recover-lite/{i}[/{d}]", print::key, "The same without hooks"),
    change(
        "graceful-master-takeover",
        "graceful-master-takeover/{hint}[/{d}]",
        print::successor,
        "Promote another primary, in order",
    ),
    change(
        "graceful-master-takeover-auto",
        "graceful-master-takeover-auto/{hint}[/{d}]",
        print::successor,
        "The same, and start replication on the old primary",
    ),
    change(
        "force-master-failover",
        "force-master-failover/{hint}",
        print::successor,
        "Fail over though nothing is found",
    ),
    change(
        "force-master-takeover",
        "force-master-takeover/{hint}/{d}",
        print::successor,
        "Promote this very instance, at once",
    ),
    change(
        "ack-cluster-recoveries",
        "ack-recovery/cluster/{hint}?comment={reason}",
        print::text,
        "Acknowledge the recoveries of a cluster",
    ),
    change(
        "ack-instance-recoveries",
        "ack-recovery/instance/{i}?comment={reason}",
        print::key,
        "Acknowledge the recoveries of a failed instance",
    ),
    change("ack-all-recoveries", "ack-all-recoveries?comment={reason}", print::text, "Acknowledge all recoveries"),
    change("disable-global-recoveries", "disable-global-recoveries", print::text, "Let nothing be recovered by itself"),
    change("enable-global-recoveries", "enable-global-recoveries", print::text, "Let failures be recovered again"),
    read("check-global-recoveries", "check-global-recoveries", print::text, "Print enabled or disabled"),
];
