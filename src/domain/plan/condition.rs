//! What must hold on servers before and after a step. Judged on fresh facts, by pure functions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::step::SemiSyncSide;
use super::{Threads, running_threads};
use crate::gtid::mariadb::GtidPosition;
use crate::gtid::mysql::GtidSet;
use crate::instance::{BinlogCoordinates, InstanceKey, ReplicaFacts, ServerFacts, ThreadState};

/// One condition, of the server that the step acts on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Condition {
    /// It is the server that was planned for: a name may lead elsewhere by now.
    Server { server_id: u64, server_uuid: String },
    /// It replicates from this source.
    ReplicatesFrom { source: InstanceKey },
    /// It has no source.
    NoReplica,
    /// Exactly these threads were started.
    Threads { running: Threads },
    /// These threads, at least, do not run.
    Stopped { threads: Threads },
    /// These threads, at least, run: the receiver is connected, the applier works.
    Replicating { threads: Threads },
    /// Everything it received it has applied.
    Drained,
    /// Of no transaction it holds a part only ([`holds_part`]).
    NothingInPart,
    /// Whatever it received is in that other server, too: nothing is lost when relay logs are discarded.
    ReceivedIsIn { other: InstanceKey },
    /// Whatever it has executed is in that other server, too.
    ExecutedIsIn { other: InstanceKey },
    /// Whatever the other server has executed is here, too.
    HasAllOf { other: InstanceKey },
    /// Nothing that the other server has purged is missing here.
    PurgedByIsHere { other: InstanceKey },
    /// `read_only` is so.
    ReadOnly { read_only: bool },
    /// It takes writes from nobody: `read_only`, and `super_read_only` where there is such a thing.
    Closed,
    /// The other server takes writes from nobody.
    ClosedThere { other: InstanceKey },
    /// One side of semi-synchronous replication is so.
    SemiSync { side: SemiSyncSide, enabled: bool },
    /// The configured delay.
    Delay { seconds: u64 },
    /// Its set of executed GTIDs is exactly this.
    Executed { gtids: String },
    /// These GTIDs, at least, are among the executed ones.
    HasExecuted { gtids: String },
    /// None of these GTIDs is among the executed ones.
    HasNotExecuted { gtids: String },
    /// It has applied its source's log up to exactly the end of that server's own log.
    AppliedToEndOf { other: InstanceKey },
    /// Both replicate from one source and have applied its log up to the same place.
    AppliedLike { other: InstanceKey },
    /// Both replicate from one source, and it has applied as much of its log, or more.
    AppliedAsFarAs { other: InstanceKey },
    /// It has applied its source's log up to exactly this place.
    AppliedTo { at: BinlogCoordinates },
    /// The applier of the other server does not run.
    StandsStill { other: InstanceKey },
    /// It replicates with GTID of either kind, or by file and position.
    UsingGtid { using: bool },
    /// It has no replicas.
    NoReplicas,
}

/// What does not hold, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet(pub String);

impl Condition {
    /// The other server whose facts are needed, if any.
    pub fn other_server(&self) -> Option<&InstanceKey> {
        match self {
            Self::ReceivedIsIn { other }
            | Self::ExecutedIsIn { other }
            | Self::HasAllOf { other }
            | Self::PurgedByIsHere { other }
            | Self::ClosedThere { other }
            | Self::AppliedToEndOf { other }
            | Self::AppliedLike { other }
            | Self::AppliedAsFarAs { other }
            | Self::StandsStill { other } => Some(other),
            Self::Server { .. }
            | Self::ReplicatesFrom { .. }
            | Self::NoReplica
            | Self::Threads { .. }
            | Self::Stopped { .. }
            | Self::Replicating { .. }
            | Self::Drained
            | Self::NothingInPart
            | Self::ReadOnly { .. }
            | Self::Closed
            | Self::SemiSync { .. }
            | Self::Delay { .. }
            | Self::Executed { .. }
            | Self::HasExecuted { .. }
            | Self::HasNotExecuted { .. }
            | Self::AppliedTo { .. }
            | Self::UsingGtid { .. }
            | Self::NoReplicas => None,
        }
    }

