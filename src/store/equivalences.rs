//! Places in two binary logs that hold the same: learned when a replica is moved by position, used to move it back or on.

use std::time::Duration;

use domain::instance::{BinlogCoordinates, DbMicros, InstanceKey};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{MySqlExecutor, MySqlPool};

use crate::Error;
use crate::sql::{delete_older, micros, port, text, uint};

/// After this long nobody moves a replica back, and the logs are gone.
pub const LIFETIME: Duration = Duration::from_secs(240 * 3600);

/// Pairs read for one server: more are of no use to anybody.
const MOST: u32 = 1_000;

/// Two equal places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivalence {
    pub one: (InstanceKey, BinlogCoordinates),
    pub other: (InstanceKey, BinlogCoordinates),
    pub recorded_at: DbMicros,
}

/// Records that these two places hold the same; the smaller key comes first, so that each pair has one form.
pub async fn record(
    pool: &MySqlPool,
    one: (&InstanceKey, &BinlogCoordinates),
    other: (&InstanceKey, &BinlogCoordinates),
) -> Result<(), Error> {
    let (one, other) = if one.0 <= other.0 { (one, other) } else { (other, one) };
    sqlx::query(
        "INSERT INTO position_equivalence (one_hostname, one_port, one_file, one_position, \
                other_hostname, other_port, other_file, other_position, recorded_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, NOW(6))",
    )
    .bind(&one.0.hostname)
    .bind(one.0.port)
    .bind(&one.1.file)
    .bind(one.1.position)
    .bind(&other.0.hostname)
    .bind(other.0.port)
    .bind(&other.1.file)
    .bind(other.1.position)
    .execute(pool)
    .await
    .map(|_| ())
    .map_err(Error::doing("record an equivalence of positions"))
}

/// The newest pairs that name a place in this server's log, newest first, each with that place as `one`.
pub async fn of_server(db: impl MySqlExecutor<'_>, key: &InstanceKey) -> Result<Vec<Equivalence>, Error> {
    const DOING: &str = "read equivalences of positions";
    let rows = sqlx::query(
        "SELECT one_hostname, one_port, one_file, one_position, other_hostname, other_port, other_file, other_position, \
                recorded_at FROM position_equivalence WHERE one_hostname = ? AND one_port = ? \
         UNION ALL \
         SELECT other_hostname, other_port, other_file, other_position, one_hostname, one_port, one_file, one_position, \
                recorded_at FROM position_equivalence WHERE other_hostname = ? AND other_port = ? \
         ORDER BY recorded_at DESC LIMIT ?",
    )
    .bind(&key.hostname)
    .bind(key.port)
    .bind(&key.hostname)
    .bind(key.port)
    .bind(MOST)
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(read_row).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Drops what is older than `lifetime`.
pub async fn expire(conn: &mut MySqlConnection, lifetime: Duration) -> Result<u64, Error> {
    delete_older(conn, "expire equivalences of positions", ("position_equivalence", "recorded_at"), lifetime).await
}

fn read_row(row: &MySqlRow) -> sqlx::Result<Equivalence> {
    let place = |host: &str, number: &str, file: &str, position: &str| -> sqlx::Result<_> {
        let key = InstanceKey::new(text(row, host)?, port(row, number)?);
        Ok((key, BinlogCoordinates { file: text(row, file)?, position: uint(row, position)? }))
    };
    Ok(Equivalence {
        one: place("one_hostname", "one_port", "one_file", "one_position")?,
        other: place("other_hostname", "other_port", "other_file", "other_position")?,
        recorded_at: micros(row, "recorded_at")?,
    })
}
