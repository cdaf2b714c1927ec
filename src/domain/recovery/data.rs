//! Which data a survivor holds: all it has received, applied or not. By GTID where everybody has it, else by place in the
//! log of the failed server, which all its replicas read.
//!
//! What a replica wrote itself (errant transactions) is not data of the cluster: nobody has to have it.

use std::cmp::Ordering;

use crate::gtid::GtidSet;
use crate::gtid::mariadb::GtidPosition;
use crate::gtid::mysql::{GtidSet as MysqlSet, Uuid};
use crate::instance::{BinlogCoordinates, Instance, ThreadState};
use crate::operation::gtid::reach;
use crate::plan::{mariadb_received, received_is_applied};

/// What one survivor has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received {
    /// These transactions.
    Set(GtidSet),
    /// The log of the failed server up to here.
    Place(BinlogCoordinates),
}

/// The data of one survivor.
#[derive(Debug, Clone)]
pub(super) struct Holding<'a> {
    pub(super) instance: &'a Instance,
    pub(super) received: Received,
    /// Transactions that it wrote itself, as text; empty: none.
    pub(super) errant: String,
}

/// The data of all survivors, told in one way; the first `direct` of them are replicas of the failed server, the others are
/// left out where they cannot be compared. `failed`: what is known of it; `pair`: they replicate from each other, so that what
/// the other wrote is data.
pub(super) fn holdings<'a>(
    survivors: &[&'a Instance],
    direct: usize,
    failed: &Instance,
    pair: Option<&Instance>,
) -> Vec<Holding<'a>> {
    let set = |one: &Instance| received_set(one, is_pair(one, pair));
    let (direct, beside) = survivors.split_at(direct.min(survivors.len()));
    let by_set: Option<Vec<GtidSet>> = direct.iter().map(|one| set(one)).collect();
    let comparable = beside.iter().filter(|one| by_set.is_some() && set(one).is_some());
    let survivors: Vec<&'a Instance> = direct.iter().chain(comparable).copied().collect();
    let by_set: Option<Vec<GtidSet>> = survivors.iter().map(|one| set(one)).collect();
    let Some(sets) = by_set else {
        let place = |one: &Instance| one.facts.replica.as_ref().map(|replica| replica.read.clone()).unwrap_or_default();
        let by_place = |one: &&'a Instance| Holding {
            instance: one,
            received: Received::Place(place(one)),
            errant: String::new(),
        };
        return survivors.iter().map(by_place).collect();
    };
    let holding = |(index, one): (usize, &&'a Instance)| {
        let errant = if is_pair(one, pair) { String::new() } else { errant_of(one, index, &sets, failed) };
        let own = GtidSet::parse(&errant).unwrap_or_default();
        // A MariaDB position is what came by replication: what was written here is not in it.
        let received = match &sets[index] {
            GtidSet::MySql(set) => GtidSet::MySql(own.as_mysql().map_or_else(|| set.clone(), |own| set.subtract(own))),
            GtidSet::MariaDb(_) => sets[index].clone(),
        };
        Holding { instance: one, received: Received::Set(received), errant }
    };
    survivors.iter().enumerate().map(holding).collect()
}

fn is_pair(one: &Instance, pair: Option<&Instance>) -> bool {
    pair.is_some_and(|other| other.key == one.key)
}

/// `None`: it cannot be told as a set.
fn received_set(one: &Instance, writes: bool) -> Option<GtidSet> {
    if !one.facts.server_uuid.is_empty() {
        // A server that uses GTID and has executed nothing has an empty set; one that has no GTID has none.
        let known =
            one.facts.supports_oracle_gtid() && (!one.facts.gtid.executed.is_empty() || one.facts.is_using_gtid());
        return if known { reach(one) } else { None };
    }
    let gtid = &one.facts.gtid;
    if writes {
        return reach(one).filter(|set| !set.is_empty());
    }
    let applied = GtidPosition::parse(&gtid.mariadb_slave_pos).ok()?;
    let Some(received) = mariadb_received(&one.facts) else {
        // It was turned to file and position for the sake of its applier, and has applied all.
        let replica = one.facts.replica.as_ref()?;
        let was_turned = replica.io_thread == ThreadState::Stopped && !replica.mariadb_io_pos.is_empty();
        return (was_turned && received_is_applied(&one.facts)).then(|| applied.into());
    };
    let received = GtidPosition::parse(received).ok()?;
    Some(received.union(&applied).into())
}

