//! Primaries that were replaced and may come back: what becomes of each.
//!
//! ```text
//!   mark ─▶ lost ──first contact: read-only──▶ fenced ──▶ rejoined (a replica of the cluster again)
//!                                                └─────▶ errant (has transactions of its own; left alone, shown)
//! ```

use domain::instance::{DbMicros, InstanceKey};
use sqlx::MySqlExecutor;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use crate::Error;
use crate::sql::{check_key, cut, key, maybe_micros, micros, port, text, uint};

/// How a replaced primary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormerState {
    /// Not seen since.
    Lost,
    /// Seen, and it accepts no writes.
    Fenced,
    /// A replica of its cluster again.
    Rejoined,
    /// Seen, and it has transactions that the cluster has not.
    Errant,
}

impl FormerState {
    pub const ALL: [Self; 4] = [Self::Lost, Self::Fenced, Self::Rejoined, Self::Errant];

    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Fenced => "fenced",
            Self::Rejoined => "rejoined",
            Self::Errant => "errant",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A primary just replaced.
#[derive(Debug, Clone, Copy)]
pub struct NewFormer<'a> {
    pub key: &'a InstanceKey,
    pub cluster_name: &'a str,
    pub successor: &'a InstanceKey,
    pub recovery_id: u64,
    /// What the successor had executed when it was promoted.
    pub gtid: &'a str,
}

/// A replaced primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    pub key: InstanceKey,
    pub cluster_name: String,
    pub successor: InstanceKey,
    pub recovery_id: u64,
    pub gtid: String,
    pub state: FormerState,
    /// Transactions that only it has; empty: none known.
    pub errant_gtid: String,
    pub marked_at: DbMicros,
    pub state_at: DbMicros,
    /// First contact after it was replaced.
    pub seen_at: Option<DbMicros>,
}

/// Writes down that a primary was replaced. Idempotent: the same recovery says it once, a later one anew.
pub async fn mark(conn: &mut MySqlConnection, new: &NewFormer<'_>) -> Result<(), Error> {
    const DOING: &str = "mark a replaced primary";
    check_key(DOING, new.key)?;
    check_key(DOING, new.successor)?;
    // From left to right: `recovery_id` is replaced last, the others compare with what it was.
    sqlx::query(
        "INSERT INTO former_primary (hostname, port, cluster_name, successor_hostname, successor_port, recovery_id, gtid, \
                state, errant_gtid, marked_at, state_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, 'lost', '', NOW(6), NOW(6)) \
         ON DUPLICATE KEY UPDATE \
           cluster_name = IF(recovery_id < VALUES(recovery_id), VALUES(cluster_name), cluster_name), \
           successor_hostname = IF(recovery_id < VALUES(recovery_id), VALUES(successor_hostname), successor_hostname), \
           successor_port = IF(recovery_id < VALUES(recovery_id), VALUES(successor_port), successor_port), \
           gtid = IF(recovery_id < VALUES(recovery_id), VALUES(gtid), gtid), \
           state = IF(recovery_id < VALUES(recovery_id), VALUES(state), state), \
           errant_gtid = IF(recovery_id < VALUES(recovery_id), '', errant_gtid), \
           marked_at = IF(recovery_id < VALUES(recovery_id), VALUES(marked_at), marked_at), \
           state_at = IF(recovery_id < VALUES(recovery_id), VALUES(state_at), state_at), \
           seen_at = IF(recovery_id < VALUES(recovery_id), NULL, seen_at), \
           recovery_id = GREATEST(recovery_id, VALUES(recovery_id))",
    )
    .bind(&new.key.hostname)
    .bind(new.key.port)
    .bind(cut(new.cluster_name, 300))
    .bind(&new.successor.hostname)
    .bind(new.successor.port)
    .bind(new.recovery_id)
    .bind(new.gtid)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing(DOING))
}

/// All of them, by host and port.
pub async fn of(db: impl MySqlExecutor<'_>) -> Result<Vec<Former>, Error> {
    const DOING: &str = "read replaced primaries";
    let rows = sqlx::query(
        "SELECT hostname, port, cluster_name, successor_hostname, successor_port, recovery_id, gtid, state, errant_gtid, \
                marked_at, state_at, seen_at FROM former_primary ORDER BY hostname, port",
    )
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(former).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Moves one on, if it is still as `from` of this recovery; any state but lost means that it was seen.
pub async fn set_state(
    conn: &mut MySqlConnection,
    former: &Former,
    to: FormerState,
    errant_gtid: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE former_primary SET state = ?, errant_gtid = ?, state_at = NOW(6), \
                seen_at = IF(? = 'lost', seen_at, COALESCE(seen_at, NOW(6))) \
          WHERE hostname = ? AND port = ? AND recovery_id = ? AND state = ?",
    )
    .bind(to.name())
    .bind(errant_gtid)
    .bind(to.name())
    .bind(&former.key.hostname)
    .bind(former.key.port)
    .bind(former.recovery_id)
    .bind(former.state.name())
    .execute(conn)
    .await
    .map_err(Error::doing("note what became of a replaced primary"))?;
    Ok(done.rows_affected() == 1)
}

/// Forgets one: it is the primary again, or was forgotten as an instance.
pub async fn forget(conn: &mut MySqlConnection, key: &InstanceKey) -> Result<bool, Error> {
    let done = sqlx::query("DELETE FROM former_primary WHERE hostname = ? AND port = ?")
        .bind(&key.hostname)
        .bind(key.port)
        .execute(conn)
        .await
        .map_err(Error::doing("forget a replaced primary"))?;
    Ok(done.rows_affected() == 1)
}

fn former(row: &MySqlRow) -> sqlx::Result<Former> {
    let state = text(row, "state")?;
    Ok(Former {
        key: key(row)?,
        cluster_name: text(row, "cluster_name")?,
        successor: InstanceKey::new(text(row, "successor_hostname")?, port(row, "successor_port")?),
        recovery_id: uint(row, "recovery_id")?,
        gtid: text(row, "gtid")?,
        state: FormerState::parse(&state).unwrap_or(FormerState::Lost),
        errant_gtid: text(row, "errant_gtid")?,
        marked_at: micros(row, "marked_at")?,
        state_at: micros(row, "state_at")?,
        seen_at: maybe_micros(row, "seen_at")?,
    })
}
