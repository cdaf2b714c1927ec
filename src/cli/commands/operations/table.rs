//! The words of operations, and of questions about single servers, in the sections of the original.

use super::{CANDIDATE, Prints, operation};
use crate::catalogue::{Command, Run};
use crate::commands::{inspections, later::later};

const SMART: &str = "Smart relocation";
const CLASSIC: &str = "Classic file:pos relocation";
const BINLOG_SERVER: &str = "Binlog server relocation";
const GTID: &str = "GTID relocation";
const PSEUDO_GTID: &str = "Pseudo-GTID relocation";
const ROLES: &str = "Roles";

pub(crate) const RELOCATION: &[Command] = &[
    operation(
        SMART,
        "relocate",
        Prints::BelowDestination,
        "Move a replica below another instance, by whatever method fits",
    ),
    operation(SMART, "relocate-below", Prints::BelowDestination, "The older name of relocate"),
    operation(SMART, "relocate-replicas", Prints::List, "Move all or some replicas of an instance below another"),
    operation(SMART, "take-siblings", Prints::Key, "Move the siblings of a replica below it"),
    operation(
        SMART,
        "regroup-replicas",
        Prints::Regrouped,
        "Make one replica of a lost source the source of the others",
    ),
    operation(CLASSIC, "move-up", Prints::BelowSource, "Move a replica one level up"),
    operation(CLASSIC, "move-up-replicas", Prints::List, "Move the replicas of an instance one level up"),
    operation(CLASSIC, "move-below", Prints::BelowDestination, "Move a replica below its sibling"),
    operation(
        CLASSIC,
        "move-equivalent",
        Prints::BelowDestination,
        "Move a replica by a recorded equivalence of positions",
    ),
    operation(
        CLASSIC,
        "repoint",
        Prints::BelowSource,
        "Point a replica at another source without changing its position",
    ),
    operation(CLASSIC, "repoint-replicas", Prints::EachBelowInstance, "Point all replicas at their instance again"),
    operation(CLASSIC, "take-master", Prints::Key, "Swap a replica with its source"),
    operation(CLASSIC, "make-co-master", Prints::Key, "Make the primary replicate from its replica, too"),
    CANDIDATE,
    later(BINLOG_SERVER, "regroup-replicas-bls", "Regroup the binlog servers below a lost source"),
    operation(GTID, "move-gtid", Prints::BelowDestination, "Move a replica below another instance by GTID"),
    operation(GTID, "move-replicas-gtid", Prints::List, "Move replicas below another instance by GTID"),
    operation(GTID, "regroup-replicas-gtid", Prints::Regrouped, "Regroup the replicas of a lost source by GTID"),
    Command {
        name: "can-replicate-from-gtid",
        section: GTID,
        summary: "Can an instance replicate from another by GTID?",
        help: "can-replicate-from-gtid -i INSTANCE -d OTHER\n\n\
               As can-replicate-from, and both use the same kind of GTID, and OTHER still has what INSTANCE lacks.",
        run: Run::Each(|session| Box::pin(inspections::can_replicate_by_gtid(session))),
    },
    later(PSEUDO_GTID, "match", "Match a replica below another instance by Pseudo-GTID"),
    later(PSEUDO_GTID, "match-up", "Match a replica one level up by Pseudo-GTID"),
    later(PSEUDO_GTID, "rematch", "Match a replica below its source again by Pseudo-GTID"),
    later(PSEUDO_GTID, "match-replicas", "Match replicas below another instance by Pseudo-GTID"),
    later(PSEUDO_GTID, "match-up-replicas", "Match replicas one level up by Pseudo-GTID"),
    later(PSEUDO_GTID, "regroup-replicas-pgtid", "Regroup the replicas of a lost source by Pseudo-GTID"),
    operation(ROLES, "make-master", Prints::Key, "Make a replica of a lost primary the primary of its siblings"),
    operation(ROLES, "make-local-master", Prints::Key, "Make a replica the source of its siblings, one level up"),
];

