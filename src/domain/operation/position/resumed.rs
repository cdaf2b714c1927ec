//! What an earlier run of an operation, ended before its time, has done already, and what it has left stopped.

use crate::instance::InstanceKey;
use crate::operation::movability::Moving;
use crate::operation::{World, steps};
use crate::plan::{Action, Condition, Method, Plan, Refusal, Request, Rule, Step, Threads, running_threads};

/// "Its source's source" is another server once the replica has moved: without the plan of the earlier run it cannot be told
/// how far that run came.
pub(crate) fn tells_how_far(instance: &InstanceKey, world: &World<'_>) -> Result<(), Refusal> {
    if !world.resumed(instance) || world.earlier.is_some() {
        return Ok(());
    }
    let reason = format!("{instance} was touched by an earlier run, and its plan is not known");
    Err(Refusal::new(Rule::TooComplex, instance, reason, "look at the topology and ask for what is missing"))
}

/// Where an earlier run of this operation has moved the replica to, if it got that far.
pub(crate) fn moved_to(moving: &Moving<'_>, world: &World<'_>) -> Option<InstanceKey> {
    let branch = world.earlier?.branches.iter().find(|branch| branch.instance == moving.instance.key)?;
    branch.new_source.clone().filter(|source| *source == moving.replica.source)
}

/// The same for a replica that is moved by the head of its plan.
pub(crate) fn local_master_moved(moving: &Moving<'_>, world: &World<'_>) -> bool {
    let key = &moving.instance.key;
    let head = world.earlier.map(|plan| plan.head.as_slice()).unwrap_or_default();
    head.iter().any(|step| {
        step.on == *key && matches!(&step.action, Action::ChangeSource { to, .. } if *to == moving.replica.source)
    })
}

/// The plan for what an earlier run left undone after it had moved the replica.
pub(crate) fn finished(
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

/// The replica is where it is asked to be: what an earlier run left undone there, or a refusal.
pub(crate) fn there_already(
    request: &Request,
    key: &InstanceKey,
    source: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    if world.resumed(key) {
        return finished(request, key, source, world);
    }
    Err(steps::already_below(key, source))
}

/// Servers that an earlier run stopped, and that nothing in this plan starts: they go on.
pub(crate) fn leftovers(plan: &mut Plan, world: &World<'_>) {
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
