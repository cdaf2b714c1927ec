//! A planned takeover: the primary lives, and one of its direct replicas is to take its place.
//!
//! ```text
//!   designate ─▶ Choice      whom; everybody judged
//!   prepare   ─▶ Plan        its siblings move below it, side by side, while writes go on
//!   switch    ─▶ Plan        ┐ close the old primary to everybody, see that the designated has all of it,
//!                            ┘ open the designated: this, and nothing else, is the pause in writes
//!   demote    ─▶ Plan        the old primary below the new one, with its credentials
//!   rollback  ─▶ Plan        from any state before the opening: the old primary writable, all replicating from it as before
//! ```
//! Each gives `None` where all is so already, and what is left in a half-done world: who takes up a takeover whose worker
//! died asks for each in this order. Once the designated is open ([`is_switched`]) there is no way back but forward.
//!
//! The designated keeps its source's name and credentials until it is open: whatever fails before, starting it again is all
//! it takes, and the old primary can take the credentials from it afterwards.
//!
//! By GTID only: without it the place in the new primary's log would have to be taken within the pause.

mod demote;
mod designate;
#[cfg(test)]
mod property;
mod rollback;
mod switch;
#[cfg(test)]
mod tests;

use super::attach::is_mariadb;
use super::scene::{Choice, Scene};
use crate::instance::InstanceKey;
use crate::operation::{self, World};
use crate::plan::{Action, Branch, Method, Plan, Refusal, Request, Rule, Threads, running_threads};

pub use demote::demote;
pub use designate::designate;
pub use rollback::{Reopen, rollback};
pub use switch::switch;

/// Which of both words was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// `graceful-master-takeover`: of several replicas one must be named; the old primary is left with its replication
    /// stopped.
    Plain,
    /// `graceful-master-takeover-auto`: the best is taken; the old primary replicates afterwards.
    Auto,
}

/// Seconds in which the old primary must be closed: writers wait behind it.
const CLOSE_LIMIT: u32 = 5;

/// The siblings of the designated go below it, side by side. `None`: they are there, or there are none.
pub fn prepare(scene: &Scene<'_>, choice: &Choice) -> Result<Option<Plan>, Refusal> {
    if is_switched(scene, choice) {
        return Ok(None);
    }
    let plan = siblings_below(scene, &choice.successor)?;
    if let Some(refusal) = plan.left_out.iter().find(|refusal| !is_given_up(choice, &refusal.instance)) {
        return Err(cannot_follow(&choice.successor, refusal));
    }
    let something = plan.steps().next().is_some();
    Ok(something.then_some(plan))
}

/// The designated is open for writes, and no replica any more: what is left is the old primary.
pub fn is_switched(scene: &Scene<'_>, choice: &Choice) -> bool {
    let Some(designated) = scene.world.instances.get(&choice.successor) else { return false };
    let stands = !designated.facts.is_replica() || running_threads(&designated.facts) == Threads::NONE;
    // A replica that somebody left writable is not the primary while that takes writes.
    let closed = scene.world.fresh(scene.failed).map_or(true, |old| old.facts.read_only);
    !designated.facts.read_only && stands && closed
}

/// The steps of a plan within which nobody can write, by number from 0, first and last; `None`: it has no such steps.
pub fn write_pause(plan: &Plan) -> Option<(usize, usize)> {
    let begins = plan.steps().position(|step| step.action == Action::Close)?;
    let opens = |action: &Action| matches!(action, Action::SetReadOnly { read_only: false, .. });
    let ends = plan.steps().position(|step| opens(&step.action))?;
    Some((begins, ends))
}

/// The plan that moves the siblings. Those that cannot be moved are left out of it, with the reason.
fn siblings_below(scene: &Scene<'_>, designated: &InstanceKey) -> Result<Plan, Refusal> {
    let world = World { earlier: None, ..*scene.world };
    let relocate =
        Request::RelocateReplicas { of: scene.failed.clone(), below: designated.clone(), pattern: String::new() };
    let mut plan = match operation::plan(&relocate, &world) {
        Ok(plan) => plan,
        Err(refusal) => Plan { branches: Vec::new(), left_out: vec![refusal], ..empty(scene, designated) },
    };
    plan.request = scene.request.clone();
    plan.because = format!("the siblings of {designated} follow it while {} still takes writes", scene.failed);
    plan.answers_for = Some(designated.clone());
    Ok(plan)
}

fn is_given_up(choice: &Choice, key: &InstanceKey) -> bool {
    choice.lost.iter().any(|(lost, _)| lost == key)
}

fn cannot_follow(designated: &InstanceKey, refusal: &Refusal) -> Refusal {
    Refusal::new(
        refusal.rule,
        &refusal.instance,
        format!("{} cannot follow {designated}: {}", refusal.instance, refusal.reason),
        format!("{}; or declare a downtime: begin-downtime -i {}", refusal.remedy, refusal.instance),
    )
}

/// A plan without steps.
fn empty(scene: &Scene<'_>, designated: &InstanceKey) -> Plan {
    Plan {
        branches: Vec::new(),
        locks: Vec::new(),
        answers_for: Some(designated.clone()),
        ..Plan::in_place(scene.request.clone(), designated.clone(), Vec::new())
    }
}

/// A plan of one branch.
fn single(
    scene: &Scene<'_>,
    designated: &InstanceKey,
    branch: Branch,
    locks: [&InstanceKey; 2],
    because: String,
) -> Plan {
    let mut locks: Vec<InstanceKey> = locks.into_iter().cloned().collect();
    locks.sort();
    locks.dedup();
    Plan { method: method(scene), because, locks, branches: vec![branch], ..empty(scene, designated) }
}

fn method(scene: &Scene<'_>) -> Method {
    let mariadb = scene.world.instances.get(scene.failed).is_some_and(is_mariadb);
    if mariadb { Method::MariadbGtid } else { Method::Gtid }
}

/// The primary waits for acknowledgements, or did when the takeover began.
fn uses_semi_sync(scene: &Scene<'_>) -> bool {
    let now = scene.world.instances.get(scene.failed).is_some_and(|old| old.facts.semi_sync.source_enabled);
    scene.had_semi_sync || now
}

/// The designated is no direct replica of the primary.
fn no_replica_of(key: &InstanceKey, head: &InstanceKey) -> Refusal {
    Refusal::new(
        Rule::NotSiblings,
        key,
        format!("{key} is no direct replica of {head}"),
        format!("name one that is, or move it first: relocate -i {key} -d {head}"),
    )
}
