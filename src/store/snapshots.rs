//! Topologies of the past: who replicated from whom at a moment, written now and then for all clusters.

use std::time::Duration;

use domain::instance::InstanceKey;
use sqlx::MySqlExecutor;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use crate::Error;
use crate::sql::{interval, key, port, text, uint};

/// An instance as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastInstance {
    pub key: InstanceKey,
    /// Whom it replicated from.
    pub source: Option<InstanceKey>,
    pub cluster_name: String,
    /// Instance alias.
    pub alias: String,
}

/// Writes down all topologies as they are; how many instances. Twice within a second is once.
pub async fn write(db: impl MySqlExecutor<'_>) -> Result<u64, Error> {
    let done = sqlx::query(
        "INSERT IGNORE INTO topology_snapshot (snapshot_at, hostname, port, source_hostname, source_port, cluster_name, alias) \
         SELECT FLOOR(UNIX_TIMESTAMP(NOW(6))), hostname, port, source_hostname, source_port, cluster_name, \
                LEFT(COALESCE(JSON_UNQUOTE(JSON_EXTRACT(facts, '$.alias')), ''), 255) \
           FROM instance",
    )
    .execute(db)
    .await
    .map_err(Error::doing("write a topology snapshot"))?;
    Ok(done.rows_affected())
}

/// When topologies were written down: unix seconds, newest first.
pub async fn times(db: impl MySqlExecutor<'_>) -> Result<Vec<u64>, Error> {
    const DOING: &str = "read the times of topology snapshots";
    let rows = sqlx::query("SELECT DISTINCT snapshot_at FROM topology_snapshot ORDER BY snapshot_at DESC")
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    rows.iter().map(|row| uint(row, "snapshot_at")).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// A cluster as it was written down at that moment; empty if nothing was.
pub async fn read(db: impl MySqlExecutor<'_>, at: u64, cluster_name: &str) -> Result<Vec<PastInstance>, Error> {
    const DOING: &str = "read a topology snapshot";
    let rows = sqlx::query(
        "SELECT hostname, port, source_hostname, source_port, cluster_name, alias FROM topology_snapshot \
          WHERE snapshot_at = ? AND cluster_name = ? ORDER BY hostname, port",
    )
    .bind(at)
    .bind(cluster_name)
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(read_row).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Drops snapshots older than this.
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    let done = sqlx::query(
        "DELETE FROM topology_snapshot WHERE snapshot_at < UNIX_TIMESTAMP(NOW(6) - INTERVAL ? MICROSECOND)",
    )
    .bind(interval(older_than))
    .execute(conn)
    .await
    .map_err(Error::doing("trim topology snapshots"))?;
    Ok(done.rows_affected())
}

fn read_row(row: &MySqlRow) -> sqlx::Result<PastInstance> {
    let source = InstanceKey::new(text(row, "source_hostname")?, port(row, "source_port")?);
    Ok(PastInstance {
        key: key(row)?,
        source: (source.port > 0).then_some(source),
        cluster_name: text(row, "cluster_name")?,
        alias: text(row, "alias")?,
    })
}
