//! The pause in writes, and nothing that could be done before or after it.

use super::{CLOSE_LIMIT, is_switched, no_replica_of, single, uses_semi_sync};
use crate::instance::Instance;
use crate::operation::limit;
use crate::operation::movability::{self, Moving};
use crate::operation::steps::{identity, start_below, stop};
use crate::plan::{
    Action, Branch, Condition, Plan, Refusal, Rule, SemiSyncSide, Step, Threads, missing_of_executed, running_threads,
};
use crate::recovery::attach;
use crate::recovery::scene::{Choice, Scene};

/// Closes the old primary, waits until the designated has all of it, opens the designated. `None`: it is open.
pub fn switch(scene: &Scene<'_>, choice: &Choice) -> Result<Option<Plan>, Refusal> {
    if is_switched(scene, choice) {
        return Ok(None);
    }
    let old = scene.world.fresh(scene.failed)?;
    let designated = movability::movable(&choice.successor, scene.world)?;
    let key = &choice.successor;
    if designated.replica.source != old.key {
        return Err(no_replica_of(key, &old.key));
    }
    all_follow(scene, choice)?;
    let mut steps = vec![close(old)];
    steps.extend(catch_up(&designated, old, scene)?);
    if uses_semi_sync(scene) {
        steps.extend(semi_sync_source(designated.instance, old));
    }
    steps.push(open(designated.instance, old));
    let count = steps.len();
    let branch = Branch {
        instance: key.clone(),
        new_source: None,
        locks: Vec::new(),
        // Putting back is `rollback`'s: a designated that may be open is not started again.
        restore: Vec::new(),
        steps,
    };
    let because = format!("steps 1 to {count} are the pause in writes: from closing {} to opening {key}", old.key);
    let mut plan = single(scene, key, branch, [key, &old.key], because);
    plan.warnings.push(format!("replication of {key} stays stopped: it is the primary from then on"));
    Ok(Some(plan))
}

/// Siblings left behind would be lost with the old primary.
fn all_follow(scene: &Scene<'_>, choice: &Choice) -> Result<(), Refusal> {
    let behind = scene
        .world
        .replicas_of(scene.failed)
        .into_iter()
        .find(|one| one.key != choice.successor && !super::is_given_up(choice, &one.key) && one.downtime.is_none());
    let Some(one) = behind else { return Ok(()) };
    Err(Refusal::new(
        Rule::NotReplicating,
        &one.key,
        format!("{} still replicates from {}", one.key, scene.failed),
        format!("move it first: relocate -i {} -d {}", one.key, choice.successor),
    ))
}

fn close(old: &Instance) -> Step {
    Step::new(&old.key, Action::Close, CLOSE_LIMIT).when(identity(old)).then(Condition::Closed)
}

/// Everything applied, then stopped. Stopped by an earlier run with everything: nothing is left to do.
fn catch_up(designated: &Moving<'_>, old: &Instance, scene: &Scene<'_>) -> Result<Vec<Step>, Refusal> {
    let key = &designated.instance.key;
    let facts = &designated.instance.facts;
    let running = running_threads(facts);
    let has_all = Condition::HasAllOf { other: old.key.clone() };
    let is_replica = Condition::ReplicatesFrom { source: old.key.clone() };
    if running == Threads::NONE && old.facts.read_only && missing_of_executed(&old.facts, facts).is_empty() {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    if running != Threads::BOTH {
        if scene.world.wanted_threads(key) != Threads::BOTH {
            let reason = format!("replication of {key} does not run");
            let remedy = format!("start it first: start-replica -i {key}");
            return Err(Refusal::new(Rule::NotReplicating, key, reason, remedy));
        }
        let missing = Threads::BOTH.without(running);
        steps.push(start_below(key, &old.key, missing).when(identity(designated.instance)));
    }
    // The pause is bounded by what was said to be a reasonable lag.
    let seconds = u32::try_from(scene.world.policy.reasonable_maintenance_lag_seconds).unwrap_or(u32::MAX);
    let wait = Step::new(key, Action::Drain, seconds.max(1))
        .when(identity(designated.instance))
        .when(is_replica)
        .then(Condition::Drained)
        .then(has_all);
    steps.push(wait);
    steps.push(stop(key, Threads::BOTH, Threads::BOTH));
    Ok(steps)
}

/// Only where enough will acknowledge at once: the old primary does so no sooner than it replicates.
fn semi_sync_source(designated: &Instance, old: &Instance) -> Option<Step> {
    let facts = &designated.facts.semi_sync;
    let needed = old.facts.semi_sync.wait_for_replica_count.max(facts.wait_for_replica_count).max(1);
    let useful = facts.source_plugin.is_some() && !facts.source_enabled && facts.source_clients >= needed;
    useful.then(|| attach::semi_sync(designated, SemiSyncSide::Source, true))
}

fn open(designated: &Instance, old: &Instance) -> Step {
    Step::new(&designated.key, Action::SetReadOnly { read_only: false, with_super: true }, limit::OTHER)
        .when(identity(designated))
        .when(Condition::Threads { running: Threads::NONE })
        .when(Condition::HasAllOf { other: old.key.clone() })
        .when(Condition::ClosedThere { other: old.key.clone() })
        .then(Condition::ReadOnly { read_only: false })
}
