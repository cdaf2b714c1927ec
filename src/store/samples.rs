//! Since when semi-synchronous sources have not moved: a source that waits for acknowledgements stays where it is.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::{BinlogCoordinates, DbMicros, InstanceKey};
use sqlx::mysql::MySqlConnection;
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::sql::{delete_older, key, micros, text, uint};

/// Rows per statement.
const BATCH: usize = 500;

/// Where a source was seen last, and since when it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub at: BinlogCoordinates,
    pub first_seen: DbMicros,
}

/// Notes where sources are: those that moved begin anew.
pub async fn note(conn: &mut MySqlConnection, seen: &[(InstanceKey, BinlogCoordinates)]) -> Result<(), Error> {
    for batch in seen.chunks(BATCH) {
        let mut query = QueryBuilder::<MySql>::new(
            "INSERT INTO semi_sync_sample (hostname, port, log_file, log_position, first_seen_at, seen_at) ",
        );
        query.push_values(batch, |mut row, (key, at)| {
            row.push_bind(&key.hostname).push_bind(key.port).push_bind(&at.file).push_bind(at.position);
            row.push("NOW(6)").push("NOW(6)");
        });
        // From left to right: the time is decided before what it depends on is replaced.
        query.push(
            " ON DUPLICATE KEY UPDATE \
               first_seen_at = IF(log_file = VALUES(log_file) AND log_position = VALUES(log_position), first_seen_at, VALUES(first_seen_at)), \
               log_file = VALUES(log_file), log_position = VALUES(log_position), seen_at = VALUES(seen_at)",
        );
        query.build().execute(&mut *conn).await.map_err(Error::doing("note where semi-synchronous sources are"))?;
    }
    Ok(())
}

/// All of them.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<BTreeMap<InstanceKey, Seen>, Error> {
    const DOING: &str = "read where semi-synchronous sources are";
    let rows = sqlx::query("SELECT hostname, port, log_file, log_position, first_seen_at FROM semi_sync_sample")
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    rows.iter()
        .map(|row| {
            let at = BinlogCoordinates { file: text(row, "log_file")?, position: uint(row, "log_position")? };
            Ok((key(row)?, Seen { at, first_seen: micros(row, "first_seen_at")? }))
        })
        .collect::<sqlx::Result<_>>()
        .map_err(Error::doing(DOING))
}

/// Drops those not noted for so long.
pub async fn expire(conn: &mut MySqlConnection, age: Duration) -> Result<u64, Error> {
    delete_older(conn, "expire samples of semi-synchronous sources", ("semi_sync_sample", "seen_at"), age).await
}