    /// Does it hold on `own`? `facts` has the fresh facts of every server that [`Self::other_server`] names.
    pub fn holds(
        &self,
        key: &InstanceKey,
        own: &ServerFacts,
        facts: &BTreeMap<InstanceKey, ServerFacts>,
    ) -> Result<(), Unmet> {
        let unmet = |text: String| Err(Unmet(text));
        let other = |name: &InstanceKey| facts.get(name).ok_or_else(|| Unmet(format!("{name} could not be read")));
        let replica = || own.replica.as_ref().ok_or_else(|| Unmet(format!("{key} is no replica")));
        match self {
            Self::Server { server_id, server_uuid } => {
                if own.server_id == *server_id && own.server_uuid == *server_uuid {
                    return Ok(());
                }
                unmet(format!("{key} is another server now (server id {}, was {server_id})", own.server_id))
            }
            Self::ReplicatesFrom { source } => match own.source() {
                Some(now) if now == source => Ok(()),
                Some(now) => unmet(format!("{key} replicates from {now}, not from {source}")),
                None => unmet(format!("{key} has no source, expected {source}")),
            },
            Self::NoReplica if own.is_replica() => unmet(format!("{key} still is a replica")),
            Self::Threads { running } => {
                let now = running_threads(own);
                if now == *running { Ok(()) } else { unmet(format!("{key}: {}", thread_text(now, *running))) }
            }
            Self::Stopped { threads } => {
                let still = running_threads(own).and(*threads);
                if still == Threads::NONE { Ok(()) } else { unmet(format!("{key}: {still} still running")) }
            }
            Self::Replicating { threads } => replicating(key, own, *threads),
            Self::Drained => {
                if received_is_applied(own) {
                    return Ok(());
                }
                unmet(format!("{key} has received transactions that it has not applied"))
            }
            Self::NothingInPart if holds_part(own) => unmet(format!("{key} has received a transaction in part")),
            Self::ReceivedIsIn { other: name } => {
                let missing = missing_of_received(own, name, other(name)?);
                if missing.is_empty() { Ok(()) } else { unmet(format!("{name} lacks what {key} received: {missing}")) }
            }
            Self::ExecutedIsIn { other: name } => {
                let missing = missing_of_executed(own, other(name)?);
                if missing.is_empty() { Ok(()) } else { unmet(format!("{name} lacks what {key} executed: {missing}")) }
            }
            Self::HasAllOf { other: name } => {
                let missing = missing_of_executed(other(name)?, own);
                if missing.is_empty() { Ok(()) } else { unmet(format!("{key} lacks what {name} executed: {missing}")) }
            }
            Self::PurgedByIsHere { other: name } => {
                let missing = purged_and_missing(own, other(name)?);
                if missing.is_empty() {
                    Ok(())
                } else {
                    unmet(format!("{name} has purged what {key} lacks: {missing}"))
                }
            }
            Self::ReadOnly { read_only } if own.read_only != *read_only => {
                unmet(format!("{key} is {}", if own.read_only { "read-only" } else { "writable" }))
            }
            Self::Closed => closed(key, own),
            Self::ClosedThere { other: name } => closed(name, other(name)?),
            Self::SemiSync { side, enabled } => {
                let now = match side {
                    SemiSyncSide::Source => own.semi_sync.source_enabled,
                    SemiSyncSide::Replica => own.semi_sync.replica_enabled,
                };
                if now == *enabled { Ok(()) } else { unmet(format!("{key}: semi-sync {side:?} enabled: {now}")) }
            }
            Self::Delay { seconds } => {
                let now = replica()?.sql_delay;
                if now == *seconds { Ok(()) } else { unmet(format!("{key} is delayed by {now} s, not {seconds} s")) }
            }
            Self::Executed { gtids } => {
                let same = match (GtidSet::parse(&own.gtid.executed), GtidSet::parse(gtids)) {
                    (Ok(now), Ok(expected)) => now == expected,
                    _ => false,
                };
                if same { Ok(()) } else { unmet(format!("{key} has executed {:?}, not {gtids:?}", own.gtid.executed)) }
            }
            Self::HasExecuted { gtids } => match missing_of(gtids, own) {
                Some(missing) if missing.is_empty() => Ok(()),
                Some(missing) => unmet(format!("{key} has not executed {missing}")),
                None => unmet(format!("it cannot be told whether {key} has executed {gtids:?}")),
            },
            Self::HasNotExecuted { gtids } => match (GtidSet::parse(&own.gtid.executed), GtidSet::parse(gtids)) {
                (Ok(now), Ok(unwanted)) if now.intersect(&unwanted).is_empty() => Ok(()),
                (Ok(now), Ok(unwanted)) => unmet(format!("{key} has executed {}", now.intersect(&unwanted))),
                _ => unmet(format!("it cannot be told whether {key} has executed {gtids:?}")),
            },
            Self::AppliedToEndOf { other: name } => {
                let (end, now) = (&other(name)?.binlog, &replica()?.exec);
                if end == now {
                    Ok(())
                } else {
                    unmet(format!("{key} has applied up to {now}, not to {end} of {name}"))
                }
            }
            Self::AppliedLike { other: name } => {
                let (mine, theirs) = (replica()?, other(name)?.replica.as_ref());
                match theirs.filter(|theirs| theirs.source == mine.source) {
                    Some(theirs) if theirs.exec == mine.exec => Ok(()),
                    Some(theirs) => {
                        unmet(format!("{key} has applied up to {}, {name} up to {}", mine.exec, theirs.exec))
                    }
                    None => unmet(format!("{key} and {name} do not replicate from one source")),
                }
            }
            Self::AppliedAsFarAs { other: name } => {
                let (mine, theirs) = (replica()?, other(name)?.replica.as_ref());
                let theirs = theirs.filter(|theirs| theirs.source == mine.source);
                match theirs.and_then(|theirs| mine.exec.compare_in_log(&theirs.exec)) {
                    Some(Ordering::Equal | Ordering::Greater) => Ok(()),
                    Some(Ordering::Less) => unmet(format!("{key} has applied up to {}, {name} is ahead", mine.exec)),
                    None => unmet(format!("{key} and {name} do not replicate from one source")),
                }
            }
            Self::AppliedTo { at } => {
                let now = &replica()?.exec;
                if now == at { Ok(()) } else { unmet(format!("{key} has applied up to {now}, not to {at}")) }
            }
            Self::StandsStill { other: name } if running_threads(other(name)?).sql => {
                unmet(format!("the applier of {name} runs"))
            }
            Self::UsingGtid { using } if own.is_using_gtid() != *using => {
                unmet(format!("{key} replicates {} GTID", if *using { "without" } else { "with" }))
            }
            Self::NoReplicas if !own.replicas.is_empty() => unmet(format!("{key} has {} replicas", own.replicas.len())),
            Self::NoReplica
            | Self::ReadOnly { .. }
            | Self::StandsStill { .. }
            | Self::UsingGtid { .. }
            | Self::NothingInPart
            | Self::NoReplicas => Ok(()),
        }
    }
}

