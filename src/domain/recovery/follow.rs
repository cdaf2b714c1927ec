//! May a survivor go below the successor, and how is its place found?

use super::data::{Holding, Received};
use super::scene::Scene;
use crate::operation::movability;
use crate::operation::{compatibility, gtid};
use crate::plan::{Refusal, Rule};

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
    if at_one_place
        || matches!((&own.received, &successor.received), (Received::Place(a), Received::Place(b)) if a == b)
    {
        return Ok(());
    }
    Err(no_place(one, other))
}

pub(super) fn holds_more(one: &crate::instance::Instance, other: &crate::instance::Instance, missing: &str) -> Refusal {
    Refusal::new(
        Rule::NotMostAdvanced,
        &one.key,
        format!("{} holds what {} lacks: {missing}", one.key, other.key),
        format!("save these transactions, then build {} anew from a backup of {}", one.key, other.key),
    )
}

pub(super) fn no_place(one: &crate::instance::Instance, other: &crate::instance::Instance) -> Refusal {
    Refusal::new(
        Rule::NoEquivalence,
        &one.key,
        format!("{} replicates by file and position, and its place in the log of {} is not known", one.key, other.key),
        format!("build {} anew from a backup of {}; use GTID from then on", one.key, other.key),
    )
}
