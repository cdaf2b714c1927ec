//! What people tell about instances.

use super::{Command, Run, change, read};
use crate::own;
use crate::print;

pub(super) const COMMANDS: &[Command] = &[
    change("discover", "discover/{i}", print::instance, "Look at an instance now, and know it from now on"),
    Command {
        name: "async-discover",
        summary: "Ask for an instance to be looked at, without waiting",
        run: Run::Own("-i INSTANCE", own::async_discover),
    },
    change("forget", "forget/{i}", print::nothing, "Forget an instance"),
    change("forget-cluster", "forget-cluster/{hint}", print::nothing, "Forget all instances of a cluster"),
    read("resolve", "resolve/{i}", print::key, "Resolve a host name, and see whether something listens there"),
    read("tags", "tags/{i}", print::texts, "List the tags of an instance: name=value"),
    read("tag-value", "tag-value/{i}?tag={tag}", print::text, "Print the value of a tag of an instance"),
    change("tag", "tag/{i}?tag={tag}", print::key, "Put a tag on an instance"),
    change("untag", "untag/{i}?tag={tag}", print::keys, "Remove a tag from an instance"),
    change("untag-all", "untag-all?tag={tag}", print::keys, "Remove a tag with a value from all instances"),
    read("tagged", "tagged?tag={tag}", print::keys, "List instances by their tags"),
    change(
        "submit-pool-instances",
        "submit-pool-instances/{pool}?instances={instances}",
        print::text,
        "Set the members of a pool",
    ),
    read(
        "cluster-pool-instances",
        "cluster-pool-instances/{hint}[/{pool}]",
        print::pools,
        "List the members of the pools of a cluster, by its name",
    ),
    read(
        "which-heuristic-cluster-pool-instances",
        "heuristic-cluster-pool-instances/{hint}[/{pool}]",
        print::instances,
        "List the pooled instances of a cluster that answer",
    ),
    change(
        "begin-downtime",
        "begin-downtime/{i}/{owner}/{reason}/{duration}",
        print::key,
        "Silence an instance: no recovery, no problems shown",
    )
    .or("begin-downtime/{i}?owner={owner}&reason={reason}&duration={duration}"),
    change("end-downtime", "end-downtime/{i}", print::key, "End the downtime of an instance"),
    change(
        "begin-maintenance",
        "begin-maintenance/{i}/{owner}/{reason}",
        print::key,
        "Lock an instance against operations, for ten minutes",
    )
    .or("begin-maintenance/{i}?owner={owner}&reason={reason}"),
    change("end-maintenance", "end-maintenance/{i}", print::key, "Unlock an instance"),
    read("in-maintenance", "in-maintenance/{i}", print::text_if_any, "Print an instance if it is in maintenance"),
    change(
        "register-candidate",
        "register-candidate/{i}/{promotion-rule}",
        print::key,
        "Say how willingly an instance is to be promoted",
    ),
    read("bulk-promotion-rules", "bulk-promotion-rules", print::promotion_rules, "List the registered promotion rules"),
    change(
        "register-hostname-unresolve",
        "register-hostname-unresolve/{i}/{hostname}",
        print::key,
        "Register the name by which replicas should reach a host",
    ),
    change(
        "deregister-hostname-unresolve",
        "deregister-hostname-unresolve/{i}",
        print::key,
        "Remove the registered virtual name of a host",
    ),
];
