//! After writes are open: the survivors go below the new primary.
//!
//! Each is a branch of its own: what fails with one does not touch the others. Who had been stopped by people before the
//! recovery stays so.

use super::co_primary;
use super::data::{Holding, Received, holdings};
use super::follow::{can_turn_to_gtid, holds_more, no_place};
use super::scene::{Choice, Scene};
use crate::gtid::GtidSet;
use crate::instance::{BinlogCoordinates, Instance, InstanceKey};
use crate::operation::movability::Moving;
use crate::operation::steps::{self, Change, Part, Relay};
use crate::operation::{compatibility, gtid, movability};
use crate::plan::{
    Action, Condition, Method, Plan, Position, Refusal, SemiSyncSide, Step, Threads, missing_of_executed,
    received_is_applied, running_threads,
};

/// Seconds for what only switches something.
const SWITCH_LIMIT: u32 = 10;

/// A branch for each follower; those that cannot follow are in `left_out`, with the reason: they are lost. `None`: all are there.
pub fn repoint(scene: &Scene<'_>, choice: &Choice) -> Result<Option<Plan>, Refusal> {
    let successor = scene.world.fresh(&choice.successor)?;
    let mut plan = Plan {
        request: scene.request.clone(),
        method: Method::InPlace,
        because: format!("{} is the primary now", successor.key),
        warnings: Vec::new(),
        locks: Vec::new(),
        head: Vec::new(),
        branches: Vec::new(),
        tail: Vec::new(),
        left_out: Vec::new(),
        answers_for: Some(successor.key.clone()),
    };
    let mut acknowledging = Acknowledging::new(scene, successor);
    for one in scene.replicas().into_iter().filter(|one| one.key != successor.key) {
        match part(scene, one, successor, &mut acknowledging) {
            Ok(None) => {}
            Ok(Some(mut part)) => {
                part.branch.locks = vec![part.branch.instance.clone()];
                plan.method = if plan.branches.is_empty() { part.method } else { plan.method.max(part.method) };
                plan.warnings.extend(part.warnings);
                plan.branches.push(part.branch);
            }
            Err(refusal) => plan.left_out.push(refusal),
        }
    }
    let nothing = plan.branches.is_empty() && plan.left_out.is_empty();
    Ok((!nothing).then_some(plan))
}

/// `None`: it is there, and replicates as it did before.
fn part(
    scene: &Scene<'_>,
    one: &Instance,
    successor: &Instance,
    acknowledging: &mut Acknowledging,
) -> Result<Option<Part>, Refusal> {
    let world = scene.world;
    let key = &one.key;
    let moving = movability::movable(key, world)?;
    if moving.replica.source == successor.key {
        let scheme = if moving.replica.using_mariadb_gtid { Method::MariadbGtid } else { Method::Gtid };
        return Ok(steps::finish(key, &successor.key, world, scheme).map(|part| {
            let mut part = part;
            part.branch.restore = Vec::new();
            part
        }));
    }
    compatibility::can_replicate(one, successor, world.policy)?;
    let mut part = if one.facts.is_using_gtid() {
        by_gtid(scene, &moving, successor)?
    } else {
        by_place(scene, &moving, successor)?
    };
    if let Some(step) = acknowledging.step(one, scene) {
        let at = part.branch.steps.iter().position(|step| matches!(step.action, Action::ChangeSource { .. }));
        part.branch.steps.insert(at.map_or(0, |at| at + 1), step);
    }
    // Its receiver is not to go back to where it came from.
    let wanted = world.wanted_threads(key);
    if running_threads(&one.facts).without(wanted) != Threads::NONE {
        part.warnings.push(format!("of {key} only what ran before the recovery runs again, the rest stays stopped"));
    }
    part.branch.restore = steps::restore(key, Threads { io: false, sql: wanted.sql });
    Ok(Some(part))
}

