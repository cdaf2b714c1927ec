//! Moves by file and position: servers are brought to one place, stand there, and that place is read from both logs.
//!
//! ```text
//!   move-up      M stops applying; I applies M's log to its end; what M has applied is I's place in G's log.
//!   move-below   S stops applying; I and S are brought to one place of M's log; the end of S's log is I's place in it.
//! ```
//! Only appliers are stopped: receivers go on, so that nothing received is lost with them. A replica that uses GTID is
//! moved by GTID instead: a position would turn GTID off behind the operator's back.

mod equivalence;

use super::movability::{self, Moving};
use super::steps::{self, Part};
use super::{World, gtid, limit};
use crate::instance::{Instance, InstanceKey};
use crate::plan::{Action, Condition, Method, Plan, Position, Refusal, Request, Rule, Step, Threads, running_threads};

pub(super) use equivalence::{equivalent, equivalent_part};

pub(super) fn up(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    tells_how_far(instance, world)?;
    if let Some(place) = moved_to(&moving, world) {
        return finished(request, instance, &place, world);
    }
    let (middle, grandparent) = grandparent(&moving, world)?;
    up_below(request, &moving, &middle, &grandparent, world)
}

/// Moves one replica of `middle` below the source of `middle`.
pub(super) fn up_below(
    request: &Request,
    moving: &Moving<'_>,
    middle: &Moving<'_>,
    grandparent: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let key = &moving.instance.key;
    if moving.instance.facts.is_using_gtid() {
        return keeping_gtid(request, key, grandparent, world);
    }
    let part = up_part(moving, middle, grandparent, world)?;
    let mut plan = steps::single(request, part);
    around(&mut plan, middle, world);
    Ok(plan)
}

fn keeping_gtid(request: &Request, key: &InstanceKey, below: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let mut part = gtid::part(key, below, world)?;
    part.because = format!("{key} uses {}, which a move by file and position would turn off", part.method);
    Ok(steps::single(request, part))
}

pub(super) fn up_replicas(
    request: &Request,
    of: &InstanceKey,
    pattern: &str,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let middle = middle(of, world)?;
    let grandparent = middle.replica.source.clone();
    world.fresh(&grandparent)?;
    let keys = gtid::listed(of, &grandparent, pattern, world)?;
    let because = format!("{of} stands still while its replicas are brought to the end of its log");
    let parts = keys.iter().map(|key| up_any(key, &middle, &grandparent, world)).collect();
    let mut plan = steps::many(request, parts, because)?;
    if plan.method == Method::Position {
        around(&mut plan, &middle, world);
    } else {
        plan.because = format!("the replicas use {}, which a move by position would turn off", plan.method);
    }
    Ok(plan)
}

/// Replicas by file and position below the source of `middle`.
pub(super) fn up_list(
    request: &Request,
    list: &[Moving<'_>],
    middle: &Moving<'_>,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let key = &middle.instance.key;
    let because = format!("{key} stands still while its replicas are brought to the end of its log");
    let parts = list.iter().map(|moving| up_part(moving, middle, &middle.replica.source, world)).collect();
    let mut plan = steps::many(request, parts, because)?;
    around(&mut plan, middle, world);
    Ok(plan)
}

/// By GTID if the replica uses it, else by position; all within one standstill of `middle`.
fn up_any(
    key: &InstanceKey,
    middle: &Moving<'_>,
    grandparent: &InstanceKey,
    world: &World<'_>,
) -> Result<Part, Refusal> {
    let moving = movability::movable(key, world)?;
    if moving.replica.source == *grandparent || moving.instance.facts.is_using_gtid() {
        return gtid::part(key, grandparent, world);
    }
    up_part(&moving, middle, grandparent, world)
}

/// The replica that others are to be moved away from: it stops applying meanwhile.
pub(super) fn middle<'a>(of: &InstanceKey, world: &World<'a>) -> Result<Moving<'a>, Refusal> {
    world.fresh(of)?;
    let (instance, _) = world.replica(of).map_err(|refusal| match refusal.rule {
        Rule::NotAReplica => Refusal::new(
            Rule::NoGrandparent,
            of,
            format!("{of} has no source: there is nothing above it to move to"),
            "name a replica two levels below the primary; see the topology",
        ),
        _ => refusal,
    })?;
    movability::movable(&instance.key, world)
}

