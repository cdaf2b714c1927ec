//! Moves below a sibling, which is brought to one place with them and stands there.

use super::{
    applier_stopped, around, keeping_gtid, keeps_order, leaves, logs_what_it_applies, run_until, there_already,
    writable_warning,
};
use crate::instance::{Instance, InstanceKey};
use crate::operation::World;
use crate::operation::movability::{self, Moving};
use crate::operation::steps::{self, Part};
use crate::plan::{Condition, Method, Plan, Position, Refusal, Request, Rule, Threads};

pub(crate) fn below(
    request: &Request,
    instance: &InstanceKey,
    below: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    if moving.replica.source == *below {
        return there_already(request, instance, below, world);
    }
    let other = movability::new_source(&moving, below, world)?;
    let sibling = sibling(&moving, other, world)?;
    if moving.instance.facts.is_using_gtid() {
        return keeping_gtid(request, instance, below, world);
    }
    below_siblings(request, &[moving], &sibling, world)
}

/// `other` as a replica of the same source.
pub(crate) fn sibling<'a>(moving: &Moving<'_>, other: &'a Instance, world: &World<'a>) -> Result<Moving<'a>, Refusal> {
    match &other.facts.replica {
        Some(replica) if other.facts.is_replica() && replica.source == moving.replica.source => {
            if !moving.instance.facts.is_using_gtid() {
                movability::no_writable_co_primary(&moving.instance.key, other, world)?;
            }
            movability::movable(&other.key, world)
        }
        _ => {
            let key = &moving.instance.key;
            Err(Refusal::new(
                Rule::NotSiblings,
                key,
                format!("{key} replicates from {}, and {} does not", moving.replica.source, other.key),
                "by file and position a replica moves below a sibling, or up; relocate chooses the way",
            ))
        }
    }
}

/// Moves replicas below one of their siblings. With several, the sibling is first brought to the place of the most
/// advanced of them, then the others to its place.
pub(crate) fn below_siblings(
    request: &Request,
    list: &[Moving<'_>],
    still: &Moving<'_>,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let to = &still.instance.key;
    let mut general = movability::by_position(still, world)?;
    keeps_order(still)?;
    logs_what_it_applies(still.instance, to)?;
    general.extend(writable_warning(still.instance));
    let parts = list.iter().map(|moving| below_part(moving, still, list.len() == 1, world)).collect::<Vec<_>>();
    let fit: Vec<&Moving<'_>> =
        list.iter().zip(&parts).filter(|(_, part)| part.is_ok()).map(|(moving, _)| moving).collect();
    let because =
        format!("all are brought to one place in the log of {}, where {to} stands still", still.replica.source);
    let several = list.len() > 1;
    let mut plan = match parts.into_iter().collect::<Vec<_>>() {
        mut one if one.len() == 1 => steps::single(request, one.remove(0)?),
        many => steps::many(request, many, because.clone())?,
    };
    plan.because = because;
    plan.warnings.extend(general);
    around(&mut plan, still, world);
    if several {
        // They are stopped before any of them is moved: their locks are the plan's.
        for moving in &fit {
            plan.head.extend(applier_stopped(moving));
            plan.locks.push(moving.instance.key.clone());
        }
        for moving in &fit {
            let key = &moving.instance.key;
            let as_far = Condition::AppliedAsFarAs { other: key.clone() };
            plan.head.extend(run_until(to, Position::ExecutedBy(key.clone()), as_far));
            plan.tail.push(steps::started(key, Threads::SQL));
        }
        for branch in &mut plan.branches {
            branch.locks.clear();
        }
        plan.locks.sort();
        plan.locks.dedup();
    }
    Ok(plan)
}

fn below_part(moving: &Moving<'_>, still: &Moving<'_>, alone: bool, world: &World<'_>) -> Result<Part, Refusal> {
    let (key, to) = (&moving.instance.key, &still.instance.key);
    let mut warnings = movability::by_position(moving, world)?;
    let other = movability::new_source(moving, to, world)?;
    warnings.extend(movability::warnings(moving.instance, other, world));
    let mut steps = if alone { applier_stopped(moving) } else { Vec::new() };
    let as_far = Condition::AppliedAsFarAs { other: to.clone() };
    steps.extend(run_until(key, Position::ExecutedBy(to.clone()), as_far));
    if alone {
        // Whichever is behind runs: the other is there already.
        let like = Condition::AppliedLike { other: key.clone() };
        steps.extend(run_until(to, Position::ExecutedBy(key.clone()), like));
    }
    let also = vec![
        Condition::AppliedLike { other: to.clone() },
        Condition::ReceivedIsIn { other: to.clone() },
        Condition::StandsStill { other: to.clone() },
    ];
    steps.extend(leaves(moving, to, Position::EndOf(to.clone()), also, world));
    Ok(Part {
        branch: steps::branch(key, Some(to), steps, world.wanted_threads(key)),
        method: Method::Position,
        because: String::new(),
        warnings,
    })
}
