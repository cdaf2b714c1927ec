//! What the dead primary had sent of a transaction: a MySQL applier waits for its rest, for up to 60 s when told to stop.
//!
//! It gives the part up when a source begins to send anew. So the successor, which has applied all there is, goes below
//! another survivor for a moment, from which nothing comes: all that has is here already.

use super::{SWITCH_LIMIT, catch_up};
use crate::instance::{Instance, ReplicaFacts, ThreadState};
use crate::operation::{compatibility, steps};
use crate::plan::{Action, Condition, Position, Step, Threads, holds_part};
use crate::recovery::scene::Scene;

/// Seconds until the part is given up. It takes a few hundredths.
const GIVING_UP: u32 = 5;

/// Whether a part is left is seen only when all before it is applied.
pub(super) fn may_remain(one: &Instance, replica: &ReplicaFacts) -> bool {
    replica.auto_position && !one.facts.server_uuid.is_empty()
}

/// The survivor to go below, if there is a part to be given up; `now`: what runs when it comes to that.
pub(super) fn remedy<'a>(scene: &Scene<'a>, one: &Instance, now: Threads) -> Option<&'a Instance> {
    let replica = one.facts.replica.as_ref()?;
    // Once it reads from another this was tried, and did not help: then it is waited for. So it is where nobody waits for a primary.
    let untried = replica.source == *scene.failed && scene.policy.apply_promotion;
    if now != Threads::SQL || !untried || !holds_part(&one.facts) || !may_remain(one, replica) {
        return None;
    }
    let fits = |other: &&&Instance| {
        let stands_still = other.facts.replica.as_ref().is_some_and(|theirs| theirs.io_thread == ThreadState::Stopped);
        other.key != one.key
            && stands_still
            && scene.world.fresh(&other.key).is_ok()
            // Nor will it execute anything that is not here.
            && !catch_up::is_needed(one, other)
            && compatibility::can_replicate_by_gtid(one, other, scene.world.policy).is_ok()
            && compatibility::purged_is_here(one, other).is_ok()
    };
    scene.replicas().iter().find(fits).copied()
}

pub(super) fn told(one: &Instance, other: &Instance) -> String {
    format!(
        "{} may have received a transaction in part, and gives it up by reading from {} for a moment",
        one.key, other.key
    )
}

/// ```text
///   change the source ▶ start the receiver ▶ the part is given up ▶ stop the receiver
/// ```
pub(super) fn steps(one: &Instance, replica: &ReplicaFacts, other: &Instance, steps: &mut Vec<Step>) {
    let (key, to) = (&one.key, other.key.clone());
    let action = Action::ChangeSource { to: to.clone(), position: Position::Auto, options: steps::options(replica) };
    let change = Step::new(key, action, SWITCH_LIMIT)
        .when(steps::identity(one))
        .when(Condition::ReplicatesFrom { source: replica.source.clone() })
        .when(Condition::Threads { running: Threads::SQL })
        .when(Condition::Drained)
        .when(Condition::HasAllOf { other: to.clone() })
        .when(Condition::PurgedByIsHere { other: to.clone() })
        .then(Condition::ReplicatesFrom { source: to.clone() })
        .then(Condition::Threads { running: Threads::SQL });
    let start = Step::new(key, Action::Start { threads: Threads::IO }, GIVING_UP)
        .then(Condition::ReplicatesFrom { source: to })
        .then(Condition::Replicating { threads: Threads::BOTH })
        .then(Condition::NothingInPart);
    steps.extend([change, start, steps::stop(key, Threads::IO, Threads::BOTH)]);
}
