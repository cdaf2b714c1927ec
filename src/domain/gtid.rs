//! Global transaction identifiers: which transactions a server has, and how two servers compare.
//!
//! This algebra decides which replica may be promoted and what would be lost, so it is native (no server has to be alive to
//! answer), total (no input makes it panic) and checked against a naive model by property tests. Text comes in through
//! `parse`, once, at the edge; from there on values are compared, never texts.
//!
//! - [`mysql::GtidSet`]: true sets of `uuid[:tag]:number`, for MySQL and Percona Server.
//! - [`mariadb::GtidPosition`]: a place per replication domain, and [`mariadb::BinlogState`], for MariaDB.
//! - [`GtidSet`]: either, for decisions that are the same for both families.

mod cursor;
mod error;
mod intervals;
pub mod mariadb;
pub mod mysql;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use error::{ParseError, Problem};

/// How one set of transactions relates to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Both have the same transactions.
    Equal,
    /// The left one has all of the right one's, and more.
    Ahead,
    /// The right one has all of the left one's, and more.
    Behind,
    /// Each has transactions that the other lacks.
    Diverged,
}

impl Relation {
    fn from_containment(left_contains_right: bool, right_contains_left: bool) -> Self {
        match (left_contains_right, right_contains_left) {
            (true, true) => Self::Equal,
            (true, false) => Self::Ahead,
            (false, true) => Self::Behind,
            (false, false) => Self::Diverged,
        }
    }

    /// The relation seen from the other side.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Self::Ahead => Self::Behind,
            Self::Behind => Self::Ahead,
            Self::Equal | Self::Diverged => self,
        }
    }
}

/// The transactions of a server of either family.
///
/// Transactions of the two families are never the same transaction, so a non-empty set of one family neither contains nor
/// shares anything with one of the other; only their union has no representation. The empty set is the same set in both.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GtidSet {
    MySql(mysql::GtidSet),
    MariaDb(mariadb::GtidPosition),
}

/// A set of MySQL's and a position of MariaDB's cannot be united.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot unite a MySQL GTID set with a MariaDB GTID position")]
pub struct MixedFamilies;

impl GtidSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self::MySql(mysql::GtidSet::new())
    }

    /// Reads either form. They cannot be confused: only MySQL's has a colon, and each entry of it needs one.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.contains(':') || text.trim().is_empty() {
            mysql::GtidSet::parse(text).map(Self::MySql)
        } else {
            mariadb::GtidPosition::parse(text).map(Self::MariaDb)
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Self::MySql(set) => set.is_empty(),
            Self::MariaDb(position) => position.is_empty(),
        }
    }

    /// Every transaction of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MySql(a), Self::MySql(b)) => a.contains(b),
            (Self::MariaDb(a), Self::MariaDb(b)) => a.contains(b),
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => other.is_empty(),
        }
    }

    pub fn compare(&self, other: &Self) -> Relation {
        Relation::from_containment(self.contains(other), other.contains(self))
    }

    /// What either has.
    pub fn union(&self, other: &Self) -> Result<Self, MixedFamilies> {
        match (self, other) {
            (Self::MySql(a), Self::MySql(b)) => Ok(Self::MySql(a.union(b))),
            (Self::MariaDb(a), Self::MariaDb(b)) => Ok(Self::MariaDb(a.union(b))),
            (a, b) if a.is_empty() => Ok(b.clone()),
            (a, b) if b.is_empty() => Ok(a.clone()),
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => Err(MixedFamilies),
        }
    }

    /// What both have.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::MySql(a), Self::MySql(b)) => Self::MySql(a.intersect(b)),
            (Self::MariaDb(a), Self::MariaDb(b)) => Self::MariaDb(a.intersect(b)),
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => Self::new(),
        }
    }

    /// What we have and `other` lacks. For MariaDB: our place in the domains in which we are ahead. Empty exactly if
    /// `other` contains us.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::MySql(a), Self::MySql(b)) => Self::MySql(a.subtract(b)),
            (Self::MariaDb(a), Self::MariaDb(b)) => Self::MariaDb(a.subtract(b)),
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => self.clone(),
        }
    }

    /// How many transactions we have and `other` lacks, at most `u64::MAX`; for MariaDB an upper bound if sequence numbers
    /// have gaps. 0 exactly if `other` contains us.
    pub fn transactions_ahead_of(&self, other: &Self) -> u64 {
        match (self, other) {
            (Self::MySql(a), Self::MySql(b)) => a.subtract(b).count(),
            (Self::MariaDb(a), Self::MariaDb(b)) => a.transactions_ahead_of(b),
            (Self::MySql(a), Self::MariaDb(_)) => a.count(),
            (Self::MariaDb(a), Self::MySql(_)) => a.transactions_ahead_of(&mariadb::GtidPosition::new()),
        }
    }

    pub fn as_mysql(&self) -> Option<&mysql::GtidSet> {
        match self {
            Self::MySql(set) => Some(set),
            Self::MariaDb(_) => None,
        }
    }

    pub fn as_mariadb(&self) -> Option<&mariadb::GtidPosition> {
        match self {
            Self::MySql(_) => None,
            Self::MariaDb(position) => Some(position),
        }
    }
}

