//! A place in each replication domain: `gtid_slave_pos`, `gtid_binlog_pos`, `gtid_current_pos`, `Gtid_IO_Pos`.

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Gtid, parse_list, write_list};
use crate::gtid::Relation;
use crate::gtid::error::{ParseError, Problem};

/// The last transaction of each domain.
///
/// As long as servers do not write to one domain independently, a domain has one GTID, as in the server's variables. When
/// two positions name the *same* sequence number with *different* server ids, they name different transactions: their union
/// holds both ([`GtidPosition::conflicts`] lists such domains), neither contains the other, and so no comparison ever calls
/// one of them complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GtidPosition {
    domains: BTreeMap<u32, Head>,
}

/// The end of one domain. Invariant: `sequence >= 1`, `servers` is not empty; more than one server is a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Head {
    sequence: u64,
    servers: BTreeSet<u32>,
}

impl Head {
    fn contains(&self, other: &Self) -> bool {
        match self.sequence.cmp(&other.sequence) {
            Ordering::Greater => true,
            Ordering::Equal => self.servers.is_superset(&other.servers),
            Ordering::Less => false,
        }
    }

    /// The end of what both have. `None` if that cannot be named: same number, no common server.
    fn intersect(&self, other: &Self) -> Option<Self> {
        match self.sequence.cmp(&other.sequence) {
            Ordering::Greater => Some(other.clone()),
            Ordering::Less => Some(self.clone()),
            Ordering::Equal => {
                let servers: BTreeSet<u32> = self.servers.intersection(&other.servers).copied().collect();
                (!servers.is_empty()).then_some(Self { sequence: self.sequence, servers })
            }
        }
    }

    /// What is left when `other` is known: all servers if we are ahead, the servers it lacks on a tie.
    fn subtract(&self, other: &Self) -> Option<Self> {
        match self.sequence.cmp(&other.sequence) {
            Ordering::Greater => Some(self.clone()),
            Ordering::Less => None,
            Ordering::Equal => {
                let servers: BTreeSet<u32> = self.servers.difference(&other.servers).copied().collect();
                (!servers.is_empty()).then_some(Self { sequence: self.sequence, servers })
            }
        }
    }

    /// How many transactions of the domain we have beyond `other`; at least 1 if there is any difference in our favour.
    fn transactions_beyond(&self, other: &Self) -> u64 {
        match self.sequence.checked_sub(other.sequence) {
            Some(0) => u64::from(!self.servers.is_subset(&other.servers)),
            Some(ahead) => ahead,
            None => 0,
        }
    }
}

impl GtidPosition {
    /// Before the first transaction of every domain; it prints as the empty string.
    pub const fn new() -> Self {
        Self { domains: BTreeMap::new() }
    }

