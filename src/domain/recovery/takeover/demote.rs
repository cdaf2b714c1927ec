//! The old primary goes below the new one.

use super::{Variant, is_mariadb, is_switched, single, switch, uses_semi_sync};
use crate::instance::Instance;
use crate::operation::steps::{self, identity};
use crate::operation::{compatibility, limit};
use crate::plan::{
    Action, Branch, Condition, Plan, Position, Refusal, Rule, SemiSyncSide, SourceOptions, Step, Threads,
    missing_of_executed, running_threads,
};
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
    let giver = giver(scene, choice, old, new);
    if !follows {
        steps.extend(below(scene, old, new, giver)?);
    }
    if follows {
        steps.extend(forget(new, old));
    }
    // Without a source MySQL shows no user: one that an earlier run has put there is in its own table.
    let own_table = !is_mariadb(old) && old.facts.replication_credentials_available;
    let can_log_in = has_user(old) || giver.is_some() || own_table;
    let starts = variant == Variant::Auto && can_log_in;
    steps.extend(semi_sync_replica(old, new, starts && running_threads(&old.facts) != Threads::BOTH));
    if starts {
        if running_threads(&old.facts) != Threads::BOTH {
            let missing = Threads::BOTH.without(if follows { running_threads(&old.facts) } else { Threads::NONE });
            steps.push(steps::start_below(&old.key, &new.key, missing));
        }
        if uses_semi_sync(scene) && new.facts.semi_sync.source_plugin.is_some() && !new.facts.semi_sync.source_enabled {
            steps.push(switch::semi_sync(new, SemiSyncSide::Source, true));
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

fn has_user(one: &Instance) -> bool {
    one.facts.replica.as_ref().is_some_and(|replica| !replica.user.is_empty())
}

/// Whose credentials the old primary can have, if it has none: the new one's, or a follower's. The new one's are there
/// until it forgets its source.
fn giver<'a>(scene: &Scene<'a>, choice: &Choice, old: &Instance, new: &'a Instance) -> Option<&'a Instance> {
    let can_give = |one: &&Instance| one.key != old.key && one.facts.replication_credentials_available;
    let configured = |one: &&Instance| can_give(one) && one.facts.is_replica();
    let followers = choice.followers.iter().filter_map(|key| scene.world.fresh(key).ok());
    std::iter::once(new).filter(configured).chain(followers.filter(can_give)).next()
}

/// Credentials first, while the new primary still has them; then neither is the other's source for a moment.
fn below(scene: &Scene<'_>, old: &Instance, new: &Instance, giver: Option<&Instance>) -> Result<Vec<Step>, Refusal> {
    let missing = missing_of_executed(&old.facts, &new.facts);
    if !missing.is_empty() {
        return Err(Refusal::new(
            Rule::ErrantGtid,
            &old.key,
            format!("{} has what {} lacks: {missing}", old.key, new.key),
            "see what it is, and build it anew from a backup",
        ));
    }
    compatibility::can_replicate_by_gtid(old, new, scene.world.policy)?;
    let mut steps = Vec::new();
    if let Some(giver) = giver.filter(|_| !has_user(old)) {
        let copy = Step::new(&old.key, Action::CopyCredentials { from: giver.key.clone() }, limit::OTHER);
        steps.push(copy.when(identity(old)).when(Condition::NoReplica));
    }
    steps.extend(forget(new, old));
    let position = if is_mariadb(old) { Position::MariadbCurrentPos } else { Position::Auto };
    let action = Action::ChangeSource { to: new.key.clone(), position, options: options(scene, old, new) };
    let mut change = Step::new(&old.key, action, limit::CHANGE_SOURCE)
        .when(identity(old))
        .when(Condition::NoReplica)
        .when(Condition::ReadOnly { read_only: true })
        .when(Condition::ExecutedIsIn { other: new.key.clone() });
    if !is_mariadb(old) {
        change = change.when(Condition::PurgedByIsHere { other: new.key.clone() });
    }
    change = change
        .then(Condition::ReplicatesFrom { source: new.key.clone() })
        .then(Condition::Threads { running: Threads::NONE });
    steps.push(change);
    Ok(steps)
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

/// As the new one, or a replica of it, reached its source.
fn options(scene: &Scene<'_>, old: &Instance, new: &Instance) -> SourceOptions {
    let followers = scene.world.replicas_of(&new.key);
    let like = std::iter::once(new).chain(followers).find_map(|one| one.facts.replica.as_ref());
    let mut options = like.map(steps::options).unwrap_or_default();
    options.request_public_key = !is_mariadb(old) && !options.tls.allowed;
    options
}

/// A replica waits for nobody; and it acknowledges where the new primary did so as a replica.
fn semi_sync_replica(old: &Instance, new: &Instance, connects: bool) -> Vec<Step> {
    let facts = &old.facts.semi_sync;
    let mut steps = Vec::new();
    if facts.source_enabled {
        steps.push(switch::semi_sync(old, SemiSyncSide::Source, false));
    }
    let acknowledged = new.facts.semi_sync.replica_enabled;
    if connects && acknowledged && facts.replica_plugin.is_some() && !facts.replica_enabled {
        steps.push(switch::semi_sync(old, SemiSyncSide::Replica, true));
    }
    steps
}
