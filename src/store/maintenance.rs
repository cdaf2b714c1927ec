//! "I am acting on this": locks of instances, taken by people and by operations.
//!
//! ```text
//!          begin (no active row: unique key over host, port, active_slot)
//!   free ─────────────────────────────────────────────▶ active, token = id ──┐ verify / extend (this very token,
//!    ▲                                                    │        ▲─────────┘  not expired)
//!    ├── end, by token or by key ─────────────────────────┤
//!    └── expires_at passes: void at once; the row is closed by the next begin or by `expire`
//! ```
//! The token is the row's id, which only grows: whoever acts under a lock proves with [`verify`], in the transaction that
//! records the step, that the lock is still its own.
//!
//! Locks of an operation ([`begin_for_operation`], [`take_over`], [`extend_for`], [`end_for`]) carry its number: whoever
//! resumes the operation takes them over under new tokens, and those of the worker before are void from that moment.
//!
//! Failure cases: *holder dies*: the lock expires. *Holder sleeps past the expiry and another begins*: its token is closed,
//! `verify` says so before the step begins. *Two begin at once*: the unique key lets one in, the other is told by whom.

mod of_operation;

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use sqlx::MySqlExecutor;
use sqlx::mysql::{MySqlConnection, MySqlPool, MySqlRow};

use crate::Error;
use crate::error::is_duplicate;
use crate::sql::{check_key, check_width, delete_older, interval, key, maybe_uint, micros, text, uint};

pub use of_operation::{begin_for_operation, end_for, extend_for, take_over};

const OWNER_CHARS: usize = 128;
/// Tries to begin: each lost one means that somebody else's lock ended between two statements, or that the server chose us
/// among many contenders as the victim of a deadlock; it then chooses others, too.
const TRIES: usize = 20;

/// Number of a lock, checked at every step made under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(pub u64);

/// A lock in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    pub token: FencingToken,
    pub key: InstanceKey,
    pub owner: String,
    pub reason: String,
    /// Process that holds it; empty: a person.
    pub holder_node: String,
    /// Operation that holds it.
    pub operation: Option<u64>,
    pub begins_at: DbMicros,
    pub expires_at: DbMicros,
    /// Time of this reading.
    pub now: DbMicros,
}

/// Who wants a lock, why, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub owner: &'a str,
    pub reason: &'a str,
    pub duration: Duration,
    /// Token of the process, for locks of operations; empty for people.
    pub holder_node: &'a str,
}

/// Begins maintenance; [`Error::Refused`] names the holder if there is one. Not for use inside a transaction: losing a
/// race would leave locks behind.
pub async fn begin(pool: &MySqlPool, instance: &InstanceKey, claim: Claim<'_>) -> Result<FencingToken, Error> {
    const DOING: &str = "begin maintenance";
    check_key(DOING, instance)?;
    check_width(DOING, "the owner", claim.owner, OWNER_CHARS)?;
    let mut conn = pool.acquire().await.map_err(Error::doing(DOING))?;
    for attempt in 0..TRIES {
        match close_expired(&mut conn, instance).await {
            Err(error) if error.is_conflict() && attempt + 1 < TRIES => continue,
            other => other?,
        }
        match insert(&mut conn, instance, claim, None)
            .await
            .map_err(|cause| (is_duplicate(&cause), Error::classify(DOING, cause)))
        {
            Ok(token) => return Ok(token),
            Err((true, _)) => {}
            // A deadlock among those who want the same lock: one of them has it now, or the next try will.
            Err((false, error)) if error.is_conflict() && attempt + 1 < TRIES => continue,
            Err((false, error)) => return Err(error),
        }
        if let Some(held) = read(&mut *conn, instance).await? {
            return Err(refused(&held));
        }
    }
    Err(Error::Refused {
        what: format!("maintenance of {instance}"),
        holder: "others in turn".to_owned(),
        reason: "the lock changed hands at every try".to_owned(),
    })
}

/// Is this lock still in force? In a transaction it stays so until commit, because the row is locked: fence a step with it.
pub async fn verify(conn: &mut MySqlConnection, token: FencingToken) -> Result<bool, Error> {
    // Found rows are counted, not changed ones: nothing needs to change.
    let done = sqlx::query(
        "UPDATE maintenance SET expires_at = expires_at WHERE id = ? AND active_slot = 1 AND expires_at > NOW(6)",
    )
    .bind(token.0)
    .execute(conn)
    .await
    .map_err(Error::doing("verify a maintenance lock"))?;
    Ok(done.rows_affected() == 1)
}

