//! A former primary goes below the present one: credentials, place, options.

use crate::instance::{Instance, InstanceKey};
use crate::operation::steps::{self, identity};
use crate::operation::{World, compatibility, limit};
use crate::plan::{Action, Condition, Position, Refusal, Rule, SemiSyncSide, SourceOptions, Step, missing_of_executed};
use crate::version::Flavor;

pub(super) fn is_mariadb(one: &Instance) -> bool {
    compatibility::version(one).flavor == Flavor::MariaDb
}

pub(super) fn has_user(one: &Instance) -> bool {
    one.facts.replica.as_ref().is_some_and(|replica| !replica.user.is_empty())
}

/// Whose credentials it can have, if it has none: the first of these that replicates and tells.
pub(super) fn giver<'a>(old: &InstanceKey, candidates: impl IntoIterator<Item = &'a Instance>) -> Option<&'a Instance> {
    let can_give =
        |one: &&Instance| one.key != *old && one.facts.replication_credentials_available && one.facts.is_replica();
    candidates.into_iter().find(can_give)
}

/// It could log in at a source. Without a source MySQL shows no user: one that an earlier run has put there is in its own
/// table.
pub(super) fn can_log_in(old: &Instance, giver: Option<&Instance>) -> bool {
    let own_table = !is_mariadb(old) && old.facts.replication_credentials_available;
    has_user(old) || giver.is_some() || own_table
}

/// The steps that end with the change of source, both threads stopped. `between`: after the credentials were taken. It has
/// no source yet.
pub(super) fn below(
    old: &Instance,
    new: &Instance,
    giver: Option<&Instance>,
    between: Vec<Step>,
    world: &World<'_>,
) -> Result<Vec<Step>, Refusal> {
    let missing = missing_of_executed(&old.facts, &new.facts);
    if !missing.is_empty() {
        return Err(errant(old, new, &missing));
    }
    compatibility::can_replicate_by_gtid(old, new, world.policy)?;
    let mut steps = Vec::new();
    if let Some(giver) = giver.filter(|_| !has_user(old)) {
        let copy = Step::new(&old.key, Action::CopyCredentials { from: giver.key.clone() }, limit::OTHER);
        steps.push(copy.when(identity(old)).when(Condition::NoReplica));
    }
    steps.extend(between);
    let mariadb = is_mariadb(old);
    let position = if mariadb { Position::MariadbCurrentPos } else { Position::Auto };
    let action = Action::ChangeSource { to: new.key.clone(), position, options: options(old, new, world) };
    let mut change = Step::new(&old.key, action, limit::CHANGE_SOURCE)
        .when(identity(old))
        .when(Condition::NoReplica)
        .when(Condition::ReadOnly { read_only: true })
        .when(Condition::ExecutedIsIn { other: new.key.clone() });
    if !mariadb {
        change = change.when(Condition::PurgedByIsHere { other: new.key.clone() });
    }
    change = change
        .then(Condition::ReplicatesFrom { source: new.key.clone() })
        .then(Condition::Threads { running: crate::plan::Threads::NONE });
    steps.push(change);
    Ok(steps)
}

pub(super) fn semi_sync(one: &Instance, side: SemiSyncSide, enabled: bool) -> Step {
    Step::new(&one.key, Action::SetSemiSync { side, enabled }, limit::OTHER)
        .when(identity(one))
        .then(Condition::SemiSync { side, enabled })
}

/// A replica waits for nobody: what it applies would wait for ever where it has no replicas of its own. And it acknowledges
/// where others do.
pub(super) fn semi_sync_of_a_replica(old: &Instance, acknowledges: bool) -> Vec<Step> {
    let facts = &old.facts.semi_sync;
    let mut steps = Vec::new();
    if facts.source_enabled {
        steps.push(semi_sync(old, SemiSyncSide::Source, false));
    }
    if acknowledges && facts.replica_plugin.is_some() && !facts.replica_enabled {
        steps.push(semi_sync(old, SemiSyncSide::Replica, true));
    }
    steps
}

pub(super) fn errant(old: &Instance, new: &Instance, set: &str) -> Refusal {
    Refusal::new(
        Rule::ErrantGtid,
        &old.key,
        format!("{} has what {} lacks: {set}", old.key, new.key),
        "see what these transactions did (binary log of the one), bring over what is needed, and build it anew",
    )
}

/// As the new primary, or a replica of it, reached its source.
fn options(old: &Instance, new: &Instance, world: &World<'_>) -> SourceOptions {
    let followers = world.replicas_of(&new.key);
    let like = followers.into_iter().chain(std::iter::once(new)).find_map(|one| one.facts.replica.as_ref());
    let mut options = like.map(steps::options).unwrap_or_default();
    options.request_public_key = !is_mariadb(old) && !options.tls.allowed;
    options
}
