//! Back to the old primary, from any state before the new one was open.

use super::{empty, is_switched, method};
use crate::instance::{Instance, InstanceKey};
use crate::operation::steps::{self, Part, identity};
use crate::operation::{gtid, limit};
use crate::plan::{Action, Branch, Condition, Plan, Refusal, Rule, SemiSyncSide, Step, Threads, running_threads};
use crate::recovery::attach;
use crate::recovery::scene::{Choice, Scene};

/// Whether the old primary took writes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopen {
    /// It did, and does again.
    Yes,
    /// It was read-only before the takeover: it stays so.
    No,
}

/// The old primary open, the designated and its siblings replicating from it. `None`: all is so.
///
/// Refused once the designated is, or may be, open: two would take writes.
pub fn rollback(scene: &Scene<'_>, choice: &Choice, reopen: Reopen) -> Result<Option<Plan>, Refusal> {
    let (world, key) = (scene.world, &choice.successor);
    let old = world.fresh(scene.failed)?;
    let designated = world.fresh(key);
    if is_switched(scene, choice) && (scene.opening_begun || designated.is_ok()) {
        return Err(open_already(&old.key, &format!("{key} takes writes")));
    }
    if scene.opening_begun && designated.is_err() {
        return Err(open_already(&old.key, &format!("{key} does not answer and may have been opened")));
    }
    let mut plan = Plan { method: method(scene), ..empty(scene, key) };
    plan.because = format!("{} remains the primary, and all replicate from it as before", old.key);
    plan.answers_for = Some(old.key.clone());
    plan.locks = vec![old.key.clone()];
    if reopen == Reopen::Yes && (old.facts.read_only || old.facts.super_read_only) {
        plan.head.push(open(old));
    }
    let parts = std::iter::once(key).chain(&choice.followers).map(|one| (one, back(one, old, scene)));
    for (one, part) in parts.collect::<Vec<_>>() {
        match part {
            Ok(Some(part)) => {
                plan.warnings.extend(part.warnings);
                plan.branches.push(Branch { locks: vec![one.clone()], ..part.branch });
            }
            Ok(None) => {}
            Err(refusal) => plan.left_out.push(refusal),
        }
    }
    let something = plan.steps().next().is_some() || !plan.left_out.is_empty();
    Ok(something.then_some(plan))
}

fn open_already(old: &InstanceKey, reason: &str) -> Refusal {
    Refusal::new(
        Rule::WouldWriteTwice,
        old,
        format!("{reason}: {old} is not opened again"),
        "go on with the takeover, or close the one before the other is opened",
    )
}

fn open(old: &Instance) -> Step {
    Step::new(&old.key, Action::SetReadOnly { read_only: false, with_super: true }, limit::OTHER)
        .when(identity(old))
        .then(Condition::ReadOnly { read_only: false })
}

/// What brings a replica back: below the old primary, its threads as they were.
fn back(key: &InstanceKey, old: &Instance, scene: &Scene<'_>) -> Result<Option<Part>, Refusal> {
    let (one, replica) = scene.world.replica(key)?;
    if replica.source != old.key {
        return gtid::part(key, &old.key, scene.world).map(Some);
    }
    // It was chosen because both ran.
    let wanted = scene.world.wanted_threads(key).or(Threads::NONE);
    let wanted = if scene.world.resumed(key) { wanted } else { Threads::BOTH };
    let missing = wanted.without(running_threads(&one.facts));
    let mut all: Vec<Step> = waits_no_more(one, scene).into_iter().collect();
    if missing != Threads::NONE {
        all.push(steps::start_below(key, &old.key, missing).when(identity(one)));
    }
    if all.is_empty() {
        return Ok(None);
    }
    let branch = steps::branch(key, None, all, wanted);
    Ok(Some(Part { branch, method: method(scene), because: String::new(), warnings: Vec::new() }))
}

/// Its source side of semi-sync is off again, if this takeover switched it on.
fn waits_no_more(one: &Instance, scene: &Scene<'_>) -> Option<Step> {
    let on = Action::SetSemiSync { side: SemiSyncSide::Source, enabled: true };
    let by_us = scene.world.earlier?.steps().any(|step| step.on == one.key && step.action == on);
    let is_on = one.facts.semi_sync.source_enabled;
    (by_us && is_on).then(|| attach::semi_sync(one, SemiSyncSide::Source, false))
}