/// Prolongs a lock in force to `duration` from now; false if it is not ours any more.
pub async fn extend(conn: &mut MySqlConnection, token: FencingToken, duration: Duration) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE maintenance SET expires_at = GREATEST(expires_at, NOW(6) + INTERVAL ? MICROSECOND) \
          WHERE id = ? AND active_slot = 1 AND expires_at > NOW(6)",
    )
    .bind(interval(duration))
    .bind(token.0)
    .execute(conn)
    .await
    .map_err(Error::doing("extend a maintenance lock"))?;
    Ok(done.rows_affected() == 1)
}

/// Ends this very lock; false if it had ended.
pub async fn end(conn: &mut MySqlConnection, token: FencingToken) -> Result<bool, Error> {
    let done =
        sqlx::query("UPDATE maintenance SET active_slot = NULL, ended_at = NOW(6) WHERE id = ? AND active_slot = 1")
            .bind(token.0)
            .execute(conn)
            .await
            .map_err(Error::doing("end maintenance"))?;
    Ok(done.rows_affected() == 1)
}

/// Ends whatever lock an instance is under; false if there was none.
pub async fn end_of(conn: &mut MySqlConnection, instance: &InstanceKey) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE maintenance SET active_slot = NULL, ended_at = NOW(6) WHERE hostname = ? AND port = ? AND active_slot = 1",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .execute(conn)
    .await
    .map_err(Error::doing("end maintenance"))?;
    Ok(done.rows_affected() == 1)
}

/// The lock an instance is under.
pub async fn read(db: impl MySqlExecutor<'_>, instance: &InstanceKey) -> Result<Option<Maintenance>, Error> {
    const DOING: &str = "read maintenance";
    let row = sqlx::query(
        "SELECT id, hostname, port, owner, reason, holder_node, operation_id, begins_at, expires_at, NOW(6) AS db_now FROM maintenance \
          WHERE hostname = ? AND port = ? AND active_slot = 1 AND expires_at > NOW(6)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .fetch_optional(db)
    .await
    .map_err(Error::doing(DOING))?;
    row.as_ref().map(read_row).transpose().map_err(Error::doing(DOING))
}

/// All locks in force, oldest first.
pub async fn active(db: impl MySqlExecutor<'_>) -> Result<Vec<Maintenance>, Error> {
    const DOING: &str = "read maintenance";
    let rows = sqlx::query(
        "SELECT id, hostname, port, owner, reason, holder_node, operation_id, begins_at, expires_at, NOW(6) AS db_now FROM maintenance \
          WHERE active_slot = 1 AND expires_at > NOW(6) ORDER BY id",
    )
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(read_row).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Closes locks that expired.
pub async fn expire(conn: &mut MySqlConnection) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE maintenance SET active_slot = NULL, ended_at = expires_at WHERE active_slot = 1 AND expires_at <= NOW(6)",
    )
    .execute(conn)
    .await
    .map_err(Error::doing("expire maintenance"))?;
    Ok(done.rows_affected())
}

/// Deletes what ended longer ago than this.
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    delete_older(conn, "trim maintenance", ("maintenance", "ended_at"), older_than).await
}

async fn close_expired(conn: &mut MySqlConnection, instance: &InstanceKey) -> Result<(), Error> {
    sqlx::query(
        "UPDATE maintenance SET active_slot = NULL, ended_at = expires_at \
          WHERE hostname = ? AND port = ? AND active_slot = 1 AND expires_at <= NOW(6)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing("close an expired maintenance"))
}

async fn insert(
    conn: &mut MySqlConnection,
    instance: &InstanceKey,
    claim: Claim<'_>,
    operation: Option<u64>,
) -> sqlx::Result<FencingToken> {
    let done = sqlx::query(
        "INSERT INTO maintenance (hostname, port, active_slot, owner, reason, holder_node, operation_id, begins_at, expires_at) \
         VALUES (?, ?, 1, ?, ?, ?, ?, NOW(6), NOW(6) + INTERVAL ? MICROSECOND)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .bind(claim.owner)
    .bind(claim.reason)
    .bind(claim.holder_node)
    .bind(operation)
    .bind(interval(claim.duration))
    .execute(conn)
    .await?;
    Ok(FencingToken(done.last_insert_id()))
}

fn refused(held: &Maintenance) -> Error {
    let process = if held.holder_node.is_empty() { String::new() } else { format!(" (process {})", held.holder_node) };
    Error::Refused {
        what: format!("maintenance of {}", held.key),
        holder: format!("{}{process}", held.owner),
        reason: held.reason.clone(),
    }
}

fn read_row(row: &MySqlRow) -> sqlx::Result<Maintenance> {
    Ok(Maintenance {
        token: FencingToken(uint(row, "id")?),
        key: key(row)?,
        owner: text(row, "owner")?,
        reason: text(row, "reason")?,
        holder_node: text(row, "holder_node")?,
        operation: maybe_uint(row, "operation_id")?,
        begins_at: micros(row, "begins_at")?,
        expires_at: micros(row, "expires_at")?,
        now: micros(row, "db_now")?,
    })
}
