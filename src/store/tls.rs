//! Which servers demand TLS: found out once, so that the next connection does not try without.

use std::collections::BTreeSet;

use domain::instance::InstanceKey;
use sqlx::MySqlExecutor;
use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::sql::{check_key, key};

/// Remembers whether a server demands TLS.
pub async fn learn(conn: &mut MySqlConnection, instance: &InstanceKey, required: Demand) -> Result<(), Error> {
    const DOING: &str = "remember whether a server demands TLS";
    check_key(DOING, instance)?;
    sqlx::query(
        "INSERT INTO instance_tls (hostname, port, required, learned_at) VALUES (?, ?, ?, NOW(6)) \
         ON DUPLICATE KEY UPDATE required = VALUES(required), learned_at = VALUES(learned_at)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .bind(required == Demand::Required)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing(DOING))
}

/// What a server wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    Required,
    Optional,
}

/// The servers that demand TLS.
pub async fn demanding(db: impl MySqlExecutor<'_>) -> Result<BTreeSet<InstanceKey>, Error> {
    const DOING: &str = "read which servers demand TLS";
    let rows = sqlx::query("SELECT hostname, port FROM instance_tls WHERE required = 1").fetch_all(db).await;
    let rows = rows.map_err(Error::doing(DOING))?;
    rows.iter().map(key).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Forgets what was found out about a server.
pub async fn forget(conn: &mut MySqlConnection, instance: &InstanceKey) -> Result<(), Error> {
    sqlx::query("DELETE FROM instance_tls WHERE hostname = ? AND port = ?")
        .bind(&instance.hostname)
        .bind(instance.port)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(Error::doing("forget whether a server demands TLS"))
}
