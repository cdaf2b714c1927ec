//! Recoveries: failures and takeovers being handled, why so, and how they ended.
//!
//! ```text
//!   create ─▶ registered ─▶ fencing ─▶ choosing ─▶ promoting ─▶ repointing ─▶ publishing ─▶ closed
//!     │  (open_slot: one open recovery per cluster and per failed instance)                   │
//!     └─ active period (active_slot): the next automatic recovery is held back ───────────────┴──▶ ends, see below
//! ```
//! A recovery is carried out by an operation (`operation_id`), whose runs fence everything: each write of a recovering worker
//! names its run and finds nothing once another worker has taken over ([`set_phase`], [`save_choice`], [`note_result`],
//! [`finish`]). A worker needs nothing from the row but the phase and the chosen successor; all else it looks at afresh.
//!
//! # Active period
//! It begins with the recovery. How long it outlasts the end depends on the outcome ([`Close`], [`end_active_periods`]):
//! - *recovered*: until `RecoveryPeriodBlockSeconds` after the start. That is what keeps a cluster from flapping.
//! - *failed*, *refused*: [`FAILURE_BLOCK`] after the end. Nothing was promoted, so nothing can flap; a short rest keeps a
//!   recovery that fails at once from being begun several times a second.
//! - *no longer needed*, *cancelled*: not at all.
//!
//! An acknowledgement ends it at once, unless the recovery is still being carried out: then it is acknowledged now and ends
//! with it. A recovery whose operation has ended without it is nobody's and blocks nothing ([`close_orphans`]).

mod active;
mod blocked;
mod events;
mod kinds;
mod progress;
mod read;

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use serde_json::Value;
use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::error::is_duplicate;
use crate::sql::{check_key, cut, json, text, trim_with_parts, uint};

pub use active::{FAILURE_BLOCK, Which, acknowledge, close_orphans, end_active_periods};
pub use blocked::{Blocked, NewBlocked, block, blocked, expire_blocked};
pub use events::{Event, NewEvent, event, events};
pub use kinds::{Kind, Outcome, Phase};
pub use progress::{Close, Progress, close, finish, note_result, save_choice, set_phase};
pub use read::{Filter, PAGE, active, by_operation, by_uid, list, open, read};

/// Tries to begin: each lost one means that an open recovery ended between two statements.
const TRIES: usize = 5;

/// One recovery.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    pub id: u64,
    /// Name for people and hooks.
    pub uid: String,
    pub kind: Kind,
    /// Analysis code that it answers.
    pub code: String,
    /// Command word of a person who asked for it; empty: automatic, or `recover`.
    pub command_hint: String,
    pub failed: InstanceKey,
    /// The cluster's name when it began; a name changes with the primary.
    pub cluster_name: String,
    pub cluster_alias: String,
    pub detection_id: Option<u64>,
    pub operation_id: u64,
    pub phase: Phase,
    /// Asked for by a person, past the gates.
    pub force: bool,
    pub suppress_hooks: bool,
    pub requested_candidate: Option<InstanceKey>,
    /// Chosen; it has taken over only if `is_successful`.
    pub successor: Option<InstanceKey>,
    pub successor_alias: String,
    /// `file:position` at promotion; empty: not known.
    pub successor_coordinates: String,
    pub is_successful: bool,
    /// `None`: still going on.
    pub outcome: Option<Outcome>,
    pub lost: Vec<InstanceKey>,
    pub participating: Vec<InstanceKey>,
    pub errors: Vec<String>,
    /// The finding that it answers.
    pub entry: Value,
    /// What every gate said.
    pub verdicts: Value,
    /// Successor, all who were considered, reasons.
    pub choice: Option<Value>,
    /// How long clients could not write.
    pub outage: Option<Value>,
    /// Who asked; empty: the leader.
    pub actor: String,
    /// Node that opened it, and the token of its process.
    pub node: String,
    pub node_token: String,
    pub started_at: DbMicros,
    pub phase_at: DbMicros,
    pub ended_at: Option<DbMicros>,
    /// In its active period: the next automatic recovery is held back.
    pub is_active: bool,
    /// End of the active period, to come or past; `None` until the recovery ends.
    pub active_until: Option<DbMicros>,
    pub acknowledged: Option<Acknowledgement>,
    /// Time of this reading.
    pub now: DbMicros,
}

/// Somebody has seen a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub at: DbMicros,
    pub by: String,
    pub comment: String,
}

/// A recovery to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewRecovery<'a> {
    pub kind: Kind,
    pub code: &'a str,
    pub command_hint: &'a str,
    pub failed: &'a InstanceKey,
    pub cluster_name: &'a str,
    pub cluster_alias: &'a str,
    pub detection_id: Option<u64>,
    pub force: bool,
    pub suppress_hooks: bool,
    pub requested_candidate: Option<&'a InstanceKey>,
    pub entry: &'a Value,
    pub verdicts: &'a Value,
    /// Who asks; empty: the leader.
    pub actor: &'a str,
    pub node: &'a str,
    pub node_token: &'a str,
}

/// Answer to [`create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is there. Create its operation and enqueue its job in the same transaction, then [`set_operation`].
    New(u64),
    /// This one of the same cluster, or of the same instance, is being carried out: nothing was written.
    Open(u64),
}

