//! A tiny pure model of servers that replicate, to run whole plans against: what is planned must work, must leave threads
//! as they were, and must lose nothing, under write load, after failures and after the death of whoever ran it.
//!
//! All data are the primary's transactions 1, 2, 3, ...: a server has a prefix of them (`content`), and has received a
//! longer one (`received`). Each server writes its own log at offsets of its own, so a position taken from the wrong
//! server's log leads to the wrong place, and is noticed.

pub(crate) mod run;
mod tests;

use std::collections::BTreeMap;

use crate::gtid::mysql::GtidSet;
use crate::instance::{
    BinlogCoordinates, CheckState, Instance, InstanceKey, Placement, ReplicaFacts, ServerFacts, ThreadState,
};
use crate::plan::{Action, Baseline, Plan, Request, Threads, running_threads};
use crate::promotion::PromotionRule;
use crate::topology::{Naming, Node, place as place_all};

/// How servers replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gtid,
    MariadbGtid,
    Position,
}

/// Now, in all tests.
pub(crate) const NOW: i64 = 1_000_000_000;
/// Looks at a step before its time is over.
const LOOKS: usize = 60;
/// Transactions an applier applies while the primary writes one.
const SPEED: u64 = 2;
const LOG: &str = "bin.000001";
/// Where the logs of servers begin to differ.
const APART: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) facts: ServerFacts,
    pub(crate) content: u64,
    pub(crate) received: u64,
    /// The next transaction cannot be applied.
    pub(crate) broken: bool,
    /// Transactions of its own, as a set.
    pub(crate) own: String,
    /// What it logs in as at a source; shown only while it has one.
    pub(crate) user: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) kind: Kind,
    pub(crate) servers: BTreeMap<InstanceKey, Server>,
    /// The primary takes writes while plans run.
    pub(crate) load: bool,
}

pub(crate) fn key(index: usize) -> InstanceKey {
    InstanceKey::new(format!("s{index}"), 3306)
}

fn uuid(id: u64) -> String {
    format!("00000000-0000-0000-0000-{id:012}")
}

