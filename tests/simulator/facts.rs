//! What is true of one server at this moment, derived from its place in the fleet, its role, and its cluster's history.

use std::net::Ipv4Addr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::fleet::Shared;
use crate::role::Switch;
use crate::server::{Dialect, Mode, Server};

/// Bytes one transaction adds to a binary log, and the size of an empty log.
const TRANSACTION_BYTES: u64 = 287;
const LOG_HEADER: u64 = 157;
/// Transactions per log file, so that a busy primary rotates now and then.
const TRANSACTIONS_PER_LOG: u64 = 1_000_000;
/// Servers have been up for a day when the fleet starts: nothing looks freshly restarted.
const UPTIME_AT_START: u64 = 86_400;

/// One server, seen over one connection.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) server: &'a Server,
    pub(crate) connection_id: u32,
    pub(crate) user: &'a str,
    pub(crate) peer: Ipv4Addr,
}

impl<'a> Facts<'a> {
    pub(crate) fn speaks(&self, dialect: Dialect) -> bool {
        self.server.dialect == dialect
    }

    pub(crate) fn host(&self) -> String {
        self.server.address.to_string()
    }

    /// The server it replicates from, or would if it were started.
    pub(crate) fn source(&self) -> Option<&'a Server> {
        self.server.role.source().map(|source| &self.shared.servers[source])
    }

    pub(crate) fn is(&self, switch: Switch) -> bool {
        self.server.role.is(switch)
    }

    /// Replicas whose connection to this server stands, as far as it knows.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &'a Server> + use<'a> {
        let (shared, own) = (self.shared, self.server.index);
        let receives = move |server: &&Server| server.role.source() == Some(own) && server.role.is(Switch::Receiver);
        shared.members(self.server.cluster).iter().filter(receives).filter(|server| linked(shared, server))
    }

    /// Does the replication stream from the source flow, as far as this replica knows?
    pub(crate) fn hears_source(&self) -> bool {
        // A new connection to a silent server is none.
        let since = self.server.role.receives_since_ms.load(Ordering::Relaxed);
        let hears = |source: &Server| {
            linked(self.shared, source) && (source.mode().replicates() || since <= source.changed_at_ms())
        };
        self.is(Switch::Receiver) && self.source().is_some_and(hears)
    }

    /// Microseconds since anything came from the source; heartbeats come all the time.
    pub(crate) fn quiet_micros(&self) -> i64 {
        let silent = self.source().filter(|source| !source.mode().replicates());
        let millis = silent.map_or(0, |source| self.shared.now_ms().saturating_sub(source.changed_at_ms()));
        i64::try_from(millis.saturating_mul(1000)).unwrap_or(i64::MAX)
    }

    pub(crate) fn transactions(&self) -> u64 {
        self.server.role.executed.load(Ordering::Relaxed)
    }

    pub(crate) fn log_file(&self) -> String {
        format!("mysql-bin.{:06}", self.transactions() / TRANSACTIONS_PER_LOG + 1)
    }

    pub(crate) fn log_position(&self) -> u64 {
        LOG_HEADER + self.transactions() % TRANSACTIONS_PER_LOG * TRANSACTION_BYTES
    }

    pub(crate) fn gtids(&self) -> String {
        self.gtids_of_first(self.transactions())
    }

    /// What a replica has applied; of a primary, what it had when it became one.
    pub(crate) fn replicated_gtids(&self) -> String {
        let role = &self.server.role;
        let count = if role.is_replica() { self.transactions() } else { role.replicated.load(Ordering::Relaxed) };
        if count == 0 { String::new() } else { self.gtids_of_first(count) }
    }

    fn gtids_of_first(&self, executed: u64) -> String {
        let history = self.shared.histories[self.server.cluster].lock().unwrap_or_else(PoisonError::into_inner);
        let (counts, last) = history.of_first(executed);
        match self.server.dialect {
            Dialect::MySql => {
                let set =
                    counts.iter().map(|(&server, count)| format!("{}:1-{count}", uuid(&self.shared.servers[server])));
                set.collect::<Vec<_>>().join(",")
            }
            Dialect::MariaDb => format!("0-{}-{executed}", server_id(&self.shared.servers[last])),
        }
    }

    pub(crate) fn uptime(&self) -> u64 {
        UPTIME_AT_START + self.server.index as u64 + self.shared.started.elapsed().as_secs()
    }
}

/// A reset is noticed at once, silence after the timeout.
fn linked(shared: &Shared, server: &Server) -> bool {
    let mode = server.mode();
    if mode.replicates() {
        return true;
    }
    let timeout = u64::try_from(shared.spec.replica_net_timeout.as_millis()).unwrap_or(u64::MAX);
    matches!(mode, Mode::Blackhole | Mode::Freeze) && shared.now_ms() < server.changed_at_ms().saturating_add(timeout)
}

/// Does what the source commits reach the replica, and is it applied there?
pub(crate) fn flows(source: &Server, replica: &Server) -> bool {
    let role = &replica.role;
    role.source() == Some(source.index)
        && role.is(Switch::Receiver)
        && role.is(Switch::Applier)
        && source.mode().replicates()
        && replica.mode().replicates()
}

pub(crate) fn server_id(server: &Server) -> u64 {
    server.index as u64 + 1
}

pub(crate) fn uuid(server: &Server) -> String {
    format!("51b0f1ee-0000-4000-8000-{:012x}", server_id(server))
}

#[expect(clippy::disallowed_methods, reason = "a database server's NOW() is the wall clock of its machine")]
pub(crate) fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(0)
}