/// The part of `gtids`, of either family, that the server has not executed. `None`: it cannot be told.
fn missing_of(gtids: &str, own: &ServerFacts) -> Option<String> {
    if !own.gtid.mariadb_current_pos.is_empty() || !own.gtid.mariadb_slave_pos.is_empty() {
        let wanted = GtidPosition::parse(gtids).ok()?;
        let applied = GtidPosition::parse(&own.gtid.mariadb_slave_pos).ok()?;
        let place = GtidPosition::parse(&own.gtid.mariadb_current_pos).ok()?.union(&applied);
        return Some(wanted.subtract(&place).to_string());
    }
    let (now, wanted) = (GtidSet::parse(&own.gtid.executed).ok()?, GtidSet::parse(gtids).ok()?);
    Some(wanted.subtract(&now).to_string())
}

/// MariaDB has no `super_read_only`; its servers tell no UUID.
fn closed(key: &InstanceKey, facts: &ServerFacts) -> Result<(), Unmet> {
    let word = match (facts.read_only, facts.super_read_only || facts.server_uuid.is_empty()) {
        (true, true) => return Ok(()),
        (true, false) => "not super_read_only",
        (false, _) => "writable",
    };
    Err(Unmet(format!("{key} is {word}")))
}

fn thread_text(now: Threads, wanted: Threads) -> String {
    let word = |on: bool| if on { "running" } else { "stopped" };
    format!(
        "receiver {}, applier {}; expected receiver {}, applier {}",
        word(now.io),
        word(now.sql),
        word(wanted.io),
        word(wanted.sql)
    )
}

fn replicating(key: &InstanceKey, own: &ServerFacts, threads: Threads) -> Result<(), Unmet> {
    let Some(replica) = &own.replica else { return Err(Unmet(format!("{key} is no replica"))) };
    for (wanted, state, name, error) in [
        (threads.io, replica.io_thread, "receiver", &replica.last_io_error),
        (threads.sql, replica.sql_thread, "applier", &replica.last_sql_error),
    ] {
        if wanted && state != ThreadState::Running {
            let cause = if error.is_empty() { String::new() } else { format!(": {error}") };
            return Err(Unmet(format!("the {name} of {key} does not run{cause}")));
        }
    }
    Ok(())
}

/// MariaDB: the GTID position that a replica has received. One that was turned to file and position for the sake of its applier
/// ([`Action::ResumeApplier`](super::Action::ResumeApplier)) keeps it until its receiver starts again, and its positions tell
/// nothing until the applier has begun; what others show there is old, and applied (tried on 10.11).
pub(crate) fn mariadb_received(own: &ServerFacts) -> Option<&str> {
    let replica = own.replica.as_ref()?;
    let received = replica.mariadb_io_pos.as_str();
    let is_idle = replica.io_thread == ThreadState::Stopped && !received.is_empty();
    let counts = replica.using_mariadb_gtid || (is_idle && !mariadb_has_applied(own, received));
    counts.then_some(received)
}

fn mariadb_has_applied(own: &ServerFacts, received: &str) -> bool {
    let (received, applied) = (GtidPosition::parse(received), GtidPosition::parse(&own.gtid.mariadb_slave_pos));
    matches!((received, applied), (Ok(received), Ok(applied)) if applied.contains(&received))
}

