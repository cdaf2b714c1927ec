//! The closed list of what analysis can say, one row per code: its name (an interface: dashboards and hooks match on it),
//! what acts on it, which cluster filter allows that, and what it means.

/// What is done about a finding, once every gate agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    /// Another primary is promoted.
    DeadPrimary,
    /// The other co-primary, or one of the replicas, takes over.
    DeadCoPrimary,
    /// The replicas of the intermediate source move elsewhere.
    DeadIntermediate,
    /// The replicas of the group member move below another member.
    DeadGroupMember,
    /// The primary is made writable.
    NonWriteable,
    /// Semi-synchronous replicas are enabled or disabled.
    SemiSync,
    /// People are told: a detection is stored and its hooks run, nothing else.
    NotifyOnly,
    /// Nothing, not even a detection.
    Nothing,
}

/// Which list of cluster filters must name the cluster before a recovery acts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterKind {
    /// `RecoverMasterClusterFilters`.
    Primary,
    /// `RecoverIntermediateMasterClusterFilters`.
    Intermediate,
}

/// The text is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown analysis code {0:?}")]
pub struct UnknownCode(pub String);

struct Row {
    name: &'static str,
    handler: Handler,
    filter: Option<FilterKind>,
    urgent: Urgent,
    description: &'static str,
}

/// Whether the answer is worth more than the next slot of the probes.
#[derive(PartialEq)]
enum Urgent {
    Yes,
    No,
}

macro_rules! codes {
    ($($code:ident: $handler:ident, $filter:expr, $urgent:ident, $description:literal;)*) => {
        /// What analysis says about one instance. Variants have the names that the world knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $description] $code,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            fn row(self) -> Row {
                match self {
                    $(Self::$code => Row {
                        name: stringify!($code),
                        handler: Handler::$handler,
                        filter: $filter,
                        urgent: Urgent::$urgent,
                        description: $description,
                    },)*
                }
            }
        }
    };
}

const MASTERS: Option<FilterKind> = Some(FilterKind::Primary);
const INTERMEDIATES: Option<FilterKind> = Some(FilterKind::Intermediate);

codes! {
    // code: what acts, cluster filter, probe at once, meaning
    NoProblem: Nothing, None, No, "No problem found";

    DeadMasterWithoutReplicas: NotifyOnly, None, No, "Master cannot be reached by orchestrator and has no replica";
    DeadMaster: DeadPrimary, MASTERS, Yes,
        "Master cannot be reached by orchestrator and none of its replicas hears it any more";
    DeadMasterAndReplicas: NotifyOnly, None, Yes,
        "Master cannot be reached by orchestrator, and neither can any of its replicas";
    DeadMasterAndSomeReplicas: DeadPrimary, MASTERS, Yes,
        "Master cannot be reached by orchestrator; some of its replicas cannot be reached, and none of the others hears it any more";
    UnreachableMasterWithLaggingReplicas: NotifyOnly, None, Yes,
        "Master cannot be reached by orchestrator and all of its replicas lag";
    UnreachableMaster: NotifyOnly, None, Yes,
        "Master cannot be reached by orchestrator, but not all of its replicas are known to have lost it; perhaps only the network towards it is broken";
    LockedSemiSyncMasterHypothesis: Nothing, None, No,
        "Semi sync master seems to be locked: fewer replicas are connected than acknowledgements are waited for; more samples are needed";
    LockedSemiSyncMaster: SemiSync, MASTERS, No,
        "Semi sync master is locked: fewer replicas are connected than acknowledgements are waited for, and nothing is written";
    MasterWithTooManySemiSyncReplicas: SemiSync, MASTERS, No,
        "Semi sync master has more semi sync replicas than acknowledgements are waited for";
    MasterSingleReplicaNotReplicating: NotifyOnly, None, Yes, "Master is alive, but its only replica does not replicate";
    MasterSingleReplicaDead: NotifyOnly, None, No, "Master is alive, but its only replica cannot be reached";
    AllMasterReplicasNotReplicating: NotifyOnly, None, Yes, "Master is alive, but none of its replicas replicates";
    AllMasterReplicasNotReplicatingOrDead: NotifyOnly, None, Yes,
        "Master is alive, but some of its replicas cannot be reached and none of the others replicates";
    DeadCoMaster: DeadCoPrimary, MASTERS, Yes,
        "Co-master cannot be reached by orchestrator and none of its replicas hears it any more";
    DeadCoMasterAndSomeReplicas: DeadCoPrimary, MASTERS, Yes,
        "Co-master cannot be reached by orchestrator; some of its replicas cannot be reached, and none of the others hears it any more";
    UnreachableCoMaster: NotifyOnly, None, Yes,
        "Co-master cannot be reached by orchestrator, but not all of its replicas are known to have lost it; perhaps only the network towards it is broken";
    AllCoMasterReplicasNotReplicating: Nothing, None, Yes, "Co-master is alive, but none of its replicas replicates";
    DeadIntermediateMasterWithSingleReplicaFailingToConnect: DeadIntermediate, INTERMEDIATES, Yes,
        "Intermediate master cannot be reached by orchestrator and its only replica fails to connect to it";
    DeadIntermediateMasterWithSingleReplica: NotifyOnly, None, Yes,
        "Intermediate master cannot be reached by orchestrator and its only replica does not hear it, for a reason of its own";
    DeadIntermediateMaster: DeadIntermediate, INTERMEDIATES, Yes,
        "Intermediate master cannot be reached by orchestrator and none of its replicas hears it any more";
    DeadIntermediateMasterAndSomeReplicas: DeadIntermediate, INTERMEDIATES, Yes,
        "Intermediate master cannot be reached by orchestrator; some of its replicas cannot be reached, and none of the others hears it any more";
    DeadIntermediateMasterAndReplicas: NotifyOnly, None, No,
        "Intermediate master cannot be reached by orchestrator, and neither can any of its replicas";
    UnreachableIntermediateMasterWithLaggingReplicas: NotifyOnly, None, Yes,
        "Intermediate master cannot be reached by orchestrator and all of its replicas lag";
    UnreachableIntermediateMaster: NotifyOnly, None, Yes,
        "Intermediate master cannot be reached by orchestrator, but not all of its replicas are known to have lost it; perhaps only the network towards it is broken";
    AllIntermediateMasterReplicasFailingToConnectOrDead: DeadIntermediate, INTERMEDIATES, Yes,
        "Intermediate master is alive, but every replica that can be reached fails to connect to it";
    AllIntermediateMasterReplicasNotReplicating: NotifyOnly, None, No,
        "Intermediate master is alive, but none of its replicas replicates";
    BinlogServerFailingToConnectToMaster: Nothing, None, No, "Binlog server fails to connect to its master";
    FirstTierReplicaFailingToConnectToMaster: Nothing, None, Yes,
        "Replica directly below the topmost master fails to connect to it";
    DeadReplicationGroupMemberWithReplicas: DeadGroupMember, INTERMEDIATES, Yes,
        "Group replication member cannot be reached by orchestrator and none of its asynchronous replicas hears it any more";
    MasterWithoutReplicas: Nothing, None, No, "Master has no replicas (known to the vocabulary, never found)";

    // Warnings about how a cluster is built. Only the first ever acts, when it is found as the analysis itself.
    NoWriteableMasterStructureWarning: NonWriteable, MASTERS, No, "Master with replicas is read-only";
    NoLoggingReplicasStructureWarning: Nothing, None, No, "Master has replicas, but none of them writes what it applies to a binary log: none can be promoted";
    NoFailoverSupportStructureWarning: Nothing, None, No, "Master has replicas, but they cannot be moved below one another: there is no GTID, no Pseudo-GTID and no binlog server";
    StatementAndMixedLoggingReplicasStructureWarning: Nothing, None, No, "Some replicas log statements, others mixed";
    StatementAndRowLoggingReplicasStructureWarning: Nothing, None, No, "Some replicas log statements, others rows";
    MixedAndRowLoggingReplicasStructureWarning: Nothing, None, No, "Some replicas log mixed, others rows";
    MultipleMajorVersionsLoggingReplicasStructureWarning: Nothing, None, No, "Replicas that could be promoted are of several major versions";
    DifferentGTIDModesStructureWarning: Nothing, None, No, "Instances have different GTID modes";
    ErrantGTIDStructureWarning: Nothing, None, No, "A replica has transactions that its master has not";
    NotEnoughValidSemiSyncReplicasStructureWarning: Nothing, None, No, "Semi sync master has fallen back to asynchronous replication: too few semi sync replicas are connected";
    LoginRefusedStructureWarning: Nothing, None, No, "Instance is alive and refuses the login of orchestrator: nothing else is known about it";
    TooManyConnectionsStructureWarning: Nothing, None, No, "Instance is alive and has no free connection for orchestrator: nothing else is known about it";
    ChecksRefusedStructureWarning: Nothing, None, No, "Instance is alive and refuses what orchestrator asks, or is of a version that is not supported";
    NotCheckedLatelyStructureWarning: Nothing, None, No, "Instance was not checked lately: whether it is alive is unknown, and nothing will be done about it";
}

