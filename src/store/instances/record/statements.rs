//! The statements that write a batch, in parts that fit a packet and lock in key order.

use std::collections::BTreeSet;

use domain::instance::{InstanceKey, ServerFacts};
use domain::version::ServerVersion;
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, Executor, MySql, QueryBuilder};

use super::batch::{Failed, Full};
use super::patience::Patience;
use super::{Last, RECORDING, Tries};
use crate::Error;
use crate::sql::{cut, flag, key, push_keys, stamp, stamp_literal, uint};

/// Bytes of facts per statement: far below the smallest packet limit in use (16 MB).
const CHUNK_BYTES: usize = 4 << 20;
/// Widths of columns.
const LANE_CHARS: usize = 64;
const ERROR_CHARS: usize = 1024;
/// A stored observation that lies this far ahead of the database's clock was made before the clock was set back: it is
/// older than whatever comes now. The margin covers our estimate of that clock.
const FROM_THE_FUTURE: &str = "observed_at > NOW(6) + INTERVAL 10 SECOND";

/// A row as it stands after the upsert.
pub(super) struct StoredRow {
    pub(super) id: u64,
    pub(super) key: InstanceKey,
    pub(super) facts_hash: u64,
    pub(super) new: bool,
    pub(super) forgotten: bool,
}

