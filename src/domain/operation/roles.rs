//! Changes of roles: a replica swaps with its source, takes its siblings, or becomes the head.

mod pair;

use super::gtid::Catching;
use super::movability::{self, Moving, source_in_general};
use super::steps::{self, Change, Part};
use super::{World, detach, gtid, limit, position, relocate, repoint};
use crate::instance::{Instance, InstanceKey, ThreadState};
use crate::plan::{Action, Condition, Method, Plan, Position, Refusal, Request, Rule, Step, Threads, running_threads};

pub(super) use pair::make_co_master;

/// Swaps a replica with its source, which replicates itself: both move, one after the other.
pub(super) fn take_master(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    position::tells_how_far(instance, world)?;
    if position::moved_to(&moving, world).is_some() {
        return second_half(request, &moving, world);
    }
    let master = position::middle(&moving.replica.source, world)?;
    let top = world.fresh(&master.replica.source)?;
    // By what both said just now: that the leader knows them for a pair may be a moment old.
    if top.facts.is_replica() && top.facts.source() == Some(&master.instance.key) {
        return Err(Refusal::new(
            Rule::CoPrimary,
            instance,
            format!("{} and {} replicate from each other", master.instance.key, top.key),
            "a planned takeover changes the primary; reset-replica ends the pair",
        ));
    }
    movability::new_source(&moving, &top.key, world)?;
    source_in_general(master.instance, instance, world)?;
    let plan = if moving.instance.facts.is_using_gtid() && master.instance.facts.is_using_gtid() {
        swap_by_gtid(request, &moving, &master, top, world)?
    } else if moving.instance.facts.is_using_gtid() || master.instance.facts.is_using_gtid() {
        let reason = format!("of {instance} and {}, one uses GTID and the other does not", master.instance.key);
        return Err(Refusal::new(Rule::NoSharedGtid, instance, reason, "enable-gtid on the one that does not"));
    } else {
        swap_by_position(request, &moving, &master, top, world)?
    };
    Ok(plan)
}

/// The source replicates from the replica's place, and then the replica follows: with GTID both find their places.
fn swap_by_gtid(
    request: &Request,
    moving: &Moving<'_>,
    master: &Moving<'_>,
    top: &Instance,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let first = gtid::moved(moving, top, Catching::default(), world)?;
    let second = after_it_moved(moving, master, world)?;
    let mut plan = steps::single(request, first);
    plan.because = format!("both use {}: each finds its place by itself", plan.method);
    if let Some(branch) = plan.branches.first_mut() {
        branch.steps.extend(second.branch.steps);
        branch.restore.extend(second.branch.restore);
    }
    plan.warnings.extend(second.warnings);
    plan.locks.push(master.instance.key.clone());
    plan.locks.sort();
    Ok(plan)
}

/// The former source below the replica that is, or will be, beside it.
fn after_it_moved(moving: &Moving<'_>, master: &Moving<'_>, world: &World<'_>) -> Result<Part, Refusal> {
    gtid::moved(master, moving.instance, Catching { drains: false, will_get_the_rest: true }, world)
}

/// ```text
///   M stands; I applies all of M's log; I moves beside M, receiving only; M moves below I, which stands at M's place.
/// ```
fn swap_by_position(
    request: &Request,
    moving: &Moving<'_>,
    master: &Moving<'_>,
    top: &Instance,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let (key, master_key) = (&moving.instance.key, &master.instance.key);
    let mut warnings = movability::by_position(master, world)?;
    let up = position::up_part(moving, master, &top.key, world)?;
    warnings.extend(up.warnings);
    let mut up_steps = up.branch.steps;
    // The applier stays where it is until M is below.
    up_steps.pop();
    let now = running_threads(&master.instance.facts);
    let mut all = vec![steps::begins(steps::stop(master_key, Threads::SQL, now), master)];
    all.extend(up_steps);
    all.push(steps::start_below(key, &top.key, Threads::IO));
    let receiver = steps::stop(master_key, Threads::IO, Threads::IO);
    all.push(receiver.then(Condition::ReceivedIsIn { other: key.clone() }));
    let action = Action::ChangeSource {
        to: key.clone(),
        position: Position::EndOf(key.clone()),
        options: steps::options(master.replica),
    };
    let change = Step::new(master_key, action, limit::CHANGE_SOURCE)
        .when(steps::identity(master.instance))
        .when(Condition::ReplicatesFrom { source: top.key.clone() })
        .when(Condition::Threads { running: Threads::NONE })
        .when(Condition::AppliedLike { other: key.clone() })
        .when(Condition::ReceivedIsIn { other: key.clone() })
        .when(Condition::StandsStill { other: key.clone() })
        .then(Condition::ReplicatesFrom { source: key.clone() })
        .then(Condition::Threads { running: Threads::NONE });
    all.push(change);
    all.push(steps::start_below(key, &top.key, Threads::SQL));
    all.extend(steps::start_again(master_key, key, Threads::NONE, world.wanted_threads(master_key), true));
    let mut branch = steps::branch(key, Some(&top.key), all, world.wanted_threads(key));
    branch.restore.extend(steps::restore(master_key, world.wanted_threads(master_key)));
    let mut locks = vec![key.clone(), master_key.clone()];
    locks.sort();
    let because = format!("{master_key} and {key} are brought to one place, which all three logs name");
    let plan = steps::single(request, Part { branch, method: Method::Position, because, warnings });
    Ok(Plan { locks, ..plan })
}

