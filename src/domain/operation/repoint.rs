//! The same source again: under another name, with a fresh connection, with GTID or without.

use super::movability::{self, Moving};
use super::steps::{self, Change, Part, Relay};
use super::{World, compatibility, gtid};
use crate::instance::{Instance, InstanceKey, ThreadState};
use crate::plan::{
    Action, Condition, Method, Plan, Position, Refusal, Request, Rule, received_is_applied, running_threads,
};

pub(crate) fn one(
    request: &Request,
    instance: &InstanceKey,
    below: Option<&InstanceKey>,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    Ok(steps::single(request, part(instance, below, world)?))
}

pub(crate) fn replicas(
    request: &Request,
    of: &InstanceKey,
    below: Option<&InstanceKey>,
    pattern: &str,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let keys = steps::replicas_matching(of, pattern, below, world)?;
    let parts = keys.iter().map(|key| part(key, below, world)).collect();
    let to = below.unwrap_or(of);
    steps::many(request, parts, format!("the replicas of {of} are pointed at {to}"))
}

fn part(key: &InstanceKey, below: Option<&InstanceKey>, world: &World<'_>) -> Result<Part, Refusal> {
    let moving = movability::movable(key, world)?;
    match below.filter(|below| **below != moving.replica.source) {
        None => again(&moving, world),
        Some(below) => elsewhere(&moving, below, world),
    }
}

/// At its present source again.
pub(crate) fn again(moving: &Moving<'_>, world: &World<'_>) -> Result<Part, Refusal> {
    let (key, source) = (&moving.instance.key, &moving.replica.source);
    if source.is_detached() {
        return Err(detached(moving));
    }
    let other = world.fresh(source).ok();
    if let Some(other) = other {
        compatibility::can_replicate(moving.instance, other, world.policy)?;
    }
    let position = kept_position(moving, other)?;
    let mut part = stated(moving, source, other, position, Vec::new(), world)?;
    part.because = format!("{source} stays the source of {key}; its connection is made anew");
    if other.is_none() {
        part.warnings.push(format!("{source} could not be read: it is not seen whether {key} can connect to it"));
    }
    Ok(part)
}

fn detached(moving: &Moving<'_>) -> Refusal {
    let key = &moving.instance.key;
    let reason = format!("{key} is detached from its source");
    Refusal::new(Rule::Detached, key, reason, format!("reattach-replica-master-host -i {key}"))
}

/// The place it has reached, told in its present way.
fn kept_position(moving: &Moving<'_>, other: Option<&Instance>) -> Result<Position, Refusal> {
    if moving.replica.using_mariadb_gtid {
        return Ok(Position::MariadbSlavePos);
    }
    if moving.replica.auto_position {
        return Ok(Position::Auto);
    }
    if let Some(other) = other
        && !is_the_source(moving, other)
    {
        return Err(another_server(moving, other));
    }
    applied_place(moving)
}

fn applied_place(moving: &Moving<'_>) -> Result<Position, Refusal> {
    let key = &moving.instance.key;
    if moving.replica.exec.file.is_empty() {
        let reason = format!("{key} has applied nothing of its source yet: there is no position to state");
        return Err(Refusal::new(Rule::NotReplicating, key, reason, "let it connect and apply something first"));
    }
    Ok(Position::ExecutedBy(key.clone()))
}

/// Another name. With GTID any fit server will do; a position means something in one log only.
fn elsewhere(moving: &Moving<'_>, below: &InstanceKey, world: &World<'_>) -> Result<Part, Refusal> {
    let key = &moving.instance.key;
    let other = movability::new_source(moving, below, world)?;
    if moving.instance.facts.is_using_gtid() {
        let mut part = gtid::part(key, below, world)?;
        part.because = format!("{key} uses {}: it finds its place in the log of {below} by itself", part.method);
        return Ok(part);
    }
    if !is_the_source(moving, other) {
        return Err(another_server(moving, other));
    }
    let position = applied_place(moving)?;
    let mut part = stated(moving, below, Some(other), position, Vec::new(), world)?;
    part.because = format!("{below} is the server that {key} replicates from, under another name");
    Ok(part)
}

/// MariaDB servers have no UUID: there only the name tells.
fn is_the_source(moving: &Moving<'_>, other: &Instance) -> bool {
    let (known, theirs) = (&moving.replica.source_uuid, &other.facts.server_uuid);
    if known.is_empty() || known == "No" || theirs.is_empty() {
        return moving.replica.source == other.key;
    }
    known == theirs
}

fn another_server(moving: &Moving<'_>, other: &Instance) -> Refusal {
    let key = &moving.instance.key;
    Refusal::new(
        Rule::AnotherServer,
        key,
        format!(
            "{} is not the server that {key} has replicated from ({}): a position of one means nothing in the log of the \
             other",
            other.key, moving.replica.source
        ),
        format!("relocate -i {key} -d {}, which finds the right place", other.key),
    )
}

