//! Worlds for tests, told as text: a line per server, indented below its source, `name word word=value ...`.
//!
//! What is not said is healthy: MySQL 8.0 with GTID, both threads running, everything applied, primaries writable and
//! replicas not. Every server writes at `bin.1:1000`. In GTID sets, names of servers stand for their UUIDs.

use std::collections::BTreeMap;

use super::{Equivalence, LogPlace, Policy, World, plan};
use crate::instance::{
    BinlogCoordinates, CheckState, DbMicros, Downtime, GroupFacts, Instance, InstanceKey, Placement, ReplicaFacts,
    ServerFacts, ThreadState,
};
use crate::plan::{Baseline, Condition, Plan, Refusal, Request, Rule, Threads, check};
use crate::topology::{Naming, Node, place};

/// "Now" in all of them.
const NOW: DbMicros = 1_000_000_000;
const SECOND: DbMicros = 1_000_000;

/// What a [`World`] borrows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fixture {
    pub(crate) instances: BTreeMap<InstanceKey, Instance>,
    pub(crate) baseline: Baseline,
    pub(crate) earlier: Option<Plan>,
    pub(crate) equivalences: Vec<Equivalence>,
    pub(crate) policy: Policy,
}

pub(crate) fn key(name: &str) -> InstanceKey {
    match name.strip_prefix("//") {
        Some(name) => InstanceKey::new(format!("//{name}"), 3306),
        None => InstanceKey::new(name, 3306),
    }
}

pub(crate) fn at(position: u64) -> BinlogCoordinates {
    BinlogCoordinates { file: "bin.1".to_owned(), position }
}

pub(crate) fn equal(one: (&str, u64), other: (&str, u64)) -> Equivalence {
    let place = |(name, position): (&str, u64)| LogPlace { server: key(name), at: at(position) };
    Equivalence { one: place(one), other: place(other) }
}

pub(crate) fn relocate(instance: &str, below: &str) -> Request {
    Request::Relocate { instance: key(instance), below: key(below) }
}

impl Fixture {
    pub(crate) fn new(text: &str) -> Self {
        let mut above: Vec<(usize, InstanceKey)> = Vec::new();
        let mut instances = BTreeMap::new();
        for (number, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
            let depth = line.len() - line.trim_start().len();
            above.retain(|(other, _)| *other < depth);
            let mut words = line.split_whitespace();
            let name = key(words.next().expect("a name"));
            let mut instance = healthy(&name, number as u64 + 1, above.last().map(|(_, key)| key));
            for word in words {
                let (word, value) = word.split_once('=').unwrap_or((word, ""));
                apply(&mut instance, word, value);
            }
            above.push((depth, name.clone()));
            instances.insert(name, instance);
        }
        let mut fixture = Self { instances, ..Self::default() };
        fixture.settle();
        fixture
    }

    /// What follows from all servers together: names in GTID sets, UUIDs of sources, places.
    fn settle(&mut self) {
        let uuids: Vec<(String, String)> = self
            .instances
            .values()
            .map(|one| (format!("{}:", one.key.hostname), format!("{}:", uuid(one.facts.server_id))))
            .collect();
        let told = |text: &mut String| {
            let parts = text.split(',').filter(|part| !part.is_empty()).map(|part| {
                let (name, _) = part.split_once(':').expect("name:numbers");
                let named = uuids.iter().find(|(known, _)| known.trim_end_matches(':') == name);
                // Written by a server that is not there.
                let uuid = named.map_or_else(|| format!("{}:", uuid(0xffff)), |(_, uuid)| uuid.clone());
                part.replacen(&format!("{name}:"), &uuid, 1)
            });
            *text = parts.collect::<Vec<_>>().join(",");
        };
        let keys: Vec<(InstanceKey, String)> =
            self.instances.values().map(|one| (one.key.clone(), one.facts.server_uuid.clone())).collect();
        for one in self.instances.values_mut() {
            let gtid = &mut one.facts.gtid;
            told(&mut gtid.executed);
            told(&mut gtid.purged);
            if let Some(replica) = &mut one.facts.replica {
                told(&mut replica.retrieved_gtid_set);
                let source = keys.iter().find(|(key, uuid)| *key == replica.source && !uuid.is_empty());
                if let Some((_, uuid)) = source.filter(|_| replica.source_uuid.is_empty()) {
                    replica.source_uuid.clone_from(uuid);
                }
            }
        }
        let nodes: Vec<Node<'_>> = self
            .instances
            .values()
            .map(|one| Node { key: &one.key, facts: &one.facts, previous_cluster: "" })
            .collect();
        let placements = place(&nodes, &Naming::default()).placements;
        for (one, placement) in self.instances.values_mut().zip(placements) {
            one.placement = placement;
        }
    }

