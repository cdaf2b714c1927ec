//! The steps that operations are made of, and how they become a plan.

use regex::Regex;

use super::movability::Moving;
use super::{World, limit};
use crate::instance::{Instance, InstanceKey, ReplicaFacts};
use crate::plan::{
    Action, Branch, Condition, Method, Plan, Position, Refusal, Request, Rule, SourceOptions, Step, Threads,
    running_threads,
};

/// How it is made sure that no received transaction is lost with the relay logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Relay {
    /// Wait until all of them are applied.
    Drain,
    /// All of them are applied: verified, not waited for.
    Drained,
    /// That server has them.
    ReceivedIn(InstanceKey),
}

/// One change of where a replica reads from, threads and relay logs included.
pub(crate) struct Change<'a> {
    pub(crate) moving: Moving<'a>,
    /// [`Action::ChangeSource`] or [`Action::RenameSource`].
    pub(crate) action: Action,
    pub(crate) relay: Relay,
    /// What else must hold right before.
    pub(crate) also: Vec<Condition>,
    /// What else holds right after.
    pub(crate) holds: Vec<Condition>,
    /// The new source can be reached: the receiver is to be seen connected.
    pub(crate) reachable: bool,
    /// The applier need not stand still for what comes next; see [`applier_goes_on`].
    pub(crate) may_apply: bool,
}

/// What is to be done about one replica.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) branch: Branch,
    pub(crate) method: Method,
    pub(crate) because: String,
    pub(crate) warnings: Vec<String>,
}

/// It is the server that was planned for, and no other behind the same name.
pub(crate) fn identity(instance: &Instance) -> Condition {
    Condition::Server { server_id: instance.facts.server_id, server_uuid: instance.facts.server_uuid.clone() }
}

pub(crate) fn options(replica: &ReplicaFacts) -> SourceOptions {
    SourceOptions { tls: replica.tls.clone(), request_public_key: false }
}

/// Stops threads of a replica that runs `now`, and sees them stopped.
pub(crate) fn stop(on: &InstanceKey, threads: Threads, now: Threads) -> Step {
    Step::new(on, Action::Stop { threads }, limit::stop(threads))
        .then(Condition::Threads { running: now.without(threads) })
}

pub(crate) fn start(on: &InstanceKey, threads: Threads) -> Step {
    Step::new(on, Action::Start { threads }, limit::START)
}

/// Starts threads and sees them running.
pub(crate) fn started(on: &InstanceKey, threads: Threads) -> Step {
    start(on, threads).then(Condition::Replicating { threads })
}

/// Waits until everything received is applied.
pub(crate) fn drain(on: &InstanceKey, world: &World<'_>) -> Step {
    Step::new(on, Action::Drain, world.policy.drain_limit_seconds.max(1)).then(Condition::Drained)
}

/// Starts threads below a source that can be reached.
pub(crate) fn start_below(on: &InstanceKey, source: &InstanceKey, threads: Threads) -> Step {
    start(on, threads)
        .then(Condition::ReplicatesFrom { source: source.clone() })
        .then(Condition::Replicating { threads })
}

/// What is done about a server when a step failed: its threads run again.
pub(crate) fn restore(on: &InstanceKey, wanted: Threads) -> Vec<Step> {
    if wanted == Threads::NONE {
        return Vec::new();
    }
    vec![start(on, wanted).then(Condition::Threads { running: wanted })]
}

/// The conditions with which work on a server begins: who it is, whom it reads, and what runs if not all does.
pub(crate) fn begins(mut step: Step, moving: &Moving<'_>) -> Step {
    let now = running_threads(&moving.instance.facts);
    let source = moving.replica.source.clone();
    let mut conditions = vec![identity(moving.instance), Condition::ReplicatesFrom { source }];
    if now != Threads::BOTH && !matches!(step.action, Action::ChangeSource { .. } | Action::RenameSource { .. }) {
        conditions.push(Condition::Threads { running: now });
    }
    conditions.append(&mut step.before);
    step.before = conditions;
    step
}