fn grandparent<'a>(moving: &Moving<'a>, world: &World<'a>) -> Result<(Moving<'a>, InstanceKey), Refusal> {
    let middle = middle(&moving.replica.source, world)?;
    Ok((middle, middle.replica.source.clone()))
}

pub(super) fn up_part(
    moving: &Moving<'_>,
    middle: &Moving<'_>,
    grandparent: &InstanceKey,
    world: &World<'_>,
) -> Result<Part, Refusal> {
    let (key, middle_key) = (&moving.instance.key, &middle.instance.key);
    let mut warnings = movability::by_position(moving, world)?;
    keeps_order(middle)?;
    logs_what_it_applies(middle.instance, key)?;
    let other = movability::new_source(moving, grandparent, world)?;
    warnings.extend(movability::warnings(moving.instance, other, world));
    warnings.extend(writable_warning(middle.instance));
    let mut steps = applier_stopped(moving);
    let there = Condition::AppliedToEndOf { other: middle_key.clone() };
    steps.extend(run_until(key, Position::EndOf(middle_key.clone()), there));
    let place = Position::ExecutedBy(middle_key.clone());
    let also = vec![
        Condition::AppliedToEndOf { other: middle_key.clone() },
        Condition::StandsStill { other: middle_key.clone() },
    ];
    steps.extend(leaves(moving, grandparent, place, also, world));
    Ok(Part {
        branch: steps::branch(key, Some(grandparent), steps, world.wanted_threads(key)),
        method: Method::Position,
        because: format!("{middle_key} stands still at a place that both its own log and that of {grandparent} name"),
        warnings,
    })
}

/// The applier stands and the receiver runs. The statement to stop is given in any case: it is the proof.
fn applier_stopped(moving: &Moving<'_>) -> Vec<Step> {
    let key = &moving.instance.key;
    let now = running_threads(&moving.instance.facts);
    let mut steps = vec![steps::begins(steps::stop(key, Threads::SQL, now), moving)];
    if !now.io {
        steps.push(steps::started(key, Threads::IO));
    }
    steps
}

/// Runs the applier up to a place. Some servers notice that they are there only when the next event comes, which may be
/// never: it is stopped in any case.
fn run_until(key: &InstanceKey, position: Position, there: Condition) -> [Step; 2] {
    let run = Step::new(key, Action::RunUntil { position }, limit::RUN_UNTIL)
        .when(Condition::Threads { running: Threads::IO })
        .then(there);
    [run, steps::stop(key, Threads::SQL, Threads::BOTH)]
}

/// The rest of a move: the receiver stops, the source changes, both threads run.
fn leaves(
    moving: &Moving<'_>,
    to: &InstanceKey,
    position: Position,
    mut also: Vec<Condition>,
    world: &World<'_>,
) -> Vec<Step> {
    let key = &moving.instance.key;
    let mut before = vec![
        steps::identity(moving.instance),
        Condition::ReplicatesFrom { source: moving.replica.source.clone() },
        Condition::Threads { running: Threads::NONE },
    ];
    before.append(&mut also);
    let action = Action::ChangeSource { to: to.clone(), position, options: steps::options(moving.replica) };
    let mut change = Step::new(key, action, limit::CHANGE_SOURCE)
        .then(Condition::ReplicatesFrom { source: to.clone() })
        .then(Condition::Threads { running: Threads::NONE })
        .then(Condition::UsingGtid { using: false });
    change.before = before;
    let mut steps = vec![steps::stop(key, Threads::IO, Threads::IO), change];
    steps.extend(steps::start_again(key, to, world.wanted_threads(key), true));
    steps
}

/// `still` stops applying before all branches, and goes on after them.
fn around(plan: &mut Plan, still: &Moving<'_>, world: &World<'_>) {
    let key = &still.instance.key;
    let now = running_threads(&still.instance.facts);
    plan.locks.push(key.clone());
    plan.head.push(steps::begins(steps::stop(key, Threads::SQL, now), still));
    goes_on(plan, still, world);
    plan.locks.sort();
    plan.locks.dedup();
}

fn goes_on(plan: &mut Plan, still: &Moving<'_>, world: &World<'_>) {
    if world.wanted_threads(&still.instance.key).sql {
        plan.tail.push(steps::start_below(&still.instance.key, &still.replica.source, Threads::SQL));
    }
}

