//! Clusters as text, findings as lines.
//!
//! A line per server, indented below its source: `name word word=value ...`. What is not said is healthy: MySQL 8.0 with
//! GTID, STATEMENT format as in the vectors of old, both threads running, checked a second ago. A server that is `dead`
//! (or `alive_but=kind`) failed its checks since two seconds ago, so that what healthy replicas say is younger.

use super::*;
use crate::instance::{CheckState, FailureKind, GroupFacts, Placement, ReplicaFacts, ServerFacts, ThreadState};
use crate::promotion::PromotionRule;
use crate::topology::{Naming, Node, place};

mod corrections;
mod vectors;

const NOW: DbMicros = 1_000_000_000;
const SECOND: DbMicros = 1_000_000;

fn policy() -> AnalysisPolicy {
    AnalysisPolicy {
        poll_seconds: 5,
        check_seconds: 1,
        lag_seconds: 10,
        locked_semi_sync_seconds: 0,
        enforce_exact_semi_sync: false,
        recover_non_writeable: false,
        stale_after_seconds: 60,
    }
}

/// Whoever is woken by a code finds what it means and what to do, by its whole name.
#[test]
fn every_code_is_explained() {
    let meaning = include_str!("../../../docs/analyses.md");
    let runbook = include_str!("../../../ops/runbooks/analyses.md");
    // The last belongs to the vocabulary and is never found.
    let said = |code: &&Code| !matches!(code, Code::NoProblem | Code::MasterWithoutReplicas);
    for code in Code::ALL.iter().filter(said) {
        let name = format!("`{code}`");
        assert!(meaning.contains(&name), "docs/analyses.md does not know {name}");
        assert!(runbook.contains(&name), "ops/runbooks/analyses.md does not know {name}");
    }
}

/// The findings of the drawing that say anything, by key: `m: DeadMaster`.
fn found(text: &str) -> Vec<String> {
    found_with(text, &BTreeMap::new(), &policy())
}

fn found_with(text: &str, samples: &BTreeMap<InstanceKey, Sample>, policy: &AnalysisPolicy) -> Vec<String> {
    let shown = findings_with(text, samples, policy).into_iter().filter(|one| !one.summary().is_empty());
    let mut lines: Vec<String> = shown
        .filter(|one| !one.skippable_due_to_downtime)
        .map(|one| format!("{}: {}", one.key.hostname, one.summary()))
        .collect();
    lines.sort();
    lines
}

fn findings_with(text: &str, samples: &BTreeMap<InstanceKey, Sample>, policy: &AnalysisPolicy) -> Vec<Finding> {
    let instances = draw(text);
    analyze(&instances.iter().collect::<Vec<_>>(), samples, policy, NOW)
}

/// The finding about this one.
fn finding_of(text: &str, name: &str) -> Finding {
    let all = findings_with(text, &BTreeMap::new(), &policy());
    all.into_iter().find(|one| one.key.hostname == name).expect("a finding")
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(found(text), expected, "{text}");
}

fn key(name: &str) -> InstanceKey {
    InstanceKey::new(name, 3306)
}

fn draw(text: &str) -> Vec<Instance> {
    let mut above: Vec<(usize, InstanceKey)> = Vec::new();
    let mut instances: Vec<Instance> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        above.retain(|(other, _)| *other < depth);
        let mut words = line.split_whitespace();
        let name = key(words.next().expect("a name"));
        let mut instance = healthy(&name, above.last().map(|(_, key)| key));
        for word in words {
            let (word, value) = word.split_once('=').unwrap_or((word, ""));
            apply(&mut instance, word, value);
        }
        above.push((depth, name));
        instances.push(instance);
    }
    let nodes: Vec<Node<'_>> =
        instances.iter().map(|one| Node { key: &one.key, facts: &one.facts, previous_cluster: "" }).collect();
    let placements = place(&nodes, &Naming::default()).placements;
    for (one, placement) in instances.iter_mut().zip(placements) {
        let gtid_errant = std::mem::take(&mut one.placement.gtid_errant);
        one.placement = Placement { gtid_errant, ..placement };
    }
    instances
}

fn healthy(name: &InstanceKey, source: Option<&InstanceKey>) -> Instance {
    let facts = ServerFacts {
        version: "8.0.36".to_owned(),
        read_only: source.is_some(),
        binlog_format: "STATEMENT".to_owned(),
        log_bin: true,
        log_replica_updates: true,
        binlog: BinlogCoordinates { file: "bin.1".to_owned(), position: 1000 },
        gtid: crate::instance::GtidFacts { mode: "ON".to_owned(), ..Default::default() },
        replica: source.map(replicating_from),
        ..ServerFacts::default()
    };
    Instance {
        id: 1,
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
        promotion_rule: PromotionRule::Neutral,
        unresolved_hostname: String::new(),
    }
}

