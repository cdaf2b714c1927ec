//! Instances known by name before they ever answered.

use domain::instance::InstanceKey;
use sqlx::mysql::{MySqlConnection, MySqlPool};

use crate::Error;
use crate::sql::{check_key, check_width};

/// Takes a key off the list of the forgotten: a person asks for this instance.
pub async fn remember(pool: &MySqlPool, key: &InstanceKey) -> Result<(), Error> {
    sqlx::query("DELETE FROM forgotten_instance WHERE hostname = ? AND port = ?")
        .bind(&key.hostname)
        .bind(key.port)
        .execute(pool)
        .await
        .map(|_| ())
        .map_err(Error::doing("remember an instance"))
}

/// Makes an instance known that some replica names as its source but that never answered, so that it is shown, probed
/// and found dead. True if it was neither known nor forgotten. For a seed, [`remember`] it first.
pub async fn insert_minimal(conn: &mut MySqlConnection, key: &InstanceKey, lane: &str) -> Result<bool, Error> {
    const DOING: &str = "make an instance known";
    check_key(DOING, key)?;
    check_width(DOING, "the data center", lane, 64)?;
    let done = sqlx::query(
        "INSERT IGNORE INTO instance (hostname, port, lane, cluster_name, ancestry_uuid, gtid_errant, first_seen_at, changed_at) \
         SELECT ?, ?, ?, ?, '', '', NOW(6), NOW(6) FROM (SELECT 1) one \
          WHERE NOT EXISTS (SELECT 1 FROM forgotten_instance f \
                             WHERE f.hostname = ? AND f.port = ? AND f.forgotten_until > NOW(6))",
    )
    .bind(&key.hostname)
    .bind(key.port)
    .bind(lane)
    .bind(key.to_string())
    .bind(&key.hostname)
    .bind(key.port)
    .execute(conn)
    .await
    .map_err(Error::doing(DOING))?;
    Ok(done.rows_affected() == 1)
}