    /// Reads `domain-server-sequence[,...]`. The empty string is the empty position; sequence number 0 means "nothing yet"
    /// and is left out. A domain may be repeated only with the same sequence number, which is how a conflict is printed;
    /// anything else is not a position but, most likely, a binlog state.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut position = Self::new();
        parse_list("MariaDB GTID position", text, |gtid| position.insert_parsed(gtid))?;
        Ok(position)
    }

    fn insert_parsed(&mut self, gtid: Gtid) -> Result<(), Problem> {
        if gtid.sequence == 0 {
            return Ok(());
        }
        match self.domains.entry(gtid.domain) {
            Entry::Vacant(slot) => {
                slot.insert(Head { sequence: gtid.sequence, servers: BTreeSet::from([gtid.server]) });
                Ok(())
            }
            Entry::Occupied(mut slot) if slot.get().sequence == gtid.sequence => {
                slot.get_mut().servers.insert(gtid.server);
                Ok(())
            }
            Entry::Occupied(_) => Err(Problem::DuplicateDomain),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The GTIDs, ordered by domain; one per domain unless there are conflicts.
    pub fn gtids(&self) -> impl Iterator<Item = Gtid> {
        self.domains.iter().flat_map(|(domain, head)| {
            head.servers.iter().map(|server| Gtid { domain: *domain, server: *server, sequence: head.sequence })
        })
    }

    /// The domains that occur, in order.
    pub fn domains(&self) -> impl Iterator<Item = u32> {
        self.domains.keys().copied()
    }

    /// Domains in which servers wrote independently: one sequence number stands for several transactions. Servers refuse
    /// such a text as `gtid_slave_pos`.
    pub fn conflicts(&self) -> Vec<u32> {
        self.domains.iter().filter(|(_, head)| head.servers.len() > 1).map(|(domain, _)| *domain).collect()
    }

    /// Not behind `other` in any domain.
    pub fn contains(&self, other: &Self) -> bool {
        other.domains.iter().all(|(domain, theirs)| self.domains.get(domain).is_some_and(|ours| ours.contains(theirs)))
    }

    pub fn compare(&self, other: &Self) -> Relation {
        Relation::from_containment(self.contains(other), other.contains(self))
    }

    /// The smallest position that contains both: the later place of each domain.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut domains = self.domains.clone();
        for (domain, theirs) in &other.domains {
            match domains.entry(*domain) {
                Entry::Vacant(slot) => {
                    slot.insert(theirs.clone());
                }
                Entry::Occupied(mut slot) => match slot.get().sequence.cmp(&theirs.sequence) {
                    Ordering::Greater => {}
                    Ordering::Equal => slot.get_mut().servers.extend(&theirs.servers),
                    Ordering::Less => {
                        slot.insert(theirs.clone());
                    }
                },
            }
        }
        Self { domains }
    }

    /// The earlier place of each domain that both have. A domain in which both name the same number with no common server
    /// is left out: what they share there has no name, and claiming less is the safe mistake.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let common = self.domains.iter().filter_map(|(domain, ours)| {
            let both = other.domains.get(domain).and_then(|theirs| ours.intersect(theirs))?;
            Some((*domain, both))
        });
        Self { domains: common.collect() }
    }

    /// The domains in which we are ahead of `other`, with our place in them. This is not the set of transactions between
    /// the two places, which a position cannot name; it is empty exactly if `other` contains us.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let ahead = self.domains.iter().filter_map(|(domain, ours)| {
            let rest = match other.domains.get(domain) {
                Some(theirs) => ours.subtract(theirs),
                None => Some(ours.clone()),
            };
            Some((*domain, rest?))
        });
        Self { domains: ahead.collect() }
    }

    /// How many transactions we are ahead of `other`, summed over domains, at most `u64::MAX`. Exact if numbers have no
    /// gaps; otherwise an upper bound. 0 exactly if `other` contains us.
    pub fn transactions_ahead_of(&self, other: &Self) -> u64 {
        let ahead = |(domain, ours): (&u32, &Head)| match other.domains.get(domain) {
            Some(theirs) => ours.transactions_beyond(theirs),
            None => ours.sequence,
        };
        self.domains.iter().map(ahead).fold(0, u64::saturating_add)
    }

    /// The place in the domains that `keep` accepts.
    #[must_use]
    pub fn retain_domains(&self, keep: impl Fn(u32) -> bool) -> Self {
        let kept = self.domains.iter().filter(|(domain, _)| keep(**domain));
        Self { domains: kept.map(|(domain, head)| (*domain, head.clone())).collect() }
    }
}

/// The domains in which `own` (`gtid_binlog_pos` or `gtid_current_pos` of a replica) is ahead of its source *and* ends
/// with a transaction that the replica wrote itself. Empty when either position is empty.
///
/// The poor substitute for [`super::errant`] when only positions are known: it sees a write of the replica's own only
/// while that is the last transaction of its domain, and it believes a stale `upstream`. Of two co-primaries both may
/// write, so the question makes no sense for them: do not ask it.
pub fn errant_position(own: &GtidPosition, upstream: &GtidPosition, own_server: u32) -> GtidPosition {
    if own.is_empty() || upstream.is_empty() {
        return GtidPosition::new();
    }
    let mut ahead = own.subtract(upstream);
    ahead.domains.retain(|_, head| head.servers.contains(&own_server));
    ahead
}

impl fmt::Display for GtidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.gtids())
    }
}