fn replicating_from(source: &InstanceKey) -> ReplicaFacts {
    ReplicaFacts {
        source: source.clone(),
        io_thread: ThreadState::Running,
        sql_thread: ThreadState::Running,
        seconds_behind: Some(0),
        lag_seconds: Some(0),
        auto_position: true,
        ..ReplicaFacts::default()
    }
}

fn thread(value: &str) -> ThreadState {
    match value {
        "no" => ThreadState::Stopped,
        "connecting" => ThreadState::Other,
        _ => panic!("unknown thread state {value:?}"),
    }
}

fn number<T: std::str::FromStr>(value: &str) -> T {
    value.parse().unwrap_or_else(|_| panic!("{value:?} is no number"))
}

fn apply(one: &mut Instance, word: &str, value: &str) {
    if apply_to_record(one, word, value) || apply_to_server(&mut one.facts, word, value) {
        return;
    }
    let status = one.facts.replica.get_or_insert_with(ReplicaFacts::default);
    match word {
        "io" => status.io_thread = thread(value),
        "sql" => status.sql_thread = thread(value),
        "errno" => status.last_io_errno = number(value),
        "cannot_connect" => {
            status.io_thread = ThreadState::Other;
            "error connecting to source 'repl@m:3306' - retry-time: 60".clone_into(&mut status.last_io_error);
        }
        "lag" => status.lag_seconds = Some(number(value)),
        "delay" => status.sql_delay = number(value),
        "from" => *status = replicating_from(&key(value)),
        "nogtid" => status.auto_position = false,
        _ => panic!("unknown word {word:?}"),
    }
}

fn apply_to_record(one: &mut Instance, word: &str, value: &str) -> bool {
    let check = &mut one.check;
    match word {
        // Failed its checks of two seconds and of half a second ago.
        "dead" => {
            check.last_seen_at = Some(NOW - 6 * SECOND);
            check.silent_since = Some(NOW - 2 * SECOND);
            check.last_checked_at = Some(NOW - SECOND / 2);
            check.failures = 2;
            check.failure = Some(FailureKind::Refused);
            "refused".clone_into(&mut check.last_error);
        }
        "alive_but" => {
            check.last_seen_at = Some(NOW - 6 * SECOND);
            check.last_checked_at = Some(NOW - SECOND);
            check.failure = Some(FailureKind::parse(value).expect("a kind"));
            check.partial_success = true;
            check.failures = 1;
        }
        // Seconds ago.
        "checked" => {
            check.last_checked_at = Some(NOW - number::<i64>(value) * SECOND);
            let failed_for = if check.failures > 0 { 10 * SECOND } else { 0 };
            check.last_seen_at = check.last_seen_at.min(check.last_checked_at.map(|at| at - failed_for));
        }
        "attempted" => check.last_attempted_at = Some(NOW - number::<i64>(value) * SECOND),
        "never" => *check = CheckState { last_checked_at: Some(NOW), failures: 1, ..CheckState::default() },
        "downtimed" => {
            let (owner, reason) = ("ann".to_owned(), "disk".to_owned());
            one.downtime = Some(Downtime { owner, reason, begins_at: 0, ends_at: NOW + SECOND });
        }
        "errant" => value.clone_into(&mut one.placement.gtid_errant),
        _ => return false,
    }
    true
}

fn apply_to_server(facts: &mut ServerFacts, word: &str, value: &str) -> bool {
    match word {
        "ro" => facts.read_only = true,
        "version" => value.clone_into(&mut facts.version),
        "format" => value.clone_into(&mut facts.binlog_format),
        "norelay" => facts.log_replica_updates = false,
        "mode" => value.clone_into(&mut facts.gtid.mode),
        // on/off, acknowledgements waited for, connected.
        "semi" => {
            let parts: Vec<&str> = value.split('/').collect();
            facts.semi_sync = SemiSyncFacts {
                source_enabled: true,
                source_status: parts[0] == "on",
                wait_for_replica_count: number(parts[1]),
                source_clients: number(parts[2]),
                ..SemiSyncFacts::default()
            };
        }
        "group" => {
            let role = if value.is_empty() { "PRIMARY" } else { value }.to_owned();
            let (name, state) = ("g".to_owned(), "ONLINE".to_owned());
            facts.group = Some(GroupFacts { name, state, role, ..GroupFacts::default() });
        }
        _ => return false,
    }
    true
}
