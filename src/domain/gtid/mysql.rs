//! GTID sets of MySQL and Percona Server, tagged GTIDs included.
//!
//! Grammar and meaning are those of "GTID Format and Storage" and "Functions Used with Global Transaction Identifiers"
//! in the manual (<https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html>,
//! <https://dev.mysql.com/doc/refman/8.4/en/gtid-functions.html>); where the manual is silent, a 9.7 server was asked.
//! We do the arithmetic ourselves because the moment we need it most is the moment no server answers.
//!
//! Two deliberate differences from the server, both refusals of what it silently drops: `uuid:3-2` (an interval that ends
//! before it starts) and a UUID or tag without an interval. A server never prints them, so whoever sent one meant something
//! else, and dropping transactions from a set that decides a promotion is not ours to do.

mod errant;
mod identifier;
mod parse;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Relation;
use super::error::ParseError;
use super::intervals::Intervals;
pub use errant::{Lineage, errant};
pub use identifier::{Gtid, Tag, Uuid};

/// The largest transaction number. The manual says "2 to the power of 63 minus 1" values; servers refuse 2^63-1 itself
/// ("Interval start out of range") and take 2^63-2.
pub const MAX_TRANSACTION: u64 = i64::MAX as u64 - 1;

/// The most transactions that [`GtidSet::transactions`] lists, whatever the caller allows: about 100 MB of memory, and far
/// more than anyone wants to skip one by one.
pub const MAX_LISTED: usize = 1_000_000;

/// Who numbered a transaction: transactions with one origin form one sequence. `None` sorts first: untagged comes first.
type Origin = (Uuid, Option<Tag>);

/// A set of MySQL GTIDs, such as `@@gtid_executed`.
///
/// The representation is canonical (no empty origin, merged intervals), so `==` is equality of sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GtidSet {
    origins: BTreeMap<Origin, Intervals>,
}

impl GtidSet {
    /// The set without transactions; it prints as the empty string.
    pub const fn new() -> Self {
        Self { origins: BTreeMap::new() }
    }

    /// Reads the text form. The empty string is the empty set.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }

    fn from_pairs(pairs: BTreeMap<Origin, Vec<(u64, u64)>>) -> Self {
        let origins = pairs.into_iter().map(|(origin, pairs)| (origin, Intervals::from_unsorted(pairs)));
        Self { origins: origins.filter(|(_, intervals)| !intervals.is_empty()).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// How many transactions are in the set, at most `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.origins.values().fold(0, |sum, intervals| sum.saturating_add(intervals.count()))
    }

    /// Transactions in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut origins = self.origins.clone();
        for (origin, theirs) in &other.origins {
            match origins.entry(origin.clone()) {
                Entry::Vacant(slot) => {
                    slot.insert(theirs.clone());
                }
                Entry::Occupied(mut slot) => {
                    let both = slot.get().union(theirs);
                    slot.insert(both);
                }
            }
        }
        Self { origins }
    }