/// Its order of applying is that of its source, so that one place tells all it has.
fn keeps_order(still: &Moving<'_>) -> Result<(), Refusal> {
    if still.replica.applies_out_of_order != Some(true) {
        return Ok(());
    }
    let key = &still.instance.key;
    Err(Refusal::new(
        Rule::ParallelApplier,
        key,
        format!("{key} has several applier threads that do not keep the commit order"),
        "turn on replica_preserve_commit_order there, or use GTID: enable-gtid",
    ))
}

fn logs_what_it_applies(still: &Instance, own: &InstanceKey) -> Result<(), Refusal> {
    if still.facts.log_bin && still.facts.log_replica_updates {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::DoesNotRelay,
        own,
        format!("{} does not log what it applies: its log names no place of its source's", still.key),
        "restart it with log_replica_updates (log_slave_updates)",
    ))
}

fn writable_warning(still: &Instance) -> Option<String> {
    (!still.facts.read_only).then(|| {
        format!("{} accepts writes: what is written there directly while it stands still is not counted", still.key)
    })
}

pub(super) fn below(
    request: &Request,
    instance: &InstanceKey,
    below: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    if moving.replica.source == *below {
        return if world.resumed(instance) {
            finished(request, instance, below, world)
        } else {
            Err(steps::already_below(instance, below))
        };
    }
    let other = movability::new_source(&moving, below, world)?;
    let sibling = sibling(&moving, other, world)?;
    if moving.instance.facts.is_using_gtid() {
        return keeping_gtid(request, instance, below, world);
    }
    below_siblings(request, &[moving], &sibling, world)
}

/// `other` as a replica of the same source.
pub(super) fn sibling<'a>(moving: &Moving<'_>, other: &'a Instance, world: &World<'a>) -> Result<Moving<'a>, Refusal> {
    match &other.facts.replica {
        Some(replica) if other.facts.is_replica() && replica.source == moving.replica.source => {
            movability::movable(&other.key, world)
        }
        _ => {
            let key = &moving.instance.key;
            Err(Refusal::new(
                Rule::NotSiblings,
                key,
                format!("{key} replicates from {}, and {} does not", moving.replica.source, other.key),
                "by file and position a replica moves below a sibling, or up; relocate chooses the way",
            ))
        }
    }
}

