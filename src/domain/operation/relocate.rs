//! Moves replicas by whatever method fits, and says which one and why.
//!
//! | First that applies | Method |
//! |---|---|
//! | the replica is there already | repoint |
//! | it uses GTID | GTID; what forbids that is final: no other method makes it safe |
//! | both are siblings; or the target is the source's source | position |
//! | two places are recorded as equal, and the replica stands at one of them | equivalence |

use super::movability::{self, Moving};
use super::steps::{self, Part};
use super::{World, gtid, position, repoint};
use crate::instance::{Instance, InstanceKey, ThreadState};
use crate::plan::{Method, Plan, Refusal, Request, Rule};

pub(crate) fn one(
    request: &Request,
    instance: &InstanceKey,
    below: &InstanceKey,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    if moving.replica.source == *below {
        if world.resumed(instance) {
            return position::finished(request, instance, below, world);
        }
        let mut part = repoint::again(&moving, world)?;
        part.because = format!("{instance} replicates from {below} already; its connection is made anew");
        return Ok(steps::single(request, part));
    }
    let other = movability::new_source(&moving, below, world)?;
    if moving.instance.facts.is_using_gtid() {
        gtid::usable(&moving, other)?;
        return Ok(steps::single(request, gtid::part(instance, below, world)?));
    }
    by_position(request, &moving, other, world)
}

fn by_position(request: &Request, moving: &Moving<'_>, other: &Instance, world: &World<'_>) -> Result<Plan, Refusal> {
    let below = &other.key;
    if other.facts.source() == Some(&moving.replica.source) && other.facts.is_replica() {
        let sibling = position::sibling(moving, world.fresh(below)?, world)?;
        return position::below_siblings(request, &[*moving], &sibling, world);
    }
    let source = world.instances.get(&moving.replica.source);
    if source.is_some_and(|source| source.facts.is_replica() && source.facts.source() == Some(below)) {
        let middle = position::middle(&moving.replica.source, world)?;
        return position::up_below(request, moving, &middle, below, world);
    }
    let stands = moving.replica.sql_thread != ThreadState::Running || moving.replica.io_thread != ThreadState::Running;
    if stands && let Ok(part) = position::equivalent_part(moving, other, world) {
        return Ok(steps::single(request, part));
    }
    Err(too_complex(moving, below))
}

fn too_complex(moving: &Moving<'_>, below: &InstanceKey) -> Refusal {
    let key = &moving.instance.key;
    Refusal::new(
        Rule::TooComplex,
        key,
        format!(
            "{key} replicates by file and position from {}; {below} is neither its sibling nor above that, and no equal \
             places are recorded",
            moving.replica.source
        ),
        format!("enable-gtid -i {key}, or go step by step: move-up, move-below"),
    )
}

pub(crate) fn replicas(
    request: &Request,
    of: &InstanceKey,
    below: &InstanceKey,
    pattern: &str,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    if of == below {
        return repoint::replicas(request, of, None, pattern, world);
    }
    world.fresh(below)?;
    let keys = gtid::listed(of, below, pattern, world)?;
    let mut parts = Vec::new();
    let mut positioned = Vec::new();
    for key in &keys {
        match movability::movable(key, world) {
            Ok(moving) if moving.replica.source == *below || moving.instance.facts.is_using_gtid() => {
                parts.push(gtid::part(key, below, world));
            }
            Ok(moving) => positioned.push(moving),
            Err(refusal) => parts.push(Err(refusal)),
        }
    }
    let because = format!("the replicas of {of} that use GTID are moved below {below} by GTID");
    if positioned.is_empty() {
        return steps::many(request, parts, because);
    }
    match together(request, of, below, &positioned, world) {
        Ok(plan) => Ok(with(plan, parts, &because)),
        Err(refusal) => {
            let refused = positioned.iter().map(|moving| Err(for_one(&refusal, moving, below)));
            parts.extend(refused);
            steps::many(request, parts, because)
        }
    }
}

/// Replicas by file and position, brought to one place all together.
fn together(
    request: &Request,
    of: &InstanceKey,
    below: &InstanceKey,
    list: &[Moving<'_>],
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let other = world.fresh(below)?;
    if other.facts.is_replica() && other.facts.source() == Some(of) {
        let Some(first) = list.first() else { return Err(Refusal::new(Rule::BadArgument, of, "none", "name one")) };
        movability::no_writable_co_primary(&first.instance.key, other, world)?;
        let sibling = position::sibling(first, other, world)?;
        return position::below_siblings(request, list, &sibling, world);
    }
    let middle = position::middle(of, world)?;
    if middle.replica.source == *below {
        return position::up_list(request, list, &middle, world);
    }
    let reason = format!("{below} is neither a replica of {of} nor its source");
    Err(Refusal::new(Rule::TooComplex, of, reason, "by file and position replicas move one level: go step by step"))
}

/// What forbids it for all is told about each.
fn for_one(refusal: &Refusal, moving: &Moving<'_>, below: &InstanceKey) -> Refusal {
    if refusal.rule == Rule::TooComplex || refusal.rule == Rule::NoGrandparent {
        return too_complex(moving, below);
    }
    Refusal { instance: moving.instance.key.clone(), ..refusal.clone() }
}

/// A plan by position, and parts by GTID that go with it.
fn with(mut plan: Plan, parts: Vec<Result<Part, Refusal>>, because: &str) -> Plan {
    for part in parts {
        match part {
            Ok(mut part) => {
                part.branch.locks = vec![part.branch.instance.clone()];
                plan.method = plan.method.max(Method::Position);
                plan.branches.push(part.branch);
                plan.warnings.extend(part.warnings);
                if !plan.because.ends_with(because) {
                    plan.because = format!("{}; {because}", plan.because);
                }
            }
            Err(refusal) if refusal.rule == Rule::AlreadySo => {}
            Err(refusal) => plan.left_out.push(refusal),
        }
    }
    plan
}
