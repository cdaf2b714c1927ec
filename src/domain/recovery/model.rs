//! A pure model of a cluster whose primary died, to run whole recoveries against: worlds and faults by chance, and what must
//! never happen looked for after every step.
//!
//! A server has a log of transactions that it executed, and a list of those received and not applied. The recovery loop is that
//! of a worker: look, fence, look, choose, promote, repoint; what failed is looked at afresh and planned again.

mod run;
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::gtid::mysql::GtidSet;
use crate::instance::{BinlogCoordinates, CheckState, Instance, InstanceKey, ReplicaFacts, ServerFacts, ThreadState};
use crate::operation::{Equivalence, LogPlace};
use crate::plan::{Action, Baseline, Position, Step, Threads, running_threads};
use crate::promotion::PromotionRule;
use crate::topology::{Naming, Node, place as place_all};

pub(super) const NOW: i64 = 1_000_000_000;
const SECOND: i64 = 1_000_000;
/// Where the logs of servers begin to differ.
const APART: u64 = 1_000_000;
/// Transactions applied in a moment.
const SPEED: usize = 2;

/// How servers replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gtid,
    MariadbGtid,
    Position,
}

/// Who wrote it, and its number among what that server wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tx {
    pub(super) writer: u64,
    pub(super) number: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) id: u64,
    pub(super) up: bool,
    pub(super) facts: ServerFacts,
    pub(super) log: Vec<Tx>,
    pub(super) received: VecDeque<Tx>,
    /// How much of the source's log was applied: by position only.
    applied_to: u64,
    pub(super) broken: bool,
    pub(super) rule: PromotionRule,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) kind: Kind,
    pub(super) servers: BTreeMap<InstanceKey, Server>,
    /// What servers said when they last answered.
    seen: BTreeMap<InstanceKey, ServerFacts>,
    pub(super) equivalences: Vec<Equivalence>,
    /// Servers that a plan opened.
    pub(super) opened: BTreeSet<InstanceKey>,
    written: u64,
}

pub(super) fn key(index: usize) -> InstanceKey {
    InstanceKey::new(format!("s{index}"), 3306)
}

fn uuid(id: u64) -> String {
    format!("00000000-0000-0000-0000-{id:012}")
}

fn coordinates(server: u64, position: u64) -> BinlogCoordinates {
    BinlogCoordinates { file: "bin.000001".to_owned(), position: server * APART + position }
}

impl Server {
    pub(super) fn has(&self) -> BTreeSet<Tx> {
        self.log.iter().chain(&self.received).copied().collect()
    }

    pub(super) fn executed(&self) -> BTreeSet<Tx> {
        self.log.iter().copied().collect()
    }

    fn set_of<'a>(all: impl Iterator<Item = &'a Tx>) -> String {
        let parts: Vec<String> = all.map(|tx| format!("{}:{}", uuid(tx.writer), tx.number)).collect();
        GtidSet::parse(&parts.join(",")).expect("a set of the model").to_string()
    }

    fn replica(&mut self) -> &mut ReplicaFacts {
        self.facts.replica.as_mut().expect("a replica of the model")
    }
}

