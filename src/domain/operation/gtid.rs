//! Moves by GTID: the replica tells its new source what it has, and is sent the rest.
//!
//! What can go wrong, and is refused: the replica has transactions that its new source will never have (it would diverge
//! silently, and loudly after the next failover); the new source has purged what the replica still needs; the replica has
//! received what the new source lacks, and cannot apply it before its relay logs go.

mod shared;

use super::movability::{self, Moving, ancestors};
use super::steps::{self, Change, Part, Relay};
use super::{World, compatibility, limit};
use crate::instance::{Instance, InstanceKey, ThreadState};
use crate::plan::{
    Action, Condition, Method, Plan, Position, Refusal, Request, Rule, Step, Threads, missing_of_received,
    received_is_applied, running_threads,
};

pub(crate) use shared::{is_most_advanced, nothing_of_its_own, reach};

pub(crate) fn one(
    request: &Request,
    instance: &InstanceKey,
    below: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    Ok(steps::single(request, part(instance, below, world)?))
}

pub(crate) fn replicas(
    request: &Request,
    of: &InstanceKey,
    below: &InstanceKey,
    pattern: &str,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    world.fresh(below)?;
    let keys = listed(of, below, pattern, world)?;
    let parts = keys.iter().map(|key| part(key, below, world)).collect();
    steps::many(request, parts, format!("the replicas of {of} are moved below {below} by GTID"))
}

/// The replicas of `of` that are to be moved, and those that an earlier run has moved and not finished with.
pub(crate) fn listed(
    of: &InstanceKey,
    below: &InstanceKey,
    pattern: &str,
    world: &World<'_>,
) -> Result<Vec<InstanceKey>, Refusal> {
    let mut keys = steps::replicas_matching(of, pattern, Some(below), world)?;
    keys.extend(steps::moved_already(below, &keys, world));
    Ok(keys)
}

/// Moves one replica; refused as "already so" when it is there.
pub(crate) fn part(key: &InstanceKey, below: &InstanceKey, world: &World<'_>) -> Result<Part, Refusal> {
    part_after(key, below, Catching::default(), world)
}

/// The same after the plan has done something for the new source.
pub(crate) fn part_after(
    key: &InstanceKey,
    below: &InstanceKey,
    catching: Catching,
    world: &World<'_>,
) -> Result<Part, Refusal> {
    let moving = movability::movable(key, world)?;
    if moving.replica.source == *below {
        let scheme = scheme_of(&moving);
        return match world.resumed(key).then(|| steps::finish(key, below, world, scheme)).flatten() {
            Some(part) => Ok(part),
            None => Err(steps::already_below(key, below)),
        };
    }
    let other = movability::new_source(&moving, below, world)?;
    let mut part = moved(&moving, other, catching, world)?;
    part.because = format!("both use {}: the new source sends what {key} lacks", part.method);
    Ok(part)
}

/// What the rest of the plan does for the new source before this replica is moved.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Catching {
    /// It applies everything it has received.
    pub(crate) drains: bool,
    /// It will replicate from a server that has everything.
    pub(crate) will_get_the_rest: bool,
}

fn scheme_of(moving: &Moving<'_>) -> Method {
    if moving.replica.using_mariadb_gtid { Method::MariadbGtid } else { Method::Gtid }
}

/// The kind of GTID that the replica uses now and its new source can serve.
pub(crate) fn usable(moving: &Moving<'_>, other: &Instance) -> Result<Method, Refusal> {
    let key = &moving.instance.key;
    if !moving.instance.facts.is_using_gtid() {
        return Err(Refusal::new(
            Rule::NoSharedGtid,
            key,
            format!("{key} replicates by file and position"),
            format!("enable-gtid -i {key}, or move it by position: move-up, move-below"),
        ));
    }
    let method = compatibility::shared_gtid(moving.instance, other)?;
    // Auto-position is refused by a source in any other mode.
    if method == Method::Gtid && other.facts.gtid.mode != "ON" {
        return Err(Refusal::new(
            Rule::NoSharedGtid,
            key,
            format!("{} has gtid_mode {}: it does not serve auto-position", other.key, other.facts.gtid.mode),
            "set gtid_mode ON there, or choose another source",
        ));
    }
    Ok(method)
}