/// Whether the source can change while the applier runs: a MySQL replica that finds its place by itself keeps its relay logs
/// then (page "CHANGE REPLICATION SOURCE TO": the receiver must be stopped; the applier only for `RELAY_LOG_FILE`,
/// `RELAY_LOG_POS`, `SOURCE_DELAY`, and to turn auto-position on). What the old source had sent of a transaction is given up
/// when the new one begins to send; an applier told to stop would wait for its rest, for up to 60 s (tried on 9.7.4).
fn applier_goes_on(moving: &Moving<'_>, action: &Action, now: Threads, wanted: Threads) -> bool {
    let finds_its_place = matches!(action, Action::ChangeSource { position: Position::Auto, .. });
    finds_its_place && moving.replica.auto_position && now.sql && wanted.sql
}

/// All steps of a change: stop the receiver, see to the relay logs, stop the applier if it must be, change, start what ran.
pub(crate) fn change(change: Change<'_>, world: &World<'_>) -> Vec<Step> {
    let Change { moving, action, relay, also, holds, reachable, may_apply } = change;
    let key = &moving.instance.key;
    let mut now = running_threads(&moving.instance.facts);
    let wanted = world.wanted_threads(key);
    let mut steps = Vec::new();
    if now.io {
        steps.push(stop(key, Threads::IO, now));
        now.io = false;
    }
    if relay == Relay::Drain {
        if !now.sql {
            steps.push(started(key, Threads::SQL));
            now.sql = true;
        }
        steps.push(drain(key, world).when(Condition::Threads { running: now }));
    }
    if now.sql && !(may_apply && applier_goes_on(&moving, &action, now, wanted)) {
        steps.push(stop(key, Threads::SQL, now));
        now.sql = false;
    }
    let kept = match relay {
        Relay::Drain | Relay::Drained => Condition::Drained,
        Relay::ReceivedIn(other) => Condition::ReceivedIsIn { other },
    };
    let source = new_source_of(&action).unwrap_or_else(|| moving.replica.source.clone());
    let mut step = Step::new(key, action, limit::CHANGE_SOURCE)
        .when(identity(moving.instance))
        .when(Condition::ReplicatesFrom { source: moving.replica.source.clone() })
        .when(Condition::Threads { running: now })
        .when(kept);
    step.before.extend(also);
    step = step.then(Condition::ReplicatesFrom { source: source.clone() }).then(Condition::Threads { running: now });
    step.after.extend(holds);
    steps.push(step);
    if steps.len() > 1 {
        let first = steps.remove(0);
        steps.insert(0, begins(first, &moving));
    }
    steps.extend(start_again(key, &source, now, wanted, reachable));
    steps
}

fn new_source_of(action: &Action) -> Option<InstanceKey> {
    match action {
        Action::ChangeSource { to, .. } => Some(to.clone()),
        Action::RenameSource { to, port, .. } => Some(InstanceKey::new(to.clone(), *port)),
        _ => None,
    }
}

/// The last step of a move, if any thread is to run that does not. A source that cannot be reached cannot be seen connected.
pub(crate) fn start_again(
    on: &InstanceKey,
    source: &InstanceKey,
    now: Threads,
    wanted: Threads,
    reachable: bool,
) -> Option<Step> {
    let missing = wanted.without(now);
    if missing == Threads::NONE {
        return None;
    }
    let mut step = start(on, missing).then(Condition::ReplicatesFrom { source: source.clone() });
    if reachable {
        return Some(step.then(Condition::Replicating { threads: wanted }));
    }
    step = step.then(Condition::Threads { running: wanted });
    if wanted.sql {
        step = step.then(Condition::Replicating { threads: Threads::SQL });
    }
    Some(step)
}

/// A branch about one replica that locks nothing of its own yet.
pub(crate) fn branch(
    instance: &InstanceKey,
    new_source: Option<&InstanceKey>,
    steps: Vec<Step>,
    wanted: Threads,
) -> Branch {
    Branch {
        instance: instance.clone(),
        new_source: new_source.cloned(),
        locks: Vec::new(),
        steps,
        restore: restore(instance, wanted),
    }
}

/// What is left of a move that was made already: its threads. `None`: nothing is left.
pub(crate) fn finish(key: &InstanceKey, source: &InstanceKey, world: &World<'_>, method: Method) -> Option<Part> {
    let wanted = world.wanted_threads(key);
    let now = world.instances.get(key).map(|one| running_threads(&one.facts)).unwrap_or_default();
    let missing = wanted.without(now);
    if missing == Threads::NONE {
        return None;
    }
    let mut step = start_below(key, source, missing);
    if now != Threads::BOTH {
        step = step.when(Condition::Threads { running: now });
    }
    Some(Part {
        branch: branch(key, None, vec![step], wanted),
        method,
        because: format!("{key} is below {source} already; only its threads are not what they were"),
        warnings: Vec::new(),
    })
}