impl Model {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            servers: BTreeMap::new(),
            seen: BTreeMap::new(),
            equivalences: Vec::new(),
            opened: BTreeSet::new(),
            written: 0,
        }
    }

    /// The primary s0, with `count` transactions.
    pub(super) fn add_primary(&mut self, count: u64) {
        self.written = count;
        let mut server = self.server(1);
        server.log = (1..=count).map(|number| Tx { writer: 1, number }).collect();
        self.servers.insert(key(0), server);
    }

    /// A replica of s0 that has received so many of its transactions, and applied so many.
    pub(super) fn add_replica(&mut self, index: usize, applied: u64, received: u64) {
        let mut server = self.server(index as u64 + 1);
        server.log = (1..=applied).map(|number| Tx { writer: 1, number }).collect();
        server.received = (applied + 1..=received).map(|number| Tx { writer: 1, number }).collect();
        server.applied_to = applied;
        server.facts.read_only = true;
        server.facts.replica = Some(ReplicaFacts {
            source: key(0),
            source_uuid: if self.kind == Kind::MariadbGtid { "No".to_owned() } else { uuid(1) },
            io_thread: ThreadState::Running,
            sql_thread: ThreadState::Running,
            seconds_behind: Some(0),
            lag_seconds: Some(0),
            auto_position: self.kind == Kind::Gtid,
            using_mariadb_gtid: self.kind == Kind::MariadbGtid,
            applies_out_of_order: Some(false),
            ..ReplicaFacts::default()
        });
        self.servers.insert(key(index), server);
    }

    fn server(&self, id: u64) -> Server {
        let mariadb = self.kind == Kind::MariadbGtid;
        let facts = ServerFacts {
            server_id: id,
            server_uuid: if mariadb { String::new() } else { uuid(id) },
            version: if mariadb { "10.11.6-MariaDB" } else { "8.0.36" }.to_owned(),
            log_bin: true,
            log_replica_updates: true,
            binlog_format: "ROW".to_owned(),
            ..ServerFacts::default()
        };
        Server {
            id,
            up: true,
            facts,
            log: Vec::new(),
            received: VecDeque::new(),
            applied_to: 0,
            broken: false,
            rule: PromotionRule::Neutral,
        }
    }

    pub(super) fn get(&mut self, index: usize) -> &mut Server {
        self.servers.get_mut(&key(index)).expect("a server of the model")
    }

    /// What the server says, if it answers.
    pub(super) fn look(&self, name: &InstanceKey) -> Option<ServerFacts> {
        let server = self.servers.get(name).filter(|server| server.up)?;
        let mut facts = server.facts.clone();
        facts.binlog = coordinates(server.id, server.log.len() as u64);
        // Positions of a domain are numbered through: the place in the log is the number.
        let place = |tx: Option<&Tx>, at: usize| tx.map(|tx| format!("0-{}-{at}", tx.writer)).unwrap_or_default();
        match self.kind {
            Kind::Gtid => {
                facts.gtid.mode = "ON".to_owned();
                facts.gtid.executed = Server::set_of(server.log.iter());
            }
            Kind::MariadbGtid => {
                facts.gtid.mariadb_current_pos = place(server.log.last(), server.log.len());
                facts.gtid.mariadb_binlog_pos = facts.gtid.mariadb_current_pos.clone();
                facts.gtid.mariadb_slave_pos =
                    if facts.replica.is_some() { facts.gtid.mariadb_current_pos.clone() } else { String::new() };
            }
            Kind::Position => facts.gtid.mode = "OFF".to_owned(),
        }
        if let Some(replica) = &mut facts.replica {
            let source = self.servers.get(&replica.source);
            let id = source.map_or(0, |source| source.id);
            replica.exec = coordinates(id, server.applied_to);
            replica.read = coordinates(id, server.applied_to + server.received.len() as u64);
            match self.kind {
                Kind::Gtid => replica.retrieved_gtid_set = Server::set_of(server.received.iter()),
                Kind::MariadbGtid => {
                    let all = server.log.len() + server.received.len();
                    replica.mariadb_io_pos = place(server.received.back().or(server.log.last()), all);
                }
                Kind::Position => {}
            }
            if replica.io_thread != ThreadState::Stopped {
                let heard = source.is_some_and(|source| source.up);
                replica.io_thread = if heard { ThreadState::Running } else { ThreadState::Other };
            }
        }
        Some(facts)
    }

    /// Everybody is asked.
    pub(super) fn look_at_all(&mut self) {
        let looked: Vec<_> = self.servers.keys().filter_map(|name| Some((name.clone(), self.look(name)?))).collect();
        self.seen.extend(looked);
    }

    /// The records that planners see, as of the last look at all.
    pub(super) fn instances(&self) -> BTreeMap<InstanceKey, Instance> {
        let nodes: Vec<Node<'_>> =
            self.seen.iter().map(|(key, facts)| Node { key, facts, previous_cluster: "s0:3306" }).collect();
        let placements = place_all(&nodes, &Naming::default()).placements;
        let record = |(node, placement): (&Node<'_>, _)| {
            let server = &self.servers[node.key];
            let seen = if server.up { NOW } else { NOW - 60 * SECOND };
            Instance {
                id: server.id,
                key: node.key.clone(),
                lane: String::new(),
                facts: node.facts.clone(),
                placement,
                check: CheckState {
                    last_checked_at: Some(NOW),
                    last_seen_at: Some(seen),
                    last_error: if server.up { String::new() } else { "connection refused".to_owned() },
                    ..CheckState::default()
                },
                downtime: None,
                promotion_rule: server.rule,
                unresolved_hostname: String::new(),
            }
        };
        nodes.iter().zip(placements).map(|pair| (pair.0.key.clone(), record(pair))).collect()
    }

    pub(super) fn threads(&self) -> Baseline {
        let replicas = self.servers.iter().filter(|(_, server)| server.facts.replica.is_some());
        replicas.map(|(name, server)| (name.clone(), running_threads(&server.facts))).collect()
    }

    /// A moment passes.
    pub(super) fn tick(&mut self) {
        let before = self.servers.clone();
        for server in self.servers.values_mut().filter(|server| server.up) {
            if !server.facts.read_only {
                self.written += 1;
                server.log.push(Tx { writer: server.id, number: self.written });
            }
            let Some(replica) = server.facts.replica.clone() else { continue };
            if replica.io_thread != ThreadState::Stopped
                && let Some(source) = before.get(&replica.source).filter(|source| source.up)
            {
                fetch(self.kind, server, source);
            }
            if replica.sql_thread == ThreadState::Running && !server.received.is_empty() {
                apply_some(server);
            }
        }
    }
}

