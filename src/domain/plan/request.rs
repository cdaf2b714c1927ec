//! What people ask for. A wire format: stored in jobs and plans; variants and fields are added, never renamed.

use serde::{Deserialize, Serialize};

use super::SemiSyncSide;
use crate::instance::InstanceKey;

/// One operation with its arguments. Names and meaning are those of the command words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum Request {
    /// Move a replica below another server, by whatever method fits.
    Relocate { instance: InstanceKey, below: InstanceKey },
    /// Move the replicas of `of` whose `host:port` matches `pattern` (empty: all) below another server.
    RelocateReplicas {
        of: InstanceKey,
        below: InstanceKey,
        #[serde(default)]
        pattern: String,
    },
    /// Make a replica a sibling of its source, by file and position.
    MoveUp { instance: InstanceKey },
    /// The same for the replicas of `of`.
    MoveUpReplicas {
        of: InstanceKey,
        #[serde(default)]
        pattern: String,
    },
    /// Move a replica below its sibling, by file and position.
    MoveBelow { instance: InstanceKey, below: InstanceKey },
    /// Move a replica by a recorded equivalence of positions.
    MoveEquivalent { instance: InstanceKey, below: InstanceKey },
    /// Move a replica by GTID.
    MoveGtid { instance: InstanceKey, below: InstanceKey },
    /// Move the replicas of `of` by GTID.
    MoveReplicasGtid {
        of: InstanceKey,
        below: InstanceKey,
        #[serde(default)]
        pattern: String,
    },
    /// Point a replica at another name without changing its position; `None`: at its present source again.
    Repoint {
        instance: InstanceKey,
        #[serde(default)]
        below: Option<InstanceKey>,
    },
    /// The same for the replicas of `of`; `None`: at `of` again.
    RepointReplicas {
        of: InstanceKey,
        #[serde(default)]
        below: Option<InstanceKey>,
        #[serde(default)]
        pattern: String,
    },
    /// Swap a replica with its source, which is a replica itself.
    TakeMaster { instance: InstanceKey },
    /// Move the siblings of a replica below it.
    TakeSiblings { instance: InstanceKey },
    /// Make the primary replicate from its replica, too.
    MakeCoMaster { instance: InstanceKey },
    /// Make a replica of an unreachable primary the source of its siblings and writable.
    MakeMaster { instance: InstanceKey },
    /// Make a replica the source of its siblings, and a replica of its source's source.
    MakeLocalMaster { instance: InstanceKey },
    /// Make the most advanced replica of a lost source the source of the others.
    RegroupReplicas {
        of: InstanceKey,
        #[serde(default)]
        gtid_only: bool,
    },
    /// Forget the source.
    ResetReplica { instance: InstanceKey },
    /// Make the source's name unusable, reversibly.
    DetachReplica { instance: InstanceKey },
    /// Undo that.
    ReattachReplica { instance: InstanceKey },
    /// Give a stopped replica the user and password that the operator's query tells.
    ChangeCredentials { instance: InstanceKey },
    /// Skip the transaction that broke replication.
    SkipQuery { instance: InstanceKey },
    /// Start both threads.
    StartReplica { instance: InstanceKey },
    /// Stop both threads.
    StopReplica { instance: InstanceKey },
    /// Stop both threads, start both threads.
    RestartReplica { instance: InstanceKey },
    /// Stop the receiver, wait until the applier has applied everything, stop it.
    StopReplicaNice { instance: InstanceKey },
    /// Start the receiver only.
    StartReplicaIo { instance: InstanceKey },
    /// Stop the receiver only.
    StopReplicaIo { instance: InstanceKey },
    /// Start the applier only.
    StartReplicaSql { instance: InstanceKey },
    /// Stop the applier only.
    StopReplicaSql { instance: InstanceKey },
    /// Set the delay of a replica.
    DelayReplication { instance: InstanceKey, seconds: u32 },
    /// Refuse writes.
    SetReadOnly { instance: InstanceKey },
    /// Accept writes.
    SetWriteable { instance: InstanceKey },
    /// Begin a new binary log; with `until`, as many as it takes to reach that file.
    FlushBinaryLogs {
        instance: InstanceKey,
        #[serde(default)]
        until: String,
    },
    /// Remove the binary logs before `until` (`latest`: before the current one).
    PurgeBinaryLogs {
        instance: InstanceKey,
        until: String,
        #[serde(default)]
        force: bool,
    },
    /// End a running statement.
    KillQuery { instance: InstanceKey, id: u64 },
    /// Make a replica use GTID.
    EnableGtid { instance: InstanceKey },
    /// Make a replica use file and position.
    DisableGtid { instance: InstanceKey },
    /// Remove errant GTIDs by resetting the binary logs.
    GtidErrantResetMaster { instance: InstanceKey },
    /// Make errant GTIDs harmless by empty transactions on the primary.
    GtidErrantInjectEmpty { instance: InstanceKey },
    /// Switch one side of semi-synchronous replication.
    SetSemiSync { instance: InstanceKey, side: SemiSyncSide, enabled: bool },
    /// Restart the receivers of the replicas that seem to hear a source which is silent to us, so that they connect anew.
    RestartReceivers { of: InstanceKey },
    /// Recover from the failure of a server, or take over from it: what its recovery, of this number, says.
    Recover { failed: InstanceKey, recovery: u64 },
}

