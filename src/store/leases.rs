//! The lease of leadership: who may lead, for how long, and the proof afterwards.
//!
//! ```text
//!              take (expired or released; term + 1)
//!   nobody ─────────────────────────────────────────▶ held by (holder, term) ──┐ renew (this very term, not yet expired)
//!     ▲                                                  │   │                 │
//!     └── release (expires now) ─────────────────────────┘   └─────────────────┘ fence (in the transaction of an act)
//! ```
//! All times are the database's. A term is valid from `acquired_at` to `expires_at`; the row lock makes take, renew,
//! release and fence of one lease follow each other, so terms cannot overlap.
//!
//! Failure cases:
//! - *Leader dies*: nobody renews, the lease expires, another takes it with the next term.
//! - *Leader freezes and comes back*: `renew` and `fence` compare holder, term and expiry: both say it is over.
//! - *Leader is cut off in the middle of an act*: the act's transaction either committed with its fence, before the
//!   take-over got the row lock, or is rolled back.
//! - *Leader is cut off or freezes while its act's transaction is open*: the backend may keep that transaction, and with it
//!   the lock of the row, for as long as TCP or the process lives. Whoever locks the row writes its connection's number
//!   in the same packet; a taker that finds the row locked for long after the lease expired reads the number (uncommitted,
//!   that is) and kills that connection: its transaction is rolled back, as if its fence had come too late. Acts that waited
//!   for the same lock follow one by one: `NOW(6)` is when their statement began, so that their fence may still hold.
//! - *Answer to take is lost*: the taker does not know of its term; it finds itself as holder at its next look and uses it.

use std::time::Duration;

use domain::instance::DbMicros;
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError, MySqlPool, MySqlRow};
use sqlx::{Connection, Executor, MySqlExecutor};

use crate::Error;
use crate::sql::{delete_older, flag, interval, maybe_micros, micros, text, uint};

/// The one lease there is. The column allows for more.
const LEADER: &str = "leader";

/// How often, and how long apart, a lease is tried whose row is locked.
const LOCK_TRIES: u32 = 24;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// In so many tries one after the other the same connection had the lock: acts and takes take milliseconds.
const SILENT_AFTER: u32 = 5;
/// Its owner ended meanwhile.
const ER_NO_SUCH_THREAD: u16 = 1094;

/// The lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Token of the node that holds it; empty after a release.
    pub holder: String,
    pub term: u64,
    pub acquired_at: DbMicros,
    pub expires_at: DbMicros,
    pub acted_at: Option<DbMicros>,
    /// It has not expired.
    pub is_live: bool,
    /// Time of this reading.
    pub now: DbMicros,
}

/// One term, past or present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub term: u64,
    pub holder: String,
    pub holder_name: String,
    pub acquired_at: DbMicros,
    /// The last fenced act; `None` if there was none.
    pub last_acted_at: Option<DbMicros>,
    /// `None`: the current term.
    pub ended_at: Option<DbMicros>,
    /// `released`, `expired`, `taken`; empty for the current term.
    pub end_reason: String,
}

/// Who wants the lease: the token unique per process start, and a name for people.
#[derive(Debug, Clone, Copy)]
struct Contender<'a> {
    token: &'a str,
    name: &'a str,
}

/// Outcome of [`take`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is ours.
    Won { term: u64 },
    /// Somebody holds it (perhaps ourselves).
    Held(Lease),
}

/// Reads the lease.
pub async fn current(db: impl MySqlExecutor<'_>) -> Result<Lease, Error> {
    const DOING: &str = "read the lease";
    let row = sqlx::query(
        "SELECT holder, term, acquired_at, expires_at, acted_at, expires_at > NOW(6) AS is_live, NOW(6) AS db_now \
           FROM lease WHERE name = ?",
    )
    .bind(LEADER)
    .fetch_optional(db)
    .await
    .map_err(Error::doing(DOING))?;
    read_lease(&row.ok_or_else(missing)?).map_err(Error::doing(DOING))
}

