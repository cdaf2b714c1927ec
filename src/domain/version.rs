//! What kind of server this is, and what it therefore knows.
//!
//! Versions are compared as numbers within a flavor, never as text ("10.11" is older than "8.0" only as text). What a
//! server knows is a row in one table, [`Fact::spans`]; other code asks for the fact by name and never compares versions
//! itself. How a fact is spelled in SQL is the business of the dialects, not of this module.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who built the server. The words are those of `FlavorName` in the API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Flavor {
    #[serde(rename = "MySQL")]
    MySql,
    #[serde(rename = "MariaDB")]
    MariaDb,
    Percona,
    MaxScale,
    #[default]
    #[serde(rename = "unknown")]
    Unknown,
}

impl Flavor {
    pub const fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
            Self::Percona => "Percona",
            Self::MaxScale => "MaxScale",
            Self::Unknown => "unknown",
        }
    }

    /// MySQL itself and what is built from its source: same versions, same statements, same GTIDs.
    pub const fn is_mysql_family(self) -> bool {
        matches!(self, Self::MySql | Self::Percona)
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A server's version, read once from `@@version` and `@@version_comment`.
///
/// Any text gives a value: one that names no version is `unknown 0.0.0`, which knows nothing and is not supported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
    pub flavor: Flavor,
    /// `@@version` as the server wrote it.
    pub text: String,
}