/// New times for rows that are as we remember them; how many were.
pub(super) async fn see_patiently(conn: &mut MySqlConnection, same: &[(Last, Full<'_>)]) -> Result<u64, Error> {
    let mut patience = Patience::default();
    loop {
        match see(conn, same).await {
            Ok(matched) => return Ok(matched),
            Err(error) => patience.conflicted(error).await?,
        }
    }
}

/// The narrow path. Text protocol: the id lists differ from batch to batch, preparing each would double the round trips.
/// Holds only integers and a timestamp of ours. The batch's oldest time serves for all: it is true of all.
async fn see(conn: &mut MySqlConnection, same: &[(Last, Full<'_>)]) -> Result<u64, Error> {
    let at = seen_at(same);
    // `observed_at` is set last: MySQL and MariaDB assign from left to right.
    let statement = format!(
        "UPDATE instance SET last_checked_at = {at}, last_seen_at = {at}, observed_at = {at} \
          WHERE {rows} AND observed_at < {at}",
        rows = remembered(same)
    );
    // A plain text is sent unprepared (`raw_sql` does the same, in a future that is not `Send` for every lifetime).
    let done = conn.execute(statement.as_str()).await.map_err(Error::doing(RECORDING))?;
    Ok(done.rows_affected())
}

/// Of rows that [`see`] did not all match, the ids of those that are as we remember them all the same, by its work or by a
/// later check.
pub(super) async fn seen(conn: &mut MySqlConnection, same: &[(Last, Full<'_>)]) -> Result<BTreeSet<u64>, Error> {
    let statement = format!(
        "SELECT id FROM instance WHERE {} AND observed_at >= {} AND NOT {FROM_THE_FUTURE}",
        remembered(same),
        seen_at(same)
    );
    let rows = conn.fetch_all(statement.as_str()).await.map_err(Error::doing(RECORDING))?;
    rows.iter().map(|row| uint(row, "id")).collect::<sqlx::Result<_>>().map_err(Error::doing(RECORDING))
}

/// The batch's oldest time, as a literal.
fn seen_at(same: &[(Last, Full<'_>)]) -> String {
    stamp_literal(same.iter().map(|(_, full)| full.observed_at).min().unwrap_or(0))
}

/// The condition that rows are as we remember them.
fn remembered(same: &[(Last, Full<'_>)]) -> String {
    let mut lasts: Vec<Last> = same.iter().map(|(last, _)| *last).collect();
    lasts.sort_by_key(|last| last.id);
    let join = |texts: Vec<String>| texts.join(",");
    let ids = join(lasts.iter().map(|last| last.id.to_string()).collect());
    let pairs = join(lasts.iter().map(|last| format!("({},{})", last.id, last.facts_hash)).collect());
    format!("id IN ({ids}) AND (id, facts_hash) IN ({pairs}) AND failures = 0")
}

/// Chunk by chunk, each its own transaction: rows need not be written together.
pub(super) async fn write_full(conn: &mut MySqlConnection, full: &[&Full<'_>]) -> Result<Vec<StoredRow>, Error> {
    let mut rows = Vec::with_capacity(full.len());
    let mut patience = Patience::default();
    let mut rest = full;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |one: &&&Full<'_>| {
            bytes += one.document.len();
            bytes <= CHUNK_BYTES
        };
        let count = rest.iter().take(patience.chunk()).take_while(fits).count().max(1);
        let (chunk, later) = rest.split_at(count);
        match write_chunk(conn, chunk).await {
            Ok(stored) => {
                rows.extend(stored);
                rest = later;
                patience.worked();
            }
            Err(error) => patience.conflicted(error).await?,
        }
    }
    Ok(rows)
}

async fn write_chunk(conn: &mut MySqlConnection, chunk: &[&Full<'_>]) -> Result<Vec<StoredRow>, Error> {
    let mut tx = conn.begin().await.map_err(Error::doing(RECORDING))?;
    upsert(&mut tx, chunk).await?;
    let stored = read_back(&mut tx, chunk).await?;
    drop_forgotten(&mut tx, &stored).await?;
    tx.commit().await.map_err(Error::doing(RECORDING))?;
    Ok(stored)
}

async fn upsert(conn: &mut MySqlConnection, chunk: &[&Full<'_>]) -> Result<(), Error> {
    let newer = &format!("(observed_at IS NULL OR VALUES(observed_at) >= observed_at OR {FROM_THE_FUTURE})");
    let mut query = QueryBuilder::<MySql>::new(
        "INSERT INTO instance (hostname, port, lane, facts, facts_hash, flavor, source_hostname, source_port, observed_at, \
                               last_checked_at, last_seen_at, latency_us, cluster_name, ancestry_uuid, gtid_errant, \
                               first_seen_at, changed_at) ",
    );
    query.push_values(chunk, |mut row, one| {
        let at = stamp(one.observed_at);
        let source = one.facts.source().filter(|source| source.port > 0);
        // A primary is its own cluster from the start; for a replica the leader finds out.
        let heads = source.is_none() && one.facts.group.is_none();
        row.push_bind(&one.key.hostname).push_bind(one.key.port);
        row.push_bind(lane(one.facts).to_owned()).push_bind(&one.document).push_bind(one.hash);
        row.push_bind(ServerVersion::parse(&one.facts.version, &one.facts.version_comment).flavor.name());
        row.push_bind(source.map_or("", |source| &source.hostname)).push_bind(source.map_or(0, |source| source.port));
        row.push_bind(at).push_bind(at).push_bind(at).push_bind(one.latency_micros);
        row.push_bind(if heads { one.key.to_string() } else { String::new() });
        row.push("''").push("''").push("NOW(6)").push("NOW(6)");
    });
    query.push(" ON DUPLICATE KEY UPDATE lane = IF(").push(newer);
    query.push(" AND VALUES(lane) <> '', VALUES(lane), lane)");
    for column in ["facts", "facts_hash", "flavor", "source_hostname", "source_port", "latency_us", "last_checked_at"] {
        query.push(format_args!(", {column} = IF({newer}, VALUES({column}), {column})"));
    }
    query.push(format_args!(", last_seen_at = IF({newer}, VALUES(last_seen_at), last_seen_at)"));
    query
        .push(format_args!(", failures = IF({newer}, 0, failures), partial_success = IF({newer}, 0, partial_success)"));
    query.push(format_args!(", error_kind = IF({newer}, '', error_kind), last_error = IF({newer}, '', last_error)"));
    query.push(format_args!(", silent_since = IF({newer}, NULL, silent_since)"));
    query.push(format_args!(", changed_at = IF({newer}, NOW(6), changed_at)"));
    // Last, because the conditions before it look at it.
    query.push(format_args!(", observed_at = IF({newer}, VALUES(observed_at), observed_at)"));
    query.build().execute(conn).await.map(|_| ()).map_err(Error::doing(RECORDING))
}

/// The lane is the data centre as the server says it; [`queue::Lane`] gives both sides the same stored form.
fn lane(facts: &ServerFacts) -> &str {
    cut(facts.data_center.trim(), LANE_CHARS)
}

/// Looks at the rows just written, which this transaction holds locked.
async fn read_back(conn: &mut MySqlConnection, chunk: &[&Full<'_>]) -> Result<Vec<StoredRow>, Error> {
    let mut query = QueryBuilder::<MySql>::new(
        "SELECT i.id, i.hostname, i.port, i.facts_hash, i.first_seen_at = i.changed_at AS is_new, \
                f.forgotten_until IS NOT NULL AS is_forgotten \
           FROM instance i \
           LEFT JOIN forgotten_instance f ON f.hostname = i.hostname AND f.port = i.port AND f.forgotten_until > NOW(6) \
          WHERE (i.hostname, i.port) IN ",
    );
    push_keys(&mut query, chunk.iter().map(|one| one.key));
    let rows = query.build().fetch_all(conn).await.map_err(Error::doing(RECORDING))?;
    let read = |row| {
        Ok(StoredRow {
            id: uint(row, "id")?,
            key: key(row)?,
            facts_hash: uint(row, "facts_hash")?,
            new: flag(row, "is_new")?,
            forgotten: flag(row, "is_forgotten")?,
        })
    };
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(RECORDING))
}

async fn drop_forgotten(conn: &mut MySqlConnection, rows: &[StoredRow]) -> Result<(), Error> {
    let forgotten: Vec<&InstanceKey> = rows.iter().filter(|row| row.forgotten).map(|row| &row.key).collect();
    if forgotten.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<MySql>::new("DELETE FROM instance WHERE (hostname, port) IN ");
    push_keys(&mut query, forgotten);
    query.build().execute(conn).await.map(|_| ()).map_err(Error::doing(RECORDING))
}

/// The name asked is another's: a row under it would be the same server twice.
pub(super) async fn drop_renamed(conn: &mut MySqlConnection, asked: &InstanceKey) -> Result<(), Error> {
    sqlx::query("DELETE FROM instance WHERE hostname = ? AND port = ?")
        .bind(&asked.hostname)
        .bind(asked.port)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(Error::doing(RECORDING))
}

pub(super) async fn fail(conn: &mut MySqlConnection, failed: &[Failed<'_>], tries: Tries) -> Result<usize, Error> {
    let mut total = 0;
    let mut patience = Patience::default();
    let mut rest = failed;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(patience.chunk().min(rest.len()));
        match fail_chunk(conn, chunk, tries).await {
            Ok(count) => {
                total += count;
                rest = later;
                patience.worked();
            }
            Err(error) => patience.conflicted(error).await?,
        }
    }
    Ok(total)
}

async fn fail_chunk(conn: &mut MySqlConnection, chunk: &[Failed<'_>], tries: Tries) -> Result<usize, Error> {
    let mut query = QueryBuilder::<MySql>::new("UPDATE (");
    for (index, one) in chunk.iter().enumerate() {
        query.push(if index > 0 { " UNION ALL SELECT " } else { "SELECT " });
        // The collation keeps the comparison on the unique index.
        query.push("CAST(").push_bind(&one.key.hostname).push(" AS CHAR(255)) COLLATE utf8mb4_bin AS hostname, CAST(");
        query.push_bind(one.key.port).push(" AS UNSIGNED) AS port, CAST(");
        query.push_bind(one.failure.kind.name()).push(" AS CHAR(32)) AS error_kind, CAST(");
        query.push_bind(cut(&one.failure.message, ERROR_CHARS)).push(" AS CHAR(1024)) AS last_error, CAST(");
        query.push_bind(u8::from(one.failure.kind.is_sign_of_life())).push(" AS UNSIGNED) AS alive, CAST(");
        query.push_bind(stamp(one.observed_at)).push(" AS DATETIME(6)) AS failed_at");
    }
    // Straight and by that index: from the few failures to their rows, in key order. On a small table the optimizer would
    // scan, and lock rows of others.
    query.push(
        ") f STRAIGHT_JOIN instance i FORCE INDEX (instance_name) ON i.hostname = f.hostname AND i.port = f.port \
         SET i.failures = ",
    );
    query.push(match tries {
        Tries::Regular => "i.failures + 1",
        Tries::Extra => "GREATEST(i.failures, 1)",
    });
    query.push(
        ", i.error_kind = f.error_kind, i.last_error = f.last_error, \
             i.partial_success = f.alive, i.last_checked_at = f.failed_at, \
             i.silent_since = IF(f.alive, NULL, COALESCE(i.silent_since, f.failed_at)), \
             i.changed_at = NOW(6), i.observed_at = f.failed_at \
         WHERE i.observed_at IS NULL OR i.observed_at < f.failed_at OR ",
    );
    query.push(FROM_THE_FUTURE);
    let done = query.build().execute(conn).await.map_err(Error::doing(RECORDING))?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}