impl Default for GtidSet {
    fn default() -> Self {
        Self::new()
    }
}

/// Equality of sets: the empty set of MySQL equals the empty position of MariaDB, so that storing a value as text and
/// reading it back gives an equal value.
impl PartialEq for GtidSet {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MySql(a), Self::MySql(b)) => a == b,
            (Self::MariaDb(a), Self::MariaDb(b)) => a == b,
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => {
                self.is_empty() && other.is_empty()
            }
        }
    }
}

impl Eq for GtidSet {}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(f),
            Self::MariaDb(position) => position.fmt(f),
        }
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

impl From<mysql::GtidSet> for GtidSet {
    fn from(set: mysql::GtidSet) -> Self {
        Self::MySql(set)
    }
}

impl From<mariadb::GtidPosition> for GtidSet {
    fn from(position: mariadb::GtidPosition) -> Self {
        Self::MariaDb(position)
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod laws;

#[cfg(test)]
mod tests {
    use super::*;

    const MYSQL: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";

    fn set(text: &str) -> GtidSet {
        text.parse().unwrap()
    }

    #[test]
    fn the_form_tells_the_family() {
        assert!(set(MYSQL).as_mysql().is_some());
        assert!(set("0-1-5").as_mariadb().is_some());
        assert!(set(" \n").is_empty());
        assert_eq!("x".parse::<GtidSet>().unwrap_err().kind, "MariaDB GTID position");
        assert_eq!("x:1".parse::<GtidSet>().unwrap_err().kind, "MySQL GTID set");
    }

    #[test]
    fn families_share_nothing_but_the_empty_set() {
        let (a, b) = (set(MYSQL), set("0-1-5"));
        assert_eq!(a.compare(&b), Relation::Diverged);
        assert_eq!(a.union(&b), Err(MixedFamilies));
        assert_eq!((a.subtract(&b), b.subtract(&a)), (a.clone(), b.clone()));
        assert!(a.intersect(&b).is_empty());
        assert_eq!((a.transactions_ahead_of(&b), b.transactions_ahead_of(&a)), (5, 5));

        let nothing = GtidSet::from(mariadb::GtidPosition::new());
        assert_eq!(nothing, GtidSet::new());
        assert_eq!(a.compare(&nothing), Relation::Ahead);
        assert_eq!(a.union(&nothing).unwrap(), a);
        assert_eq!(GtidSet::new().union(&b).unwrap(), b);
        assert_eq!(nothing.compare(&GtidSet::new()), Relation::Equal);
    }

    #[test]
    fn is_stored_as_text() {
        for text in ["", MYSQL, "0-1-5,1-2-3"] {
            let json = serde_json::to_string(&set(text)).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<GtidSet>(&json).unwrap(), set(text));
        }
    }
}