/// An earlier run moved the replica beside its former source, and ended there.
fn second_half(request: &Request, moving: &Moving<'_>, world: &World<'_>) -> Result<Plan, Refusal> {
    let key = &moving.instance.key;
    let master = world.earlier.and_then(|plan| plan.locks.iter().find(|locked| *locked != key));
    let Some(master) = master else {
        return Err(steps::already_below(key, &moving.replica.source));
    };
    let master = movability::movable(master, world)?;
    if master.replica.source == *key {
        return position::finished(request, key, &moving.replica.source, world);
    }
    if !master.instance.facts.is_using_gtid() {
        let master = &master.instance.key;
        let reason = format!("an earlier run left {key} beside {master}, and their places may differ by now");
        return Err(Refusal::new(Rule::TooComplex, key, reason, format!("move-below -i {master} -d {key}")));
    }
    source_in_general(master.instance, key, world)?;
    let part = after_it_moved(moving, &master, world)?;
    let mut plan = steps::single(request, part);
    plan.because = format!("{key} has moved already; {} follows", master.instance.key);
    plan.answers_for = Some(key.clone());
    Ok(plan)
}

pub(super) fn take_siblings(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let (_, replica) = world.replica(instance)?;
    let mut plan = relocate::replicas(request, &replica.source, instance, "", world)?;
    plan.answers_for = Some(instance.clone());
    Ok(plan)
}

/// A replica of a dead primary becomes the primary: it forgets nothing, opens, and takes its siblings.
pub(super) fn make_master(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    let source = &moving.replica.source;
    let detached = source.is_detached();
    if detached && !world.resumed(instance) {
        let reason = format!("{instance} is detached: it has no siblings to take");
        return Err(Refusal::new(Rule::Detached, instance, reason, format!("set-writeable -i {instance}")));
    }
    let lost = InstanceKey::new(source.hostname.trim_start_matches('/'), source.port);
    is_lost(&lost, world)?;
    if moving.instance.promotion_rule.is_banned() {
        let reason = format!("{instance} is registered as must_not");
        return Err(Refusal::new(Rule::NoCandidate, instance, reason, "choose another, or register-candidate it anew"));
    }
    let siblings = sibling_keys(&lost, instance, world);
    nobody_hears(&lost, instance, &siblings, world)?;
    gtid::is_most_advanced(&moving, &siblings, world)?;
    let catching = Catching { drains: true, will_get_the_rest: false };
    let parts = siblings.iter().map(|key| gtid::part_after(key, instance, catching, world)).collect();
    let because = format!("{lost} is lost and {instance} has all that any reachable replica of it has");
    let mut plan = steps::many(request, parts, because).or_else(|refusal| alone(request, &refusal))?;
    if plan.branches.is_empty() {
        plan.method = Method::InPlace;
    }
    plan.head = opening(&moving, detached, world)?;
    plan.warnings.push(format!("replication of {instance} stays stopped, its source {lost} detached"));
    plan.warnings.push(format!("{lost} could not be read: make sure that it accepts no writes if it comes back"));
    if plan.head.is_empty() && plan.branches.is_empty() && plan.left_out.is_empty() {
        return Err(Refusal::new(
            Rule::AlreadySo,
            instance,
            format!("{instance} is the primary"),
            "nothing is to be done",
        ));
    }
    plan.locks = vec![instance.clone()];
    plan.answers_for = Some(instance.clone());
    Ok(plan)
}

/// That no sibling can follow does not keep the one from being opened: they are told about.
fn alone(request: &Request, refusal: &Refusal) -> Result<Plan, Refusal> {
    let plan = Plan::in_place(request.clone(), refusal.instance.clone(), Vec::new());
    Ok(Plan { branches: Vec::new(), left_out: vec![refusal.clone()], ..plan })
}