    /// Transactions here that are not in `other`: `GTID_SUBTRACT(self, other)`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        self.map_origins(|origin, ours| match other.origins.get(origin) {
            Some(theirs) => ours.subtract(theirs),
            None => ours.clone(),
        })
    }

    /// Transactions in both sets.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.map_origins(|origin, ours| {
            other.origins.get(origin).map(|theirs| ours.intersect(theirs)).unwrap_or_default()
        })
    }

    fn map_origins(&self, change: impl Fn(&Origin, &Intervals) -> Intervals) -> Self {
        let changed = self.origins.iter().map(|(origin, ours)| (origin.clone(), change(origin, ours)));
        Self { origins: changed.filter(|(_, intervals)| !intervals.is_empty()).collect() }
    }

    /// Every transaction of `other` is here: `GTID_SUBSET(other, self)`.
    pub fn contains(&self, other: &Self) -> bool {
        other.origins.iter().all(|(origin, theirs)| self.origins.get(origin).is_some_and(|ours| ours.contains(theirs)))
    }

    /// The transaction is here.
    pub fn contains_gtid(&self, gtid: &Gtid) -> bool {
        let origin = (gtid.uuid, gtid.tag.clone());
        self.origins.get(&origin).is_some_and(|ours| ours.contains_number(gtid.number))
    }

    /// How the two sets relate. Sets are only partly ordered, hence [`Relation::Diverged`] and no `PartialOrd`.
    pub fn compare(&self, other: &Self) -> Relation {
        Relation::from_containment(self.contains(other), other.contains(self))
    }

    /// The UUIDs that occur, in order, each once.
    pub fn uuids(&self) -> impl Iterator<Item = Uuid> {
        let mut previous = None;
        self.origins.keys().filter_map(move |(uuid, _)| (previous.replace(*uuid) != Some(*uuid)).then_some(*uuid))
    }

    /// UUIDs that occur in both sets, in order.
    pub fn shared_uuids(&self, other: &Self) -> Vec<Uuid> {
        self.uuids().filter(|uuid| other.has_uuid(*uuid)).collect()
    }

    fn has_uuid(&self, uuid: Uuid) -> bool {
        self.origins.range((uuid, None)..).next().is_some_and(|(origin, _)| origin.0 == uuid)
    }

    /// Only the transactions whose UUID `keep` accepts, whatever their tag.
    #[must_use]
    pub fn retain_uuids(&self, keep: impl Fn(Uuid) -> bool) -> Self {
        let kept = self.origins.iter().filter(|(origin, _)| keep(origin.0));
        Self { origins: kept.map(|(origin, ours)| (origin.clone(), ours.clone())).collect() }
    }

    /// All transactions but those of `uuid`, whatever their tag.
    #[must_use]
    pub fn without_uuid(&self, uuid: Uuid) -> Self {
        self.retain_uuids(|candidate| candidate != uuid)
    }

    /// The intervals in printed order. There are no more of them than the text had, however many transactions they hold.
    pub fn intervals(&self) -> impl Iterator<Item = Interval<'_>> {
        self.origins.iter().flat_map(|((uuid, tag), intervals)| {
            let pairs = intervals.pairs().iter();
            pairs.map(move |&(first, last)| Interval { uuid: *uuid, tag: tag.as_ref(), first, last })
        })
    }

    /// Every single transaction, in printed order; `None` if there are more than `limit` or [`MAX_LISTED`], because one
    /// short text may name 2^63 of them.
    pub fn transactions(&self, limit: usize) -> Option<Vec<Gtid>> {
        let count = usize::try_from(self.count()).ok().filter(|count| *count <= limit.min(MAX_LISTED))?;
        let mut all = Vec::with_capacity(count);
        for interval in self.intervals() {
            let gtid = |number| Gtid { uuid: interval.uuid, tag: interval.tag.cloned(), number };
            all.extend((interval.first..=interval.last).map(gtid));
        }
        Some(all)
    }

    /// The transaction after the last one in printed order, as the original orchestrator's `skip-query` takes it. It is a
    /// guess about what a stopped applier wants next: with several origins, prefer the GTID in the applier's error.
    pub fn next_gtid(&self) -> Option<Gtid> {
        let ((uuid, tag), intervals) = self.origins.last_key_value()?;
        let number = intervals.last().filter(|last| *last < MAX_TRANSACTION)? + 1;
        Some(Gtid { uuid: *uuid, tag: tag.clone(), number })
    }

    /// The text as servers print it: a line end after the comma between UUIDs. [`fmt::Display`] leaves the line ends out.
    pub fn to_server_text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut text, ",\n");
        text
    }

    fn write_text(&self, out: &mut impl fmt::Write, between_uuids: &str) -> fmt::Result {
        let mut previous = None;
        for ((uuid, tag), intervals) in &self.origins {
            if previous != Some(*uuid) {
                if previous.is_some() {
                    out.write_str(between_uuids)?;
                }
                write!(out, "{uuid}")?;
                previous = Some(*uuid);
            }
            if let Some(tag) = tag {
                write!(out, ":{tag}")?;
            }
            for (first, last) in intervals.pairs() {
                write!(out, ":{first}")?;
                if last != first {
                    write!(out, "-{last}")?;
                }
            }
        }
        Ok(())
    }
}

/// One run of consecutive transactions of one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval<'a> {
    pub uuid: Uuid,
    pub tag: Option<&'a Tag>,
    pub first: u64,
    /// Inclusive; equal to `first` for a single transaction.
    pub last: u64,
}

/// One line, without spaces: fit for logs, JSON and as an argument of the server's functions.
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_text(f, ",")
    }
}

impl std::str::FromStr for GtidSet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for GtidSet {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<GtidSet> for String {
    fn from(set: GtidSet) -> Self {
        set.to_string()
    }
}

/// The set of one transaction.
impl From<Gtid> for GtidSet {
    fn from(gtid: Gtid) -> Self {
        Self::from_pairs(BTreeMap::from([((gtid.uuid, gtid.tag), vec![(gtid.number, gtid.number)])]))
    }
}

#[cfg(test)]
mod tests;