impl std::str::FromStr for GtidPosition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for GtidPosition {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<GtidPosition> for String {
    fn from(position: GtidPosition) -> Self {
        position.to_string()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn pos(text: &str) -> GtidPosition {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("", "")]
    #[case("0-1-100", "0-1-100")]
    #[case(" 1-2-3 ,\n0-1-100,", "0-1-100,1-2-3")]
    #[case("4294967295-4294967295-18446744073709551615", "4294967295-4294967295-18446744073709551615")]
    #[case("0-1-0", "")]
    #[case("0-2-5,0-1-5", "0-1-5,0-2-5")]
    fn reads_and_prints(#[case] text: &str, #[case] want: &str) {
        assert_eq!(pos(text).to_string(), want);
        let json = serde_json::to_string(&pos(text)).unwrap();
        assert_eq!(json, format!("\"{want}\""));
        assert_eq!(serde_json::from_str::<GtidPosition>(&json).unwrap(), pos(text));
    }

    #[rstest]
    #[case("0-1", Problem::Dash, 3)]
    #[case("0-1-", Problem::Number, 4)]
    #[case("0--1", Problem::Number, 2)]
    #[case("4294967296-1-1", Problem::IdRange, 0)]
    #[case("0-4294967296-1", Problem::IdRange, 2)]
    #[case("0-1-18446744073709551616", Problem::SequenceRange, 4)]
    #[case("0-1-5 1-1-5", Problem::Separator, 6)]
    #[case("0-1-5,0-2-7", Problem::DuplicateDomain, 6)]
    #[case("3e11fa47-71ca-11e1-9e33-c80aa9429562:1", Problem::Dash, 1)]
    fn refuses_with_the_place(#[case] text: &str, #[case] problem: Problem, #[case] at: usize) {
        let error = text.parse::<GtidPosition>().unwrap_err();
        assert_eq!((error.problem, error.at), (problem, at), "{error}");
    }

    #[rstest]
    #[case("0-1-100", "0-1-100", Relation::Equal)]
    #[case("0-2-101", "0-1-100", Relation::Ahead)]
    #[case("0-1-100,1-1-1", "0-1-100", Relation::Ahead)]
    #[case("0-1-100,1-1-1", "0-1-101", Relation::Diverged)]
    #[case("0-1-100", "0-2-100", Relation::Diverged)]
    #[case("", "0-1-1", Relation::Behind)]
    fn compares(#[case] a: &str, #[case] b: &str, #[case] want: Relation) {
        assert_eq!(pos(a).compare(&pos(b)), want);
        assert_eq!(pos(b).compare(&pos(a)), want.reverse());
    }

    #[test]
    fn the_same_number_of_two_servers_is_a_conflict_that_nothing_hides() {
        let (a, b) = (pos("0-1-100,1-1-5"), pos("0-2-100"));
        let both = a.union(&b);
        assert_eq!(both.to_string(), "0-1-100,0-2-100,1-1-5");
        assert_eq!(both.conflicts(), [0]);
        assert!(both.contains(&a) && both.contains(&b) && !a.contains(&b) && !b.contains(&a));
        assert_eq!(a.intersect(&b), pos(""));
        assert_eq!(a.subtract(&b), a);
        assert_eq!((a.transactions_ahead_of(&b), b.transactions_ahead_of(&a)), (6, 1));
        // A later transaction is read as the end of one common stream again.
        assert!(pos("0-1-101").contains(&both.retain_domains(|domain| domain == 0)));
    }

    #[test]
    fn arithmetic_is_per_domain() {
        let (a, b) = (pos("0-1-100,1-1-5,2-9-9"), pos("0-1-90,1-2-7"));
        assert_eq!(a.union(&b), pos("0-1-100,1-2-7,2-9-9"));
        assert_eq!(a.intersect(&b), pos("0-1-90,1-1-5"));
        assert_eq!(a.subtract(&b), pos("0-1-100,2-9-9"));
        assert_eq!(a.transactions_ahead_of(&b), 19);
        assert_eq!(a.domains().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(pos("0-1-18446744073709551615,1-1-9").transactions_ahead_of(&pos("")), u64::MAX);
    }

    #[rstest]
    #[case("0-2-11", "0-1-10", "0-2-11")]
    #[case("0-1-11", "0-1-10", "")]
    #[case("0-2-11", "0-2-11", "")]
    #[case("0-2-11", "0-2-12", "")]
    #[case("0-2-10", "0-1-10", "0-2-10")]
    #[case("0-1-10,7-2-1", "0-1-10", "7-2-1")]
    #[case("0-2-11", "", "")]
    fn own_last_writes_that_the_source_lacks_are_errant(#[case] own: &str, #[case] upstream: &str, #[case] want: &str) {
        assert_eq!(errant_position(&pos(own), &pos(upstream), 2), pos(want));
    }
}
