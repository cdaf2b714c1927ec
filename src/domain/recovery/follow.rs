//! May a survivor go below the successor, and how is its place found?

use super::data::Holding;
use super::scene::Scene;
use crate::instance::Instance;
use crate::operation::{compatibility, gtid, movability};
use crate::plan::{Method, Refusal, Rule};

/// Judged when the successor is chosen. `catches_up`: the successor will have all that anybody has received.
pub(super) fn can_follow(
    own: &Holding<'_>,
    successor: &Holding<'_>,
    catches_up: bool,
    scene: &Scene<'_>,
) -> Result<(), Refusal> {
    let (one, other) = (own.instance, successor.instance);
    let moving = movability::movable(&one.key, scene.world)?;
    compatibility::can_replicate(one, other, scene.world.policy)?;
    if !catches_up {
        let missing = successor.received.lacks(&own.received);
        if !missing.is_empty() {
            return Err(holds_more(one, other, &missing));
        }
    }
    if one.facts.is_using_gtid() {
        return gtid::usable(&moving, other).map(|_| ());
    }
    let (Some(mine), Some(theirs)) = (&one.facts.replica, &other.facts.replica) else { return Ok(()) };
    let at_one_place = mine.source == theirs.source && mine.read == theirs.read;
    if at_one_place || can_turn_to_gtid(one, other).is_some() {
        return Ok(());
    }
    Err(no_place(one, other))
}

/// The kind of GTID by which a replica that goes by file and position could find its place: both servers have it, and what the
/// replica has applied has names.
pub(super) fn can_turn_to_gtid(one: &Instance, other: &Instance) -> Option<Method> {
    let method = compatibility::shared_gtid(one, other).ok()?;
    let (own, theirs) = (&one.facts.gtid, &other.facts.gtid);
    let known = match method {
        Method::Gtid => own.mode == "ON" && theirs.mode == "ON" && !own.executed.is_empty(),
        _ => !own.mariadb_slave_pos.is_empty() && !theirs.mariadb_current_pos.is_empty(),
    };
    known.then_some(method)
}

pub(super) fn holds_more(one: &Instance, other: &Instance, missing: &str) -> Refusal {
    Refusal::new(
        Rule::NotMostAdvanced,
        &one.key,
        format!("{} holds what {} lacks: {missing}", one.key, other.key),
        format!("save these transactions, then build {} anew from a backup of {}", one.key, other.key),
    )
}

pub(super) fn no_place(one: &Instance, other: &Instance) -> Refusal {
    Refusal::new(
        Rule::NoEquivalence,
        &one.key,
        format!("{} replicates by file and position, and its place in the log of {} is not known", one.key, other.key),
        format!("build {} anew from a backup of {}; use GTID from then on", one.key, other.key),
    )
}