fn fetch(kind: Kind, server: &mut Server, source: &Server) {
    let missing: Vec<Tx> = match kind {
        Kind::Gtid => {
            let has = server.has();
            source.log.iter().filter(|tx| !has.contains(tx)).copied().collect()
        }
        Kind::MariadbGtid => {
            let at = server.log.len() + server.received.len();
            source.log.get(at..).unwrap_or_default().to_vec()
        }
        Kind::Position => {
            let at = usize::try_from(server.applied_to).expect("small") + server.received.len();
            source.log.get(at..).unwrap_or_default().to_vec()
        }
    };
    server.received.extend(missing);
}

fn apply_some(server: &mut Server) {
    if server.broken {
        let replica = server.replica();
        (replica.sql_thread, replica.last_sql_error) = (ThreadState::Stopped, "Duplicate entry".to_owned());
    } else if server.replica().sql_delay == 0 {
        for _ in 0..SPEED {
            let Some(tx) = server.received.pop_front() else { break };
            assert!(!server.log.contains(&tx), "{tx:?} is applied twice");
            server.log.push(tx);
            server.applied_to += 1;
        }
    }
}

impl Model {
    /// What an order does.
    fn apply(&mut self, step: &Step) {
        let read = |model: &Self, name: &InstanceKey| model.look(name).expect("it was looked at");
        let place = match &step.action {
            Action::ChangeSource { position, .. } => match position {
                Position::At(at) => Some(at.clone()),
                Position::ExecutedBy(name) => read(self, name).replica.map(|replica| replica.exec),
                Position::EndOf(name) => Some(read(self, name).binlog),
                _ => None,
            },
            _ => None,
        };
        if let Action::ChangeSource { to, .. } = &step.action {
            self.changes_source(&step.on, to, place.as_ref());
            return;
        }
        if step.action == Action::ResetReplica && self.kind == Kind::Position {
            let facts = read(self, &step.on);
            let replica = facts.replica.as_ref().expect("a replica");
            let one = LogPlace { server: replica.source.clone(), at: replica.exec.clone() };
            self.equivalences.push(Equivalence { one, other: LogPlace { server: step.on.clone(), at: facts.binlog } });
        }
        if matches!(step.action, Action::SetReadOnly { read_only: false, .. }) {
            let other = self.opened.iter().find(|other| **other != step.on && !self.servers[*other].facts.read_only);
            assert_eq!(other, None, "{step}: a second primary");
            self.opened.insert(step.on.clone());
        }
        let server = self.servers.get_mut(&step.on).expect("a server of the model");
        match &step.action {
            Action::Stop { threads } => set_threads(server, *threads, ThreadState::Stopped),
            Action::Start { threads } => {
                // MariaDB with GTID throws its relay logs away when a thread starts while none runs.
                if running_threads(&server.facts) == Threads::NONE && server.replica().using_mariadb_gtid {
                    server.received.clear();
                }
                set_threads(server, *threads, ThreadState::Running);
                if threads.sql {
                    server.replica().last_sql_error.clear();
                }
            }
            Action::ResumeApplier => {
                assert_eq!(running_threads(&server.facts), Threads::NONE, "{step}: threads run");
                let replica = server.replica();
                (replica.sql_thread, replica.using_mariadb_gtid) = (ThreadState::Running, false);
                replica.last_sql_error.clear();
            }
            Action::ResetReplica => {
                assert!(server.received.is_empty(), "{step}: received transactions are discarded");
                assert_eq!(running_threads(&server.facts), Threads::NONE, "{step}: threads run");
                server.facts.replica = None;
            }
            Action::SetReadOnly { read_only, with_super } => {
                server.facts.read_only = *read_only;
                server.facts.super_read_only = *read_only && *with_super;
            }
            Action::Seal => (server.facts.read_only, server.facts.super_read_only) = (true, true),
            Action::SetDelay { seconds } => {
                assert!(running_threads(&server.facts).io || server.received.is_empty(), "{step}: relay logs go");
                server.replica().sql_delay = u64::from(*seconds);
            }
            Action::Drain | Action::SetSemiSync { .. } => {}
            other => panic!("no recovery does this: {other:?}"),
        }
    }

