//! Moving replicas.

use super::{Command, Run, change};
use crate::own;
use crate::print;

/// Replies of operations on all replicas of an instance.
const IN_PLACE: &str = "this command takes no destination (-d): where the replicas go is given";

pub(super) const COMMANDS: &[Command] = &[
    change(
        "relocate",
        "relocate/{i}/{d}",
        print::moved,
        "Move a replica below another instance, by whatever method fits",
    ),
    change(
        "relocate-replicas",
        "relocate-replicas/{i}/{d}[?pattern={pattern}]",
        print::instances,
        "Move all or some replicas of an instance below another",
    ),
    change("move-up", "move-up/{i}", print::moved, "Move a replica one level up"),
    change(
        "move-up-replicas",
        "move-up-replicas/{i}[?pattern={pattern}]",
        print::instances,
        "Move the replicas of an instance one level up",
    )
    .alone(IN_PLACE),
    change("move-below", "move-below/{i}/{d}", print::moved, "Move a replica below its sibling"),
    change(
        "move-equivalent",
        "move-equivalent/{i}/{d}",
        print::moved,
        "Move a replica by a recorded equivalence of positions",
    ),
    change("move-gtid", "move-below-gtid/{i}/{d}", print::moved, "Move a replica below another instance by GTID"),
    Command {
        name: "move-replicas-gtid",
        summary: "Move replicas below another instance by GTID",
        run: Run::Own("-i INSTANCE -d DESTINATION [--pattern REGEX]", own::move_replicas_gtid),
    },
    change(
        "repoint",
        "repoint/{i}/{d}",
        print::moved,
        "Point a replica at another source without changing its position",
    ),
    change(
        "repoint-replicas",
        "repoint-replicas/{i}[?pattern={pattern}]",
        print::instances,
        "Point all replicas at their instance again",
    )
    .alone(IN_PLACE),
    change("take-master", "take-master/{i}", print::moved, "Swap a replica with its source"),
    change("take-siblings", "take-siblings/{i}", print::moved, "Move the siblings of a replica below it"),
    change("make-co-master", "make-co-master/{i}", print::moved, "Make the primary replicate from its replica, too"),
    change(
        "make-master",
        "make-master/{i}",
        print::instance,
        "Make a replica the source of its siblings and its source",
    ),
    change("make-local-master", "make-local-master/{i}", print::instance, "Make a replica the source of its siblings"),
    change(
        "regroup-replicas",
        "regroup-replicas/{i}",
        print::regrouped,
        "Make one replica of a lost source the source of the others",
    ),
    change(
        "regroup-replicas-gtid",
        "regroup-replicas-gtid/{i}",
        print::regrouped,
        "Regroup the replicas of a lost source by GTID",
    ),
    change(
        "regroup-replicas-bls",
        "regroup-replicas-bls/{i}",
        print::key,
        "Regroup the binlog servers below a lost source",
    ),
    change(
        "regroup-replicas-pgtid",
        "regroup-replicas-pgtid/{i}",
        print::regrouped,
        "Regroup the replicas of a lost source by Pseudo-GTID",
    ),
    change("match", "match/{i}/{d}", print::moved, "Match a replica below another instance by Pseudo-GTID"),
    change("match-up", "match-up/{i}", print::moved, "Match a replica one level up by Pseudo-GTID"),
    change(
        "match-replicas",
        "match-replicas/{i}/{d}[?pattern={pattern}]",
        print::instances_or_key,
        "Match replicas below another instance by Pseudo-GTID",
    ),
    change(
        "match-up-replicas",
        "match-up-replicas/{i}[?pattern={pattern}]",
        print::instances_or_key,
        "Match replicas one level up by Pseudo-GTID",
    )
    .alone(IN_PLACE),
];
