//! Semi-sync on the successor, before it is opened: no commit goes unacknowledged that would not have before, and none waits
//! for ever for replicas that are not there.

use crate::instance::Instance;
use crate::operation::steps;
use crate::plan::{Action, Condition, SemiSyncSide, Step};
use crate::recovery::scene::{Choice, Scene};

/// Seconds for what only switches something.
const SWITCH_LIMIT: u32 = 10;

/// A source that waits for nobody's acknowledgement no longer than this serves writers again soon. Otherwise it is not made to
/// wait until there is somebody to answer.
const PATIENCE_MS: u64 = 10_000;

/// Adds the steps; gives the warnings.
pub(super) fn steps(scene: &Scene<'_>, choice: &Choice, one: &Instance, steps: &mut Vec<Step>) -> Vec<String> {
    let (key, facts) = (&one.key, &one.facts.semi_sync);
    if !(scene.had_semi_sync || facts.priority > 0 || facts.source_enabled) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    if facts.source_plugin.is_none() {
        warnings.push(format!("{key} has no semi-sync plugin: its commits are acknowledged by nobody"));
        return warnings;
    }
    let needed = facts.wait_for_replica_count.max(1);
    let able = acknowledging(scene, choice);
    let mut enabled = true;
    if able < needed {
        enabled = facts.source_timeout_ms <= PATIENCE_MS;
        warnings.push(if enabled {
            format!(
                "{able} survivors can acknowledge what {key} commits, it waits for {needed}: each commit waits {} ms, until it gives up",
                facts.source_timeout_ms
            )
        } else {
            format!(
                "{able} survivors can acknowledge what {key} commits, it would wait for {needed}, {} ms each time: semi-sync is \
                 off until there are more (enable-semi-sync-master -i {key})",
                facts.source_timeout_ms
            )
        });
    }
    if facts.source_enabled != enabled {
        let side = SemiSyncSide::Source;
        steps.push(
            Step::new(key, Action::SetSemiSync { side, enabled }, SWITCH_LIMIT)
                .when(steps::identity(one))
                .then(Condition::SemiSync { side, enabled }),
        );
    }
    warnings
}

/// Followers that can acknowledge: those that do not yet are switched on when they are moved.
fn acknowledging(scene: &Scene<'_>, choice: &Choice) -> u64 {
    let able = |key: &&crate::instance::InstanceKey| {
        let one = scene.world.fresh(key).ok();
        one.is_some_and(|one| one.facts.semi_sync.replica_plugin.is_some() && scene.world.wanted_threads(key).io)
    };
    choice.followers.iter().filter(able).count() as u64
}
