//! The words of recoveries: kinds, phases, outcomes.

use domain::analysis::Handler;

/// What is recovered, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A dead primary, also when a person says that it is to count as dead.
    Primary,
    CoPrimary,
    /// A dead intermediate source.
    Intermediate,
    GroupMember,
    /// A primary that accepts no writes.
    NonWriteable,
    /// Semi-synchronous acknowledgement: too few or too many.
    SemiSync,
    /// Planned: the primary lives and hands over.
    Takeover,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Primary,
        Self::CoPrimary,
        Self::Intermediate,
        Self::GroupMember,
        Self::NonWriteable,
        Self::SemiSync,
        Self::Takeover,
    ];

    /// The recovery that answers such a finding, if there is one.
    pub const fn answering(handler: Handler) -> Option<Self> {
        match handler {
            Handler::DeadPrimary => Some(Self::Primary),
            Handler::DeadCoPrimary => Some(Self::CoPrimary),
            Handler::DeadIntermediate => Some(Self::Intermediate),
            Handler::DeadGroupMember => Some(Self::GroupMember),
            Handler::NonWriteable => Some(Self::NonWriteable),
            Handler::SemiSync => Some(Self::SemiSync),
            Handler::NotifyOnly | Handler::Nothing => None,
        }
    }

    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::CoPrimary => "co-primary",
            Self::Intermediate => "intermediate",
            Self::GroupMember => "group-member",
            Self::NonWriteable => "non-writeable",
            Self::SemiSync => "semi-sync",
            Self::Takeover => "takeover",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// `Type` of the record of the original.
    pub const fn legacy_type(self) -> &'static str {
        match self {
            Self::Primary | Self::Takeover => "MasterRecovery",
            Self::CoPrimary => "CoMasterRecovery",
            Self::Intermediate => "IntermediateMasterRecovery",
            Self::GroupMember => "ReplicationGroupMemberRecovery",
            Self::NonWriteable | Self::SemiSync => "",
        }
    }

    /// Whether its success means that another server is the primary now: only then does the successor count as recently
    /// promoted.
    pub const fn changes_primary(self) -> bool {
        match self {
            Self::Primary | Self::CoPrimary | Self::Takeover => true,
            Self::Intermediate | Self::GroupMember | Self::NonWriteable | Self::SemiSync => false,
        }
    }
}

/// How far a recovery came. In this order; a kind that has no use for a phase skips it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Registered,
    Fencing,
    Choosing,
    Promoting,
    Repointing,
    Publishing,
    Closed,
}

impl Phase {
    pub const ALL: [Self; 7] = [
        Self::Registered,
        Self::Fencing,
        Self::Choosing,
        Self::Promoting,
        Self::Repointing,
        Self::Publishing,
        Self::Closed,
    ];

    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Fencing => "fencing",
            Self::Choosing => "choosing",
            Self::Promoting => "promoting",
            Self::Repointing => "repointing",
            Self::Publishing => "publishing",
            Self::Closed => "closed",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

/// How a recovery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Recovered,
    /// Something was tried and did not work.
    Failed,
    /// Nothing was tried, for a reason that is told.
    Refused,
    /// The trouble was gone when it was looked at again.
    NoLongerNeeded,
    Cancelled,
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::Recovered, Self::Failed, Self::Refused, Self::NoLongerNeeded, Self::Cancelled];

    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::NoLongerNeeded => "no_longer_needed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// The next automatic recovery is held back for some time.
    pub const fn blocks(self) -> bool {
        match self {
            Self::Recovered | Self::Failed | Self::Refused => true,
            Self::NoLongerNeeded | Self::Cancelled => false,
        }
    }
}