/// Apply everything, stop, detach, open for writes.
fn opening(moving: &Moving<'_>, detached: bool, world: &World<'_>) -> Result<Vec<Step>, Refusal> {
    let key = &moving.instance.key;
    let mut steps = Vec::new();
    if !detached {
        let relay = repoint::applied_relay(moving, "nobody else has them", world)?;
        let action = detach::rename(moving, &format!("//{}", moving.replica.source.hostname));
        let change = Change {
            moving: *moving,
            action,
            relay,
            also: Vec::new(),
            holds: Vec::new(),
            reachable: false,
            may_apply: false,
        };
        steps = steps::change(change, world);
        // It stays stopped.
        if world.wanted_threads(key) != Threads::NONE {
            steps.pop();
        }
    }
    if moving.instance.facts.read_only {
        let with_super = world.policy.use_super_read_only;
        let open = Step::new(key, Action::SetReadOnly { read_only: false, with_super }, limit::OTHER)
            .when(steps::identity(moving.instance))
            .when(Condition::Threads { running: Threads::NONE })
            .then(Condition::ReadOnly { read_only: false });
        steps.push(open);
    }
    Ok(steps)
}

/// Its last check failed, lately, and without any sign of life.
fn is_lost(key: &InstanceKey, world: &World<'_>) -> Result<(), Refusal> {
    let one = world.known(key)?;
    let remedy = "for a living primary use a planned takeover (graceful-master-takeover)";
    if one.check.is_valid() || one.check.partial_success {
        let reason = format!("{key} answered its last check: it is alive");
        return Err(Refusal::new(Rule::PrimaryAlive, key, reason, remedy));
    }
    let age = one.check.seconds_since_checked(world.now).unwrap_or(i64::MAX);
    if age > i64::from(world.policy.stale_after_seconds) {
        let reason = format!("{key} was last checked {age} s ago: it is unknown, not dead");
        return Err(Refusal::new(Rule::StaleFacts, key, reason, format!("look at it: discover -i {key}")));
    }
    Ok(())
}

/// A replica that still receives proves that the primary lives.
fn nobody_hears(
    lost: &InstanceKey,
    instance: &InstanceKey,
    siblings: &[InstanceKey],
    world: &World<'_>,
) -> Result<(), Refusal> {
    let hears = |key: &&InstanceKey| {
        let replica = world.fresh(key).ok().and_then(|one| one.facts.replica.as_ref());
        replica.is_some_and(|replica| replica.source == *lost && replica.io_thread == ThreadState::Running)
    };
    match std::iter::once(instance).chain(siblings).find(hears) {
        None => Ok(()),
        Some(witness) => Err(Refusal::new(
            Rule::PrimaryAlive,
            lost,
            format!("{lost} cannot be read, but {witness} still replicates from it: it is alive"),
            "look into the network between us and it",
        )),
    }
}

fn sibling_keys(source: &InstanceKey, instance: &InstanceKey, world: &World<'_>) -> Vec<InstanceKey> {
    let mut keys: Vec<InstanceKey> =
        world.replicas_of(source).into_iter().map(|one| one.key.clone()).filter(|key| key != instance).collect();
    keys.extend(steps::moved_already(instance, &keys, world));
    keys
}

/// A replica moves beside its source, and its former siblings below it.
pub(super) fn make_local_master(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    position::tells_how_far(instance, world)?;
    let catching = Catching { drains: false, will_get_the_rest: true };
    if position::local_master_moved(&moving, world) {
        let siblings =
            world.earlier.map(|plan| plan.branches.iter().map(|one| one.instance.clone()).collect::<Vec<_>>());
        let siblings = siblings.unwrap_or_default();
        let parts = siblings.iter().map(|key| gtid::part_after(key, instance, catching, world)).collect();
        let because = format!("{instance} has moved already; its former siblings follow");
        let mut plan = steps::many(request, parts, because)?;
        plan.answers_for = Some(instance.clone());
        return Ok(plan);
    }
    let master = world.known(&moving.replica.source)?;
    let Some(top) = master.facts.source().filter(|_| master.facts.is_replica()) else {
        let reason = format!("{} has no source: {instance} would have nothing to replicate from", master.key);
        return Err(Refusal::new(Rule::NoGrandparent, instance, reason, "make-master is for replicas of the primary"));
    };
    let up = gtid::part(instance, top, world)?;
    let siblings = sibling_keys(&master.key, instance, world);
    let parts = siblings.iter().map(|key| gtid::part_after(key, instance, catching, world)).collect();
    let because = format!("{instance} moves below {top} by GTID, then its siblings below it");
    let mut plan = steps::many(request, parts, because).or_else(|refusal| alone(request, &refusal))?;
    plan.method = up.method;
    plan.warnings.extend(up.warnings);
    plan.tail = up.branch.restore;
    plan.head = up.branch.steps;
    plan.locks = vec![instance.clone()];
    plan.answers_for = Some(instance.clone());
    Ok(plan)
}