/// What a survivor wrote itself: under its own name (or seen as errant while its source lived), unknown to the failed server
/// when that was last read and to all others. Anything less sure counts as data.
fn errant_of(one: &Instance, index: usize, sets: &[GtidSet], failed: &Instance) -> String {
    match &sets[index] {
        GtidSet::MySql(set) => {
            let own: Option<Uuid> = one.facts.server_uuid.parse().ok();
            let source: Option<Uuid> = failed.facts.server_uuid.parse().ok();
            let seen = MysqlSet::parse(&one.placement.gtid_errant).unwrap_or_default();
            let mut errant = set.retain_uuids(|uuid| Some(uuid) == own).union(&seen.intersect(set));
            errant = errant.retain_uuids(|uuid| Some(uuid) != source);
            errant = errant.subtract(&MysqlSet::parse(&failed.facts.gtid.executed).unwrap_or_default());
            for (_, other) in sets.iter().enumerate().filter(|(other, _)| *other != index) {
                errant = other.as_mysql().map_or_else(|| errant.clone(), |other| errant.subtract(other));
            }
            errant.to_string()
        }
        GtidSet::MariaDb(received) => {
            let place = GtidPosition::parse(&one.facts.gtid.mariadb_current_pos).unwrap_or_default();
            let id = one.facts.server_id;
            let failed = GtidPosition::parse(&failed.facts.gtid.mariadb_current_pos).unwrap_or_default();
            let ahead = place.subtract(received).subtract(&failed);
            let own: Vec<String> =
                ahead.gtids().filter(|gtid| u64::from(gtid.server) == id).map(|gtid| gtid.to_string()).collect();
            own.join(",")
        }
    }
}

impl Received {
    /// What `other` has received and this one has not, as text; empty: nothing.
    pub(super) fn lacks(&self, other: &Self) -> String {
        match (self, other) {
            (Self::Set(own), Self::Set(other)) => other.subtract(own).to_string(),
            (Self::Place(own), Self::Place(other)) => match own.compare_in_log(other) {
                Some(Ordering::Equal | Ordering::Greater) => String::new(),
                Some(Ordering::Less) => format!("from {own} to {other}"),
                None if own == other => String::new(),
                None => format!("unknown (it is at {own}, the other at {other})"),
            },
            (Self::Set(_) | Self::Place(_), _) => "unknown".to_owned(),
        }
    }
}

impl Holding<'_> {
    /// Received and not applied: transactions, or bytes where there is no GTID.
    pub(super) fn unapplied(&self) -> u64 {
        let facts = &self.instance.facts;
        match &self.received {
            Received::Set(set) => {
                let applied = match set {
                    GtidSet::MySql(_) => MysqlSet::parse(&facts.gtid.executed).map(GtidSet::from).ok(),
                    GtidSet::MariaDb(_) => {
                        let both = [&facts.gtid.mariadb_slave_pos, &facts.gtid.mariadb_current_pos];
                        let read = |text: &String| GtidPosition::parse(text).unwrap_or_default();
                        Some(read(both[0]).union(&read(both[1])).into())
                    }
                };
                set.transactions_ahead_of(&applied.unwrap_or_default())
            }
            Received::Place(at) => {
                let exec = facts.replica.as_ref().map(|replica| replica.exec.clone()).unwrap_or_default();
                match at.compare_in_log(&exec) {
                    Some(Ordering::Greater) if at.file == exec.file => at.position - exec.position,
                    Some(Ordering::Greater) => u64::MAX,
                    _ => 0,
                }
            }
        }
    }
}
