//! The most advanced replica of a source becomes the source of the others.
//!
//! Data first, as a filter: a candidate has all that any reachable replica has received. Among those that do, people's
//! wishes and compatibility decide, in the order of [`Rank`]; the same world gives the same candidate.

use super::compatibility::{self, Format};
use super::gtid::{self, Catching};
use super::movability;
use super::{World, steps};
use crate::gtid::GtidSet;
use crate::instance::{Instance, InstanceKey};
use crate::plan::{Condition, Plan, Refusal, Request, Rule, received_is_applied, running_threads};
use crate::promotion::PromotionRule;

/// Lower is better.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    rule: PromotionRule,
    other_data_center: bool,
    /// The oldest can be read by all others.
    version: (u32, u32),
    format: Option<Format>,
    key: InstanceKey,
}

pub(crate) fn replicas(request: &Request, of: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let mut keys: Vec<InstanceKey> = world.replicas_of(of).into_iter().map(|one| one.key.clone()).collect();
    if keys.is_empty() {
        world.known(of)?;
    }
    let chosen = chosen_before(world);
    if let Some(candidate) = &chosen {
        keys.extend(steps::moved_already(candidate, &keys, world));
    }
    if keys.is_empty() {
        let because = format!("{of} has no replicas");
        return steps::many(request, Vec::new(), because);
    }
    let alive = world.fresh(of).is_ok();
    let candidate = match chosen.filter(|key| fit(key, world).is_ok()) {
        Some(key) => world.fresh(&key)?,
        None => candidate(of, &keys, alive, world)?,
    };
    let drains = !received_is_applied(&candidate.facts) && !alive;
    let catching = Catching { drains, will_get_the_rest: false };
    let others = keys.iter().filter(|key| **key != candidate.key);
    let parts = others.map(|key| gtid::part_after(key, &candidate.key, catching, world)).collect();
    let because = if alive {
        format!("{} is the best fit among the replicas of {of}, which is alive", candidate.key)
    } else {
        format!("{} has all that any reachable replica of {of} has", candidate.key)
    };
    let mut plan = steps::many(request, parts, because)?;
    if drains {
        let running = running_threads(&candidate.facts);
        let drain =
            steps::drain(&candidate.key, world).when(steps::identity(candidate)).when(Condition::Threads { running });
        plan.head.push(drain);
        plan.locks.push(candidate.key.clone());
    }
    plan.answers_for = Some(candidate.key.clone());
    Ok(plan)
}

/// An operation taken up again does not choose anew: replicas may be below the first choice already.
fn chosen_before(world: &World<'_>) -> Option<InstanceKey> {
    world.earlier.and_then(|plan| plan.answers_for.clone())
}

pub(crate) fn candidate<'a>(
    of: &InstanceKey,
    keys: &[InstanceKey],
    alive: bool,
    world: &World<'a>,
) -> Result<&'a Instance, Refusal> {
    let reachable: Vec<&Instance> = keys.iter().filter_map(|key| world.fresh(key).ok()).collect();
    let all_have: Vec<(&InstanceKey, GtidSet)> =
        reachable.iter().filter_map(|one| Some((&one.key, gtid::reach(one)?))).collect();
    let mut reasons = Vec::new();
    let mut fitting: Vec<&Instance> = Vec::new();
    for key in keys {
        match fit(key, world).and_then(|one| if alive { Ok(one) } else { has_all(one, &all_have) }) {
            Ok(one) => fitting.push(one),
            Err(refusal) => reasons.push(refusal.reason),
        }
    }
    let home = world.instances.get(of).map_or("", |one| &one.facts.data_center);
    fitting.into_iter().min_by_key(|one| rank(one, home)).ok_or_else(|| {
        Refusal::new(
            Rule::NoCandidate,
            of,
            format!("no replica of {of} can be the source of the others: {}", reasons.join("; ")),
            "repair one of them, or move them one by one and decide what is given up",
        )
    })
}

/// It could serve replicas by GTID, and people have nothing against it.
fn fit<'a>(key: &InstanceKey, world: &World<'a>) -> Result<&'a Instance, Refusal> {
    let moving = movability::movable(key, world)?;
    let one = world.fresh(key)?;
    let refuse = |rule, reason: String| Err(Refusal::new(rule, key, reason, "choose another"));
    if !one.facts.is_using_gtid() {
        return refuse(Rule::NoSharedGtid, format!("{key} replicates by file and position"));
    }
    if !one.facts.log_bin || !one.facts.log_replica_updates {
        return refuse(Rule::DoesNotRelay, format!("{key} does not log what it applies"));
    }
    if one.promotion_rule.is_banned() {
        return refuse(Rule::NoCandidate, format!("{key} is registered as must_not"));
    }
    if one.downtime.is_some() {
        return refuse(Rule::Downtimed, format!("{key} is downtimed"));
    }
    if !received_is_applied(&one.facts) && !gtid::can_drain(&moving, world) {
        return Err(gtid::unapplied(&moving, "others would lack them"));
    }
    Ok(one)
}

fn has_all<'a>(one: &'a Instance, all: &[(&InstanceKey, GtidSet)]) -> Result<&'a Instance, Refusal> {
    let mine = gtid::reach(one).unwrap_or_default();
    for (other, theirs) in all {
        let missing = theirs.subtract(&mine);
        if !missing.is_empty() {
            let reason = format!("{} lacks what {other} has ({missing})", one.key);
            return Err(Refusal::new(Rule::NotMostAdvanced, &one.key, reason, "choose another"));
        }
    }
    Ok(one)
}

fn rank(one: &Instance, home: &str) -> Rank {
    let version = compatibility::version(one);
    Rank {
        rule: one.promotion_rule,
        other_data_center: one.facts.data_center != home,
        version: (version.major, version.minor),
        format: compatibility::format(one),
        key: one.key.clone(),
    }
}