/// Why we do not work with a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    #[error("the version text names no version we understand")]
    Unreadable,
    #[error("{flavor} {version} is older than {oldest}, the oldest supported version")]
    TooOld { flavor: Flavor, version: String, oldest: &'static str },
    #[error("{flavor} {version} is newer than {newest}, the newest supported version")]
    TooNew { flavor: Flavor, version: String, newest: &'static str },
    #[error("{flavor} {version} belongs to no supported release series")]
    NoSuchSeries { flavor: Flavor, version: String },
    #[error("{flavor} is a proxy and not a server of its own")]
    Proxy { flavor: Flavor },
}

type Number = (u32, u32, u32);

/// Prefix that MariaDB 10 put before its version in the handshake, so that MySQL 5.5 replicas would accept it
/// (<https://mariadb.com/kb/en/version/>); proxies and some clients show it.
const MARIADB_HANDSHAKE_PREFIX: &str = "5.5.5-";

impl ServerVersion {
    /// Reads `@@version` and `@@version_comment`.
    pub fn parse(version: &str, comment: &str) -> Self {
        let flavor = flavor_of(version, comment);
        let number = match version.trim().strip_prefix(MARIADB_HANDSHAKE_PREFIX) {
            Some(rest) if flavor == Flavor::MariaDb => parse_number(rest),
            _ => parse_number(version.trim()),
        };
        let text = version.to_owned();
        match number {
            Some((major, minor, patch)) => Self { major, minor, patch, flavor, text },
            // A word without a number still tells a flavor ("maxscale"), but a bare text tells nothing.
            None if flavor == Flavor::MySql => Self { text, ..Self::default() },
            None => Self { flavor, text, ..Self::default() },
        }
    }

    fn number(&self) -> Number {
        (self.major, self.minor, self.patch)
    }

    /// This version or a later one, by number alone: meaningful only within a flavor.
    pub fn at_least(&self, major: u32, minor: u32, patch: u32) -> bool {
        self.number() >= (major, minor, patch)
    }

    /// The release series, such as `8.0`; replication from a newer series to an older one is not supported by servers.
    pub fn major_version(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// Flavor and series, such as `MySQL-8.0`.
    pub fn flavor_and_major(&self) -> String {
        format!("{}-{}", self.flavor, self.major_version())
    }

    /// Of an older release series, by number alone.
    pub fn is_smaller_major_than(&self, other: &Self) -> bool {
        (self.major, self.minor) < (other.major, other.minor)
    }

    /// MySQL NDB Cluster, whose versions look like `8.0.35-ndb-8.0.35`.
    pub fn is_ndb(&self) -> bool {
        self.text.to_ascii_lowercase().contains("-ndb-")
    }

    /// `Ok` if we promise to work with this server: MySQL and Percona Server 5.7, 8.0 and later; MariaDB 10.5 to 12.x.
    pub fn support(&self) -> Result<(), Unsupported> {
        let flavor = self.flavor;
        let version = || format!("{}.{}.{}", self.major, self.minor, self.patch);
        match flavor {
            Flavor::Unknown => Err(Unsupported::Unreadable),
            Flavor::MaxScale => Err(Unsupported::Proxy { flavor }),
            Flavor::MySql | Flavor::Percona | Flavor::MariaDb if self.number() == (0, 0, 0) => {
                Err(Unsupported::Unreadable)
            }
            Flavor::MySql | Flavor::Percona => match (self.major, self.minor) {
                (0..5, _) | (5, 0..7) => Err(Unsupported::TooOld { flavor, version: version(), oldest: "5.7" }),
                (5, 7) | (8.., _) => Ok(()),
                // After 5.7 came 8.0.
                (5..8, _) => Err(Unsupported::NoSuchSeries { flavor, version: version() }),
            },
            Flavor::MariaDb => match (self.major, self.minor) {
                (0..10, _) | (10, 0..5) => Err(Unsupported::TooOld { flavor, version: version(), oldest: "10.5" }),
                (10..=12, _) => Ok(()),
                (13.., _) => Err(Unsupported::TooNew { flavor, version: version(), newest: "12.x" }),
            },
        }
    }

    pub fn is_supported(&self) -> bool {
        self.support().is_ok()
    }

    /// The server knows, has or does what the fact says.
    pub fn has(&self, fact: Fact) -> bool {
        let (mysql, mariadb) = fact.spans();
        match self.flavor {
            Flavor::MySql | Flavor::Percona => mysql.covers(self.number()),
            Flavor::MariaDb => mariadb.covers(self.number()),
            // MaxScale speaks the old words and has no GTIDs, replicas or tables of its own.
            Flavor::MaxScale => matches!(fact, Fact::LegacyWords),
            Flavor::Unknown => false,
        }
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A server can hold our own schema: MySQL and Percona Server 8.0 and later, MariaDB 10.6 and later. Older ones lack
/// `SKIP LOCKED`, without which the queue does not work.
pub fn is_supported_backend(version: &ServerVersion) -> bool {
    match version.flavor {
        Flavor::MySql | Flavor::Percona => version.at_least(8, 0, 0),
        Flavor::MariaDb => version.at_least(10, 6, 0),
        Flavor::MaxScale | Flavor::Unknown => false,
    }
}

fn flavor_of(version: &str, comment: &str) -> Flavor {
    let (version, comment) = (version.to_ascii_lowercase(), comment.to_ascii_lowercase());
    let either = |word: &str| version.contains(word) || comment.contains(word);
    // MaxScale comes first: it may pass on the text of the MariaDB server behind it, its own name added.
    if version.contains("maxscale") {
        Flavor::MaxScale
    } else if either("mariadb") {
        Flavor::MariaDb
    } else if either("percona") {
        Flavor::Percona
    } else {
        Flavor::MySql
    }
}

/// `major.minor[.patch]` at the start of the text. A patch that is no number counts as 0 (`8.0.mysql_aurora.3.04.0`), a
/// major or minor that is none, or any that does not fit, is no version.
fn parse_number(text: &str) -> Option<Number> {
    let mut parts = text.splitn(3, '.');
    let major = parts.next()?.parse::<u32>().ok()?;
    let minor = leading_number(parts.next()?)??;
    let patch = match parts.next().and_then(leading_number) {
        Some(patch) => patch?,
        None => 0,
    };
    Some((major, minor, patch))
}

/// Outer `None`: no digits at the start. Inner `None`: a number too large to be a version.
#[expect(clippy::option_option, reason = "private, and both absences are told apart by its only caller")]
fn leading_number(text: &str) -> Option<Option<u32>> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    (digits > 0).then(|| text[..digits].parse().ok())
}

/// The versions that have something: from `since` up to but without `until`.
#[derive(Debug, Clone, Copy)]
struct Span {
    since: Number,
    until: Number,
}

impl Span {
    const NEVER: Self = Self { since: (0, 0, 0), until: (0, 0, 0) };
    const ALWAYS: Self = Self::since(0, 0, 0);

    const fn since(major: u32, minor: u32, patch: u32) -> Self {
        Self { since: (major, minor, patch), until: (u32::MAX, u32::MAX, u32::MAX) }
    }

    const fn before(major: u32, minor: u32, patch: u32) -> Self {
        Self { since: (0, 0, 0), until: (major, minor, patch) }
    }

    fn covers(self, number: Number) -> bool {
        self.since <= number && number < self.until
    }
}

/// Something that servers of some versions know, have or do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// `SHOW REPLICA STATUS`, `START | STOP | RESET REPLICA`.
    ReplicaWords,
    /// `SHOW REPLICAS`. (MariaDB's word is `SHOW REPLICA HOSTS`.)
    ShowReplicas,
    /// `CHANGE REPLICATION SOURCE TO`, `SOURCE_HOST` and the other parameters of its family.
    SourceWords,
    /// `SLAVE` and `MASTER` in statements.
    LegacyWords,
    /// `SHOW BINARY LOG STATUS`, `RESET BINARY LOGS AND GTIDS`.
    BinaryLogStatus,
    /// MariaDB's `SHOW BINLOG STATUS`.
    BinlogStatus,
    /// `source_pos_wait()`.
    SourcePosWait,
    /// `@@log_replica_updates`, `@@sql_replica_skip_counter` and the other variables renamed with them.
    ReplicaVariables,
    /// The semi-sync plugins with `source` and `replica` in their names exist; older ones may be installed all the same.
    SourceSemiSyncPlugins,
    /// Semi-sync is part of the server, not a plugin.
    BuiltInSemiSync,
    /// `@@gtid_mode`, `@@server_uuid`, `@@gtid_executed`, `@@gtid_purged`, auto positioning.
    OracleGtid,
    /// GTIDs with tags.
    TaggedGtid,
    /// `@@gtid_slave_pos`, `@@gtid_binlog_pos`, `@@gtid_binlog_state`, `MASTER_USE_GTID`.
    MariaDbGtid,
    /// `performance_schema.processlist`.
    PerformanceSchemaProcesslist,
    /// `performance_schema.replication_group_members` with the role and version of members.
    ReplicationGroupMembers,
    /// `@@super_read_only`.
    SuperReadOnly,
    /// A privilege other than SUPER decides who writes past `read_only`, and SUPER does not contain it.
    ReadOnlyAdminApart,
    /// `@@master_info_repository` can be read; without it the repository is a table.
    MasterInfoRepository,
    /// `GET_SOURCE_PUBLIC_KEY` or `GET_MASTER_PUBLIC_KEY` in the change of source.
    GetSourcePublicKey,
    /// `MASTER_DEMOTE_TO_SLAVE` in the change of source: what the server wrote itself counts as replicated from then on.
    DemoteToReplica,
}

impl Fact {
    /// The table: the versions of MySQL and Percona Server, and those of MariaDB.
    ///
    /// Sources: the "Added in" and "Removed in" lists of the MySQL release notes and the manual pages of each statement
    /// (<https://dev.mysql.com/doc/refman/8.4/en/replication-statements.html>,
    /// <https://dev.mysql.com/doc/refman/8.4/en/added-deprecated-removed.html>), and the MariaDB knowledge base
    /// (<https://mariadb.com/kb/en/replication-commands/>).
    #[expect(clippy::match_same_arms, reason = "one row per fact; that two began together is chance")]
    const fn spans(self) -> (Span, Span) {
        match self {
            Self::ReplicaWords => (Span::since(8, 0, 22), Span::since(10, 5, 1)),
            Self::ShowReplicas => (Span::since(8, 0, 22), Span::NEVER),
            Self::SourceWords => (Span::since(8, 0, 23), Span::NEVER),
            Self::LegacyWords => (Span::before(8, 4, 0), Span::ALWAYS),
            Self::BinaryLogStatus => (Span::since(8, 2, 0), Span::NEVER),
            Self::BinlogStatus => (Span::NEVER, Span::since(10, 5, 2)),
            Self::SourcePosWait => (Span::since(8, 0, 26), Span::NEVER),
            Self::ReplicaVariables => (Span::since(8, 0, 26), Span::NEVER),
            Self::SourceSemiSyncPlugins => (Span::since(8, 0, 26), Span::NEVER),
            Self::BuiltInSemiSync => (Span::NEVER, Span::since(10, 3, 3)),
            Self::OracleGtid => (Span::since(5, 6, 5), Span::NEVER),
            Self::TaggedGtid => (Span::since(8, 3, 0), Span::NEVER),
            Self::MariaDbGtid => (Span::NEVER, Span::since(10, 0, 2)),
            // New installations of 5.7.39 and later have it too, upgraded ones do not: not to be relied on.
            Self::PerformanceSchemaProcesslist => (Span::since(8, 0, 22), Span::NEVER),
            Self::ReplicationGroupMembers => (Span::since(8, 0, 2), Span::NEVER),
            Self::SuperReadOnly => (Span::since(5, 7, 8), Span::NEVER),
            Self::ReadOnlyAdminApart => (Span::NEVER, Span::since(10, 11, 0)),
            Self::MasterInfoRepository => (Span::before(8, 3, 0), Span::NEVER),
            Self::GetSourcePublicKey => (Span::since(8, 0, 4), Span::NEVER),
            Self::DemoteToReplica => (Span::NEVER, Span::since(10, 10, 0)),
        }
    }
}

/// The facts by name.
impl ServerVersion {
    /// Knows `SHOW REPLICA STATUS` and `START`, `STOP`, `RESET REPLICA`.
    pub fn knows_replica_words(&self) -> bool {
        self.has(Fact::ReplicaWords)
    }

    /// Knows `CHANGE REPLICATION SOURCE TO`.
    pub fn knows_source_words(&self) -> bool {
        self.has(Fact::SourceWords)
    }

    /// Knows `SLAVE` and `MASTER` in statements.
    pub fn knows_legacy_words(&self) -> bool {
        self.has(Fact::LegacyWords)
    }

    /// Knows `SHOW BINARY LOG STATUS` and `RESET BINARY LOGS AND GTIDS`.
    pub fn knows_binary_log_status(&self) -> bool {
        self.has(Fact::BinaryLogStatus)
    }

    /// Knows `source_pos_wait()`.
    pub fn knows_source_pos_wait(&self) -> bool {
        self.has(Fact::SourcePosWait)
    }

    /// Has `@@log_replica_updates` and `@@sql_replica_skip_counter`.
    pub fn has_replica_variables(&self) -> bool {
        self.has(Fact::ReplicaVariables)
    }

    pub fn has_oracle_gtid(&self) -> bool {
        self.has(Fact::OracleGtid)
    }

    pub fn has_mariadb_gtid(&self) -> bool {
        self.has(Fact::MariaDbGtid)
    }

    pub fn has_tagged_gtid(&self) -> bool {
        self.has(Fact::TaggedGtid)
    }

    pub fn has_performance_schema_processlist(&self) -> bool {
        self.has(Fact::PerformanceSchemaProcesslist)
    }

    pub fn has_replication_group_members(&self) -> bool {
        self.has(Fact::ReplicationGroupMembers)
    }

    pub fn has_super_read_only(&self) -> bool {
        self.has(Fact::SuperReadOnly)
    }

    pub fn has_built_in_semi_sync(&self) -> bool {
        self.has(Fact::BuiltInSemiSync)
    }
}

#[cfg(test)]
mod tests;
