//! What concerns the client itself, and the service that answers.

use super::{Command, Run, change, read};
use crate::own;
use crate::print;

const fn own(name: &'static str, flags: &'static str, run: own::Function, summary: &'static str) -> Command {
    Command { name, summary, run: Run::Own(flags, run) }
}

pub(super) const COMMANDS: &[Command] = &[
    own("help", "[COMMAND]", own::help, "Print usage and commands, or explain one"),
    own("which-api", "", own::which_api, "Print the address of the service that is asked"),
    own("api", "-P PATH", own::api, "Print the reply to a path below /api/ as JSON"),
    read("active-nodes", "v2/nodes", print::nodes, "List live nodes as name:token"),
    own("raft-leader", "", own::raft_leader, "Print the leader, where services elect one among themselves"),
    read("raft-health", "raft-health", print::text, "Print healthy, where services elect a leader among themselves"),
    own(
        "raft-leader-hostname",
        "",
        own::raft_leader_hostname,
        "Print the leader's host name, where services elect one",
    ),
    own("raft-elect-leader", "-H HOST", own::raft_elect_leader, "Ask for another leader, where services elect one"),
    read("show-resolve-hosts", "hostname-resolve-cache", print::resolved_names, "List what host names resolve to"),
    change(
        "reset-hostname-resolve-cache",
        "reset-hostname-resolve-cache",
        print::cache_cleared,
        "Forget what host names resolve to",
    ),
];
