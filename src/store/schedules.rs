//! How far each recurring schedule got: one row per schedule, moved by compare-and-set, so that each tick is enqueued once
//! whoever leads. Call [`take_tick`] in the transaction that enqueues.

use std::collections::BTreeMap;

use domain::instance::DbMicros;
use sqlx::MySqlExecutor;
use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::sql::{check_width, micros, stamp, text};

/// The last tick of every schedule that ever ticked.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<BTreeMap<String, DbMicros>, Error> {
    const DOING: &str = "read the schedules";
    let rows = sqlx::query("SELECT name, tick_at FROM schedule_tick ORDER BY name")
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    let read = |row| Ok((text(row, "name")?, micros(row, "tick_at")?));
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Takes a tick: true if it is ours to enqueue, false if this tick or a later one was taken before.
pub async fn take_tick(conn: &mut MySqlConnection, name: &str, tick: DbMicros) -> Result<bool, Error> {
    const DOING: &str = "take a tick of a schedule";
    check_width(DOING, "the schedule's name", name, 64)?;
    let moved = sqlx::query("UPDATE schedule_tick SET tick_at = ? WHERE name = ? AND tick_at < ?")
        .bind(stamp(tick))
        .bind(name)
        .bind(stamp(tick))
        .execute(&mut *conn)
        .await
        .map_err(Error::doing(DOING))?;
    if moved.rows_affected() == 1 {
        return Ok(true);
    }
    insert_first(conn, name, tick).await
}

async fn insert_first(conn: &mut MySqlConnection, name: &str, tick: DbMicros) -> Result<bool, Error> {
    let done = sqlx::query("INSERT IGNORE INTO schedule_tick (name, tick_at) VALUES (?, ?)")
        .bind(name)
        .bind(stamp(tick))
        .execute(conn)
        .await
        .map_err(Error::doing("take the first tick of a schedule"))?;
    Ok(done.rows_affected() == 1)
}

/// Forgets a schedule that is no longer configured.
pub async fn forget(conn: &mut MySqlConnection, name: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM schedule_tick WHERE name = ?")
        .bind(name)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(Error::doing("forget a schedule"))
}
