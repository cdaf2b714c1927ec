//! The old primary goes below the new one.

use super::{Variant, is_switched, single, uses_semi_sync};
use crate::instance::Instance;
use crate::operation::limit;
use crate::operation::steps::{self, identity};
use crate::plan::{Action, Branch, Condition, Plan, Refusal, Rule, SemiSyncSide, Step, Threads, running_threads};
use crate::recovery::attach;
use crate::recovery::scene::{Choice, Scene};

/// The old primary replicates from the new one; `Variant::Plain` leaves it stopped. `None`: it does so already.
pub fn demote(scene: &Scene<'_>, choice: &Choice, variant: Variant) -> Result<Option<Plan>, Refusal> {
    let world = scene.world;
    let (old, new) = (world.fresh(scene.failed)?, world.fresh(&choice.successor)?);
    if !is_switched(scene, choice) {
        return Err(Refusal::new(
            Rule::PrimaryAlive,
            &old.key,
            format!("{} is not open for writes: {} is still the primary", new.key, old.key),
            "open the new one first",
        ));
    }
    let follows = old.facts.is_replica() && old.facts.source() == Some(&new.key);
    let mut steps = Vec::new();
    let mut warnings = Vec::new();
    // The new one's credentials are there until it forgets its source; then only followers can tell.
    let followers = choice.followers.iter().filter_map(|key| world.fresh(key).ok());
    let giver = attach::giver(&old.key, std::iter::once(new).chain(followers));
    if follows {
        steps.extend(forget(new, old));
    } else {
        // Neither is the other's source for a moment.
        steps.extend(attach::below(old, new, giver, forget(new, old), world)?);
    }
    let can_log_in = attach::can_log_in(old, giver) || was_given_them(old, new, variant);
    let starts = variant == Variant::Auto && can_log_in;
    let connects = starts && running_threads(&old.facts) != Threads::BOTH;
    steps.extend(attach::semi_sync_of_a_replica(old, connects && new.facts.semi_sync.replica_enabled));
    if starts {
        if running_threads(&old.facts) != Threads::BOTH {
            let missing = Threads::BOTH.without(if follows { running_threads(&old.facts) } else { Threads::NONE });
            steps.push(steps::start_below(&old.key, &new.key, missing));
        }
        if uses_semi_sync(scene) && new.facts.semi_sync.source_plugin.is_some() && !new.facts.semi_sync.source_enabled {
            steps.push(attach::semi_sync(new, SemiSyncSide::Source, true));
        }
    } else {
        warnings.push(format!("replication of {0} stays stopped until: start-replica -i {0}", old.key));
    }
    if !can_log_in {
        warnings.push(format!(
            "{} has no replication user, and none could be read: set one there, or set ReplicationCredentialsQuery",
            old.key
        ));
    }
    if steps.is_empty() {
        return Ok(None);
    }
    let new_source = (!follows).then(|| new.key.clone());
    let branch = Branch { instance: old.key.clone(), new_source, locks: Vec::new(), steps, restore: Vec::new() };
    let because = format!("{} takes the writes; {} has nothing that it lacks", new.key, old.key);
    let mut plan = single(scene, &new.key, branch, [&old.key, &new.key], because);
    plan.warnings = warnings;
    Ok(Some(plan))
}

/// MariaDB shows no user without a source, either, and nowhere else: an earlier run has given them. Nobody is designated for
/// `-auto` without credentials, and the new primary forgets its source only after it gave them away.
fn was_given_them(old: &Instance, new: &Instance, variant: Variant) -> bool {
    variant == Variant::Auto && attach::is_mariadb(old) && !old.facts.is_replica() && !new.facts.is_replica()
}

/// The new primary has no source any more.
fn forget(new: &Instance, old: &Instance) -> Vec<Step> {
    if !new.facts.is_replica() {
        return Vec::new();
    }
    let running = running_threads(&new.facts);
    let mut steps = Vec::new();
    if running != Threads::NONE {
        steps.push(steps::stop(&new.key, running, running));
    }
    let forget = Step::new(&new.key, Action::ResetReplica, limit::OTHER)
        .when(identity(new))
        .when(Condition::ReplicatesFrom { source: old.key.clone() })
        .when(Condition::Threads { running: Threads::NONE })
        .when(Condition::Drained)
        .then(Condition::NoReplica);
    steps.push(forget);
    steps
}