    /// An earlier run had begun: these servers replicated with both threads.
    pub(crate) fn resumed(mut self, names: &[&str]) -> Self {
        self.baseline.extend(names.iter().map(|name| (key(name), Threads::BOTH)));
        self
    }

    /// The plan that the earlier run followed, made in the world it began in.
    pub(crate) fn earlier(mut self, began_in: &Self, request: &Request) -> Self {
        self.earlier = Some(began_in.plan(request));
        self
    }

    pub(crate) fn world(&self) -> World<'_> {
        World {
            instances: &self.instances,
            baseline: &self.baseline,
            earlier: self.earlier.as_ref(),
            equivalences: &self.equivalences,
            policy: &self.policy,
            now: NOW,
        }
    }

    /// The plan, which must be sane.
    pub(crate) fn plan(&self, request: &Request) -> Plan {
        let plan = plan(request, &self.world()).unwrap_or_else(|refusal| panic!("{request:?} is refused: {refusal}"));
        assert_eq!(check(&plan), Ok(()), "{plan}");
        let text = serde_json::to_string(&plan).expect("a plan is written");
        assert_eq!(serde_json::from_str::<Plan>(&text).expect("a plan is read"), plan);
        plan
    }

    /// The refusal, complete.
    pub(crate) fn refusal(&self, request: &Request) -> Refusal {
        let refusal = plan(request, &self.world()).expect_err(&format!("{request:?} is not refused"));
        assert!(!refusal.reason.is_empty() && !refusal.remedy.is_empty(), "{refusal:?}");
        refusal
    }

    /// It is refused by this rule, and the reason names this.
    pub(crate) fn refuses(&self, request: &Request, rule: Rule, named: &str) {
        let refusal = self.refusal(request);
        assert_eq!(refusal.rule, rule, "{refusal}");
        assert!(refusal.reason.contains(named), "{named:?} is not in: {refusal}");
    }

    /// The steps of the plan, a line each, ports left out.
    pub(crate) fn steps(&self, request: &Request) -> Vec<String> {
        lines(&self.plan(request))
    }

    pub(crate) fn edit(mut self, name: &str, change: impl FnOnce(&mut Instance)) -> Self {
        change(self.instances.get_mut(&key(name)).expect("a server of this name"));
        self
    }
}

/// Ports left out.
pub(crate) fn short(text: &str) -> String {
    text.replace(":3306", "")
}

pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    plan.steps().map(|step| short(&step.to_string())).collect()
}

/// Every condition right before the first change of source of this server.
pub(crate) fn guards<'a>(plan: &'a Plan, name: &str) -> &'a [Condition] {
    use crate::plan::Action::{ChangeSource, RenameSource};
    let step = plan
        .steps()
        .find(|step| step.on == key(name) && matches!(step.action, ChangeSource { .. } | RenameSource { .. }))
        .expect("a change of source");
    &step.before
}

fn uuid(id: u64) -> String {
    format!("{id:08x}-1111-1111-1111-111111111111")
}

fn healthy(name: &InstanceKey, id: u64, source: Option<&InstanceKey>) -> Instance {
    let facts = ServerFacts {
        server_id: id,
        server_uuid: uuid(id),
        version: "8.0.36".to_owned(),
        read_only: source.is_some(),
        binlog_format: "ROW".to_owned(),
        log_bin: true,
        log_replica_updates: true,
        binlog: at(1000),
        replica: source.map(|source| ReplicaFacts {
            source: source.clone(),
            user: "repl".to_owned(),
            io_thread: ThreadState::Running,
            sql_thread: ThreadState::Running,
            read: at(1000),
            exec: at(1000),
            seconds_behind: Some(0),
            auto_position: true,
            retrieved_gtid_set: "a:1-100".to_owned(),
            applies_out_of_order: Some(false),
            ..ReplicaFacts::default()
        }),
        gtid: crate::instance::GtidFacts {
            mode: "ON".to_owned(),
            executed: "a:1-100".to_owned(),
            ..crate::instance::GtidFacts::default()
        },
        replication_credentials_available: true,
        ..ServerFacts::default()
    };
    Instance {
        id,
        key: name.clone(),
        lane: String::new(),
        facts,
        placement: Placement::default(),
        check: CheckState {
            last_checked_at: Some(NOW - SECOND),
            last_seen_at: Some(NOW - SECOND),
            ..CheckState::default()
        },
        downtime: None,
        promotion_rule: crate::promotion::PromotionRule::Neutral,
        unresolved_hostname: String::new(),
    }
}

fn thread(value: &str) -> ThreadState {
    match value {
        "no" | "broken" => ThreadState::Stopped,
        "connecting" => ThreadState::Other,
        _ => panic!("unknown thread state {value:?}"),
    }
}

fn number(value: &str) -> u64 {
    value.parse().expect("a number")
}

