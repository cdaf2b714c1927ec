//! Rotating and purging binary logs.

use std::cmp::Ordering;

use super::in_place::{already, plan};
use super::steps::identity;
use super::{World, limit};
use crate::instance::{BinlogCoordinates, Instance, InstanceKey};
use crate::plan::{Action, MAX_FLUSHES, Plan, Refusal, Request, Rule, Step, Threads};

/// The word for "up to the log that is written now".
const LATEST: &str = "latest";

/// Begins a new binary log; with `until`, as many as it takes to reach that file.
pub(super) fn flush(
    request: &Request,
    instance: &InstanceKey,
    until: &str,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let instance = logging(instance, world)?;
    let key = &instance.key;
    let times = if until.is_empty() { 1 } else { files_to(instance, until)? };
    let times = u32::try_from(times).ok().filter(|times| *times <= MAX_FLUSHES).ok_or_else(|| {
        Refusal::new(
            Rule::TooMany,
            key,
            format!(
                "{key} writes {}: {until} is {times} files away, {MAX_FLUSHES} at most are begun",
                current(instance)
            ),
            "name a nearer file",
        )
    })?;
    if times == 0 {
        return Err(already(key, format!("{key} writes {until} already")));
    }
    let step = Step::new(key, Action::FlushBinaryLogs { times }, limit::OTHER).when(identity(instance));
    Ok(plan(request, instance, vec![step], Threads::NONE))
}

/// Removes the binary logs before `until`.
pub(super) fn purge(
    request: &Request,
    instance: &InstanceKey,
    until: &str,
    force: bool,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let instance = logging(instance, world)?;
    let key = &instance.key;
    let to = if until == LATEST { current(instance).to_owned() } else { until.to_owned() };
    let begin = BinlogCoordinates { file: to.clone(), position: 0 };
    match begin.compare_in_log(&BinlogCoordinates { position: 0, ..instance.facts.binlog.clone() }) {
        Some(Ordering::Less | Ordering::Equal) => {}
        Some(Ordering::Greater) => return Err(bad_file(instance, until, "is not written yet")),
        None => return Err(bad_file(instance, until, "is no binary log of it")),
    }
    let needing: Vec<String> =
        dependants(instance, world).iter().filter_map(|name| needs(name, instance, &begin, world)).collect();
    if let (Some(first), false) = (needing.first(), force) {
        return Err(Refusal::new(
            Rule::ReplicaNeedsLog,
            key,
            first.clone(),
            format!("wait until every replica of {key} has applied beyond {to}; or purge all the same, with force"),
        ));
    }
    let step = Step::new(key, Action::PurgeBinaryLogs { to }, limit::OTHER).when(identity(instance));
    let mut plan = plan(request, instance, vec![step], Threads::NONE);
    plan.warnings = needing;
    Ok(plan)
}

fn logging<'a>(key: &InstanceKey, world: &World<'a>) -> Result<&'a Instance, Refusal> {
    let instance = world.fresh(key)?;
    if instance.facts.log_bin && !instance.facts.binlog.file.is_empty() {
        return Ok(instance);
    }
    Err(Refusal::new(
        Rule::BinaryLogOff,
        key,
        format!("{key} writes no binary log"),
        "switch it on (log_bin) and restart the server",
    ))
}

fn current(instance: &Instance) -> &str {
    &instance.facts.binlog.file
}

fn bad_file(instance: &Instance, file: &str, problem: &str) -> Refusal {
    Refusal::new(
        Rule::BadArgument,
        &instance.key,
        format!("{file:?} {problem}: {} writes {}", instance.key, current(instance)),
        "name a file that SHOW BINARY LOGS lists",
    )
}

/// How many files `until` is after the one written now.
fn files_to(instance: &Instance, until: &str) -> Result<u64, Refusal> {
    let split = |file: &str| -> Option<(String, u64)> {
        let (base, number) = file.rsplit_once('.')?;
        Some((base.to_owned(), number.parse().ok()?))
    };
    match (split(until), split(current(instance))) {
        (Some((base, target)), Some((own_base, now))) if base == own_base => {
            target.checked_sub(now).ok_or_else(|| bad_file(instance, until, "lies behind"))
        }
        _ => Err(bad_file(instance, until, "is no binary log of it")),
    }
}

/// Everybody who may still read this server's log: known replicas, detached ones, and those that only it knows of.
fn dependants(instance: &Instance, world: &World<'_>) -> Vec<InstanceKey> {
    let key = &instance.key;
    let reads = |one: &&Instance| {
        let source = one.facts.source().filter(|_| one.facts.is_replica());
        source.is_some_and(|source| source.port == key.port && source.hostname.trim_start_matches('/') == key.hostname)
    };
    let mut all: Vec<InstanceKey> = world.instances.values().filter(reads).map(|one| one.key.clone()).collect();
    // A record that is younger than the server's own list tells that a replica has left.
    let left = |name: &InstanceKey| world.fresh(name).is_ok_and(|one| one.facts.source() != Some(key));
    all.extend(instance.facts.replicas.iter().filter(|name| !left(name)).cloned());
    all.sort();
    all.dedup();
    all
}

