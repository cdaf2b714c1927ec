//! "Do not act on this", said by people for a while. A row past its end is void, whoever still sees it.

use std::time::Duration;

use domain::instance::{Downtime, InstanceKey};
use sqlx::MySqlExecutor;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use crate::Error;
use crate::instances::touch;
use crate::sql::{check_key, check_width, interval, key, micros, text};

/// Width of the owner column.
const OWNER_CHARS: usize = 128;

/// Declares downtime from now on; replaces one that is there.
pub async fn begin(
    conn: &mut MySqlConnection,
    instance: &InstanceKey,
    owner: &str,
    reason: &str,
    duration: Duration,
) -> Result<(), Error> {
    const DOING: &str = "begin downtime";
    check_key(DOING, instance)?;
    check_width(DOING, "the owner", owner, OWNER_CHARS)?;
    sqlx::query(
        "INSERT INTO downtime (hostname, port, owner, reason, begins_at, ends_at) \
         VALUES (?, ?, ?, ?, NOW(6), NOW(6) + INTERVAL ? MICROSECOND) \
         ON DUPLICATE KEY UPDATE owner = VALUES(owner), reason = VALUES(reason), begins_at = VALUES(begins_at), \
                                 ends_at = VALUES(ends_at)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .bind(owner)
    .bind(reason)
    .bind(interval(duration))
    .execute(&mut *conn)
    .await
    .map_err(Error::doing(DOING))?;
    touch(conn, instance).await
}

/// Ends it now; false if there was none.
pub async fn end(conn: &mut MySqlConnection, instance: &InstanceKey) -> Result<bool, Error> {
    let done = sqlx::query("DELETE FROM downtime WHERE hostname = ? AND port = ?")
        .bind(&instance.hostname)
        .bind(instance.port)
        .execute(&mut *conn)
        .await
        .map_err(Error::doing("end downtime"))?;
    touch(conn, instance).await?;
    Ok(done.rows_affected() == 1)
}

/// All that hold now, by host and port.
pub async fn active(db: impl MySqlExecutor<'_>) -> Result<Vec<(InstanceKey, Downtime)>, Error> {
    const DOING: &str = "read downtime";
    let rows = sqlx::query(
        "SELECT hostname, port, owner, reason, begins_at, ends_at FROM downtime \
          WHERE begins_at <= NOW(6) AND ends_at > NOW(6) ORDER BY hostname, port",
    )
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(|row| Ok((key(row)?, read(row)?))).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Drops what is over. Nothing depends on it: readers look at the end.
pub async fn expire(conn: &mut MySqlConnection) -> Result<u64, Error> {
    let done = sqlx::query("DELETE FROM downtime WHERE ends_at <= NOW(6)").execute(conn).await;
    Ok(done.map_err(Error::doing("expire downtime"))?.rows_affected())
}

fn read(row: &MySqlRow) -> sqlx::Result<Downtime> {
    Ok(Downtime {
        owner: text(row, "owner")?,
        reason: text(row, "reason")?,
        begins_at: micros(row, "begins_at")?,
        ends_at: micros(row, "ends_at")?,
    })
}
