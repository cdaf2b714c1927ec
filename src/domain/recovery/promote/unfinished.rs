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

#[cfg(test)]
mod tests {
    use crate::operation::fixture::{key, lines};
    use crate::plan::Condition;
    use crate::recovery::stage::{Stage, shown};

    /// After the fence.
    const F: &str = "io=no";
    /// What is done with one who has applied all.
    const REST: [&str; 3] = ["b: stop applier", "b: forget the source and its relay logs", "b: set read_only off"];

    #[test]
    fn a_transaction_received_in_part_is_given_up() {
        let read = |name: &str, stage: Stage| {
            stage.edit(name, |one| {
                let replica = one.facts.replica.as_mut().expect("a replica");
                replica.read.position = replica.exec.position + 4_000;
            })
        };
        let settled = [
            "b: replicate from c, beginning at auto-position",
            "b: start receiver, see it running",
            "b: stop receiver",
            "b: stop applier",
            "b: forget the source and its relay logs",
            "b: set read_only off",
        ];
        let world = format!("a dead\n  b {F} rule=prefer\n  c {F}");
        let stage = read("b", Stage::new(&world));
        let plan = stage.promote().expect("a plan");
        assert_eq!(lines(&plan), settled);
        assert!(plan.head[0].before.contains(&Condition::HasAllOf { other: key("c") }));
        assert!(plan.head[1].after.contains(&Condition::NothingInPart));
        assert!(plan.head[4].before.contains(&Condition::ReplicatesFrom { source: key("c") }));
        assert!(plan.warnings.iter().any(|text| text.contains("in part")), "{:?}", plan.warnings);
        // Nobody to read from: its own ways must do. Nor is one read from that has more, or may get more.
        for other in ["dead", &format!("{F} executed=a:1-100,c:1"), ""] {
            let stage = read("b", Stage::new(&format!("a dead\n  b {F} rule=must\n  c {other}")));
            if stage.choose().is_ok_and(|choice| choice.successor == key("b") && choice.catch_up_from.is_none()) {
                assert_eq!(shown(stage.promote().as_ref()), REST, "{other}");
            }
        }
        // It was tried: so it is waited for.
        let tried =
            read("b", Stage::fenced("a dead\n  c io=no\n    b rule=prefer io=no", &["b", "c"]).promoted("b", &["c"]));
        let tried = Stage { opening_begun: false, ..tried };
        assert_eq!(shown(tried.promote().as_ref()), REST);
        // Everything before it is applied first.
        let behind = world.replacen("rule=prefer", "rule=prefer executed=a:1-50 retrieved=a:1-100", 1);
        let stage = read("b", Stage::new(&behind));
        assert_eq!(shown(stage.promote().as_ref()), ["b: wait until everything received is applied"]);
        assert_eq!(shown(stage.applied("b").promote().as_ref()), settled);
    }
}