/// Takes the lease if nobody holds it now. Followers call it every tick: it is one cheap statement while somebody does.
///
/// `token` is unique per process start; `name` is for people.
pub async fn take(conn: &mut MySqlConnection, token: &str, name: &str, ttl: Duration) -> Result<Taken, Error> {
    let seen = current(&mut *conn).await?;
    if seen.is_live {
        return Ok(Taken::Held(seen));
    }
    acquire(conn, Contender { token, name }, ttl, Manner::IfFree).await
}

/// Takes the lease from whoever holds it, because a person said so. Its holder learns at its next renewal or act.
pub async fn take_by_force(pool: &MySqlPool, token: &str, name: &str, ttl: Duration) -> Result<Taken, Error> {
    let mut conn = pool.acquire().await.map_err(Error::doing("take the lease"))?;
    acquire(&mut conn, Contender { token, name }, ttl, Manner::ByForce).await
}

/// Prolongs this very term. [`Error::NotLeader`]: it is over.
pub async fn renew(db: impl MySqlExecutor<'_>, holder: &str, term: u64, ttl: Duration) -> Result<(), Error> {
    let done = sqlx::query(
        "UPDATE lease SET expires_at = NOW(6) + INTERVAL ? MICROSECOND \
          WHERE name = ? AND holder = ? AND term = ? AND expires_at > NOW(6)",
    )
    .bind(interval(ttl))
    .bind(LEADER)
    .bind(holder)
    .bind(term)
    .execute(db)
    .await
    .map_err(Error::doing("renew the lease"))?;
    held(done.rows_affected(), holder, term)
}

/// Fences an act of the leader: call it first in the act's transaction. It locks the lease until that transaction ends,
/// so nobody takes over in between. [`Error::NotLeader`]: roll back.
pub async fn fence(conn: &mut MySqlConnection, holder: &str, term: u64) -> Result<(), Error> {
    let done = sqlx::query(
        "UPDATE lease SET acted_at = NOW(6), acted_by = CONNECTION_ID() \
          WHERE name = ? AND holder = ? AND term = ? AND expires_at > NOW(6)",
    )
    .bind(LEADER)
    .bind(holder)
    .bind(term)
    .execute(conn)
    .await
    .map_err(Error::doing("fence an act of the leader"))?;
    held(done.rows_affected(), holder, term)
}

/// Ends our term now, so that another may take over at once. [`Error::NotLeader`]: it was over already.
pub async fn release(conn: &mut MySqlConnection, holder: &str, term: u64) -> Result<(), Error> {
    const DOING: &str = "release the lease";
    let mut tx = conn.begin().await.map_err(Error::doing(DOING))?;
    let done = sqlx::query(
        "UPDATE lease SET holder = '', expires_at = NOW(6), acted_by = CONNECTION_ID() \
          WHERE name = ? AND holder = ? AND term = ? AND expires_at > NOW(6)",
    )
    .bind(LEADER)
    .bind(holder)
    .bind(term)
    .execute(&mut *tx)
    .await
    .map_err(Error::doing(DOING))?;
    held(done.rows_affected(), holder, term)?;
    close_term(&mut tx, term, "released").await?;
    tx.commit().await.map_err(Error::doing(DOING))
}

