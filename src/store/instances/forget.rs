//! Forgetting instances, on demand and by age. Forgotten keys are not rediscovered for a while, on any node.

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::clusters;
use crate::sql::{interval, key, micros, push_keys};

const FORGETTING: &str = "forget instances";
/// Rows per statement when forgetting by age: short locks.
const CHUNK: u32 = 500;

/// Forgets one instance; [`Error::NotFound`] if it is not known. It is not to be rediscovered for `suppress`. Who records it at the
/// same time may cause a conflict, which is for the caller to try again ([`Error::is_conflict`]).
pub async fn forget(conn: &mut MySqlConnection, key: &InstanceKey, suppress: Duration) -> Result<(), Error> {
    match forget_keys(conn, std::slice::from_ref(key), suppress).await? {
        0 => Err(Error::not_found("instance", key)),
        _ => Ok(()),
    }
}

/// Forgets all instances of a cluster, by its exact name, and what the cluster was called; the keys it had.
/// [`Error::NotFound`] if there is none.
pub async fn forget_cluster(
    conn: &mut MySqlConnection,
    cluster_name: &str,
    suppress: Duration,
) -> Result<Vec<InstanceKey>, Error> {
    let rows = sqlx::query("SELECT hostname, port FROM instance WHERE cluster_name = ? ORDER BY hostname, port")
        .bind(cluster_name)
        .fetch_all(&mut *conn)
        .await
        .map_err(Error::doing(FORGETTING))?;
    let keys = rows.iter().map(key).collect::<sqlx::Result<Vec<_>>>().map_err(Error::doing(FORGETTING))?;
    if keys.is_empty() {
        return Err(Error::not_found("cluster", cluster_name));
    }
    for chunk in keys.chunks(CHUNK as usize) {
        forget_keys(conn, chunk, suppress).await?;
    }
    clusters::forget_names(conn, cluster_name).await?;
    Ok(keys)
}

/// Forgets what gave no facts for so long, and what never gave any and is known for so long. They may be rediscovered:
/// nobody asked for them to stay away.
pub async fn forget_unseen(conn: &mut MySqlConnection, hours: u64) -> Result<u64, Error> {
    let mut forgotten = 0;
    loop {
        let done = sqlx::query(
            "DELETE FROM instance WHERE COALESCE(last_seen_at, first_seen_at) < NOW(6) - INTERVAL ? HOUR \
              ORDER BY id LIMIT ?",
        )
        .bind(hours.min(876_000))
        .bind(CHUNK)
        .execute(&mut *conn)
        .await
        .map_err(Error::doing("forget unseen instances"))?;
        forgotten += done.rows_affected();
        if done.rows_affected() < u64::from(CHUNK) {
            return Ok(forgotten);
        }
    }
}

/// Keys that are not to be rediscovered, with the time until when.
pub async fn forgotten(db: impl MySqlExecutor<'_>) -> Result<Vec<(InstanceKey, DbMicros)>, Error> {
    const DOING: &str = "read forgotten instances";
    let rows = sqlx::query(
        "SELECT hostname, port, forgotten_until FROM forgotten_instance WHERE forgotten_until > NOW(6) \
          ORDER BY hostname, port",
    )
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    let read = |row| Ok((key(row)?, micros(row, "forgotten_until")?));
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Drops what may be rediscovered again.
pub async fn expire_forgotten(conn: &mut MySqlConnection) -> Result<u64, Error> {
    let done = sqlx::query("DELETE FROM forgotten_instance WHERE forgotten_until <= NOW(6)")
        .execute(conn)
        .await
        .map_err(Error::doing("expire forgotten instances"))?;
    Ok(done.rows_affected())
}

/// The rows first: who records them at this moment holds their locks, and finds the mark when it looks (see `record`).
async fn forget_keys(conn: &mut MySqlConnection, keys: &[InstanceKey], suppress: Duration) -> Result<u64, Error> {
    let mut tx = conn.begin().await.map_err(Error::doing(FORGETTING))?;
    let mut query = QueryBuilder::<MySql>::new("DELETE FROM instance WHERE (hostname, port) IN ");
    push_keys(&mut query, keys);
    let done = query.build().execute(&mut *tx).await.map_err(Error::doing(FORGETTING))?;
    if done.rows_affected() > 0 {
        suppress_keys(&mut tx, keys, suppress).await?;
    }
    tx.commit().await.map_err(Error::doing(FORGETTING))?;
    Ok(done.rows_affected())
}

async fn suppress_keys(conn: &mut MySqlConnection, keys: &[InstanceKey], suppress: Duration) -> Result<(), Error> {
    let mut query = QueryBuilder::<MySql>::new("INSERT INTO forgotten_instance (hostname, port, forgotten_until) ");
    query.push_values(keys, |mut row, key| {
        row.push_bind(&key.hostname).push_bind(key.port);
        row.push("NOW(6) + INTERVAL ").push_bind_unseparated(interval(suppress)).push_unseparated(" MICROSECOND");
    });
    query.push(" ON DUPLICATE KEY UPDATE forgotten_until = VALUES(forgotten_until)");
    query.build().execute(conn).await.map(|_| ()).map_err(Error::doing(FORGETTING))
}