impl Request {
    /// The command word; also the type of the audit entry.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Relocate { .. } => "relocate",
            Self::RelocateReplicas { .. } => "relocate-replicas",
            Self::MoveUp { .. } => "move-up",
            Self::MoveUpReplicas { .. } => "move-up-replicas",
            Self::MoveBelow { .. } => "move-below",
            Self::MoveEquivalent { .. } => "move-equivalent",
            Self::MoveGtid { .. } => "move-gtid",
            Self::MoveReplicasGtid { .. } => "move-replicas-gtid",
            Self::Repoint { .. } => "repoint",
            Self::RepointReplicas { .. } => "repoint-replicas",
            Self::TakeMaster { .. } => "take-master",
            Self::TakeSiblings { .. } => "take-siblings",
            Self::MakeCoMaster { .. } => "make-co-master",
            Self::MakeMaster { .. } => "make-master",
            Self::MakeLocalMaster { .. } => "make-local-master",
            Self::RegroupReplicas { gtid_only: false, .. } => "regroup-replicas",
            Self::RegroupReplicas { gtid_only: true, .. } => "regroup-replicas-gtid",
            Self::ResetReplica { .. } => "reset-replica",
            Self::DetachReplica { .. } => "detach-replica-master-host",
            Self::ReattachReplica { .. } => "reattach-replica-master-host",
            Self::ChangeCredentials { .. } => "change-master-credentials",
            Self::SkipQuery { .. } => "skip-query",
            Self::StartReplica { .. } => "start-replica",
            Self::StopReplica { .. } => "stop-replica",
            Self::RestartReplica { .. } => "restart-replica",
            Self::StopReplicaNice { .. } => "stop-replica-nice",
            Self::StartReplicaIo { .. } => "start-replica-io-thread",
            Self::StopReplicaIo { .. } => "stop-replica-io-thread",
            Self::StartReplicaSql { .. } => "start-replica-sql-thread",
            Self::StopReplicaSql { .. } => "stop-replica-sql-thread",
            Self::DelayReplication { .. } => "delay-replication",
            Self::SetReadOnly { .. } => "set-read-only",
            Self::SetWriteable { .. } => "set-writeable",
            Self::FlushBinaryLogs { .. } => "flush-binary-logs",
            Self::PurgeBinaryLogs { .. } => "purge-binary-logs",
            Self::KillQuery { .. } => "kill-query",
            Self::EnableGtid { .. } => "enable-gtid",
            Self::DisableGtid { .. } => "disable-gtid",
            Self::GtidErrantResetMaster { .. } => "gtid-errant-reset-master",
            Self::GtidErrantInjectEmpty { .. } => "gtid-errant-inject-empty",
            Self::SetSemiSync { side: SemiSyncSide::Source, enabled: true, .. } => "enable-semi-sync-master",
            Self::SetSemiSync { side: SemiSyncSide::Source, enabled: false, .. } => "disable-semi-sync-master",
            Self::SetSemiSync { side: SemiSyncSide::Replica, enabled: true, .. } => "enable-semi-sync-replica",
            Self::SetSemiSync { side: SemiSyncSide::Replica, enabled: false, .. } => "disable-semi-sync-replica",
            Self::RestartReceivers { .. } => crate::operation::receivers::WORD,
            Self::Recover { .. } => "recover",
        }
    }

    /// The server that the operation is about.
    pub fn instance(&self) -> &InstanceKey {
        match self {
            Self::RelocateReplicas { of, .. }
            | Self::MoveUpReplicas { of, .. }
            | Self::MoveReplicasGtid { of, .. }
            | Self::RepointReplicas { of, .. }
            | Self::RegroupReplicas { of, .. }
            | Self::RestartReceivers { of } => of,
            Self::Relocate { instance, .. }
            | Self::MoveUp { instance }
            | Self::MoveBelow { instance, .. }
            | Self::MoveEquivalent { instance, .. }
            | Self::MoveGtid { instance, .. }
            | Self::Repoint { instance, .. }
            | Self::TakeMaster { instance }
            | Self::TakeSiblings { instance }
            | Self::MakeCoMaster { instance }
            | Self::MakeMaster { instance }
            | Self::MakeLocalMaster { instance }
            | Self::ResetReplica { instance }
            | Self::DetachReplica { instance }
            | Self::ReattachReplica { instance }
            | Self::ChangeCredentials { instance }
            | Self::SkipQuery { instance }
            | Self::StartReplica { instance }
            | Self::StopReplica { instance }
            | Self::RestartReplica { instance }
            | Self::StopReplicaNice { instance }
            | Self::StartReplicaIo { instance }
            | Self::StopReplicaIo { instance }
            | Self::StartReplicaSql { instance }
            | Self::StopReplicaSql { instance }
            | Self::DelayReplication { instance, .. }
            | Self::SetReadOnly { instance }
            | Self::SetWriteable { instance }
            | Self::FlushBinaryLogs { instance, .. }
            | Self::PurgeBinaryLogs { instance, .. }
            | Self::KillQuery { instance, .. }
            | Self::EnableGtid { instance }
            | Self::DisableGtid { instance }
            | Self::GtidErrantResetMaster { instance }
            | Self::GtidErrantInjectEmpty { instance }
            | Self::SetSemiSync { instance, .. } => instance,
            Self::Recover { failed, .. } => failed,
        }
    }

    /// The other server named, if one is.
    pub fn destination(&self) -> Option<&InstanceKey> {
        match self {
            Self::Relocate { below, .. }
            | Self::RelocateReplicas { below, .. }
            | Self::MoveBelow { below, .. }
            | Self::MoveEquivalent { below, .. }
            | Self::MoveGtid { below, .. }
            | Self::MoveReplicasGtid { below, .. } => Some(below),
            Self::Repoint { below, .. } | Self::RepointReplicas { below, .. } => below.as_ref(),
            _ => None,
        }
    }
}