/// The newest terms, newest first. What the current term did last is noted on the lease until the term is closed.
pub async fn history(db: impl MySqlExecutor<'_>, limit: u32) -> Result<Vec<Term>, Error> {
    const DOING: &str = "read the terms of leadership";
    let rows = sqlx::query(
        "SELECT h.term, h.holder, h.holder_name, h.acquired_at, COALESCE(h.last_acted_at, l.acted_at) AS last_acted_at, \
                h.ended_at, h.end_reason \
           FROM lease_history h \
           LEFT JOIN lease l ON l.name = h.name AND l.term = h.term AND h.ended_at IS NULL \
          WHERE h.name = ? ORDER BY h.term DESC LIMIT ?",
    )
    .bind(LEADER)
    .bind(limit)
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(read_term).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Deletes ended terms older than this.
pub async fn trim_history(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    delete_older(conn, "trim the terms of leadership", ("lease_history", "ended_at"), older_than).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    IfFree,
    ByForce,
}

async fn acquire(
    conn: &mut MySqlConnection,
    who: Contender<'_>,
    ttl: Duration,
    manner: Manner,
) -> Result<Taken, Error> {
    const DOING: &str = "take the lease";
    let mut silence = Silence::default();
    for _ in 0..LOCK_TRIES {
        let mut tx = conn.begin().await.map_err(Error::doing(DOING))?;
        // The lock first, in a statement of its own: the NOW(6) of the statements after it is later than anything that
        // the previous holder committed.
        if !lock(&mut tx).await? {
            tx.rollback().await.map_err(Error::doing(DOING))?;
            // Behind a silent act others may wait that were sent before the silence: each gets the lock in its turn.
            let blocker = blocker(conn).await?;
            if silence.is_over_long(blocker.connection) && blocker.may_be_ended(manner) {
                end(conn, blocker.connection).await?;
            }
            tokio::time::sleep(LOCK_PAUSE).await;
            continue;
        }
        let previous = current(&mut *tx).await?;
        if previous.is_live && manner == Manner::IfFree {
            tx.rollback().await.map_err(Error::doing(DOING))?;
            return Ok(Taken::Held(previous));
        }
        // An earlier release has closed its term already.
        close_term(&mut tx, previous.term, if previous.is_live { "taken" } else { "expired" }).await?;
        let term = previous.term + 1;
        start_term(&mut tx, who.token, previous.term, ttl).await?;
        remember_term(&mut tx, who, term).await?;
        tx.commit().await.map_err(Error::doing(DOING))?;
        return Ok(Taken::Won { term });
    }
    current(conn).await.map(Taken::Held)
}

/// Locks the lease without waiting and, in the same packet, says which connection did. `false`: somebody else has it.
async fn lock(conn: &mut MySqlConnection) -> Result<bool, Error> {
    const LOCK: &str = "SELECT term FROM lease WHERE name = 'leader' FOR UPDATE NOWAIT; \
                        UPDATE lease SET acted_by = CONNECTION_ID() WHERE name = 'leader'";
    const DOING: &str = "lock the lease";
    match conn.execute(LOCK).await {
        Ok(done) if done.rows_affected() == 0 => Err(missing()),
        Ok(_) => Ok(true),
        Err(error) if is_locked(&error) => Ok(false),
        Err(error) => Err(Error::doing(DOING)(error)),
    }
}

/// Who has the lease's lock, as read from what it wrote and has not committed.
struct Blocker {
    connection: u64,
    /// A session of this very account on this very schema. The number may belong to another server of a cluster, where it
    /// means somebody else.
    is_ours: bool,
    /// The lease has not expired.
    is_live: bool,
}

impl Blocker {
    fn may_be_ended(&self, manner: Manner) -> bool {
        self.is_ours && (!self.is_live || manner == Manner::ByForce)
    }
}

/// For how many tries the same connection has had the lock.
#[derive(Default)]
struct Silence {
    connection: u64,
    tries: u32,
}

impl Silence {
    fn is_over_long(&mut self, connection: u64) -> bool {
        self.tries = if self.connection == connection { self.tries + 1 } else { 1 };
        self.connection = connection;
        self.tries >= SILENT_AFTER
    }
}

async fn blocker(conn: &mut MySqlConnection) -> Result<Blocker, Error> {
    const DOING: &str = "see who has locked the lease";
    conn.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await.map_err(Error::doing(DOING))?;
    let row = sqlx::query(
        "SELECT acted_by, expires_at > NOW(6) AS is_live, \
                EXISTS (SELECT 1 FROM information_schema.processlist p \
                         WHERE p.id = acted_by AND p.user = SUBSTRING_INDEX(USER(), '@', 1) AND p.db = DATABASE()) AS is_ours \
           FROM lease WHERE name = ?",
    )
    .bind(LEADER)
    .fetch_optional(conn)
    .await
    .map_err(Error::doing(DOING))?
    .ok_or_else(missing)?;
    let read = || {
        sqlx::Result::Ok(Blocker {
            connection: uint(&row, "acted_by")?,
            is_ours: flag(&row, "is_ours")?,
            is_live: flag(&row, "is_live")?,
        })
    };
    read().map_err(Error::doing(DOING))
}

/// Its transaction is rolled back, as if its fence had come too late.
async fn end(conn: &mut MySqlConnection, connection: u64) -> Result<(), Error> {
    tracing::warn!(connection, "the lease is locked by a transaction whose client is silent: ending it");
    match conn.execute(format!("KILL CONNECTION {connection}").as_str()).await {
        Err(error) if error_number(&error) != Some(ER_NO_SUCH_THREAD) => {
            Err(Error::doing("free the lease of a silent holder")(error))
        }
        _ => Ok(()),
    }
}

/// Another session holds the row: 3572 (MySQL) and 1205 (MariaDB) are the answers to NOWAIT.
fn is_locked(error: &sqlx::Error) -> bool {
    matches!(error_number(error), Some(3572 | 1205))
}

fn error_number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

async fn start_term(conn: &mut MySqlConnection, holder: &str, previous: u64, ttl: Duration) -> Result<(), Error> {
    let done = sqlx::query(
        "UPDATE lease SET holder = ?, term = term + 1, acquired_at = NOW(6), acted_at = NULL, acted_by = CONNECTION_ID(), \
                          expires_at = NOW(6) + INTERVAL ? MICROSECOND \
          WHERE name = ? AND term = ?",
    )
    .bind(holder)
    .bind(interval(ttl))
    .bind(LEADER)
    .bind(previous)
    .execute(conn)
    .await
    .map_err(Error::doing("take the lease"))?;
    held(done.rows_affected(), holder, previous + 1)
}

/// Closes a term that is still open in the history. What expired ended when it expired, not when that was noticed.
async fn close_term(conn: &mut MySqlConnection, term: u64, reason: &str) -> Result<(), Error> {
    sqlx::query(
        "UPDATE lease_history h JOIN lease l ON l.name = h.name \
            SET h.last_acted_at = l.acted_at, h.ended_at = LEAST(l.expires_at, NOW(6)), h.end_reason = ? \
          WHERE h.name = ? AND h.term = ? AND h.ended_at IS NULL",
    )
    .bind(reason)
    .bind(LEADER)
    .bind(term)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing("close a term of leadership"))
}

