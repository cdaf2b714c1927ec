//! Recoveries held back at the moment, and by what. For people only: no decision reads it.

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::sql::{check_key, cut, delete_older, key, micros, text, uint};

const REASON_CHARS: usize = 16_000;

/// A recovery that is not begun.
#[derive(Debug, Clone, Copy)]
pub struct NewBlocked<'a> {
    pub key: &'a InstanceKey,
    pub code: &'a str,
    pub cluster_name: &'a str,
    /// Recovery in whose active period it falls; `None`: another gate.
    pub blocking: Option<u64>,
    /// Which gate and setting said no.
    pub reason: &'a str,
}

/// The same as written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    pub key: InstanceKey,
    pub code: String,
    pub cluster_name: String,
    pub blocking: Option<u64>,
    pub reason: String,
    /// First held back.
    pub since: DbMicros,
    /// Last held back.
    pub blocked_at: DbMicros,
}

/// Notes that a recovery is held back; to be said again at every attempt.
pub async fn block(conn: &mut MySqlConnection, new: &NewBlocked<'_>) -> Result<(), Error> {
    const DOING: &str = "note a recovery that is held back";
    check_key(DOING, new.key)?;
    sqlx::query(
        "INSERT INTO recovery_blocked (hostname, port, code, cluster_name, blocking_id, reason, since, blocked_at) \
         VALUES (?, ?, ?, ?, ?, ?, NOW(6), NOW(6)) \
         ON DUPLICATE KEY UPDATE since = IF(code = VALUES(code), since, VALUES(since)), code = VALUES(code), \
           cluster_name = VALUES(cluster_name), blocking_id = VALUES(blocking_id), reason = VALUES(reason), \
           blocked_at = VALUES(blocked_at)",
    )
    .bind(&new.key.hostname)
    .bind(new.key.port)
    .bind(cut(new.code, 128))
    .bind(cut(new.cluster_name, 300))
    .bind(new.blocking.unwrap_or(0))
    .bind(cut(new.reason, REASON_CHARS))
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing(DOING))
}

/// All that are held back, or those of one cluster; the latest first.
pub async fn blocked(db: impl MySqlExecutor<'_>, cluster_name: Option<&str>) -> Result<Vec<Blocked>, Error> {
    const DOING: &str = "read recoveries that are held back";
    let mut query = QueryBuilder::<MySql>::new(
        "SELECT hostname, port, code, cluster_name, blocking_id, reason, since, blocked_at FROM recovery_blocked ",
    );
    if let Some(name) = cluster_name {
        query.push("WHERE cluster_name = ").push_bind(name);
    }
    query.push(" ORDER BY blocked_at DESC, hostname, port");
    let rows = query.build().fetch_all(db).await.map_err(Error::doing(DOING))?;
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Drops those not said again within `age`, and those held back by a recovery that is acknowledged or gone.
pub async fn expire_blocked(conn: &mut MySqlConnection, age: Duration) -> Result<u64, Error> {
    const DOING: &str = "expire recoveries that were held back";
    let old = delete_older(conn, DOING, ("recovery_blocked", "blocked_at"), age).await?;
    let done = sqlx::query(
        "DELETE b FROM recovery_blocked b LEFT JOIN recovery r ON r.id = b.blocking_id \
          WHERE b.blocking_id <> 0 AND (r.id IS NULL OR r.acknowledged_at IS NOT NULL)",
    )
    .execute(conn)
    .await
    .map_err(Error::doing(DOING))?;
    Ok(old + done.rows_affected())
}

fn read(row: &MySqlRow) -> sqlx::Result<Blocked> {
    let blocking = uint(row, "blocking_id")?;
    Ok(Blocked {
        key: key(row)?,
        code: text(row, "code")?,
        cluster_name: text(row, "cluster_name")?,
        blocking: (blocking != 0).then_some(blocking),
        reason: text(row, "reason")?,
        since: micros(row, "since")?,
        blocked_at: micros(row, "blocked_at")?,
    })
}
