//! Moves by a pair of places that were recorded as equal at an earlier move.

use super::{keeping_gtid, there_already};
use crate::instance::{BinlogCoordinates, Instance, InstanceKey};
use crate::operation::movability::{self, Moving};
use crate::operation::steps::{self, Change, Part, Relay};
use crate::operation::{World, gtid};
use crate::plan::{Action, Condition, Method, Plan, Position, Refusal, Request, Rule, received_is_applied};

pub(crate) fn equivalent(
    request: &Request,
    instance: &InstanceKey,
    below: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    if moving.replica.source == *below {
        return there_already(request, instance, below, world);
    }
    if moving.instance.facts.is_using_gtid() {
        return keeping_gtid(request, instance, below, world);
    }
    let other = movability::new_source(&moving, below, world)?;
    Ok(steps::single(request, equivalent_part(&moving, other, world)?))
}

/// By a pair of places recorded earlier: the replica must stand exactly at one of them, with nothing left to apply.
pub(crate) fn equivalent_part(moving: &Moving<'_>, other: &Instance, world: &World<'_>) -> Result<Part, Refusal> {
    let (key, here) = (&moving.instance.key, &moving.replica.exec);
    let Some(there) = recorded(&moving.replica.source, here, &other.key, world) else {
        return Err(Refusal::new(
            Rule::NoEquivalence,
            key,
            format!("no place of {} is recorded as equal to {here} of {}", other.key, moving.replica.source),
            "move it by GTID, or below a sibling or up by position: relocate",
        ));
    };
    if !received_is_applied(&moving.instance.facts) {
        return Err(gtid::unapplied(moving, "a recorded place tells nothing about them"));
    }
    let action = Action::ChangeSource {
        to: other.key.clone(),
        position: Position::At(there.clone()),
        options: steps::options(moving.replica),
    };
    let change = Change {
        moving: *moving,
        action,
        relay: Relay::Drained,
        also: vec![Condition::AppliedTo { at: here.clone() }],
        holds: vec![Condition::UsingGtid { using: false }],
        reachable: true,
        may_apply: false,
    };
    let steps = steps::change(change, world);
    let mut warnings = movability::warnings(moving.instance, other, world);
    warnings.push(format!("that {there} of {} equals {here} was recorded at an earlier move", other.key));
    Ok(Part {
        branch: steps::branch(key, Some(&other.key), steps, world.wanted_threads(key)),
        method: Method::Equivalence,
        because: format!("{here} of {} is recorded as {there} of {}", moving.replica.source, other.key),
        warnings,
    })
}

fn recorded(
    source: &InstanceKey,
    here: &BinlogCoordinates,
    other: &InstanceKey,
    world: &World<'_>,
) -> Option<BinlogCoordinates> {
    world.equivalences.iter().flat_map(|pair| [(&pair.one, &pair.other), (&pair.other, &pair.one)]).find_map(
        |(mine, theirs)| {
            (mine.server == *source && mine.at == *here && theirs.server == *other).then(|| theirs.at.clone())
        },
    )
}