async fn remember_term(conn: &mut MySqlConnection, who: Contender<'_>, term: u64) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO lease_history (name, term, holder, holder_name, acquired_at) \
         SELECT name, term, holder, ?, acquired_at FROM lease WHERE name = ? AND term = ?",
    )
    .bind(who.name)
    .bind(LEADER)
    .bind(term)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing("record a term of leadership"))
}

fn held(affected: u64, holder: &str, term: u64) -> Result<(), Error> {
    if affected == 1 { Ok(()) } else { Err(Error::NotLeader { holder: holder.to_owned(), term }) }
}

fn missing() -> Error {
    Error::Schema("the lease row is missing; run `orchestrator migrate --repair`".to_owned())
}

fn read_lease(row: &MySqlRow) -> sqlx::Result<Lease> {
    Ok(Lease {
        holder: text(row, "holder")?,
        term: uint(row, "term")?,
        acquired_at: micros(row, "acquired_at")?,
        expires_at: micros(row, "expires_at")?,
        acted_at: maybe_micros(row, "acted_at")?,
        is_live: flag(row, "is_live")?,
        now: micros(row, "db_now")?,
    })
}

fn read_term(row: &MySqlRow) -> sqlx::Result<Term> {
    Ok(Term {
        term: uint(row, "term")?,
        holder: text(row, "holder")?,
        holder_name: text(row, "holder_name")?,
        acquired_at: micros(row, "acquired_at")?,
        last_acted_at: maybe_micros(row, "last_acted_at")?,
        ended_at: maybe_micros(row, "ended_at")?,
        end_reason: text(row, "end_reason")?,
    })
}
