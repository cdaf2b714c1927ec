//! Who may be given another source, and who may be that source: what all moves have in common.

use std::collections::BTreeSet;

use super::{World, compatibility};
use crate::gtid::mysql::GtidSet;
use crate::instance::{Instance, InstanceKey, ReplicaFacts, ThreadState};
use crate::plan::{Refusal, Rule, Threads};
use crate::version::Flavor;

/// A replica that may be given another source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moving<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) replica: &'a ReplicaFacts,
}

/// It is fresh, a replica, reads one source, and its source is ours to choose.
pub(crate) fn movable<'a>(key: &InstanceKey, world: &World<'a>) -> Result<Moving<'a>, Refusal> {
    let (instance, replica) = world.replica(key)?;
    group_lets_it_move(instance)?;
    one_channel(instance, replica)?;
    no_binlog_server(instance)?;
    Ok(Moving { instance, replica })
}

pub(crate) fn group_lets_it_move(instance: &Instance) -> Result<(), Refusal> {
    if !instance.facts.is_group_secondary(&instance.key) {
        return Ok(());
    }
    let primary = instance.facts.group.as_ref().and_then(|group| group.primary.as_ref());
    let primary = primary.map_or_else(|| "its group's primary".to_owned(), ToString::to_string);
    let reason = format!("{} is a secondary of a replication group: it follows {primary}", instance.key);
    Err(Refusal::new(Rule::GroupSecondary, &instance.key, reason, "the group decides where its members replicate from"))
}

/// Statements without a channel name would mean all channels, or the wrong one.
pub(crate) fn one_channel(instance: &Instance, replica: &ReplicaFacts) -> Result<(), Refusal> {
    if replica.other_channels.is_empty() {
        return Ok(());
    }
    let channels = replica.other_channels.join(", ");
    Err(Refusal::new(
        Rule::SeveralChannels,
        &instance.key,
        format!("{} has further replication channels: {channels}", instance.key),
        "change each channel on the server itself, with FOR CHANNEL",
    ))
}

pub(crate) fn no_binlog_server(instance: &Instance) -> Result<(), Refusal> {
    if !instance.facts.is_binlog_server() {
        return Ok(());
    }
    let reason = format!("{} is a binlog server", instance.key);
    Err(Refusal::new(Rule::NotBuilt, &instance.key, reason, "moves around binlog servers are not built; do it by hand"))
}

/// The server that `moving` is to read from: fresh, meant to be used, compatible, of the same data, and not below it.
pub(crate) fn new_source<'a>(
    moving: &Moving<'_>,
    key: &InstanceKey,
    world: &World<'a>,
) -> Result<&'a Instance, Refusal> {
    let other = source_in_general(moving.instance, key, world)?;
    no_loop(moving.instance, other, world)?;
    same_cluster(moving.instance, other, world)?;
    Ok(other)
}

/// The same for a pair that may be a loop.
pub(crate) fn source_in_general<'a>(
    own: &Instance,
    key: &InstanceKey,
    world: &World<'a>,
) -> Result<&'a Instance, Refusal> {
    // Before anything is said about its state.
    if own.key == *key {
        compatibility::can_replicate(own, own, world.policy)?;
    }
    let other = world.fresh(key)?;
    no_binlog_server(other)?;
    if let Some(downtime) = &other.downtime {
        return Err(Refusal::new(
            Rule::Downtimed,
            &own.key,
            format!("{key} is downtimed by {}: {}", downtime.owner, downtime.reason),
            format!("end that first: end-downtime -i {key}; or choose another source"),
        ));
    }
    compatibility::can_replicate(own, other, world.policy)?;
    Ok(other)
}

/// Who is above a server, nearest first, as far as known; ends before it comes round. A detached source counts where
/// `detached` says so: it still tells whose data the server has.
fn above(world: &World<'_>, key: &InstanceKey, detached: bool) -> Vec<InstanceKey> {
    let mut seen = BTreeSet::from([key.clone()]);
    let mut chain: Vec<InstanceKey> = Vec::new();
    let mut at = key.clone();
    while let Some(up) = world.instances.get(&at).and_then(|one| upstream(one, detached)) {
        if !seen.insert(up.clone()) {
            break;
        }
        chain.push(up.clone());
        at = up;
    }
    chain
}

fn upstream(one: &Instance, detached: bool) -> Option<InstanceKey> {
    if one.facts.is_group_secondary(&one.key) {
        return one.facts.group.as_ref().and_then(|group| group.primary.clone());
    }
    let source = one.facts.source().filter(|_| one.facts.is_replica())?;
    match source.hostname.strip_prefix("//") {
        Some(host) if detached => Some(InstanceKey::new(host, source.port)),
        Some(_) => None,
        None => Some(source.clone()),
    }
}

