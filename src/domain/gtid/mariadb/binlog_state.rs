//! `@@gtid_binlog_state`: the last sequence number of each server in each domain
//! (<https://mariadb.com/kb/en/gtid/#gtid_binlog_state>).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Gtid, parse_list, write_list};
use crate::gtid::Relation;
use crate::gtid::error::{ParseError, Problem};

/// What a server's binary log holds: per domain and server, everything up to one sequence number.
///
/// Numbers of one server in one domain only grow, so unlike a position this is a set of transactions, and its algebra is
/// plain set algebra. It forgets at `RESET MASTER`, and it says nothing about transactions applied with
/// `log_slave_updates=OFF`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BinlogState {
    /// (domain, server) -> last sequence number, never 0.
    last: BTreeMap<(u32, u32), u64>,
}

impl BinlogState {
    pub const fn new() -> Self {
        Self { last: BTreeMap::new() }
    }

    /// Reads `domain-server-sequence[,...]`, each pair of domain and server at most once.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut last = BTreeMap::new();
        parse_list("MariaDB binlog state", text, |gtid| match last.entry((gtid.domain, gtid.server)) {
            Entry::Vacant(slot) => {
                slot.insert(gtid.sequence);
                Ok(())
            }
            Entry::Occupied(_) => Err(Problem::DuplicateOrigin),
        })?;
        last.retain(|_, sequence| *sequence > 0);
        Ok(Self { last })
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// The entries, ordered by domain, then server. (Servers print the latest entry of a domain last.)
    pub fn gtids(&self) -> impl Iterator<Item = Gtid> {
        self.last.iter().map(|(&(domain, server), &sequence)| Gtid { domain, server, sequence })
    }

    /// The transaction is in the log, or was before it was purged.
    pub fn contains_gtid(&self, gtid: &Gtid) -> bool {
        self.last.get(&(gtid.domain, gtid.server)).is_some_and(|last| *last >= gtid.sequence)
    }

    pub fn contains(&self, other: &Self) -> bool {
        other.gtids().all(|gtid| self.contains_gtid(&gtid))
    }

    pub fn compare(&self, other: &Self) -> Relation {
        Relation::from_containment(self.contains(other), other.contains(self))
    }

    /// The larger number of each pair of domain and server.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut last = self.last.clone();
        for (origin, &theirs) in &other.last {
            let ours = last.entry(*origin).or_insert(theirs);
            *ours = theirs.max(*ours);
        }
        Self { last }
    }

    /// The entries in which we are ahead of `other`, with our numbers.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        self.retain(|gtid| !other.contains_gtid(gtid))
    }

    /// The entries that `keep` accepts.
    #[must_use]
    pub fn retain(&self, keep: impl Fn(&Gtid) -> bool) -> Self {
        let kept = self.gtids().filter(|gtid| keep(gtid));
        Self { last: kept.map(|gtid| ((gtid.domain, gtid.server), gtid.sequence)).collect() }
    }
}

/// What a replica wrote itself and its source has not: the counterpart of [`crate::gtid::mysql::errant`].
///
/// `own` and `upstream` are the binlog states of the replica and of its source. Only entries of the replica's own server id
/// can be errant: everything else came down the chain, or is ahead merely because the source was read earlier. Empty when
/// either state is empty.
///
/// Limits: server ids are not unique over time (a server that took over an id inherits its innocence or guilt); a replica
/// that was the primary looks errant against a source that ran `RESET MASTER` or has `log_slave_updates=OFF`; and both of
/// two co-primaries may write, so do not ask for them.
pub fn errant(own: &BinlogState, upstream: &BinlogState, own_server: u32) -> BinlogState {
    if own.is_empty() || upstream.is_empty() {
        return BinlogState::new();
    }
    own.retain(|gtid| gtid.server == own_server).subtract(upstream)
}

impl fmt::Display for BinlogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.gtids())
    }
}

impl std::str::FromStr for BinlogState {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for BinlogState {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<BinlogState> for String {
    fn from(state: BinlogState) -> Self {
        state.to_string()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn state(text: &str) -> BinlogState {
        text.parse().unwrap()
    }

    #[test]
    fn reads_and_prints() {
        assert_eq!(state("1-1-5,\n0-2-7,0-1-9").to_string(), "0-1-9,0-2-7,1-1-5");
        assert_eq!(state("0-1-0").to_string(), "");
        let json = serde_json::to_string(&state("0-1-9")).unwrap();
        assert_eq!(json, "\"0-1-9\"");
        assert_eq!(serde_json::from_str::<BinlogState>(&json).unwrap(), state("0-1-9"));
        let error = "0-1-9,0-1-10".parse::<BinlogState>().unwrap_err();
        assert_eq!((error.problem, error.at), (Problem::DuplicateOrigin, 6));
    }

    #[rstest]
    #[case("0-1-9,0-2-7", "0-1-9", Relation::Ahead)]
    #[case("0-1-9", "0-2-9", Relation::Diverged)]
    #[case("0-1-9", "0-1-9", Relation::Equal)]
    fn compares_as_sets(#[case] a: &str, #[case] b: &str, #[case] want: Relation) {
        assert_eq!(state(a).compare(&state(b)), want);
        assert_eq!(state(b).compare(&state(a)), want.reverse());
        let both = state(a).union(&state(b));
        assert!(both.contains(&state(a)) && both.contains(&state(b)));
    }

    #[rstest]
    #[case("0-1-100,0-2-5", "0-1-99", "0-2-5")]
    #[case("0-1-100,0-2-5", "0-1-110,0-2-5", "")]
    #[case("0-1-100,0-2-5", "0-1-110,0-2-4", "0-2-5")]
    #[case("0-1-100,0-3-7", "0-1-99", "")]
    #[case("0-2-5", "", "")]
    #[case("", "0-1-5", "")]
    fn own_writes_that_the_source_lacks_are_errant(#[case] own: &str, #[case] upstream: &str, #[case] want: &str) {
        assert_eq!(errant(&state(own), &state(upstream), 2), state(want));
    }
}