/// The steps below a source that was found fit.
pub(crate) fn moved(
    moving: &Moving<'_>,
    other: &Instance,
    catching: Catching,
    world: &World<'_>,
) -> Result<Part, Refusal> {
    let key = &moving.instance.key;
    let method = usable(moving, other)?;
    let mut also = Vec::new();
    if method == Method::Gtid {
        compatibility::purged_is_here(moving.instance, other)?;
        also.push(Condition::PurgedByIsHere { other: other.key.clone() });
    }
    let relay = relay(moving, other, world)?;
    if method == Method::MariadbGtid {
        let facts = &moving.instance.facts;
        let after_draining = match (&relay, shared::reach(moving.instance)) {
            (Relay::Drain, Some(reach)) => reach.to_string(),
            _ => facts.gtid.mariadb_slave_pos.clone(),
        };
        compatibility::mariadb_purged_is_here(moving.instance, &after_draining, other)?;
    }
    let shared = shared::transactions_are_shared(moving, other, &relay, catching, world)?;
    also.push(Condition::ExecutedIsIn { other: shared.proven_by });
    let position = if method == Method::Gtid { Position::Auto } else { Position::MariadbSlavePos };
    let action = Action::ChangeSource { to: other.key.clone(), position, options: steps::options(moving.replica) };
    let mut steps = steps::change(
        Change {
            moving: *moving,
            action,
            relay,
            also,
            holds: vec![Condition::UsingGtid { using: true }],
            reachable: true,
            may_apply: true,
        },
        world,
    );
    if method == Method::MariadbGtid && !ancestors(world, key).contains(&other.key) {
        if shared.warning.is_some() && other.facts.is_replica() && world.wanted_threads(&other.key) != Threads::BOTH {
            return Err(never_gets_there(key, &other.key));
        }
        wait_for_source(&mut steps, &other.key, world);
    }
    let mut warnings = movability::warnings(moving.instance, other, world);
    warnings.extend(shared.warning);
    let wanted = world.wanted_threads(key);
    let branch = steps::branch(key, Some(&other.key), steps, wanted);
    Ok(Part { branch, method, because: String::new(), warnings })
}

/// Waiting for a source whose replication is to stay stopped ends never.
fn never_gets_there(key: &InstanceKey, other: &InstanceKey) -> Refusal {
    Refusal::new(
        Rule::NotReplicating,
        key,
        format!("{other} lacks what {key} has, and its replication does not run: it would turn {key} away"),
        format!("start it first: start-replica -i {other}"),
    )
}

/// The new source gets as far as the replica before this one is changed. A MariaDB replica that asks for what comes after a
/// transaction its source does not have yet is refused, and its receiver stops for good; MySQL's waits.
fn wait_for_source(steps: &mut [Step], other: &InstanceKey, world: &World<'_>) {
    let is_there = Condition::ExecutedIsIn { other: other.clone() };
    let Some(at) = steps.iter().position(|step| matches!(step.action, Action::ChangeSource { .. })) else { return };
    let (earlier, later) = steps.split_at_mut(at);
    // The replica stands still from here on: what it has executed is final.
    if let Some(last) = earlier.last_mut().filter(|step| matches!(step.action, Action::Stop { .. })) {
        last.after.push(is_there.clone());
        last.limit_seconds = last.limit_seconds.max(world.policy.drain_limit_seconds.min(limit::RUN_UNTIL));
    }
    if let Some(change) = later.first_mut().filter(|change| !change.before.contains(&is_there)) {
        change.before.push(is_there);
    }
}

/// How the relay logs are seen to: a server above has it all, so nothing is waited for; otherwise all is applied first.
pub(crate) fn relay(moving: &Moving<'_>, other: &Instance, world: &World<'_>) -> Result<Relay, Refusal> {
    let key = &moving.instance.key;
    let missing = missing_of_received(&moving.instance.facts, &other.key, &other.facts);
    let above = ancestors(world, key).contains(&other.key);
    if (above && missing.is_empty()) || movability::receives_through(moving.instance, &other.key, world) {
        return Ok(Relay::ReceivedIn(other.key.clone()));
    }
    // Until the receiver has stopped, more may come.
    let receives = running_threads(&moving.instance.facts).io;
    if !receives && received_is_applied(&moving.instance.facts) {
        return Ok(Relay::Drained);
    }
    if can_drain(moving, world) {
        return Ok(Relay::Drain);
    }
    let keeps_up = !other.facts.is_replica() || world.wanted_threads(&other.key) == Threads::BOTH;
    if missing.is_empty() && (keeps_up || !receives) {
        return Ok(Relay::ReceivedIn(other.key.clone()));
    }
    let lacking = if missing.is_empty() { "whatever comes next".to_owned() } else { missing };
    Err(unapplied(moving, &format!("{} lacks them: {lacking}", other.key)))
}

/// Its applier works, and is not told to wait.
pub(crate) fn can_drain(moving: &Moving<'_>, world: &World<'_>) -> bool {
    let replica = moving.replica;
    let stopped_by_us = world.resumed(&moving.instance.key) && world.wanted_threads(&moving.instance.key).sql;
    let runs = replica.sql_thread == ThreadState::Running || stopped_by_us;
    runs && replica.sql_delay == 0 && replica.last_sql_error.is_empty()
}

/// Received transactions would be lost.
pub(crate) fn unapplied(moving: &Moving<'_>, consequence: &str) -> Refusal {
    let (key, replica) = (&moving.instance.key, moving.replica);
    let cause = if replica.sql_delay > 0 {
        format!("it is delayed by {} s", replica.sql_delay)
    } else if replica.sql_thread == ThreadState::Running {
        "it is still at it".to_owned()
    } else if replica.last_sql_error.is_empty() {
        "its applier is stopped".to_owned()
    } else {
        format!("its applier is broken: {}", replica.last_sql_error)
    };
    Refusal::new(
        Rule::UnappliedRelayLog,
        key,
        format!("{key} has received transactions that it has not applied ({cause}), and {consequence}"),
        format!("let it apply them first: start-replica-sql-thread -i {key}; or repair or undelay it"),
    )
}