fn by_gtid(scene: &Scene<'_>, moving: &Moving<'_>, successor: &Instance) -> Result<Part, Refusal> {
    let (one, to) = (moving.instance, &successor.key);
    let method = gtid::usable(moving, successor)?;
    let (own, extra) = extra_data(scene, one, successor)?;
    if !extra.is_empty() {
        return Err(holds_more(one, successor, &extra));
    }
    let relay = relay(moving, successor, scene)?;
    let (mut also, position) = match method {
        Method::Gtid => (vec![Condition::PurgedByIsHere { other: to.clone() }], Position::Auto),
        _ => (Vec::new(), Position::MariadbSlavePos),
    };
    let mut warnings = movability::warnings(one, successor, scene.world);
    if own.errant.is_empty() {
        also.push(Condition::ExecutedIsIn { other: to.clone() });
    } else {
        warnings.push(format!("{} has errant transactions, which {to} lacks: {}", one.key, own.errant));
    }
    let action = Action::ChangeSource { to: to.clone(), position, options: steps::options(moving.replica) };
    let holds = vec![Condition::UsingGtid { using: true }];
    let change = Change { moving: *moving, action, relay, also, holds, reachable: true, may_apply: true };
    let wanted = scene.world.wanted_threads(&one.key);
    let branch = steps::branch(&one.key, Some(to), steps::change(change, scene.world), wanted);
    Ok(Part { branch, method, because: String::new(), warnings })
}

/// The data of a follower, and what of it the successor has not applied.
fn extra_data<'a>(
    scene: &Scene<'_>,
    one: &'a Instance,
    successor: &Instance,
) -> Result<(Holding<'a>, String), Refusal> {
    let failed = scene.failed_record()?;
    let mut all = holdings(&[one], 1, failed, co_primary::other(scene));
    let unreadable = || no_place(one, successor);
    let own = all.pop().ok_or_else(unreadable)?;
    let Received::Set(set) = &own.received else { return Err(unreadable()) };
    let theirs = gtid::reach(successor).unwrap_or_default();
    let applied = crate::gtid::mariadb::GtidPosition::parse(&successor.facts.gtid.mariadb_slave_pos);
    let theirs = theirs.union(&GtidSet::from(applied.unwrap_or_default())).unwrap_or(theirs);
    let extra = set.subtract(&theirs).to_string();
    Ok((own, extra))
}

/// The new source has whatever this one received: nothing is waited for, unless it has purged it.
fn relay(moving: &Moving<'_>, successor: &Instance, scene: &Scene<'_>) -> Result<Relay, Refusal> {
    if received_is_applied(&moving.instance.facts) {
        return Ok(Relay::Drained);
    }
    match compatibility::purged_is_here(moving.instance, successor) {
        Ok(()) => Ok(Relay::ReceivedIn(successor.key.clone())),
        Err(_) if gtid::can_drain(moving, scene.world) => Ok(Relay::Drain),
        Err(refusal) => Err(refusal),
    }
}

/// By a recorded pair of equal places: where the successor stood when it forgot its source.
fn by_place(scene: &Scene<'_>, moving: &Moving<'_>, successor: &Instance) -> Result<Part, Refusal> {
    let (one, to) = (moving.instance, &successor.key);
    let here = &moving.replica.read;
    let Some(there) = equal_place(scene, &moving.replica.source, here, to) else {
        return turned_to_gtid(scene, moving, successor);
    };
    let relay = applied(moving, scene)?;
    let action = Action::ChangeSource {
        to: to.clone(),
        position: Position::At(there.clone()),
        options: steps::options(moving.replica),
    };
    let change = Change {
        moving: *moving,
        action,
        relay,
        also: vec![Condition::AppliedTo { at: here.clone() }],
        holds: vec![Condition::UsingGtid { using: false }],
        reachable: true,
        may_apply: true,
    };
    let wanted = scene.world.wanted_threads(&one.key);
    let branch = steps::branch(&one.key, Some(to), steps::change(change, scene.world), wanted);
    Ok(Part { branch, method: Method::Equivalence, because: String::new(), warnings: Vec::new() })
}

