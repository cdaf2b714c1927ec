//! Moves up: below the source of their source, which stands still at a place that both logs name.

use super::{
    applier_stopped, around, finished, keeping_gtid, keeps_order, leaves, logs_what_it_applies, moved_to, run_until,
    tells_how_far, writable_warning,
};
use crate::instance::InstanceKey;
use crate::operation::movability::{self, Moving};
use crate::operation::steps::{self, Part};
use crate::operation::{World, gtid};
use crate::plan::{Condition, Method, Plan, Position, Refusal, Request, Rule};

pub(crate) fn up(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    tells_how_far(instance, world)?;
    if let Some(place) = moved_to(&moving, world) {
        return finished(request, instance, &place, world);
    }
    let (middle, grandparent) = grandparent(&moving, world)?;
    up_below(request, &moving, &middle, &grandparent, world)
}

/// Moves one replica of `middle` below the source of `middle`.
pub(crate) fn up_below(
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

pub(crate) fn up_replicas(
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
pub(crate) fn up_list(
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
pub(crate) fn middle<'a>(of: &InstanceKey, world: &World<'a>) -> Result<Moving<'a>, Refusal> {
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

pub(crate) fn up_part(
    moving: &Moving<'_>,
    middle: &Moving<'_>,
    grandparent: &InstanceKey,
    world: &World<'_>,
) -> Result<Part, Refusal> {
    let (key, middle_key) = (&moving.instance.key, &middle.instance.key);
    movability::no_writable_co_primary(key, middle.instance, world)?;
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
