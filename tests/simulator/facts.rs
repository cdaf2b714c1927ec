//! What is true of one server at this moment, derived from its place in the fleet and its cluster's transactions.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use crate::fleet::Shared;
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
    pub(crate) fn is(&self, dialect: Dialect) -> bool {
        self.server.dialect == dialect
    }

    pub(crate) fn host(&self) -> String {
        self.server.address.to_string()
    }

    pub(crate) fn source(&self) -> Option<&'a Server> {
        self.server.source.map(|source| &self.shared.servers[source])
    }

    fn primary(&self) -> &'a Server {
        &self.shared.servers[self.server.cluster * self.shared.spec.cluster_size]
    }

    /// Replicas whose connection to this server stands, as far as it knows.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &'a Server> + use<'a> {
        let (shared, own) = (self.shared, self.server.index);
        let size = shared.spec.cluster_size;
        let first = self.server.cluster * size;
        let cluster = &shared.servers[first..(first + size).min(shared.servers.len())];
        cluster.iter().filter(move |server| server.source == Some(own) && linked(shared, server))
    }

    /// Does the replication stream from the source flow, as far as this replica knows?
    pub(crate) fn hears_source(&self) -> bool {
        self.source().is_some_and(|source| linked(self.shared, source))
    }

    pub(crate) fn transactions(&self) -> u64 {
        self.shared.transactions[self.server.cluster].load(Ordering::Relaxed)
    }

    pub(crate) fn log_file(&self) -> String {
        format!("mysql-bin.{:06}", self.transactions() / TRANSACTIONS_PER_LOG + 1)
    }

    pub(crate) fn log_position(&self) -> u64 {
        LOG_HEADER + self.transactions() % TRANSACTIONS_PER_LOG * TRANSACTION_BYTES
    }

    pub(crate) fn gtids(&self) -> String {
        match self.server.dialect {
            Dialect::MySql => format!("{}:1-{}", uuid(self.primary()), self.transactions()),
            Dialect::MariaDb => format!("0-{}-{}", server_id(self.primary()), self.transactions()),
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