fn applied(moving: &Moving<'_>, scene: &Scene<'_>) -> Result<Relay, Refusal> {
    if received_is_applied(&moving.instance.facts) {
        Ok(Relay::Drained)
    } else if gtid::can_drain(moving, scene.world) {
        Ok(Relay::Drain)
    } else {
        Err(gtid::unapplied(moving, "its place in another log is told by what it has applied"))
    }
}

/// Its place is not known in the log of the successor, but both know GTID: better than to lose it.
fn turned_to_gtid(scene: &Scene<'_>, moving: &Moving<'_>, successor: &Instance) -> Result<Part, Refusal> {
    let (one, to) = (moving.instance, &successor.key);
    let method = can_turn_to_gtid(one, successor).ok_or_else(|| no_place(one, successor))?;
    let missing = missing_of_executed(&one.facts, &successor.facts);
    if !missing.is_empty() {
        return Err(holds_more(one, successor, &missing));
    }
    let mut also = vec![Condition::ExecutedIsIn { other: to.clone() }];
    let position = if method == Method::Gtid {
        compatibility::purged_is_here(one, successor)?;
        also.push(Condition::PurgedByIsHere { other: to.clone() });
        Position::Auto
    } else {
        Position::MariadbSlavePos
    };
    let action = Action::ChangeSource { to: to.clone(), position, options: steps::options(moving.replica) };
    let relay = applied(moving, scene)?;
    let holds = vec![Condition::UsingGtid { using: true }];
    let change = Change { moving: *moving, action, relay, also, holds, reachable: true, may_apply: true };
    let wanted = scene.world.wanted_threads(&one.key);
    let branch = steps::branch(&one.key, Some(to), steps::change(change, scene.world), wanted);
    let warning = format!("{} replicated by file and position; it uses GTID from now on, to find its place", one.key);
    Ok(Part { branch, method, because: String::new(), warnings: vec![warning] })
}

fn equal_place<'a>(
    scene: &Scene<'a>,
    source: &InstanceKey,
    here: &BinlogCoordinates,
    to: &InstanceKey,
) -> Option<&'a BinlogCoordinates> {
    let pairs = scene.world.equivalences.iter().flat_map(|pair| [(&pair.one, &pair.other), (&pair.other, &pair.one)]);
    let mut equal = pairs.filter(|(mine, theirs)| mine.server == *source && mine.at == *here && theirs.server == *to);
    equal.next().map(|(_, theirs)| &theirs.at)
}

/// Followers are made to acknowledge until there are enough.
struct Acknowledging {
    wanting: u64,
}

impl Acknowledging {
    fn new(scene: &Scene<'_>, successor: &Instance) -> Self {
        let facts = &successor.facts.semi_sync;
        if !facts.source_enabled {
            return Self { wanting: 0 };
        }
        let replicas = scene.replicas();
        let on = replicas.iter().filter(|one| {
            one.key != successor.key && one.facts.semi_sync.replica_enabled && scene.world.wanted_threads(&one.key).io
        });
        Self { wanting: facts.wait_for_replica_count.max(1).saturating_sub(on.count() as u64) }
    }

    fn step(&mut self, one: &Instance, scene: &Scene<'_>) -> Option<Step> {
        let facts = &one.facts.semi_sync;
        let fits = self.wanting > 0
            && facts.replica_plugin.is_some()
            && !facts.replica_enabled
            && scene.world.wanted_threads(&one.key).io
            && !running_threads(&one.facts).io;
        if !fits {
            return None;
        }
        self.wanting -= 1;
        let side = SemiSyncSide::Replica;
        let step = Step::new(&one.key, Action::SetSemiSync { side, enabled: true }, SWITCH_LIMIT);
        Some(step.then(Condition::SemiSync { side, enabled: true }))
    }
}
