//! One managed server as we know it: its key, what it last said ([`ServerFacts`]), and when ([`Observation`]).

mod facts;
mod key;

use crate::promotion::PromotionRule;

pub use facts::{
    BinlogCoordinates, GroupFacts, GtidFacts, PluginNaming, ReplicaFacts, SemiSyncFacts, ServerFacts, SourceTls,
    ThreadState,
};
pub use key::{InstanceKey, KeyError, MAX_HOSTNAME_BYTES};

/// Microseconds since the Unix epoch on the database's clock: the only clock compared between processes.
pub type DbMicros = i64;

/// The dated answer to one probe. An unreachable server is an answer too.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The name we connected to.
    pub asked: InstanceKey,
    /// When the answer was complete, on the database's clock. The newest observation of a key wins.
    pub observed_at: DbMicros,
    /// How long the whole probe took.
    pub latency_micros: u64,
    /// What came back.
    pub answer: Answer,
}

/// What a probe brought back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The server told us everything asked.
    Facts {
        /// The name the server goes by (see `MySQLHostnameResolveMethod`); often the name asked.
        key: InstanceKey,
        /// What it said.
        facts: Box<ServerFacts>,
    },
    /// The server matched a discovery filter: it is not to be known.
    Filtered {
        /// Which filter, for the log.
        filter: String,
    },
    /// The server gave no usable answer.
    Failed(ProbeFailure),
}

/// Why a probe brought no facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFailure {
    /// What kind of failure: decides whether the server counts as alive.
    pub kind: FailureKind,
    /// What we tried and what came back, for people. Never contains a secret.
    pub message: String,
}

/// Kinds of failed probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The name could not be resolved.
    UnknownHost,
    /// The TCP connection was refused or reset before the handshake ended.
    Refused,
    /// No connection within the connect deadline.
    ConnectTimeout,
    /// Connected, but no complete answer within the read deadline.
    ReadTimeout,
    /// The connection broke in mid-answer.
    Broken,
    /// The server refused our login: it is alive.
    AccessDenied,
    /// The server has no free connection: it is alive.
    TooManyConnections,
    /// What answered does not speak the MySQL protocol, or a statement gave an answer we cannot read.
    Protocol,
    /// The server answered and is of a version we do not support: it is alive.
    UnsupportedVersion,
    /// The server answered and refused a statement we need (a missing privilege, say): it is alive.
    Statement,
    /// This process had no means to ask (no free file descriptor, port or memory): says nothing about the server, and
    /// is never recorded as its failure.
    Local,
}

impl FailureKind {
    /// True when the failure itself proves that a server process is up: such a server is never "dead".
    pub fn is_sign_of_life(self) -> bool {
        match self {
            Self::AccessDenied | Self::TooManyConnections | Self::UnsupportedVersion | Self::Statement => true,
            Self::UnknownHost
            | Self::Refused
            | Self::ConnectTimeout
            | Self::ReadTimeout
            | Self::Broken
            | Self::Protocol
            | Self::Local => false,
        }
    }

    /// The stable name kept in the backend and shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownHost => "unknown_host",
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ReadTimeout => "read_timeout",
            Self::Broken => "broken",
            Self::AccessDenied => "access_denied",
            Self::TooManyConnections => "too_many_connections",
            Self::Protocol => "protocol",
            Self::UnsupportedVersion => "unsupported_version",
            Self::Statement => "statement",
            Self::Local => "local",
        }
    }

    /// The kind of a stored name; `None` for no failure, and for one of a newer release.
    pub fn parse(name: &str) -> Option<Self> {
        const ALL: [FailureKind; 11] = [
            FailureKind::UnknownHost,
            FailureKind::Refused,
            FailureKind::ConnectTimeout,
            FailureKind::ReadTimeout,
            FailureKind::Broken,
            FailureKind::AccessDenied,
            FailureKind::TooManyConnections,
            FailureKind::Protocol,
            FailureKind::UnsupportedVersion,
            FailureKind::Statement,
            FailureKind::Local,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Where an instance stands in its topology; computed from all facts by [`crate::topology::derive`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// `host:port` of the (original) primary.
    pub cluster_name: String,
    /// Alias the servers of the cluster suggest.
    pub suggested_cluster_alias: String,
    /// Hops below the primary; 0 for the primary.
    pub replication_depth: u32,
    /// Two servers replicating from each other.
    pub is_co_primary: bool,
    /// Server UUIDs from the primary down to this server, comma separated (MySQL only).
    pub ancestry_uuid: String,
    /// Transactions this server has and its source has not.
    pub gtid_errant: String,
}

/// How the last checks of an instance went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckState {
    /// When a probe was last started and did not end at once.
    pub last_attempted_at: Option<DbMicros>,
    /// When a probe last ended, well or not.
    pub last_checked_at: Option<DbMicros>,
    /// When the server last gave facts.
    pub last_seen_at: Option<DbMicros>,
    /// The last check failed, but with a sign of life.
    pub partial_success: bool,
    /// Failed checks in a row.
    pub failures: u32,
    /// The first of the failed checks since the server last gave a sign of life; `None` while it gives them.
    pub silent_since: Option<DbMicros>,
    /// Kind of the last failure, if the last check failed.
    pub failure: Option<FailureKind>,
    /// The last failure, empty after a good check.
    pub last_error: String,
    /// How long the last complete read took.
    pub latency_micros: u64,
}

impl CheckState {
    /// The last check brought facts.
    pub fn is_valid(&self) -> bool {
        match (self.last_checked_at, self.last_seen_at) {
            (Some(checked), Some(seen)) => checked <= seen,
            _ => false,
        }
    }

    /// Whole seconds since the last check ended; `None` if there was none.
    pub fn seconds_since_checked(&self, now: DbMicros) -> Option<i64> {
        self.last_checked_at.map(|at| (now - at).max(0) / 1_000_000)
    }

    /// Whole seconds since the server last gave facts; `None` if it never did.
    pub fn seconds_since_seen(&self, now: DbMicros) -> Option<i64> {
        self.last_seen_at.map(|at| (now - at).max(0) / 1_000_000)
    }
}

/// A "do not act on this" declared by people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downtime {
    /// Who declared it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Begin, on the database's clock.
    pub begins_at: DbMicros,
    /// End, on the database's clock.
    pub ends_at: DbMicros,
}

/// One managed server with everything the backend knows about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Row id in the backend.
    pub id: u64,
    /// Its name.
    pub key: InstanceKey,
    /// Datacenter whose workers probe it; empty: all.
    pub lane: String,
    /// What it last said; defaults for a server that never answered.
    pub facts: ServerFacts,
    /// Where it stands.
    pub placement: Placement,
    /// How its checks go.
    pub check: CheckState,
    /// Active downtime, if any.
    pub downtime: Option<Downtime>,
    /// Registered or detected promotion rule.
    pub promotion_rule: PromotionRule,
    /// The virtual name replicas should use to reach it; empty if none.
    pub unresolved_hostname: String,
}
