//! Names of hosts: what they resolve to (a cache that outlives processes), and the virtual names replicas should use.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::{DbMicros, MAX_HOSTNAME_BYTES};
use sqlx::MySqlExecutor;
use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::sql::{check_width, delete_older, interval, micros, text};

/// A name and what it resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub hostname: String,
    pub resolved: String,
    pub resolved_at: DbMicros,
}

/// What a name resolved to, if we know.
pub async fn resolved(db: impl MySqlExecutor<'_>, hostname: &str) -> Result<Option<String>, Error> {
    const DOING: &str = "read a resolved host name";
    let row = sqlx::query("SELECT resolved FROM hostname_resolve WHERE hostname = ?").bind(hostname).fetch_optional(db);
    let row = row.await.map_err(Error::doing(DOING))?;
    row.map(|row| text(&row, "resolved")).transpose().map_err(Error::doing(DOING))
}

/// Saves what a name resolved to.
pub async fn save(db: impl MySqlExecutor<'_>, hostname: &str, resolved: &str) -> Result<(), Error> {
    const DOING: &str = "save a resolved host name";
    for name in [hostname, resolved] {
        check_width(DOING, "the host name", name, MAX_HOSTNAME_BYTES)?;
    }
    sqlx::query(
        "INSERT INTO hostname_resolve (hostname, resolved, resolved_at) VALUES (?, ?, NOW(6)) \
         ON DUPLICATE KEY UPDATE resolved = VALUES(resolved), resolved_at = VALUES(resolved_at)",
    )
    .bind(hostname)
    .bind(resolved)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(Error::doing(DOING))
}

/// Everything we know to resolve, by name.
pub async fn all_resolved(db: impl MySqlExecutor<'_>) -> Result<Vec<Resolved>, Error> {
    const DOING: &str = "read resolved host names";
    let rows = sqlx::query("SELECT hostname, resolved, resolved_at FROM hostname_resolve ORDER BY hostname")
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    let read = |row| {
        Ok(Resolved {
            hostname: text(row, "hostname")?,
            resolved: text(row, "resolved")?,
            resolved_at: micros(row, "resolved_at")?,
        })
    };
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Forgets all that was resolved; names are looked up anew.
pub async fn reset(conn: &mut MySqlConnection) -> Result<u64, Error> {
    let done = sqlx::query("DELETE FROM hostname_resolve").execute(conn).await;
    Ok(done.map_err(Error::doing("reset resolved host names"))?.rows_affected())
}

/// Drops names resolved longer ago than twice `lifetime`, and virtual names not registered again within it.
pub async fn expire(conn: &mut MySqlConnection, lifetime: Duration) -> Result<u64, Error> {
    Ok(expire_resolved(conn, lifetime * 2).await? + expire_unresolve(conn, lifetime).await?)
}

/// Registers the virtual name replicas should use to reach a host; an empty one deregisters.
pub async fn register_unresolve(conn: &mut MySqlConnection, hostname: &str, virtual_name: &str) -> Result<(), Error> {
    const DOING: &str = "register a virtual host name";
    if virtual_name.is_empty() {
        return deregister_unresolve(conn, hostname).await.map(|_| ());
    }
    for name in [hostname, virtual_name] {
        check_width(DOING, "the host name", name, MAX_HOSTNAME_BYTES)?;
    }
    sqlx::query(
        "INSERT INTO hostname_unresolve (hostname, virtual_name, registered_at) VALUES (?, ?, NOW(6)) \
         ON DUPLICATE KEY UPDATE virtual_name = VALUES(virtual_name), registered_at = VALUES(registered_at)",
    )
    .bind(hostname)
    .bind(virtual_name)
    .execute(&mut *conn)
    .await
    .map_err(Error::doing(DOING))?;
    touch_host(conn, hostname).await
}

/// True if there was a registration.
pub async fn deregister_unresolve(conn: &mut MySqlConnection, hostname: &str) -> Result<bool, Error> {
    let done = sqlx::query("DELETE FROM hostname_unresolve WHERE hostname = ?")
        .bind(hostname)
        .execute(&mut *conn)
        .await
        .map_err(Error::doing("deregister a virtual host name"))?;
    touch_host(conn, hostname).await?;
    Ok(done.rows_affected() == 1)
}

/// The virtual name of a host, if one was registered within `max_age`.
pub async fn virtual_name(
    db: impl MySqlExecutor<'_>,
    hostname: &str,
    max_age: Duration,
) -> Result<Option<String>, Error> {
    const DOING: &str = "read a virtual host name";
    let row = sqlx::query(
        "SELECT virtual_name FROM hostname_unresolve WHERE hostname = ? AND registered_at >= NOW(6) - INTERVAL ? MICROSECOND",
    )
    .bind(hostname)
    .bind(interval(max_age))
    .fetch_optional(db)
    .await
    .map_err(Error::doing(DOING))?;
    row.map(|row| text(&row, "virtual_name")).transpose().map_err(Error::doing(DOING))
}

/// All virtual names by host.
pub async fn all_unresolved(db: impl MySqlExecutor<'_>) -> Result<BTreeMap<String, String>, Error> {
    const DOING: &str = "read virtual host names";
    let rows = sqlx::query("SELECT hostname, virtual_name FROM hostname_unresolve ORDER BY hostname")
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    let read = |row| Ok((text(row, "hostname")?, text(row, "virtual_name")?));
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

async fn expire_resolved(conn: &mut MySqlConnection, age: Duration) -> Result<u64, Error> {
    delete_older(conn, "expire resolved host names", ("hostname_resolve", "resolved_at"), age).await
}

async fn expire_unresolve(conn: &mut MySqlConnection, age: Duration) -> Result<u64, Error> {
    delete_older(conn, "expire virtual host names", ("hostname_unresolve", "registered_at"), age).await
}

/// Readers that keep a copy must see the new name.
async fn touch_host(conn: &mut MySqlConnection, hostname: &str) -> Result<(), Error> {
    sqlx::query("UPDATE instance SET changed_at = NOW(6) WHERE hostname = ?")
        .bind(hostname)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(Error::doing("mark instances as changed"))
}
