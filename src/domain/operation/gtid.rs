//! Moves by GTID: the replica tells its new source what it has, and is sent the rest.
//!
//! What can go wrong, and is refused: the replica has transactions that its new source will never have (it would diverge
//! silently, and loudly after the next failover); the new source has purged what the replica still needs; the replica has
//! received what the new source lacks, and cannot apply it before its relay logs go.

use super::movability::{self, Moving, ancestors};
use super::steps::{self, Change, Part, Relay};
use super::{World, compatibility};
use crate::gtid::GtidSet as AnySet;
use crate::gtid::mariadb::GtidPosition;
use crate::gtid::mysql::{GtidSet, Uuid};
use crate::instance::{Instance, InstanceKey, ThreadState};
use crate::plan::{
    Action, Condition, Method, Plan, Position, Refusal, Request, Rule, Threads, missing_of_received,
    received_is_applied, running_threads,
};

pub(super) fn one(
    request: &Request,
    instance: &InstanceKey,
    below: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    Ok(steps::single(request, part(instance, below, world)?))
}

pub(super) fn replicas(
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
pub(super) fn listed(
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
pub(super) fn part(key: &InstanceKey, below: &InstanceKey, world: &World<'_>) -> Result<Part, Refusal> {
    part_after(key, below, Catching::default(), world)
}

/// The same after the plan has done something for the new source.
pub(super) fn part_after(
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
pub(super) struct Catching {
    /// It applies everything it has received.
    pub(super) drains: bool,
    /// It will replicate from a server that has everything.
    pub(super) will_get_the_rest: bool,
}

fn scheme_of(moving: &Moving<'_>) -> Method {
    if moving.replica.using_mariadb_gtid { Method::MariadbGtid } else { Method::Gtid }
}

/// The kind of GTID that the replica uses now and its new source can serve.
pub(super) fn usable(moving: &Moving<'_>, other: &Instance) -> Result<Method, Refusal> {
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
pub(super) fn moved(
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
    let shared = transactions_are_shared(moving, other, &relay, catching, world)?;
    also.push(Condition::ExecutedIsIn { other: shared.proven_by });
    let position = if method == Method::Gtid { Position::Auto } else { Position::MariadbSlavePos };
    let action = Action::ChangeSource { to: other.key.clone(), position, options: steps::options(moving.replica) };
    let steps = steps::change(
        Change {
            moving: *moving,
            action,
            relay,
            also,
            holds: vec![Condition::UsingGtid { using: true }],
            reachable: true,
        },
        world,
    );
    let mut warnings = movability::warnings(moving.instance, other, world);
    warnings.extend(shared.warning);
    let wanted = world.wanted_threads(key);
    let branch = steps::branch(key, Some(&other.key), steps, wanted);
    Ok(Part { branch, method, because: String::new(), warnings })
}

/// How the relay logs are seen to: a server above has it all, so nothing is waited for; otherwise all is applied first.
pub(super) fn relay(moving: &Moving<'_>, other: &Instance, world: &World<'_>) -> Result<Relay, Refusal> {
    let key = &moving.instance.key;
    let missing = missing_of_received(&moving.instance.facts, &other.key, &other.facts);
    let above = ancestors(world, key).contains(&other.key);
    if above && missing.is_empty() {
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
pub(super) fn can_drain(moving: &Moving<'_>, world: &World<'_>) -> bool {
    let replica = moving.replica;
    let stopped_by_us = world.resumed(&moving.instance.key) && world.wanted_threads(&moving.instance.key).sql;
    let runs = replica.sql_thread == ThreadState::Running || stopped_by_us;
    runs && replica.sql_delay == 0 && replica.last_sql_error.is_empty()
}

/// Received transactions would be lost.
pub(super) fn unapplied(moving: &Moving<'_>, consequence: &str) -> Refusal {
    let (key, replica) = (&moving.instance.key, moving.replica);
    let cause = if replica.sql_delay > 0 {
        format!("it is delayed by {} s", replica.sql_delay)
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

/// That nothing the replica has is unknown to where it goes.
struct Shared {
    /// The server that is asked again, once the replica stands still.
    proven_by: InstanceKey,
    warning: Option<String>,
}

/// Everything the replica has, its new source has or will get. What it will get comes from the primary, through servers
/// that replicate; anything else is errant.
fn transactions_are_shared(
    moving: &Moving<'_>,
    other: &Instance,
    relay: &Relay,
    catching: Catching,
    world: &World<'_>,
) -> Result<Shared, Refusal> {
    let writers = writers_above(other, world);
    let relayed = matches!(relay, Relay::Drain);
    let judged = if moving.replica.using_mariadb_gtid {
        mariadb_judgement(moving, other, &writers, relayed, catching)
    } else {
        mysql_judgement(moving, other, &writers, relayed, catching)
    }?;
    // The primary is asked: its answer does not depend on how far the new source is.
    let asked = if judged.primary_has_all { writers.first() } else { None };
    let proven_by = asked.map_or_else(|| other.key.clone(), |primary| primary.key.clone());
    if judged.lacking.is_empty() {
        return Ok(Shared { proven_by, warning: None });
    }
    if !catching.will_get_the_rest {
        gets_the_rest(moving, other, &judged.lacking, world)?;
    }
    let warning = format!(
        "{} is behind {}: it lacks {} and gets it by replication; {} waits for it meanwhile",
        other.key, moving.instance.key, judged.lacking, moving.instance.key
    );
    Ok(Shared { proven_by, warning: Some(warning) })
}

/// What a comparison of sets says.
struct Judged {
    /// What the new source lacks now and will get, as text.
    lacking: String,
    /// The first writer has everything that the replica has.
    primary_has_all: bool,
}

/// The servers whose writes flow to `other`: itself if it is the primary, both of a pair; only those read lately.
fn writers_above<'a>(other: &'a Instance, world: &World<'a>) -> Vec<&'a Instance> {
    let chain = ancestors(world, &other.key);
    let top = chain.last().unwrap_or(&other.key);
    let mut keys = vec![top.clone()];
    // The top of a ring reads from another of its members.
    let ring = world.instances.get(top).and_then(|one| one.facts.source()).filter(|key| key.is_valid());
    keys.extend(ring.cloned());
    let mut writers: Vec<&Instance> = keys.iter().filter_map(|key| world.fresh(key).ok()).collect();
    writers.sort_by_key(|one| one.facts.read_only);
    writers
}

fn errant(moving: &Moving<'_>, other: &Instance, set: &str, why: &str) -> Refusal {
    let key = &moving.instance.key;
    Refusal::new(
        Rule::ErrantGtid,
        key,
        format!("{key} has transactions that {} lacks and will not get ({why}): {set}", other.key),
        format!(
            "gtid-errant-inject-empty -i {key} or gtid-errant-reset-master -i {key}, once it is known what they did"
        ),
    )
}

fn unreadable(moving: &Moving<'_>, other: &Instance) -> Refusal {
    Refusal::new(
        Rule::NoSharedGtid,
        &moving.instance.key,
        format!("the GTID sets of {} and {} cannot be compared", moving.instance.key, other.key),
        "see what they say in @@gtid_executed (MariaDB: @@gtid_current_pos)",
    )
}

fn mysql_judgement(
    moving: &Moving<'_>,
    other: &Instance,
    writers: &[&Instance],
    relayed: bool,
    catching: Catching,
) -> Result<Judged, Refusal> {
    let parse = |text: &str| GtidSet::parse(text).map_err(|_| unreadable(moving, other));
    let mut have = parse(&moving.instance.facts.gtid.executed)?;
    if relayed {
        have = have.union(&parse(&moving.replica.retrieved_gtid_set)?);
    }
    let mut theirs = parse(&other.facts.gtid.executed)?;
    if let Some(replica) = other.facts.replica.as_ref().filter(|_| catching.drains) {
        theirs = theirs.union(&parse(&replica.retrieved_gtid_set)?);
    }
    let lacking = have.subtract(&theirs);
    // What a primary wrote between two looks is not errant.
    let written_here = |set: &GtidSet| {
        let uuids: Vec<Uuid> = writers.iter().filter_map(|one| one.facts.server_uuid.parse().ok()).collect();
        set.retain_uuids(|uuid| !uuids.contains(&uuid))
    };
    let mut unknown = have;
    for writer in writers {
        unknown = unknown.subtract(&parse(&writer.facts.gtid.executed)?);
    }
    let errant_above = written_here(&unknown);
    if lacking.is_empty() {
        return Ok(Judged { lacking: String::new(), primary_has_all: writers.len() == 1 && errant_above.is_empty() });
    }
    if writers.is_empty() {
        return Err(errant(moving, other, &lacking.to_string(), "no primary above it can be read"));
    }
    let errant_set = lacking.intersect(&errant_above);
    if !errant_set.is_empty() {
        return Err(errant(moving, other, &errant_set.to_string(), "the primary does not have them"));
    }
    let is_writer = writers.iter().any(|writer| writer.key == other.key);
    // A writer lacks only what it wrote since it was looked at; a pair exchanges the rest.
    let lacking = if is_writer { String::new() } else { lacking.to_string() };
    Ok(Judged { lacking, primary_has_all: writers.len() == 1 && errant_above.is_empty() })
}

/// The place of a MariaDB server: what it wrote itself and what it applied.
fn mariadb_place(one: &Instance) -> Option<GtidPosition> {
    let gtid = &one.facts.gtid;
    let text = if gtid.mariadb_current_pos.is_empty() { &gtid.mariadb_binlog_pos } else { &gtid.mariadb_current_pos };
    GtidPosition::parse(text).ok()
}

fn mariadb_judgement(
    moving: &Moving<'_>,
    other: &Instance,
    writers: &[&Instance],
    relayed: bool,
    catching: Catching,
) -> Result<Judged, Refusal> {
    let unreadable = || unreadable(moving, other);
    let place = |one: &Instance| mariadb_place(one).ok_or_else(unreadable);
    let received = |text: &str| GtidPosition::parse(text).map_err(|_| unreadable());
    let mut have = place(moving.instance)?;
    if relayed {
        have = have.union(&received(&moving.replica.mariadb_io_pos)?);
    }
    let mut theirs = place(other)?;
    if let Some(replica) = other.facts.replica.as_ref().filter(|_| catching.drains) {
        theirs = theirs.union(&received(&replica.mariadb_io_pos)?);
    }
    let lacking = have.subtract(&theirs);
    let mut unknown = have;
    for writer in writers {
        unknown = unknown.subtract(&place(writer)?);
    }
    let ids: Vec<u64> = writers.iter().map(|one| one.facts.server_id).collect();
    let errant_above = unknown.gtids().any(|gtid| !ids.contains(&u64::from(gtid.server)));
    let primary_has_all = writers.len() == 1 && !errant_above;
    if lacking.is_empty() {
        return Ok(Judged { lacking: String::new(), primary_has_all });
    }
    if writers.is_empty() {
        return Err(errant(moving, other, &lacking.to_string(), "no primary above it can be read"));
    }
    if errant_above {
        return Err(errant(moving, other, &unknown.to_string(), "the primary does not have them"));
    }
    let is_writer = writers.iter().any(|writer| writer.key == other.key);
    let lacking = if is_writer { String::new() } else { lacking.to_string() };
    Ok(Judged { lacking, primary_has_all })
}

/// Everything that can be told of what a server has and will have applied.
pub(super) fn reach(one: &Instance) -> Option<AnySet> {
    let received = one.facts.replica.as_ref();
    if one.facts.server_uuid.is_empty() {
        let place = mariadb_place(one)?;
        let more = GtidPosition::parse(received.map_or("", |replica| &replica.mariadb_io_pos)).ok()?;
        return Some(place.union(&more).into());
    }
    let executed = GtidSet::parse(&one.facts.gtid.executed).ok()?;
    let more = GtidSet::parse(received.map_or("", |replica| &replica.retrieved_gtid_set)).ok()?;
    Some(executed.union(&more).into())
}

/// No reachable sibling has received anything that it has not.
pub(super) fn is_most_advanced(
    moving: &Moving<'_>,
    siblings: &[InstanceKey],
    world: &World<'_>,
) -> Result<(), Refusal> {
    let key = &moving.instance.key;
    let mine = reach(moving.instance).unwrap_or_default();
    for one in siblings.iter().filter_map(|sibling| world.fresh(sibling).ok()) {
        // What has moved below it already follows it.
        if one.facts.source() == Some(key) {
            continue;
        }
        let missing = reach(one).unwrap_or_default().subtract(&mine);
        if !missing.is_empty() {
            return Err(Refusal::new(
                Rule::NotMostAdvanced,
                key,
                format!("{} has what {key} lacks: {missing}", one.key),
                format!("choose {}, or regroup-replicas, which finds the most advanced", one.key),
            ));
        }
    }
    Ok(())
}

/// The replica has nothing that its primary lacks, but for what the primary wrote since it was looked at.
pub(super) fn nothing_of_its_own(moving: &Moving<'_>, master: &Instance) -> Result<(), Refusal> {
    let own = if moving.replica.using_mariadb_gtid {
        mariadb_judgement(moving, master, &[master], false, Catching::default())
    } else {
        mysql_judgement(moving, master, &[master], false, Catching::default())
    };
    own.map(|_| ())
}

/// What the new source lacks will come to it: it and all above it replicate.
fn gets_the_rest(moving: &Moving<'_>, other: &Instance, lacking: &str, world: &World<'_>) -> Result<(), Refusal> {
    let chain = std::iter::once(other.key.clone()).chain(ancestors(world, &other.key));
    let halted = chain.filter_map(|key| world.instances.get(&key)).find(|one| {
        one.facts.is_replica()
            && (world.wanted_threads(&one.key) != Threads::BOTH
                || !(world.resumed(&one.key) || running_threads(&one.facts) == Threads::BOTH))
    });
    let Some(halted) = halted else { return Ok(()) };
    let key = &moving.instance.key;
    Err(Refusal::new(
        Rule::NotReplicating,
        key,
        format!("{} lacks what {key} has ({lacking}), and replication of {} does not run", other.key, halted.key),
        format!("start it first: start-replica -i {}", halted.key),
    ))
}