/// Moves replicas below one of their siblings. With several, the sibling is first brought to the place of the most
/// advanced of them, then the others to its place.
pub(super) fn below_siblings(
    request: &Request,
    list: &[Moving<'_>],
    still: &Moving<'_>,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let to = &still.instance.key;
    let mut general = movability::by_position(still, world)?;
    keeps_order(still)?;
    logs_what_it_applies(still.instance, to)?;
    general.extend(writable_warning(still.instance));
    let parts = list.iter().map(|moving| below_part(moving, still, list.len() == 1, world)).collect::<Vec<_>>();
    let fit: Vec<&Moving<'_>> =
        list.iter().zip(&parts).filter(|(_, part)| part.is_ok()).map(|(moving, _)| moving).collect();
    let because =
        format!("all are brought to one place in the log of {}, where {to} stands still", still.replica.source);
    let several = list.len() > 1;
    let mut plan = match parts.into_iter().collect::<Vec<_>>() {
        mut one if one.len() == 1 => steps::single(request, one.remove(0)?),
        many => steps::many(request, many, because.clone())?,
    };
    plan.because = because;
    plan.warnings.extend(general);
    around(&mut plan, still, world);
    if several {
        // They are stopped before any of them is moved: their locks are the plan's.
        for moving in &fit {
            plan.head.extend(applier_stopped(moving));
            plan.locks.push(moving.instance.key.clone());
        }
        for moving in &fit {
            let key = &moving.instance.key;
            let as_far = Condition::AppliedAsFarAs { other: key.clone() };
            plan.head.extend(run_until(to, Position::ExecutedBy(key.clone()), as_far));
            plan.tail.push(steps::started(key, Threads::SQL));
        }
        for branch in &mut plan.branches {
            branch.locks.clear();
        }
        plan.locks.sort();
        plan.locks.dedup();
    }
    Ok(plan)
}

fn below_part(moving: &Moving<'_>, still: &Moving<'_>, alone: bool, world: &World<'_>) -> Result<Part, Refusal> {
    let (key, to) = (&moving.instance.key, &still.instance.key);
    let mut warnings = movability::by_position(moving, world)?;
    let other = movability::new_source(moving, to, world)?;
    warnings.extend(movability::warnings(moving.instance, other, world));
    let mut steps = if alone { applier_stopped(moving) } else { Vec::new() };
    let as_far = Condition::AppliedAsFarAs { other: to.clone() };
    steps.extend(run_until(key, Position::ExecutedBy(to.clone()), as_far));
    if alone {
        // Whichever is behind runs: the other is there already.
        let like = Condition::AppliedLike { other: key.clone() };
        steps.extend(run_until(to, Position::ExecutedBy(key.clone()), like));
    }
    let also = vec![
        Condition::AppliedLike { other: to.clone() },
        Condition::ReceivedIsIn { other: to.clone() },
        Condition::StandsStill { other: to.clone() },
    ];
    steps.extend(leaves(moving, to, Position::EndOf(to.clone()), also, world));
    Ok(Part {
        branch: steps::branch(key, Some(to), steps, world.wanted_threads(key)),
        method: Method::Position,
        because: String::new(),
        warnings,
    })
}

/// "Its source's source" is another server once the replica has moved: without the plan of the earlier run it cannot be told
/// how far that run came.
pub(super) fn tells_how_far(instance: &InstanceKey, world: &World<'_>) -> Result<(), Refusal> {
    if !world.resumed(instance) || world.earlier.is_some() {
        return Ok(());
    }
    let reason = format!("{instance} was touched by an earlier run, and its plan is not known");
    Err(Refusal::new(Rule::TooComplex, instance, reason, "look at the topology and ask for what is missing"))
}

/// Where an earlier run of this operation has moved the replica to, if it got that far.
pub(super) fn moved_to(moving: &Moving<'_>, world: &World<'_>) -> Option<InstanceKey> {
    let branch = world.earlier?.branches.iter().find(|branch| branch.instance == moving.instance.key)?;
    branch.new_source.clone().filter(|source| *source == moving.replica.source)
}

/// The same for a replica that is moved by the head of its plan.
pub(super) fn local_master_moved(moving: &Moving<'_>, world: &World<'_>) -> bool {
    let key = &moving.instance.key;
    let head = world.earlier.map(|plan| plan.head.as_slice()).unwrap_or_default();
    head.iter().any(|step| {
        step.on == *key && matches!(&step.action, Action::ChangeSource { to, .. } if *to == moving.replica.source)
    })
}

/// The plan for what an earlier run left undone after it had moved the replica.
pub(super) fn finished(
    request: &Request,
    key: &InstanceKey,
    source: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let part = steps::finish(key, source, world, Method::Position);
    let mut plan = match part {
        Some(part) => steps::single(request, part),
        None => Plan { branches: Vec::new(), ..Plan::in_place(request.clone(), key.clone(), Vec::new()) },
    };
    leftovers(&mut plan, world);
    if plan.steps().next().is_none() {
        return Err(steps::already_below(key, source));
    }
    Ok(plan)
}

/// Servers that an earlier run stopped, and that nothing in this plan starts: they go on.
pub(super) fn leftovers(plan: &mut Plan, world: &World<'_>) {
    let Some(earlier) = world.earlier else { return };
    let changed = earlier.locks.iter().chain(earlier.branches.iter().flat_map(|branch| &branch.locks));
    for key in changed {
        let Some(one) = world.instances.get(key) else { continue };
        let (now, wanted) = (running_threads(&one.facts), world.wanted_threads(key));
        let missing = wanted.without(now);
        let handled = plan.steps().any(|step| step.on == *key);
        let Some(source) = one.facts.source().filter(|_| !handled && missing != Threads::NONE) else { continue };
        let step = steps::start_below(key, source, missing).when(Condition::Threads { running: now });
        // Whoever moves below a MariaDB server waits until it has come as far: it must run before.
        let waits = plan.method == Method::MariadbGtid;
        let awaited = |step: &Step| matches!(&step.action, Action::ChangeSource { to, .. } if to == key);
        if waits && plan.steps().any(awaited) {
            plan.head.push(step);
        } else {
            plan.tail.push(step);
        }
        plan.locks.push(key.clone());
    }
    plan.locks.sort();
    plan.locks.dedup();
}