/// Why this replica needs a log before `begin`, or may need one; `None`: it has applied more than that.
fn needs(name: &InstanceKey, source: &Instance, begin: &BinlogCoordinates, world: &World<'_>) -> Option<String> {
    let Ok(replica) = world.fresh(name) else {
        return Some(format!("how far its replica {name} has applied is not known: no fresh facts"));
    };
    let Some(position) = replica.facts.replica.as_ref().map(|replica| &replica.exec) else {
        return Some(format!("{} names {name} as its replica, and {name} has no source", source.key));
    };
    match position.compare_in_log(begin) {
        Some(Ordering::Greater) => None,
        Some(Ordering::Less | Ordering::Equal) => {
            Some(format!("its replica {name} has applied up to {position}, not beyond {}", begin.file))
        }
        None => Some(format!("how far its replica {name} has applied is not known: it says {position}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key};
    use super::*;

    fn flush_to(until: &str) -> Request {
        Request::FlushBinaryLogs { instance: key("a"), until: until.to_owned() }
    }

    fn purge_to(until: &str, force: bool) -> Request {
        Request::PurgeBinaryLogs { instance: key("a"), until: until.to_owned(), force }
    }

    #[test]
    fn as_many_files_as_it_takes() {
        let mut servers = Servers::new();
        assert_eq!(servers.shown(&flush_to("")), "a:3306: begin a new binary log");
        assert_eq!(servers.shown(&flush_to("bin.000007")), "a:3306: begin a new binary log, 4 times");
        assert_eq!(servers.shown(&flush_to("bin.000003")), "already-so");
        for bad in ["bin.000002", "other.000007", "bin", "bin.", "bin.-1", "'; drop"] {
            assert_eq!(servers.shown(&flush_to(bad)), "bad-argument", "{bad}");
        }
        assert_eq!(servers.shown(&flush_to("bin.999999")), "too-many");
        assert_eq!(servers.shown(&flush_to("bin.18446744073709551615")), "too-many");
        servers.facts("a").log_bin = false;
        assert_eq!(servers.shown(&flush_to("")), "binary-log-off");
    }

    #[test]
    fn what_every_replica_has_applied_may_go() {
        let mut servers = Servers::new();
        let at = |file: &str, position| BinlogCoordinates { file: file.to_owned(), position };
        let purged = "a:3306: remove the binary logs before bin.000003";
        assert_eq!(servers.shown(&purge_to("bin.000003", false)), purged);
        assert_eq!(servers.shown(&purge_to("latest", false)), purged);
        servers.replica("b").exec = at("bin.000003", 4);
        assert_eq!(servers.shown(&purge_to("bin.000003", false)), purged);
        for behind in [at("bin.000003", 0), at("bin.000002", 900), at("", 0), at("other.000009", 4)] {
            servers.replica("b").exec = behind.clone();
            assert_eq!(servers.shown(&purge_to("bin.000003", false)), "replica-needs-log", "{behind}");
            let forced = servers.plan(&purge_to("bin.000003", true)).expect("a plan");
            assert_eq!(forced.warnings.len(), 1);
        }
        assert_eq!(servers.shown(&purge_to("bin.000004", true)), "bad-argument");
        assert_eq!(servers.shown(&purge_to("", true)), "bad-argument");
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let mut servers = Servers::new();
        servers.facts("a").binlog.file = "bin.1000000".to_owned();
        servers.replica("b").exec.file = "bin.1000000".to_owned();
        servers.replica("c").exec.file = "bin.999999".to_owned();
        assert_eq!(servers.shown(&purge_to("bin.1000000", false)), "replica-needs-log");
        servers.replica("c").exec.file = "bin.1000000".to_owned();
        assert_eq!(servers.shown(&purge_to("bin.999999", false)), "a:3306: remove the binary logs before bin.999999");
    }

    #[test]
    fn unknown_is_not_done() {
        let purge = purge_to("latest", false);
        let mut stale = Servers::new();
        stale.lose("c");
        assert_eq!(stale.shown(&purge), "replica-needs-log");
        let mut unknown = Servers::new();
        unknown.facts("a").replicas.insert(key("x"));
        assert_eq!(unknown.shown(&purge), "replica-needs-log");
        let mut detached = Servers::new();
        detached.replica("c").source = InstanceKey::new("//a", 3306);
        detached.replica("c").exec.file = "bin.000001".to_owned();
        assert_eq!(detached.shown(&purge), "replica-needs-log");
        // Moved away since.
        let mut moved = Servers::new();
        moved.replica("c").source = key("b");
        moved.replica("c").exec = BinlogCoordinates::default();
        assert_eq!(moved.shown(&purge), "a:3306: remove the binary logs before bin.000003");
    }
}
