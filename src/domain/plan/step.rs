//! One verified change of one server.

use serde::{Deserialize, Serialize};

use super::Condition;
use crate::instance::{BinlogCoordinates, InstanceKey, SourceTls};

/// One change: begins only if all of `before` holds, has succeeded only if all of `after` holds on a fresh look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The server changed.
    pub on: InstanceKey,
    /// What must hold, looked up on the servers right before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Condition>,
    /// What is done.
    pub action: Action,
    /// What must hold afterwards: looked up again and again until it does or the limit is reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Condition>,
    /// The whole step ends within this.
    pub limit_seconds: u32,
}

/// Threads of replication: which ones to act on, or which ones run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Threads {
    /// The receiver.
    pub io: bool,
    /// The applier.
    pub sql: bool,
}

/// A side of semi-synchronous replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SemiSyncSide {
    /// Waits for acknowledgements.
    Source,
    /// Acknowledges.
    Replica,
}

/// A place in a source's binary log, or how it will be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// MySQL: `SOURCE_AUTO_POSITION = 1`.
    Auto,
    /// MariaDB: `MASTER_USE_GTID = slave_pos`.
    MariadbSlavePos,
    /// MariaDB, for a former primary: what it wrote itself counts as applied (`current_pos`; from 10.10 on `slave_pos` with
    /// `MASTER_DEMOTE_TO_SLAVE`).
    MariadbCurrentPos,
    /// Known now. With GTID in use it is turned off.
    At(BinlogCoordinates),
    /// Read when the step begins: how far that replica has applied its source's log.
    ExecutedBy(InstanceKey),
    /// Read when the step begins: the end of that server's own binary log.
    EndOf(InstanceKey),
    /// Left as it is: only the other options change (a host name, say, with GTID in use).
    Unchanged,
}

/// Options of a connection to a source, besides where it is: stated again at every change, so that none is lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceOptions {
    /// TLS and key options, from the replica's own status.
    pub tls: SourceTls,
    /// Ask a source that has no TLS for its key (MySQL, `caching_sha2_password`).
    pub request_public_key: bool,
}

/// The closed list of things ever done to a managed server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Stop these threads.
    Stop { threads: Threads },
    /// Start these threads; done when they are seen running.
    Start { threads: Threads },
    /// Stop the receiver and start it again. Its first try to connect is given up after so long, whatever the server's own
    /// patience is.
    RestartReceiver { patience_seconds: u32 },
    /// Start the applier of a replica none of whose threads runs, where it stopped in the relay logs it has. A MariaDB replica
    /// that uses GTIDs would throw these away: it goes by file and position from then on.
    ResumeApplier,
    /// Wait until everything received is applied; the applier must run.
    Drain,
    /// Start the applier until it reaches a place in its source's log, wait for it, stop it. Nothing is done where it has
    /// applied as much or more already: whether "more" is right is for conditions to say.
    RunUntil { position: Position },
    /// Replicate from another source. Both threads are stopped; only a MySQL replica that uses auto-position already, and is
    /// to go on with it, may apply meanwhile, and keeps its relay logs then.
    ChangeSource { to: InstanceKey, position: Position, options: SourceOptions },
    /// Make the source's name unusable (`//host`), or usable again, with nothing else changed.
    RenameSource { to: String, port: u16, position: Position, options: SourceOptions },
    /// Forget the source altogether.
    ResetReplica,
    /// Take the replication user and password that `from` uses for its own source.
    CopyCredentials { from: InstanceKey },
    /// `read_only`, and `super_read_only` where asked and known.
    SetReadOnly { read_only: bool, with_super: bool },
    /// Refuse the writes of everybody, those with every privilege included, or else change nothing: `read_only`,
    /// `super_read_only` where known; where not (MariaDB), only if nobody is there who may write in spite of `read_only`.
    Close,
    /// Refuse writes, as far as the server can, whatever it costs its clients: connections whose commits wait for
    /// semi-sync acknowledgements would keep it open, and are ended. None of these commits is acknowledged to anybody.
    Seal,
    /// Semi-synchronous replication, one side.
    SetSemiSync { side: SemiSyncSide, enabled: bool },
    /// Seconds a replica stays behind on purpose (applier stopped).
    SetDelay { seconds: u32 },
    /// Commit an empty transaction under each of these GTIDs.
    InjectEmpty { gtids: Vec<String> },
    /// Skip one event group (no GTID).
    SkipOne,
    /// Remove all binary logs and GTIDs, then declare as executed what was executed when the step began, without these.
    ResetBinaryLogs { errant: String },
    /// Begin a new binary log, so many times.
    FlushBinaryLogs { times: u32 },
    /// Remove the logs before this one.
    PurgeBinaryLogs { to: String },
    /// End a running statement.
    KillQuery { id: u64 },
}

impl Threads {
    /// Both.
    pub const BOTH: Self = Self { io: true, sql: true };
    /// The receiver only.
    pub const IO: Self = Self { io: true, sql: false };
    /// The applier only.
    pub const SQL: Self = Self { io: false, sql: true };
    /// None.
    pub const NONE: Self = Self { io: false, sql: false };

    /// Those of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { io: self.io || other.io, sql: self.sql || other.sql }
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { io: self.io && other.io, sql: self.sql && other.sql }
    }

    /// These, but not the others.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self { io: self.io && !other.io, sql: self.sql && !other.sql }
    }
}

impl Step {
    /// A step without conditions.
    pub fn new(on: &InstanceKey, action: Action, limit_seconds: u32) -> Self {
        Self { on: on.clone(), before: Vec::new(), action, after: Vec::new(), limit_seconds }
    }

    /// With one more condition before.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.before.push(condition);
        self
    }

    /// With one more condition afterwards.
    #[must_use]
    pub fn then(mut self, condition: Condition) -> Self {
        self.after.push(condition);
        self
    }

    /// Every server it acts on or reads from.
    pub fn servers(&self) -> Vec<&InstanceKey> {
        let read = match &self.action {
            Action::RunUntil { position }
            | Action::ChangeSource { position, .. }
            | Action::RenameSource { position, .. } => match position {
                Position::ExecutedBy(key) | Position::EndOf(key) => Some(key),
                Position::Auto
                | Position::MariadbSlavePos
                | Position::MariadbCurrentPos
                | Position::At(_)
                | Position::Unchanged => None,
            },
            Action::CopyCredentials { from } => Some(from),
            Action::Stop { .. }
            | Action::Start { .. }
            | Action::RestartReceiver { .. }
            | Action::ResumeApplier
            | Action::Drain
            | Action::ResetReplica
            | Action::SetReadOnly { .. }
            | Action::Close
            | Action::Seal
            | Action::SetSemiSync { .. }
            | Action::SetDelay { .. }
            | Action::InjectEmpty { .. }
            | Action::SkipOne
            | Action::ResetBinaryLogs { .. }
            | Action::FlushBinaryLogs { .. }
            | Action::PurgeBinaryLogs { .. }
            | Action::KillQuery { .. } => None,
        };
        let conditions = self.before.iter().chain(&self.after).filter_map(Condition::other_server);
        std::iter::once(&self.on).chain(read).chain(conditions).collect()
    }
}