const STRUCTURE_SUFFIX: &str = "StructureWarning";

impl Code {
    /// The name, exactly as in the API, in hooks and in the backend.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The code of a name.
    pub fn parse(text: &str) -> Result<Self, UnknownCode> {
        let found = Self::ALL.iter().copied().find(|code| code.name() == text);
        found.ok_or_else(|| UnknownCode(text.chars().take(80).collect()))
    }

    /// What it means, in one sentence.
    pub fn description(self) -> &'static str {
        self.row().description
    }

    /// What acts on it.
    pub fn handler(self) -> Handler {
        self.row().handler
    }

    /// The cluster filters that must allow the acting; `None` where nothing acts.
    pub fn filter(self) -> Option<FilterKind> {
        self.row().filter
    }

    /// About how the cluster is built, and not about a failure.
    pub fn is_structure(self) -> bool {
        self.name().ends_with(STRUCTURE_SUFFIX)
    }

    /// Asks for urgent probes of the instance, of its replicas, and for `FirstTierReplicaFailingToConnectToMaster` of its
    /// source: fresh answers turn a suspicion into a death or into nothing.
    pub fn suspects_primary(self) -> bool {
        self.row().urgent == Urgent::Yes
    }

    /// Something beyond telling people may be done about it.
    pub fn is_actionable(self) -> bool {
        !matches!(self.handler(), Handler::NotifyOnly | Handler::Nothing)
    }

    /// The trouble is with the replicas: it is no news when all of them are known to be down.
    pub(super) fn is_about_replicas(self) -> bool {
        matches!(
            self,
            Self::AllMasterReplicasNotReplicating
                | Self::AllMasterReplicasNotReplicatingOrDead
                | Self::MasterSingleReplicaNotReplicating
                | Self::MasterSingleReplicaDead
                | Self::AllCoMasterReplicasNotReplicating
                | Self::DeadIntermediateMasterWithSingleReplica
                | Self::DeadIntermediateMasterWithSingleReplicaFailingToConnect
                | Self::DeadIntermediateMasterAndReplicas
                | Self::DeadIntermediateMasterAndSomeReplicas
                | Self::AllIntermediateMasterReplicasFailingToConnectOrDead
                | Self::AllIntermediateMasterReplicasNotReplicating
        )
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::parse(text)
    }
}