impl Model {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, servers: BTreeMap::new(), load: true }
    }

    /// Server `index`, below `source`, with `content` applied and `received` received.
    pub(crate) fn add(&mut self, index: usize, source: Option<usize>, content: u64, received: u64) {
        let mariadb = self.kind == Kind::MariadbGtid;
        let id = index as u64 + 1;
        let facts = ServerFacts {
            server_id: id,
            server_uuid: if mariadb { String::new() } else { uuid(id) },
            version: if mariadb { "10.11.6-MariaDB" } else { "8.0.36" }.to_owned(),
            version_comment: "server".to_owned(),
            read_only: source.is_some(),
            log_bin: true,
            log_replica_updates: true,
            binlog_format: "ROW".to_owned(),
            replication_credentials_available: true,
            replica: source.map(|source| ReplicaFacts {
                source: key(source),
                source_uuid: if mariadb { "No".to_owned() } else { uuid(source as u64 + 1) },
                io_thread: ThreadState::Running,
                sql_thread: ThreadState::Running,
                seconds_behind: Some(0),
                lag_seconds: Some(0),
                auto_position: self.kind == Kind::Gtid,
                using_mariadb_gtid: mariadb,
                applies_out_of_order: Some(false),
                ..ReplicaFacts::default()
            }),
            ..ServerFacts::default()
        };
        let user = if source.is_some() { "repl" } else { "" }.to_owned();
        self.servers.insert(key(index), Server { facts, content, received, broken: false, own: String::new(), user });
    }

    pub(crate) fn replica(&mut self, index: usize) -> &mut ReplicaFacts {
        let server = self.servers.get_mut(&key(index)).expect("a server of the model");
        server.facts.replica.as_mut().expect("a replica of the model")
    }

    /// What the server would say.
    pub(crate) fn look(&self, name: &InstanceKey) -> ServerFacts {
        let server = &self.servers[name];
        let mut facts = server.facts.clone();
        facts.binlog = place(facts.server_id, server.content);
        facts.replicas = self.readers(name).cloned().collect();
        let set = |upto: u64| if upto == 0 { String::new() } else { format!("{}:1-{upto}", uuid(1)) };
        let position = |upto: u64| if upto == 0 { String::new() } else { format!("0-1-{upto}") };
        match self.kind {
            Kind::Gtid => {
                facts.gtid.mode = "ON".to_owned();
                let both = [set(server.content), server.own.clone()];
                facts.gtid.executed = GtidSet::parse(&both.join(",")).expect("a set of the model").to_string();
            }
            Kind::MariadbGtid => {
                facts.gtid.mariadb_current_pos = position(server.content);
                facts.gtid.mariadb_binlog_pos = position(server.content);
                facts.gtid.mariadb_slave_pos =
                    if facts.replica.is_some() { position(server.content) } else { String::new() };
            }
            Kind::Position => facts.gtid.mode = "OFF".to_owned(),
        }
        if let Some(replica) = &mut facts.replica {
            let source_name = replica.source.hostname.trim_start_matches('/');
            let source = InstanceKey::new(source_name, replica.source.port);
            let source_id = self.servers.get(&source).map_or(0, |source| source.facts.server_id);
            replica.exec = place(source_id, server.content);
            replica.read = place(source_id, server.received);
            replica.user.clone_from(&server.user);
            if self.kind == Kind::Gtid {
                replica.retrieved_gtid_set = set(server.received);
            }
            if self.kind == Kind::MariadbGtid {
                replica.mariadb_io_pos = position(server.received);
            }
        }
        facts
    }

    fn readers(&self, name: &InstanceKey) -> impl Iterator<Item = &InstanceKey> {
        let reads = move |server: &Server| {
            server.facts.source() == Some(name) && server.facts.threads().0 == ThreadState::Running
        };
        self.servers.iter().filter(move |(_, server)| reads(server)).map(|(key, _)| key)
    }

    pub(crate) fn all_facts(&self) -> BTreeMap<InstanceKey, ServerFacts> {
        self.servers.keys().map(|name| (name.clone(), self.look(name))).collect()
    }

    /// The records that a planner sees.
    pub(crate) fn instances(&self) -> BTreeMap<InstanceKey, Instance> {
        let facts = self.all_facts();
        let nodes: Vec<Node<'_>> =
            facts.iter().map(|(key, facts)| Node { key, facts, previous_cluster: "s0:3306" }).collect();
        let placements = place_all(&nodes, &Naming::default()).placements;
        let record = |(node, placement): (&Node<'_>, Placement)| Instance {
            id: node.facts.server_id,
            key: node.key.clone(),
            lane: String::new(),
            facts: node.facts.clone(),
            placement,
            check: CheckState { last_checked_at: Some(NOW), last_seen_at: Some(NOW), ..CheckState::default() },
            downtime: None,
            promotion_rule: PromotionRule::Neutral,
            unresolved_hostname: String::new(),
        };
        nodes.iter().zip(placements).map(|pair| (pair.0.key.clone(), record(pair))).collect()
    }

    /// The threads of every replica.
    pub(crate) fn threads(&self) -> Baseline {
        let replicas = self.servers.iter().filter(|(_, server)| server.facts.replica.is_some());
        replicas.map(|(name, server)| (name.clone(), running_threads(&server.facts))).collect()
    }

    /// A moment passes.
    pub(crate) fn tick(&mut self) {
        let contents: BTreeMap<InstanceKey, u64> =
            self.servers.iter().map(|(name, server)| (name.clone(), server.content)).collect();
        for server in self.servers.values_mut() {
            let Some(replica) = &mut server.facts.replica else {
                server.content += u64::from(self.load && !server.facts.read_only);
                continue;
            };
            if matches!(replica.io_thread, ThreadState::Running | ThreadState::Other) {
                let above = contents.get(&replica.source);
                replica.io_thread = if above.is_some() { ThreadState::Running } else { ThreadState::Other };
                server.received = server.received.max(above.copied().unwrap_or_default());
            }
            if replica.sql_thread == ThreadState::Running && server.content < server.received {
                if server.broken {
                    (replica.sql_thread, replica.last_sql_error) = (ThreadState::Stopped, "Duplicate entry".to_owned());
                } else if replica.sql_delay == 0 {
                    server.content = server.received.min(server.content + SPEED);
                }
            }
        }
    }

    /// Starts everything, stops the writes, and waits: a server whose data are not all there by then has lost some.
    pub(crate) fn settle(&mut self) {
        self.load = false;
        for server in self.servers.values_mut() {
            server.broken = false;
            if let Some(replica) = &mut server.facts.replica {
                (replica.io_thread, replica.sql_thread) = (ThreadState::Running, ThreadState::Running);
                replica.sql_delay = 0;
                let attached = replica.source.hostname.trim_start_matches('/').to_owned();
                replica.source.hostname = attached;
            }
        }
        for _ in 0..LOOKS * 4 {
            self.tick();
        }
        for (name, server) in &self.servers {
            assert_eq!(server.content, self.servers[self.root(name)].content, "{name} lacks transactions");
        }
    }

    /// The head of the tree (or one of the ring) that a server is in.
    fn root<'a>(&'a self, start: &'a InstanceKey) -> &'a InstanceKey {
        let mut at = start;
        for _ in 0..self.servers.len() {
            match self.servers[at].facts.source() {
                Some(source) => at = source,
                None => break,
            }
        }
        at
    }

    /// A line for each server.
    pub(crate) fn shown(&self) -> String {
        let line = |(name, server): (&InstanceKey, &Server)| {
            let source = server.facts.source().map(ToString::to_string).unwrap_or_default();
            let threads = running_threads(&server.facts);
            format!("{name} below {source:?}: {} of {}, {threads:?}\n", server.content, server.received)
        };
        self.servers.iter().map(line).collect()
    }

    /// No server is above itself; `pair_allowed`: but for two that replicate from each other.
    pub(crate) fn assert_no_loop(&self, pair_allowed: bool) {
        for start in self.servers.keys() {
            let mut at = start;
            for length in 1..=self.servers.len() {
                let Some(next) = self.servers.get(at).and_then(|server| server.facts.source()) else { break };
                assert!(next != start || (pair_allowed && length == 2), "{start} is in a loop");
                if next == start {
                    break;
                }
                at = next;
            }
        }
    }

    /// Whatever ran, runs; whatever did not, does not; but for what was asked.
    pub(crate) fn assert_threads(&self, request: &Request, before: &Baseline) {
        for (name, now) in self.threads() {
            let ran = before.get(&name).copied().unwrap_or(Threads::BOTH);
            let wanted = if *request.instance() == name { asked(request, ran) } else { ran };
            assert_eq!(now, wanted, "threads of {name} after {request}; {ran:?} ran before");
        }
    }
}

/// The threads that run after this request, on the server it is about.
fn asked(request: &Request, ran: Threads) -> Threads {
    match request {
        Request::StartReplica { .. } | Request::RestartReplica { .. } => Threads::BOTH,
        Request::StopReplica { .. } | Request::StopReplicaNice { .. } => Threads::NONE,
        Request::StartReplicaIo { .. } => Threads { io: true, ..ran },
        Request::StopReplicaIo { .. } => Threads { io: false, ..ran },
        Request::StartReplicaSql { .. } | Request::SkipQuery { .. } => Threads { sql: true, ..ran },
        Request::StopReplicaSql { .. } => Threads { sql: false, ..ran },
        _ => ran,
    }
}

fn place(server: u64, content: u64) -> BinlogCoordinates {
    BinlogCoordinates { file: LOG.to_owned(), position: server * APART + content }
}