fn apply(one: &mut Instance, word: &str, value: &str) {
    if apply_to_record(one, word, value) || apply_to_server(&mut one.facts, word, value) {
        return;
    }
    let id = one.facts.server_id;
    let replica = one.facts.replica.get_or_insert_with(ReplicaFacts::default);
    match word {
        "io" => {
            replica.io_thread = thread(value);
            if value == "broken" {
                replica.last_io_error = "purged required binary logs".to_owned();
            }
        }
        "sql" => {
            replica.sql_thread = thread(value);
            if value == "broken" {
                replica.last_sql_error = "duplicate key".to_owned();
            }
        }
        "from" => {
            let full = healthy(&one.key, id, Some(&key(value))).facts.replica.expect("a replica");
            *replica = ReplicaFacts { source: key(value), ..full };
        }
        "uuid" => value.clone_into(&mut replica.source_uuid),
        "nogtid" => {
            replica.auto_position = false;
            replica.using_mariadb_gtid = false;
            replica.retrieved_gtid_set.clear();
        }
        "retrieved" => value.clone_into(&mut replica.retrieved_gtid_set),
        "io_pos" => value.clone_into(&mut replica.mariadb_io_pos),
        "read" => replica.read = at(number(value)),
        "exec" => replica.exec = at(number(value)),
        "delay" => replica.sql_delay = number(value),
        "lag" => replica.seconds_behind = value.parse().ok(),
        "filters" => replica.has_filters = true,
        "channels" => replica.other_channels = vec!["other".to_owned()],
        "disordered" => replica.applies_out_of_order = Some(true),
        "order_unknown" => replica.applies_out_of_order = None,
        "detached" => replica.source.hostname = format!("//{}", replica.source.hostname),
        _ => panic!("unknown word {word:?}"),
    }
}

fn apply_to_record(one: &mut Instance, word: &str, value: &str) -> bool {
    match word {
        "dead" => {
            one.check.last_seen_at = Some(NOW - 60 * SECOND);
            one.check.last_error = "connection refused".to_owned();
        }
        "mute" => {
            one.check.last_seen_at = Some(NOW - 60 * SECOND);
            one.check.partial_success = true;
        }
        "stale" => {
            one.check.last_seen_at = Some(NOW - 90 * SECOND);
            one.check.last_checked_at = Some(NOW - 90 * SECOND);
        }
        "forgotten" => {
            one.check.last_seen_at = Some(NOW - 95 * SECOND);
            one.check.last_checked_at = Some(NOW - 90 * SECOND);
        }
        "downtimed" => {
            one.downtime =
                Some(Downtime { owner: "ann".to_owned(), reason: "disk".to_owned(), begins_at: 0, ends_at: NOW * 2 });
        }
        "rule" => one.promotion_rule = value.parse().expect("a rule"),
        _ => return false,
    }
    true
}

fn apply_to_server(facts: &mut ServerFacts, word: &str, value: &str) -> bool {
    match word {
        "rw" => facts.read_only = false,
        "ro" => facts.read_only = true,
        "id" => facts.server_id = number(value),
        "same_uuid" => facts.server_uuid = uuid(number(value)),
        "version" => value.clone_into(&mut facts.version),
        "format" => value.clone_into(&mut facts.binlog_format),
        "nolog" => facts.log_bin = false,
        "norelay" => facts.log_replica_updates = false,
        "mode" => value.clone_into(&mut facts.gtid.mode),
        "executed" => value.clone_into(&mut facts.gtid.executed),
        "purged" => value.clone_into(&mut facts.gtid.purged),
        "end" => facts.binlog = at(number(value)),
        "dc" => value.clone_into(&mut facts.data_center),
        "nocred" => facts.replication_credentials_available = false,
        "secondary" | "head" => {
            let primary = Some(key(value));
            facts.group = Some(GroupFacts { name: "g".to_owned(), primary, ..GroupFacts::default() });
        }
        // MariaDB: by itself, after what it applied.
        "wrote" => {
            value.clone_into(&mut facts.gtid.mariadb_current_pos);
            value.clone_into(&mut facts.gtid.mariadb_binlog_pos);
        }
        "mariadb" => {
            let pos = if value.is_empty() { "0-1-100" } else { value };
            facts.version = "10.11.6-MariaDB".to_owned();
            facts.server_uuid.clear();
            facts.gtid = crate::instance::GtidFacts {
                mariadb_current_pos: pos.to_owned(),
                mariadb_slave_pos: pos.to_owned(),
                mariadb_binlog_pos: pos.to_owned(),
                ..crate::instance::GtidFacts::default()
            };
            if let Some(replica) = &mut facts.replica {
                "No".clone_into(&mut replica.source_uuid);
                replica.auto_position = false;
                replica.retrieved_gtid_set.clear();
                replica.using_mariadb_gtid = true;
                pos.clone_into(&mut replica.mariadb_io_pos);
            }
        }
        _ => return false,
    }
    true
}
