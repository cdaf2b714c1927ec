//! What is known of instances and clusters.

use super::{Command, Run, change, read};
use crate::own;
use crate::print;

pub(super) const COMMANDS: &[Command] = &[
    read("clusters", "clusters-info", print::cluster_names, "List all clusters by name"),
    read("clusters-alias", "clusters-info", print::cluster_aliases, "List all clusters: name,alias"),
    read("topology", "topology/{hint}", print::text, "Draw a cluster as a tree"),
    read("topology-tabulated", "topology-tabulated/{hint}", print::text, "Draw a cluster as a table"),
    read("topology-tags", "topology-tags/{hint}", print::text, "Draw a cluster with the tags of its instances"),
    change("snapshot-topologies", "snapshot-topologies", print::text, "Record how all clusters look"),
    read("search", "search?s={text}", print::instances, "Find instances by a text"),
    Command {
        name: "find",
        summary: "Find instances whose host:port matches a regular expression",
        run: Run::Own("--pattern REGEX", own::find),
    },
    read("instance", "instance/{i}", print::instance, "Print an instance's full name; with --json all that is known"),
    read("which-instance", "instance/{i}", print::instance, "Print an instance's full name"),
    read("which-master", "instance/{i}", print::source, "Print the source of an instance; :0 for none"),
    read("which-replicas", "instance-replicas/{i}", print::instances, "List the replicas of an instance"),
    read(
        "which-broken-replicas",
        "instance-replicas/{i}",
        print::broken,
        "List the replicas of an instance that stopped with an error",
    ),
    read("which-cluster-instances", "cluster/{hint}", print::instances, "List the instances of a cluster"),
    read("which-cluster", "cluster-info/{hint}", print::cluster_name, "Print the name of a cluster"),
    read("which-cluster-alias", "cluster-info/{hint}", print::cluster_alias, "Print the alias of a cluster"),
    read("which-cluster-domain", "cluster-info/{hint}", print::cluster_domain, "Print the domain name of a cluster"),
    read("which-cluster-master", "master/{hint}", print::instance, "Print the primary of a cluster"),
    read("all-clusters-masters", "masters", print::instances, "List the writable primary of each cluster"),
    read("all-instances", "all-instances", print::instances, "List all known instances"),
    read("bulk-instances", "bulk-instances", print::keys_sorted, "List all known instances, sorted as text"),
    read("problems", "problems[/{hint}]", print::instances, "List instances with a problem, of a cluster or all"),
    read(
        "which-cluster-osc-replicas",
        "cluster-osc-replicas/{hint}",
        print::instances,
        "List replicas to throttle a schema change by",
    ),
    read(
        "which-cluster-osc-running-replicas",
        "cluster-osc-replicas/{hint}",
        print::running,
        "The same, those only that replicate",
    ),
    read("downtimed", "downtimed[/{hint}]", print::instances, "List downtimed instances, of a cluster or all"),
    read("which-lost-in-recovery", "downtimed", print::lost_in_recovery, "List instances that were lost in a recovery"),
    read("dominant-dc", "masters", print::dominant_data_center, "Print the datacenter with most primaries"),
    change(
        "submit-masters-to-kv-stores",
        "submit-masters-to-kv-stores[/{alias}]",
        print::pairs,
        "Write the primaries of a cluster, or all, to the key-value stores",
    ),
    Command {
        name: "set-cluster-alias",
        summary: "Give the cluster of an instance an alias by hand",
        run: Run::Own("-i INSTANCE -a ALIAS", own::set_cluster_alias),
    },
    read("audit", "audit[/instance/{i}]", print::audit, "List what was done lately, of an instance or of all"),
];