pub(crate) fn already_below(key: &InstanceKey, source: &InstanceKey) -> Refusal {
    Refusal::new(
        Rule::AlreadySo,
        key,
        format!("{key} replicates from {source} already"),
        "nothing is to be done; repoint states its source again",
    )
}

/// A plan about one replica: its lock is the plan's.
pub(crate) fn single(request: &Request, part: Part) -> Plan {
    Plan {
        request: request.clone(),
        method: part.method,
        because: part.because,
        warnings: part.warnings,
        locks: vec![part.branch.instance.clone()],
        head: Vec::new(),
        branches: vec![part.branch],
        tail: Vec::new(),
        left_out: Vec::new(),
        answers_for: None,
    }
}

/// A plan about many replicas, each with a lock of its own; refused if there were some and none can be moved.
pub(crate) fn many(request: &Request, parts: Vec<Result<Part, Refusal>>, because: String) -> Result<Plan, Refusal> {
    let total = parts.len();
    let mut plan = Plan {
        request: request.clone(),
        method: Method::InPlace,
        because,
        warnings: Vec::new(),
        locks: Vec::new(),
        head: Vec::new(),
        branches: Vec::new(),
        tail: Vec::new(),
        left_out: Vec::new(),
        answers_for: None,
    };
    for part in parts {
        match part {
            Ok(mut part) => {
                part.branch.locks = vec![part.branch.instance.clone()];
                // Among several methods the one that asks most of the servers is named.
                plan.method = if plan.branches.is_empty() { part.method } else { plan.method.max(part.method) };
                plan.branches.push(part.branch);
                plan.warnings.extend(part.warnings);
            }
            // Done already by the run that this one takes up.
            Err(refusal) if refusal.rule == Rule::AlreadySo => {}
            Err(refusal) => plan.left_out.push(refusal),
        }
    }
    plan.warnings.dedup();
    if total > 0 && plan.left_out.len() == total {
        return Err(none_of(request.instance(), &plan.left_out));
    }
    Ok(plan)
}

/// One refusal for many.
fn none_of(of: &InstanceKey, refusals: &[Refusal]) -> Refusal {
    match refusals {
        [one] => one.clone(),
        all => {
            let reasons: Vec<String> = all.iter().map(|one| one.reason.clone()).collect();
            let first = all.first();
            Refusal::new(
                first.map_or(Rule::TooComplex, |one| one.rule),
                of,
                format!("none of {} replicas can be moved: {}", all.len(), reasons.join("; ")),
                first.map_or_else(String::new, |one| one.remedy.clone()),
            )
        }
    }
}

/// The replicas of a server that a pattern leaves, by key; without `except`.
pub(crate) fn replicas_matching(
    of: &InstanceKey,
    pattern: &str,
    except: Option<&InstanceKey>,
    world: &World<'_>,
) -> Result<Vec<InstanceKey>, Refusal> {
    let matcher = Regex::new(pattern).map_err(|error| {
        Refusal::new(
            Rule::BadArgument,
            of,
            format!("the pattern {pattern:?} is no regular expression: {error}"),
            "correct it; it is matched against host:port",
        )
    })?;
    let replicas = world.replicas_of(of);
    if replicas.is_empty() {
        world.known(of)?;
    }
    let keys = replicas.into_iter().map(|one| one.key.clone());
    Ok(keys.filter(|key| Some(key) != except && matcher.is_match(&key.to_string())).collect())
}

/// Replicas that the earlier run has moved below `to` and not finished with.
pub(crate) fn moved_already(to: &InstanceKey, listed: &[InstanceKey], world: &World<'_>) -> Vec<InstanceKey> {
    let moved = |key: &&InstanceKey| {
        !listed.contains(key)
            && world.earlier.is_none_or(|plan| plan.branches.iter().any(|branch| branch.instance == **key))
            && world.instances.get(key).is_some_and(|one| one.facts.source() == Some(to))
    };
    world.baseline.keys().filter(moved).cloned().collect()
}
