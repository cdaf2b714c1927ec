//! What an instance's state means: tables to be read from top to bottom, the first match is the answer.
//!
//! "Silent", "alive", "hears", "lost" are the words of [`super::Situation`] and [`super::Testimony`]; a rule that asks for
//! a death always asks for silence *and* for replicas that have lost the instance since.

use super::Reach;
use super::code::Code;
use super::situation::Situation;
use crate::instance::FailureKind;

pub(super) struct Rule {
    pub(super) code: Code,
    pub(super) when: fn(&Situation<'_>) -> bool,
}

/// For everything that is no member of a replication group.
pub(super) const RULES: &[Rule] = &[
    // A primary that is silent.
    Rule { code: Code::DeadMasterWithoutReplicas, when: |x| x.is_primary && x.is_silent() && !x.has_replicas() },
    Rule { code: Code::DeadMaster, when: |x| x.is_primary && x.is_silent() && x.all_lost_it() },
    Rule { code: Code::DeadMasterAndReplicas, when: |x| x.is_primary && x.is_silent() && x.all_unreachable() },
    Rule {
        code: Code::DeadMasterAndSomeReplicas,
        when: |x| x.is_primary && x.is_silent() && x.some_unreachable_others_lost_it(),
    },
    Rule {
        code: Code::UnreachableMasterWithLaggingReplicas,
        when: |x| x.is_primary && x.fails() && x.is_heard() && x.all_lag(),
    },
    Rule { code: Code::UnreachableMaster, when: |x| x.is_primary && x.is_silent() && x.may_be_heard() },
    // It refuses us, and a replica cannot connect either.
    Rule {
        code: Code::UnreachableMaster,
        when: |x| x.is_primary && x.fails() && x.is_heard() && x.counts.failing_to_connect > 0,
    },
    // A primary and its semi-synchronous replicas.
    Rule {
        code: Code::LockedSemiSyncMaster,
        when: |x| x.is_primary && x.waits_for_acknowledgements() && x.has_too_few_acknowledging() && x.stands_still(),
    },
    Rule {
        code: Code::LockedSemiSyncMasterHypothesis,
        when: |x| x.is_primary && x.waits_for_acknowledgements() && x.has_too_few_acknowledging(),
    },
    Rule {
        code: Code::MasterWithTooManySemiSyncReplicas,
        when: |x| {
            x.policy.enforce_exact_semi_sync
                && x.is_primary
                && x.waits_for_acknowledgements()
                && x.has_too_many_acknowledging()
        },
    },
    // A primary that is alive.
    Rule {
        code: Code::NoWriteableMasterStructureWarning,
        when: |x| {
            x.policy.recover_non_writeable
                && x.is_primary
                && x.answers()
                && x.instance.facts.read_only
                && x.counts.replicating > 0
        },
    },
    Rule {
        code: Code::MasterSingleReplicaNotReplicating,
        when: |x| x.is_primary && x.is_alive() && x.has_one_replica() && x.none_replicates(),
    },
    Rule {
        code: Code::MasterSingleReplicaDead,
        when: |x| x.is_primary && x.is_alive() && x.has_one_replica() && x.all_unreachable(),
    },
    Rule {
        code: Code::AllMasterReplicasNotReplicating,
        when: |x| x.is_primary && x.is_alive() && x.has_several_replicas() && x.none_replicates(),
    },
    Rule {
        code: Code::AllMasterReplicasNotReplicatingOrDead,
        when: |x| x.is_primary && x.is_alive() && x.has_several_replicas() && x.some_unreachable_none_replicates(),
    },
    // A co-primary.
    Rule { code: Code::DeadCoMaster, when: |x| x.is_co_primary && x.is_silent() && x.all_lost_it() },
    Rule {
        code: Code::DeadCoMasterAndSomeReplicas,
        when: |x| x.is_co_primary && x.is_silent() && x.some_unreachable_others_lost_it(),
    },
    // No code of its own: what it means and what can be done (nothing) is what it is for a primary.
    Rule { code: Code::DeadMasterAndReplicas, when: |x| x.is_co_primary && x.is_silent() && x.all_unreachable() },
    Rule { code: Code::UnreachableCoMaster, when: |x| x.is_co_primary && x.is_silent() && x.may_be_heard() },
    Rule {
        code: Code::AllCoMasterReplicasNotReplicating,
        when: |x| {
            x.is_co_primary
                && x.is_alive()
                && (x.none_replicates() || x.some_unreachable_none_replicates() || x.all_unreachable())
        },
    },
    // An intermediate source.
    Rule {
        code: Code::DeadIntermediateMasterWithSingleReplicaFailingToConnect,
        when: |x| {
            x.is_intermediate()
                && x.is_silent()
                && x.has_one_replica()
                && x.all_lost_it()
                && x.all_reachable_fail_to_connect()
        },
    },
    Rule {
        code: Code::DeadIntermediateMasterWithSingleReplica,
        when: |x| x.is_intermediate() && x.is_silent() && x.has_one_replica() && x.all_lost_it(),
    },
    Rule {
        code: Code::DeadIntermediateMaster,
        when: |x| x.is_intermediate() && x.is_silent() && x.has_several_replicas() && x.all_lost_it(),
    },
    Rule {
        code: Code::DeadIntermediateMasterAndSomeReplicas,
        when: |x| x.is_intermediate() && x.is_silent() && x.some_unreachable_others_lost_it(),
    },
    Rule {
        code: Code::DeadIntermediateMasterAndReplicas,
        when: |x| x.is_intermediate() && x.is_silent() && x.all_unreachable(),
    },
    Rule {
        code: Code::UnreachableIntermediateMasterWithLaggingReplicas,
        when: |x| x.is_intermediate() && x.fails() && x.is_heard() && x.all_lag(),
    },
    Rule {
        code: Code::UnreachableIntermediateMaster,
        when: |x| x.is_intermediate() && x.is_silent() && x.may_be_heard(),
    },
    Rule {
        code: Code::AllIntermediateMasterReplicasFailingToConnectOrDead,
        when: |x| x.is_intermediate() && x.answers() && x.has_several_replicas() && x.all_reachable_fail_to_connect(),
    },
    Rule {
        code: Code::AllIntermediateMasterReplicasNotReplicating,
        when: |x| x.is_intermediate() && x.is_alive() && (x.none_replicates() || x.some_unreachable_none_replicates()),
    },
    // A replica.
    Rule {
        code: Code::BinlogServerFailingToConnectToMaster,
        when: |x| x.instance.facts.is_binlog_server() && x.fails_to_connect,
    },
    Rule {
        code: Code::FirstTierReplicaFailingToConnectToMaster,
        when: |x| x.instance.placement.replication_depth == 1 && x.fails_to_connect,
    },
];

/// For members of a replication group, which elects its primary without us: only who replicates from a lost member
/// asynchronously needs help.
pub(super) const GROUP_RULES: &[Rule] = &[Rule {
    code: Code::DeadReplicationGroupMemberWithReplicas,
    when: |x| x.is_silent() && x.has_replicas() && !x.may_be_heard(),
}];

/// How the cluster is built: all that apply, in this order, whatever the tables above say.
pub(super) const STRUCTURE: &[Rule] = &[
    Rule {
        code: Code::NoLoggingReplicasStructureWarning,
        when: |x| x.is_primary && x.counts.logging == 0 && x.has_several_replicas(),
    },
    Rule {
        code: Code::NoFailoverSupportStructureWarning,
        when: |x| {
            x.is_primary
                && x.has_several_replicas()
                && x.counts.valid > 0
                && !x.has_gtid_topology()
                && !x.instance.facts.using_pseudo_gtid
        },
    },
    Rule {
        code: Code::StatementAndMixedLoggingReplicasStructureWarning,
        when: |x| x.is_primary && x.counts.logging_statement > 0 && x.counts.logging_mixed > 0,
    },
    Rule {
        code: Code::StatementAndRowLoggingReplicasStructureWarning,
        when: |x| x.is_primary && x.counts.logging_statement > 0 && x.counts.logging_row > 0,
    },
    Rule {
        code: Code::MixedAndRowLoggingReplicasStructureWarning,
        when: |x| x.is_primary && x.counts.logging_mixed > 0 && x.counts.logging_row > 0,
    },
    Rule {
        code: Code::MultipleMajorVersionsLoggingReplicasStructureWarning,
        when: |x| x.is_primary && x.counts.logging_major_versions > 1,
    },
    Rule { code: Code::DifferentGTIDModesStructureWarning, when: |x| x.counts.gtid_modes_differ },
    Rule { code: Code::ErrantGTIDStructureWarning, when: |x| !x.counts.max_gtid_errant.is_empty() },
    Rule { code: Code::NoWriteableMasterStructureWarning, when: |x| x.is_primary && x.instance.facts.read_only },
    Rule {
        code: Code::NotEnoughValidSemiSyncReplicasStructureWarning,
        when: |x| x.is_primary && x.fell_back_to_asynchronous() && x.has_too_few_acknowledging(),
    },
    // Alive, and why we know nothing more; or not known to be alive.
    Rule {
        code: Code::LoginRefusedStructureWarning,
        when: |x| x.has_replicas() && x.refusal() == Some(Refusal::Login),
    },
    Rule {
        code: Code::TooManyConnectionsStructureWarning,
        when: |x| x.has_replicas() && x.refusal() == Some(Refusal::Connections),
    },
    Rule {
        code: Code::ChecksRefusedStructureWarning,
        when: |x| x.has_replicas() && x.refusal() == Some(Refusal::Other),
    },
    Rule { code: Code::NotCheckedLatelyStructureWarning, when: |x| x.has_replicas() && x.reach == Reach::Unknown },
];

/// How a living server failed its last check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Login,
    Connections,
    Other,
}

impl Situation<'_> {
    fn refusal(&self) -> Option<Refusal> {
        if self.reach != Reach::Refuses {
            return None;
        }
        match self.instance.check.failure {
            Some(FailureKind::AccessDenied) => Some(Refusal::Login),
            Some(FailureKind::TooManyConnections) => Some(Refusal::Connections),
            Some(_) | None => Some(Refusal::Other),
        }
    }
}