const GENERAL: &str = "Replication, general";

pub(crate) const REPLICATION: &[Command] = &[
    operation(GENERAL, "enable-gtid", Prints::Key, "Make a replica use GTID"),
    operation(GENERAL, "disable-gtid", Prints::Key, "Make a replica use file and position"),
    inspections::ERRANT,
    operation(GENERAL, "gtid-errant-reset-master", Prints::Key, "Remove errant GTIDs by resetting the binary logs"),
    operation(
        GENERAL,
        "gtid-errant-inject-empty",
        Prints::Key,
        "Make errant GTIDs harmless by empty transactions on the primary",
    ),
    operation(GENERAL, "skip-query", Prints::Key, "Skip the statement that broke replication"),
    operation(GENERAL, "stop-replica", Prints::Key, "Stop replication"),
    operation(GENERAL, "stop-replica-nice", Prints::Key, "Stop replication when the applier has caught up"),
    operation(GENERAL, "start-replica", Prints::Key, "Start replication"),
    operation(GENERAL, "restart-replica", Prints::Key, "Stop and start replication"),
    operation(GENERAL, "stop-replica-io-thread", Prints::Key, "Stop receiving"),
    operation(GENERAL, "start-replica-io-thread", Prints::Key, "Start receiving"),
    operation(GENERAL, "stop-replica-sql-thread", Prints::Key, "Stop applying"),
    operation(GENERAL, "start-replica-sql-thread", Prints::Key, "Start applying"),
    operation(GENERAL, "reset-replica", Prints::Key, "Make a replica forget its source"),
    operation(GENERAL, "delay-replication", Prints::Key, "Set the delay of a replica, in --seconds"),
    operation(
        GENERAL,
        "change-master-credentials",
        Prints::Key,
        "Give a stopped replica the user and password of ReplicationCredentialsQuery",
    ),
    operation(
        GENERAL,
        "detach-replica-master-host",
        Prints::Key,
        "Stop replication and make the source's name unusable, reversibly",
    ),
    operation(GENERAL, "reattach-replica-master-host", Prints::Key, "Undo detach-replica-master-host"),
    inspections::WAIT,
    operation(GENERAL, "enable-semi-sync-master", Prints::Key, "Enable the semi-sync source side"),
    operation(GENERAL, "disable-semi-sync-master", Prints::Key, "Disable the semi-sync source side"),
    operation(GENERAL, "enable-semi-sync-replica", Prints::Key, "Enable the semi-sync replica side"),
    operation(GENERAL, "disable-semi-sync-replica", Prints::Key, "Disable the semi-sync replica side"),
    inspections::STATEMENTS,
];

const ON_INSTANCE: &str = "Instance";
const BINARY_LOGS: &str = "Binary logs";

pub(crate) const INSTANCE: &[Command] = &[
    operation(ON_INSTANCE, "set-read-only", Prints::Key, "Make an instance read-only"),
    operation(ON_INSTANCE, "set-writeable", Prints::Key, "Make an instance writable"),
    operation(ON_INSTANCE, "kill-query", Prints::Key, "End the statement of a connection, --process"),
    operation(
        BINARY_LOGS,
        "flush-binary-logs",
        Prints::Key,
        "Begin a new binary log; with --binlog, until that one is reached",
    ),
    operation(BINARY_LOGS, "purge-binary-logs", Prints::Key, "Remove the binary logs before --binlog"),
    later(BINARY_LOGS, "last-pseudo-gtid", "Find the last Pseudo-GTID entry"),
    inspections::LOCATE,
    later(BINARY_LOGS, "last-executed-relay-entry", "Find the last relay log entry that was applied"),
    later(BINARY_LOGS, "correlate-relaylog-pos", "Find the place in a sibling's relay log"),
    later(BINARY_LOGS, "find-binlog-entry", "Find an entry in the binary logs by its text"),
    later(BINARY_LOGS, "correlate-binlog-pos", "Find the place in another instance's binary log"),
];