/// States a source that has the replica's place, its relay logs seen to.
fn stated(
    moving: &Moving<'_>,
    to: &InstanceKey,
    other: Option<&Instance>,
    position: Position,
    holds: Vec<Condition>,
    world: &World<'_>,
) -> Result<Part, Refusal> {
    let key = &moving.instance.key;
    let mut also = Vec::new();
    if let (Position::Auto, Some(other)) = (&position, other) {
        compatibility::purged_is_here(moving.instance, other)?;
        also.push(Condition::PurgedByIsHere { other: to.clone() });
    }
    if let (Position::MariadbSlavePos, Some(other)) = (&position, other) {
        let place = &moving.instance.facts.gtid.mariadb_slave_pos;
        compatibility::mariadb_purged_is_here(moving.instance, place, other)?;
    }
    let relay = match other {
        // Appliers of several domains run ahead of each other: the place applied is only true once all is applied.
        Some(_) if leaves_domains_behind(moving, &position) => {
            applied_relay(moving, "a position does not tell which of them, with several domains", world)?
        }
        // Under another name its log is the same, and conditions name servers by key.
        Some(other) if *to == moving.replica.source => gtid::relay(moving, other, world)?,
        _ => applied_relay(moving, "they would have to be sent again by a server that cannot be asked", world)?,
    };
    let options = steps::options(moving.replica);
    let action = Action::ChangeSource { to: to.clone(), position, options };
    let change = Change { moving: *moving, action, relay, also, holds, reachable: other.is_some(), may_apply: true };
    let steps = steps::change(change, world);
    let warnings = other.map(|other| movability::warnings(moving.instance, other, world)).unwrap_or_default();
    Ok(Part {
        branch: steps::branch(key, Some(to), steps, world.wanted_threads(key)),
        method: Method::Repoint,
        because: String::new(),
        warnings,
    })
}

/// A MariaDB replica is to go on at a position instead of its GTIDs.
fn leaves_domains_behind(moving: &Moving<'_>, position: &Position) -> bool {
    moving.replica.using_mariadb_gtid && matches!(position, Position::At(_) | Position::ExecutedBy(_))
}

/// All relay logs applied, at once or in a while.
pub(crate) fn applied_relay(moving: &Moving<'_>, consequence: &str, world: &World<'_>) -> Result<Relay, Refusal> {
    // While the receiver runs, more comes.
    let receives = moving.replica.io_thread == ThreadState::Running;
    if !receives && received_is_applied(&moving.instance.facts) {
        return Ok(Relay::Drained);
    }
    if gtid::can_drain(moving, world) {
        return Ok(Relay::Drain);
    }
    Err(gtid::unapplied(moving, consequence))
}

pub(crate) fn enable_gtid(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    if moving.instance.facts.is_using_gtid() {
        return finished(request, &moving, "uses GTID already", world);
    }
    let other = switchable(&moving, world)?;
    let method = compatibility::shared_gtid(moving.instance, other)?;
    let position = match method {
        Method::Gtid if other.facts.gtid.mode != "ON" => {
            return Err(no_scheme(&moving, format!("{} has gtid_mode {}", other.key, other.facts.gtid.mode)));
        }
        Method::Gtid => Position::Auto,
        _ if moving.instance.facts.gtid.mariadb_slave_pos.is_empty()
            && !other.facts.gtid.mariadb_current_pos.is_empty() =>
        {
            return Err(no_scheme(&moving, format!("gtid_slave_pos of {instance} is empty")));
        }
        _ => Position::MariadbSlavePos,
    };
    let holds = vec![Condition::UsingGtid { using: true }];
    let mut part = stated(&moving, &other.key, Some(other), position, holds, world)?;
    part.because = format!("{} and {instance} both know {method}", other.key);
    Ok(steps::single(request, part))
}

fn no_scheme(moving: &Moving<'_>, reason: String) -> Refusal {
    Refusal::new(
        Rule::NoSharedGtid,
        &moving.instance.key,
        reason,
        "set gtid_mode ON everywhere; MariaDB: set gtid_slave_pos to the place that the replica has reached",
    )
}

pub(crate) fn disable_gtid(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    if !moving.instance.facts.is_using_gtid() {
        return finished(request, &moving, "does not use GTID", world);
    }
    let other = switchable(&moving, world)?;
    let position = applied_place(&moving)?;
    let holds = vec![Condition::UsingGtid { using: false }];
    let mut part = stated(&moving, &other.key, Some(other), position, holds, world)?;
    part.because = format!("{instance} goes on at the place of {}'s log that it has applied", other.key);
    Ok(steps::single(request, part))
}

/// Its source, which must be there to be seen going on.
fn switchable<'a>(moving: &Moving<'_>, world: &World<'a>) -> Result<&'a Instance, Refusal> {
    if moving.replica.source.is_detached() {
        return Err(detached(moving));
    }
    let other = world.fresh(&moving.replica.source)?;
    compatibility::can_replicate(moving.instance, other, world.policy)?;
    Ok(other)
}

fn finished(request: &Request, moving: &Moving<'_>, word: &str, world: &World<'_>) -> Result<Plan, Refusal> {
    let key = &moving.instance.key;
    let undone = running_threads(&moving.instance.facts) != world.wanted_threads(key);
    if world.resumed(key)
        && undone
        && let Some(part) = steps::finish(key, &moving.replica.source, world, Method::Repoint)
    {
        return Ok(steps::single(request, part));
    }
    Err(Refusal::new(Rule::AlreadySo, key, format!("{key} {word}"), "nothing is to be done"))
}