    /// Relay logs are discarded: whatever was in them must be where it goes.
    fn changes_source(&mut self, on: &InstanceKey, to: &InstanceKey, place: Option<&BinlogCoordinates>) {
        let (kind, there) = (self.kind, self.servers[to].clone());
        let server = self.servers.get_mut(on).expect("a server of the model");
        let running = running_threads(&server.facts);
        if kind == Kind::Gtid && running == Threads::SQL {
            // The relay logs stay.
            server.replica().source = to.clone();
            return;
        }
        assert_eq!(running, Threads::NONE, "{on}: threads run");
        let has = there.executed();
        let lost: Vec<&Tx> = server.received.iter().filter(|tx| !has.contains(tx)).collect();
        assert!(lost.is_empty(), "{on} loses {lost:?} by going below {to}");
        server.received.clear();
        match kind {
            Kind::Gtid => {}
            Kind::MariadbGtid => {
                assert_eq!(there.log.get(..server.log.len()), Some(&server.log[..]), "{on} is turned away by {to}");
            }
            Kind::Position => {
                let at = place.expect("a place");
                assert_eq!(at.position / APART, there.id, "{at} is no place in the log of {to}");
                server.applied_to = at.position % APART;
                let length = usize::try_from(server.applied_to).expect("small");
                let before: BTreeSet<Tx> = there.log[..length].iter().copied().collect();
                assert_eq!(before, server.executed(), "{on} goes on at the wrong place of {to}");
            }
        }
        server.replica().source = to.clone();
    }
}

fn set_threads(server: &mut Server, threads: Threads, state: ThreadState) {
    let replica = server.replica();
    replica.io_thread = if threads.io { state } else { replica.io_thread };
    replica.sql_thread = if threads.sql { state } else { replica.sql_thread };
}