/// Begins a recovery, in the caller's transaction, unless one of that cluster or instance is open.
pub async fn create(conn: &mut MySqlConnection, new: &NewRecovery<'_>) -> Result<Created, Error> {
    const DOING: &str = "begin a recovery";
    check_key(DOING, new.failed)?;
    if new.cluster_name.is_empty() {
        return Err(Error::Invalid { doing: DOING, reason: format!("the cluster of {} is not known", new.failed) });
    }
    for _ in 0..TRIES {
        if let Some(open) = open_of(conn, new).await? {
            return Ok(Created::Open(open));
        }
        let uid = new_uid(conn).await?;
        if let Some(id) = insert(conn, new, &uid).await? {
            return Ok(Created::New(id));
        }
        // Somebody else was faster: he is found now, or has ended already.
    }
    Err(Error::Refused {
        what: format!("recovery of {}", new.failed),
        holder: "others in turn".to_owned(),
        reason: "recoveries of this cluster began and ended at every try".to_owned(),
    })
}

/// Writes down which operation carries it out.
pub async fn set_operation(conn: &mut MySqlConnection, recovery: u64, operation: u64) -> Result<(), Error> {
    let done = sqlx::query("UPDATE recovery SET operation_id = ? WHERE id = ?").bind(operation).bind(recovery);
    done.execute(conn).await.map(|_| ()).map_err(Error::doing("note the operation of a recovery"))
}

/// Deletes recoveries that ended longer ago than this, with their timelines; how many. The records of their hooks go with
/// [`crate::hook_runs::trim`].
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    const EVENTS: &str = "DELETE FROM recovery_event WHERE recovery_id IN (SELECT id FROM (SELECT id FROM recovery \
         WHERE ended_at < NOW(6) - INTERVAL ? MICROSECOND ORDER BY ended_at, id LIMIT ?) old)";
    const RECOVERIES: &str =
        "DELETE FROM recovery WHERE ended_at < NOW(6) - INTERVAL ? MICROSECOND ORDER BY ended_at, id LIMIT ?";
    trim_with_parts(conn, [EVENTS, RECOVERIES], older_than).await.map_err(Error::doing("trim recoveries"))
}

/// The open recovery of the same cluster or instance. A locking read, so that it sees what was committed meanwhile.
async fn open_of(conn: &mut MySqlConnection, new: &NewRecovery<'_>) -> Result<Option<u64>, Error> {
    const DOING: &str = "look for an open recovery";
    // Two statements: each is one look at one unique key.
    let of_cluster = sqlx::query("SELECT id FROM recovery WHERE cluster_name = ? AND open_slot = 1 FOR UPDATE")
        .bind(cut(new.cluster_name, 300))
        .fetch_optional(&mut *conn)
        .await
        .map_err(Error::doing(DOING))?;
    let found = match of_cluster {
        Some(row) => Some(row),
        None => sqlx::query("SELECT id FROM recovery WHERE hostname = ? AND port = ? AND open_slot = 1 FOR UPDATE")
            .bind(&new.failed.hostname)
            .bind(new.failed.port)
            .fetch_optional(&mut *conn)
            .await
            .map_err(Error::doing(DOING))?,
    };
    found.map(|row| uint(&row, "id")).transpose().map_err(Error::doing(DOING))
}

/// Nanoseconds, a colon, 64 hexadecimal digits: the form that hooks of the original know. Asked for apart from the insert: a
/// random value in a statement is not safe to replicate by statement.
async fn new_uid(conn: &mut MySqlConnection) -> Result<String, Error> {
    const DOING: &str = "name a recovery";
    let row = sqlx::query(
        "SELECT CONCAT(CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED), '000:', SHA2(CONCAT(UUID(), RAND()), 256)) AS uid",
    )
    .fetch_one(conn)
    .await
    .map_err(Error::doing(DOING))?;
    text(&row, "uid").map_err(Error::doing(DOING))
}

/// `None`: one is open.
async fn insert(conn: &mut MySqlConnection, new: &NewRecovery<'_>, uid: &str) -> Result<Option<u64>, Error> {
    const DOING: &str = "begin a recovery";
    let none = InstanceKey::default();
    let requested = new.requested_candidate.unwrap_or(&none);
    let done = sqlx::query(
        "INSERT INTO recovery (uid, kind, code, command_hint, hostname, port, cluster_name, cluster_alias, open_slot, \
                active_slot, detection_id, operation_id, phase, is_forced, suppress_hooks, requested_hostname, \
                requested_port, lost, participating, errors, entry, verdicts, actor, node, node_token, started_at, phase_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 1, ?, 0, 'registered', ?, ?, ?, ?, '[]', '[]', '[]', ?, ?, ?, ?, ?, \
                NOW(6), NOW(6))",
    )
    .bind(uid)
    .bind(new.kind.name())
    .bind(cut(new.code, 128))
    .bind(cut(new.command_hint, 64))
    .bind(&new.failed.hostname)
    .bind(new.failed.port)
    .bind(cut(new.cluster_name, 300))
    .bind(cut(new.cluster_alias, 255))
    .bind(new.detection_id)
    .bind(new.force)
    .bind(new.suppress_hooks)
    .bind(&requested.hostname)
    .bind(requested.port)
    .bind(json(DOING, new.entry)?)
    .bind(json(DOING, new.verdicts)?)
    .bind(cut(new.actor, 255))
    .bind(cut(new.node, 255))
    .bind(cut(new.node_token, 64))
    .execute(conn)
    .await;
    match done {
        Ok(done) => Ok(Some(done.last_insert_id())),
        Err(cause) if is_duplicate(&cause) => Ok(None),
        Err(cause) => Err(Error::classify(DOING, cause)),
    }
}
