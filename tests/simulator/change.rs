//! Statements that change a server, and what follows from them: `SET GLOBAL` of a few switches, replication started, stopped,
//! pointed elsewhere, forgotten. Errors are those of real servers.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::facts::{Facts, flows};
use crate::fleet::Shared;
use crate::role::{Follows, Switch};
use crate::server::{Dialect, Server};
use crate::sql::SqlError;

/// One such statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Set(Vec<(Switch, bool)>),
    Stop(Threads),
    Start(Threads),
    /// `CHANGE REPLICATION SOURCE TO`: what it says of host and port; the rest changes nothing that could be seen here.
    Source {
        host: Option<String>,
        port: Option<u16>,
        /// It says something for which the applier must be stopped, too.
        of_applier: bool,
    },
    /// `RESET REPLICA`, with `ALL` or without.
    Reset {
        all: bool,
    },
}

/// Which threads a statement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads {
    pub(crate) receiver: bool,
    pub(crate) applier: bool,
}

impl Change {
    /// Carries it out on one server.
    pub(crate) fn carry_out(&self, facts: &Facts<'_>) -> Result<(), SqlError> {
        let role = &facts.server.role;
        let was_open = role.takes_writes();
        match self {
            Self::Set(switches) => {
                for (switch, on) in switches {
                    set(facts.server, *switch, *on);
                }
            }
            Self::Stop(threads) => run(facts, *threads, false),
            Self::Start(_) if !role.is_replica() => return Err(not_a_replica(facts)),
            Self::Start(threads) => run(facts, *threads, true),
            Self::Source { host, port, of_applier } => {
                stopped(facts, *of_applier)?;
                if host.is_some() || port.is_some() {
                    role.follow(target(facts, host.as_deref(), *port));
                }
            }
            Self::Reset { all } => {
                stopped(facts, true)?;
                if *all {
                    role.replicated.store(role.executed.load(Ordering::Relaxed), Ordering::Relaxed);
                    role.follow(Follows::Nobody);
                }
            }
        }
        if !was_open && role.takes_writes() {
            role.opened_at_ms.store(facts.shared.now_ms().max(1), Ordering::Relaxed);
        }
        deliver(facts.shared, facts.server.cluster);
        Ok(())
    }
}

/// `super_read_only` implies `read_only`, which takes it away when it goes.
fn set(server: &Server, switch: Switch, on: bool) {
    server.role.set(switch, on);
    match (switch, on) {
        (Switch::SuperReadOnly, true) => server.role.set(Switch::ReadOnly, true),
        (Switch::ReadOnly, false) => server.role.set(Switch::SuperReadOnly, false),
        _ => {}
    }
}

fn run(facts: &Facts<'_>, threads: Threads, on: bool) {
    let role = &facts.server.role;
    if threads.receiver {
        if on && !role.is(Switch::Receiver) {
            role.receives_since_ms.store(facts.shared.now_ms(), Ordering::Relaxed);
        }
        role.set(Switch::Receiver, on);
    }
    if threads.applier {
        role.set(Switch::Applier, on);
    }
}

fn not_a_replica(facts: &Facts<'_>) -> SqlError {
    let text = match facts.server.dialect {
        Dialect::MySql => {
            "The server is not configured as replica; fix in config file or with CHANGE REPLICATION SOURCE TO"
        }
        Dialect::MariaDb => "Misconfigured slave: MASTER_HOST was not set; Fix in config file or with CHANGE MASTER TO",
    };
    SqlError::new(1200, "HY000", text.to_owned())
}

fn stopped(facts: &Facts<'_>, applier_too: bool) -> Result<(), SqlError> {
    let role = &facts.server.role;
    if !role.is_replica() || !(role.is(Switch::Receiver) || (applier_too && role.is(Switch::Applier))) {
        return Ok(());
    }
    Err(match facts.server.dialect {
        Dialect::MySql => {
            let text = "This operation cannot be performed with running replication threads; run STOP REPLICA FOR CHANNEL '' first";
            SqlError::new(3081, "HY000", text.to_owned())
        }
        Dialect::MariaDb => {
            let text = "This operation cannot be performed as you have a running slave ''; run STOP SLAVE '' first";
            SqlError::new(1198, "HY000", text.to_owned())
        }
    })
}

/// The part that is not said stays as it is.
fn target(facts: &Facts<'_>, host: Option<&str>, port: Option<u16>) -> Follows {
    let (old_host, old_port) = match facts.server.role.follows() {
        Follows::Nobody => (String::new(), 3306),
        Follows::Server(index) => (facts.shared.servers[index].address.to_string(), facts.shared.port),
        Follows::Elsewhere(host, port) => (host, port),
    };
    let (host, port) = (host.map_or(old_host, str::to_owned), port.unwrap_or(old_port));
    let server = host.parse().ok().filter(|_| port == facts.shared.port).and_then(|address| facts.shared.at(address));
    // Replicas are looked for within a cluster only.
    match server.filter(|server| server.cluster == facts.server.cluster) {
        Some(server) => Follows::Server(server.index),
        None => Follows::Elsewhere(host, port),
    }
}

/// Commits on the member of a cluster that takes writes. False when none does.
pub(crate) fn commit(shared: &Shared, cluster: usize, count: u64) -> bool {
    let takes_writes = |server: &&Server| server.mode().replicates() && server.role.takes_writes();
    let Some(writer) = shared.members(cluster).iter().find(takes_writes) else { return false };
    let total = shared.histories[cluster].lock().unwrap_or_else(PoisonError::into_inner).commit(writer.index, count);
    writer.role.executed.store(total, Ordering::Relaxed);
    deliver(shared, cluster);
    true
}

/// Everything goes down every stream that flows.
pub(crate) fn deliver(shared: &Shared, cluster: usize) {
    let members = shared.members(cluster);
    // As often as a cluster can be deep.
    for _ in 1..members.len() {
        for server in members {
            let Some(source) = server.role.source().map(|source| &shared.servers[source]) else { continue };
            if flows(source, server) {
                server.role.executed.fetch_max(source.role.executed.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}