/// Everything the server received it has applied. What cannot be told counts as not applied.
pub(crate) fn received_is_applied(own: &ServerFacts) -> bool {
    let Some(replica) = &own.replica else { return true };
    if let Some(received) = mariadb_received(own).filter(|received| !received.is_empty()) {
        return mariadb_has_applied(own, received);
    }
    if replica.auto_position {
        let (received, applied) = (GtidSet::parse(&replica.retrieved_gtid_set), GtidSet::parse(&own.gtid.executed));
        return matches!((received, applied), (Ok(received), Ok(applied)) if applied.contains(&received));
    }
    replica.read == replica.exec
}

/// A MySQL replica has applied all complete transactions and has received part of one more: its applier is in the middle of that,
/// and several workers, told to stop, wait up to 60 s for the rest (`SLAVE_WAIT_GROUP_DONE` in its `sql/rpl_replica.cc`; tried
/// on 9.7.4). They give it up when a source, any, begins to send anew. What it has executed is told
/// up to 0.3 s late (`replica_checkpoint_period`): until then one that has applied all looks the same.
pub fn holds_part(own: &ServerFacts) -> bool {
    let Some(replica) = own.replica.as_ref().filter(|replica| replica.auto_position) else { return false };
    replica.read != replica.exec && received_is_applied(own)
}

/// What `own` received, has not applied, and `other` lacks, as text; empty: nothing. What cannot be told is "unknown".
pub(crate) fn missing_of_received(own: &ServerFacts, other_key: &InstanceKey, other: &ServerFacts) -> String {
    let Some(replica) = &own.replica else { return String::new() };
    if received_is_applied(own) {
        return String::new();
    }
    if let Some(received) = mariadb_received(own) {
        return missing_mariadb(received, other);
    }
    if replica.auto_position {
        return match (GtidSet::parse(&replica.retrieved_gtid_set), GtidSet::parse(&own.gtid.executed)) {
            (Ok(received), Ok(executed)) => missing_mysql(&received.subtract(&executed).to_string(), other),
            _ => "unknown".to_owned(),
        };
    }
    missing_by_position(replica, other_key, other)
}

/// By place in the log that `own` reads: its source has written it, or another reader of that log has read it too. (What
/// another reader has read it keeps: nobody changes its source meanwhile.)
fn missing_by_position(own: &ReplicaFacts, other_key: &InstanceKey, other: &ServerFacts) -> String {
    let theirs = if own.source == *other_key {
        Some(&other.binlog)
    } else {
        other.replica.as_ref().filter(|theirs| theirs.source == own.source).map(|theirs| &theirs.read)
    };
    match theirs.and_then(|theirs| own.read.compare_in_log(theirs)) {
        Some(Ordering::Less | Ordering::Equal) => String::new(),
        Some(Ordering::Greater) => format!("what {} has up to {}", own.source, own.read),
        None => "unknown".to_owned(),
    }
}

/// What `own` executed and `other` lacks, as text; empty: nothing.
pub(crate) fn missing_of_executed(own: &ServerFacts, other: &ServerFacts) -> String {
    if own.gtid.mariadb_current_pos.is_empty() && own.gtid.mariadb_slave_pos.is_empty() {
        return missing_mysql(&own.gtid.executed, other);
    }
    missing_mariadb(&own.gtid.mariadb_current_pos, other)
}

/// What `other` has purged and `own` lacks (MySQL); empty: nothing.
pub(crate) fn purged_and_missing(own: &ServerFacts, other: &ServerFacts) -> String {
    match (GtidSet::parse(&other.gtid.purged), GtidSet::parse(&own.gtid.executed)) {
        (Ok(purged), Ok(executed)) => purged.subtract(&executed).to_string(),
        _ => "unknown".to_owned(),
    }
}

fn missing_mysql(set: &str, other: &ServerFacts) -> String {
    match (GtidSet::parse(set), GtidSet::parse(&other.gtid.executed)) {
        (Ok(set), Ok(executed)) => set.subtract(&executed).to_string(),
        _ => "unknown".to_owned(),
    }
}

/// A MariaDB server has what its current position names: what it wrote itself and what it applied.
fn missing_mariadb(position: &str, other: &ServerFacts) -> String {
    let theirs = if other.gtid.mariadb_current_pos.is_empty() {
        &other.gtid.mariadb_binlog_pos
    } else {
        &other.gtid.mariadb_current_pos
    };
    match (GtidPosition::parse(position), GtidPosition::parse(theirs)) {
        (Ok(position), Ok(theirs)) if theirs.contains(&position) => String::new(),
        (Ok(position), Ok(_)) => position.to_string(),
        _ => "unknown".to_owned(),
    }
}