/// The servers above this one, nearest first.
pub(crate) fn ancestors(world: &World<'_>, key: &InstanceKey) -> Vec<InstanceKey> {
    above(world, key, false)
}

/// All that it receives comes from or through this server above it, whose receiver, as all in between, runs: that server has
/// it, though it may have been looked at a moment earlier. It is asked again once the replica stands still.
pub(crate) fn receives_through(own: &Instance, upper: &InstanceKey, world: &World<'_>) -> bool {
    let mut here = own;
    for _ in 0..=world.instances.len() {
        let Some(replica) = here.facts.replica.as_ref().filter(|one| one.io_thread == ThreadState::Running) else {
            return false;
        };
        if replica.source == *upper {
            return world.fresh(upper).is_ok();
        }
        let Ok(next) = world.fresh(&replica.source) else { return false };
        here = next;
    }
    false
}

/// Walked by source, as MariaDB knows no UUIDs; where there are UUIDs a second name of a server does not deceive us.
pub(crate) fn no_loop(own: &Instance, other: &Instance, world: &World<'_>) -> Result<(), Refusal> {
    let uuid = &own.facts.server_uuid;
    let is_own = |key: &InstanceKey| {
        *key == own.key
            || (!uuid.is_empty() && world.instances.get(key).is_some_and(|one| one.facts.server_uuid == *uuid))
    };
    let chain = ancestors(world, &other.key);
    let reads_own = |key: &InstanceKey| {
        let replica = world.instances.get(key).and_then(|one| one.facts.replica.as_ref());
        !uuid.is_empty() && replica.is_some_and(|replica| replica.source.is_valid() && replica.source_uuid == *uuid)
    };
    let path = std::iter::once(&other.key).chain(&chain);
    if !chain.iter().any(is_own) && !path.clone().any(reads_own) {
        return no_loop_by_channels(own, &path.collect::<Vec<_>>(), world);
    }
    let shown: Vec<String> = path.take_while(|key| **key != own.key).map(ToString::to_string).collect();
    Err(Refusal::new(
        Rule::Loop,
        &own.key,
        format!("{} is below {} itself (through {}): a loop", other.key, own.key, shown.join(" -> ")),
        format!("move {} away from below {} first, or use take-master to swap them", other.key, own.key),
    ))
}

/// What a server with several sources reads by its further channels is not known, but its sources know their replicas.
fn no_loop_by_channels(own: &Instance, path: &[&InstanceKey], world: &World<'_>) -> Result<(), Refusal> {
    let has_channels = |key: &&&InstanceKey| {
        let replica = world.instances.get(**key).and_then(|one| one.facts.replica.as_ref());
        replica.is_some_and(|replica| !replica.other_channels.is_empty())
    };
    for several in path.iter().filter(has_channels) {
        let below_own = |one: &&Instance| one.key == own.key || ancestors(world, &one.key).contains(&own.key);
        let feeds = |one: &&Instance| one.facts.replicas.contains(*several);
        if let Some(source) = world.instances.values().filter(below_own).find(feeds) {
            return Err(Refusal::new(
                Rule::Loop,
                &own.key,
                format!("{several} reads {} by one of its channels: a loop", source.key),
                format!("end that channel first, or choose a source that is not below {several}"),
            ));
        }
    }
    Ok(())
}

/// Another cluster has other data. It is the same data if what the one has executed is in the other.
fn same_cluster(own: &Instance, other: &Instance, world: &World<'_>) -> Result<(), Refusal> {
    let head = |one: &Instance| above(world, &one.key, true).pop().unwrap_or_else(|| one.key.clone());
    let ring = |one: &Instance| {
        let mut all = above(world, &one.key, true);
        all.push(one.key.clone());
        all
    };
    let named_alike =
        !own.placement.cluster_name.is_empty() && own.placement.cluster_name == other.placement.cluster_name;
    if named_alike || head(own) == head(other) || ring(own).contains(&head(other)) || ring(other).contains(&head(own)) {
        return Ok(());
    }
    let sets = (GtidSet::parse(&own.facts.gtid.executed), GtidSet::parse(&other.facts.gtid.executed));
    if matches!(sets, (Ok(mine), Ok(theirs)) if !mine.is_empty() && theirs.contains(&mine)) {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::OtherCluster,
        &own.key,
        format!("{} belongs to the cluster of {}, {} to that of {}", own.key, head(own), other.key, head(other)),
        "a replica moves within its cluster; to change its data, build it anew from a backup",
    ))
}

