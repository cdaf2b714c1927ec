//! What the fleet has been asked, and what it cost.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::fleet::Shared;

/// Distinct texts kept; a prober with a literal in each statement must not fill the memory.
const MOST_UNKNOWN: usize = 200;
/// Enough of a statement to recognise it.
const MOST_TEXT: usize = 300;
/// Ticks per second of the times in /proc/self/stat: USER_HZ, 100 on every Linux this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Statements the fleet could not answer, with their number.
#[derive(Debug, Default)]
pub(crate) struct UnknownLog {
    total: u64,
    texts: BTreeMap<String, u64>,
}

impl UnknownLog {
    pub(crate) fn note(&mut self, error: &str, statement: &str) {
        self.total += 1;
        let text = format!("{error}: {}", statement.chars().take(MOST_TEXT).collect::<String>());
        if self.texts.len() < MOST_UNKNOWN || self.texts.contains_key(&text) {
            *self.texts.entry(text).or_default() += 1;
        }
    }
}

/// One kind of unanswered statement.
#[derive(Debug, Clone, Serialize)]
pub struct UnknownStatement {
    pub text: String,
    pub count: u64,
}

/// Counters since the start or the last reset. "Max" is over single servers.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    pub servers: usize,
    /// Servers in any other state than alive.
    pub killed: usize,
    /// SQL statements executed.
    pub queries: u64,
    /// Command packets that were answered: statements batches, prepares, executions.
    pub round_trips: u64,
    /// Pings that were answered: they are not part of any probe.
    pub pings: u64,
    pub new_connections: u64,
    pub open_connections: usize,
    pub max_queries: u64,
    pub max_round_trips: u64,
    pub max_new_connections: u64,
    pub max_open_connections: u32,
    pub unknown_statements: u64,
    pub unknown: Vec<UnknownStatement>,
    pub stray_connections: u64,
    pub accept_errors: u64,
    /// Of the whole process since its start, user and system.
    pub cpu_ms: u64,
    pub resident_kb: u64,
    pub uptime_ms: u64,
}

impl Stats {
    pub(crate) fn collect(shared: &Shared) -> Self {
        let mut stats = Self {
            servers: shared.servers.len(),
            killed: 0,
            queries: 0,
            round_trips: 0,
            pings: 0,
            new_connections: 0,
            open_connections: shared.open_connections.load(Ordering::Relaxed),
            max_queries: 0,
            max_round_trips: 0,
            max_new_connections: 0,
            max_open_connections: 0,
            unknown_statements: 0,
            unknown: Vec::new(),
            stray_connections: shared.strays.load(Ordering::Relaxed),
            accept_errors: shared.accept_errors.load(Ordering::Relaxed),
            cpu_ms: cpu_ms().unwrap_or(0),
            resident_kb: resident_kb().unwrap_or(0),
            uptime_ms: shared.now_ms(),
        };
        for server in &shared.servers {
            let queries = server.statements.load(Ordering::Relaxed);
            let round_trips = server.round_trips.load(Ordering::Relaxed);
            let connects = server.connects.load(Ordering::Relaxed);
            stats.queries += queries;
            stats.round_trips += round_trips;
            stats.pings += server.pings.load(Ordering::Relaxed);
            stats.new_connections += connects;
            stats.max_queries = stats.max_queries.max(queries);
            stats.max_round_trips = stats.max_round_trips.max(round_trips);
            stats.max_new_connections = stats.max_new_connections.max(connects);
            stats.max_open_connections = stats.max_open_connections.max(server.open.load(Ordering::Relaxed));
            stats.killed += usize::from(server.mode() != crate::server::Mode::Alive);
        }
        let unknown = shared.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        stats.unknown_statements = unknown.total;
        stats.unknown =
            unknown.texts.iter().map(|(text, count)| UnknownStatement { text: text.clone(), count: *count }).collect();
        stats
    }
}

/// utime and stime are fields 14 and 15; the second field, the name, may hold spaces, so count from its bracket.
fn cpu_ms() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 1000 / TICKS_PER_SECOND)
}

fn resident_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
