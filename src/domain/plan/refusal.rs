//! "No, because": a product feature, so each names its rule, the fact, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::instance::InstanceKey;

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule that forbids it.
    pub rule: Rule,
    /// The server it is about.
    pub instance: InstanceKey,
    /// The fact that decided, with names and values.
    pub reason: String,
    /// What the operator can do; never empty.
    pub remedy: String,
}

/// The rules. Stable words: scripts and tests match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    UnknownInstance,
    Unreachable,
    StaleFacts,
    NotAReplica,
    IsAReplica,
    Itself,
    Loop,
    OtherCluster,
    NotSiblings,
    NoGrandparent,
    GroupSecondary,
    BinaryLogOff,
    DoesNotRelay,
    LowerVersion,
    OtherFlavor,
    BinlogFormat,
    Filters,
    SameServerId,
    SameServerUuid,
    AnotherServer,
    Delayed,
    Downtimed,
    NotReplicating,
    Replicating,
    Lagging,
    NoSharedGtid,
    ErrantGtid,
    PurgedGtid,
    UnappliedRelayLog,
    ParallelApplier,
    SeveralChannels,
    Detached,
    NotDetached,
    AlreadySo,
    HasReplicas,
    CoPrimary,
    NotReadOnly,
    NoCredentials,
    NoErrantGtid,
    NoReplicationError,
    NoEquivalence,
    NoPlugin,
    ReplicaNeedsLog,
    BadArgument,
    PrimaryAlive,
    NotMostAdvanced,
    NoCandidate,
    /// A setting or somebody's word speaks against it.
    Forbidden,
    TooComplex,
    NotBuilt,
    WouldWriteTwice,
    TooMany,
    /// Somebody else acts on a server that it needs.
    UnderMaintenance,
}

impl Rule {
    /// The word, as serialised.
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl Refusal {
    /// A refusal about this server.
    pub fn new(rule: Rule, instance: &InstanceKey, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { rule, instance: instance.clone(), reason: reason.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}); {}", self.reason, self.rule.word(), self.remedy)
    }
}