/// Further needs of moves by file and position: it must be brought to one place, and stand there.
pub(crate) fn by_position(moving: &Moving<'_>, world: &World<'_>) -> Result<Vec<String>, Refusal> {
    let (key, replica) = (&moving.instance.key, moving.replica);
    let refuse = |rule, reason: String, remedy: String| Err(Refusal::new(rule, key, reason, remedy));
    let running = (replica.io_thread, replica.sql_thread) == (ThreadState::Running, ThreadState::Running);
    let resumed = world.resumed(key);
    if world.wanted_threads(key) != Threads::BOTH || !(running || resumed) {
        let cause = if replica.last_sql_error.is_empty() { &replica.last_io_error } else { &replica.last_sql_error };
        let cause = if cause.is_empty() { String::new() } else { format!(": {cause}") };
        let reason = format!("replication of {key} does not run{cause}");
        return refuse(Rule::NotReplicating, reason, format!("repair and start it first: start-replica -i {key}"));
    }
    if replica.sql_delay > 0 {
        let reason = format!("{key} is delayed by {} s: it cannot be brought to a place now", replica.sql_delay);
        return refuse(Rule::Delayed, reason, format!("end its delay first: delay-replication -i {key} --seconds 0"));
    }
    let limit = world.policy.reasonable_maintenance_lag_seconds;
    let behind = replica.seconds_behind.and_then(|seconds| u64::try_from(seconds).ok());
    if !resumed && behind.is_none_or(|seconds| seconds > limit) {
        let lag = behind.map_or_else(|| "unknown".to_owned(), |seconds| format!("{seconds} s"));
        let reason = format!("the lag of {key} is {lag}, the limit is {limit} s");
        let remedy = "wait until it has caught up, or raise ReasonableMaintenanceReplicationLagSeconds";
        return refuse(Rule::Lagging, reason, remedy.to_owned());
    }
    let flavor = compatibility::version(moving.instance).flavor;
    match replica.applies_out_of_order {
        Some(true) => {
            let reason = format!("{key} has several applier threads that do not keep the commit order");
            let remedy = "turn on replica_preserve_commit_order, or use GTID: enable-gtid";
            refuse(Rule::ParallelApplier, reason, remedy.to_owned())
        }
        None if flavor != Flavor::MariaDb => Ok(vec![format!(
            "it is not known whether {key} applies in commit order (replica_preserve_commit_order): a move by position \
             needs that"
        )]),
        Some(false) | None => Ok(Vec::new()),
    }
}

/// Writes of a second primary have places of their own in its log: to whom they were sent already, a position of the other
/// does not tell. By what both say themselves, too: that the leader knows them for a pair may be a moment old.
pub(crate) fn no_writable_co_primary(about: &InstanceKey, other: &Instance, world: &World<'_>) -> Result<(), Refusal> {
    let source = other.facts.source().filter(|_| other.facts.is_replica()).and_then(|key| world.instances.get(key));
    let in_pair = source.is_some_and(|one| one.facts.is_replica() && one.facts.source() == Some(&other.key));
    if !(other.placement.is_co_primary || in_pair) || other.facts.read_only {
        return Ok(());
    }
    let reason = format!("{} is a co-primary and accepts writes", other.key);
    Err(Refusal::new(Rule::CoPrimary, about, reason, format!("set-read-only -i {} first", other.key)))
}

/// What the operator should know about moving this replica below that server.
pub(crate) fn warnings(own: &Instance, other: &Instance, world: &World<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(downtime) = &own.downtime {
        warnings.push(format!("{} is downtimed by {}: {}", own.key, downtime.owner, downtime.reason));
    }
    warnings.extend(compatibility::lower_version_warning(own, other));
    if let Some(replica) = own.facts.replica.as_ref()
        && replica.sql_thread == ThreadState::Stopped
        && !replica.last_sql_error.is_empty()
    {
        warnings.push(format!(
            "the applier of {0} has stopped with an error and stays stopped, and the change of source clears that error \
             (start-replica -i {0} shows it again): {1}",
            own.key, replica.last_sql_error
        ));
    }
    if let Some(replica) = own.facts.replica.as_ref()
        && replica.io_thread == ThreadState::Stopped
        && !replica.last_io_error.is_empty()
        && !world.wanted_threads(&own.key).io
    {
        warnings.push(format!(
            "the receiver of {0} has stopped with an error, which does not tell whether somebody stopped it besides: it stays              stopped (start-replica-io-thread -i {0} starts it): {1}",
            own.key, replica.last_io_error
        ));
    }
    let wanted = world.wanted_threads(&other.key);
    if other.facts.is_replica() && wanted != Threads::BOTH {
        warnings.push(format!("replication of {} does not run: {} will get nothing new", other.key, own.key));
    }
    warnings
}
