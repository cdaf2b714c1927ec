//! Writing what probes brought back: the hot path of the whole product.
//!
//! ```text
//!  batch ─┬─ same facts as this process wrote last ──▶ one narrow UPDATE for all ──┬─ matched all: done, one statement
//!         │                                                                        └─ fewer: those rows are not as we
//!         │                                                                            remember, write them in full ─┐
//!         ├─ new or changed facts ─────────────────────────────────────────────────────▶ multi-row upsert ◀──────────┘
//!         └─ failed ──▶ multi-row UPDATE of check columns; facts stay, unknown keys stay unknown
//! ```
//! Each row takes only what is newer than its `observed_at`, so the order of arrival does not matter, a batch may be
//! written twice, and its parts need no common transaction. Rows are locked in key order within a statement; what still
//! deadlocks is tried again in smaller parts.
//!
//! Forgotten keys: the upsert is followed, in its transaction, by a look at the rows it holds locked; those that somebody
//! forgot are deleted again. A forget that commits before the upsert is seen by that look, one that comes after it waits
//! for the row lock and deletes the row: neither order leaves the row behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::instance::{Answer, DbMicros, InstanceKey, Observation, ProbeFailure, ServerFacts};
use domain::version::ServerVersion;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{Connection, Executor, MySql, QueryBuilder};

use crate::Error;
use crate::sql::{check_key, check_width, cut, flag, key, push_keys, stamp, stamp_literal, uint};

/// Rows per statement, and bytes of facts: far below the smallest packet limit in use (16 MB).
const CHUNK_ROWS: usize = 100;
const CHUNK_BYTES: usize = 4 << 20;
/// A server whose facts are larger is not stored: something is wrong with it, and it would not fit a packet.
const MAX_FACTS_BYTES: usize = 12 << 20;
/// Tries of a chunk that deadlocks with others, and the longest pause between two: a second in all. InnoDB sacrifices the
/// smaller transaction, so who retries in small parts must outlast the large ones.
const TRIES: u32 = 30;
const LONGEST_PAUSE_MS: u32 = 40;
/// Instances remembered per process: ten times the largest fleet we know of.
const REMEMBERED: usize = 200_000;
const RECORDING: &str = "record observations";
/// Widths of columns.
const LANE_CHARS: usize = 64;
const ERROR_CHARS: usize = 1024;

/// What this process last wrote of each instance. Only a saving: what is wrong here is found out and written in full.
#[derive(Debug, Default)]
pub struct Written {
    rows: Mutex<HashMap<InstanceKey, Last>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    id: u64,
    facts_hash: u64,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordReport {
    /// Keys whose facts were written in full: new, or changed since this process wrote them last.
    pub changed: BTreeSet<InstanceKey>,
    /// Of these, keys that had no row before.
    pub new: BTreeSet<InstanceKey>,
    /// Instances that only got new times.
    pub unchanged: usize,
    /// Rows that took a failure.
    pub failed: usize,
    /// Names asked that turned out to be another's: asked, then resolved.
    pub renamed: Vec<(InstanceKey, InstanceKey)>,
    /// Keys not written because people forgot them.
    pub forgotten: BTreeSet<InstanceKey>,
    /// Observations that cannot be stored, and why.
    pub rejected: Vec<(InstanceKey, String)>,
}

/// Records a batch of observations. Not part of a larger transaction: it begins and retries its own. An error may leave a
/// part of the batch written; recording it again is harmless.
pub async fn record(pool: &MySqlPool, written: &Written, observations: &[Observation]) -> Result<RecordReport, Error> {
    let mut report = RecordReport::default();
    let batch = Batch::sort(observations, written, &mut report);
    if batch.is_empty() {
        return Ok(report);
    }
    let mut conn = pool.acquire().await.map_err(Error::doing(RECORDING))?;
    write(&mut conn, written, &batch, report).await
}

/// Whom a server mentions: its source, its replicas, the members of its group; without itself and without names one
/// cannot connect to.
pub fn neighbours(facts: &ServerFacts, own: &InstanceKey) -> BTreeSet<InstanceKey> {
    let members = facts.group.iter().flat_map(|group| group.members.iter().chain(&group.primary));
    let mentioned = facts.source().into_iter().chain(&facts.replicas).chain(members);
    mentioned.filter(|key| key.is_valid() && *key != own).cloned().collect()
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceKey, Last>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was written, as after a restart.
    pub fn clear(&self) {
        self.lock().clear();
    }
}

/// A batch sorted by what must be done, each part in key order.
struct Batch<'a> {
    same: Vec<(Last, Full<'a>)>,
    full: Vec<Full<'a>>,
    failed: Vec<Failed<'a>>,
    renamed: Vec<(&'a InstanceKey, &'a InstanceKey)>,
}

struct Full<'a> {
    key: &'a InstanceKey,
    facts: &'a ServerFacts,
    document: String,
    hash: u64,
    observed_at: DbMicros,
    latency_micros: u64,
}

struct Failed<'a> {
    key: &'a InstanceKey,
    failure: &'a ProbeFailure,
    observed_at: DbMicros,
}

impl<'a> Batch<'a> {
    fn sort(observations: &'a [Observation], written: &Written, report: &mut RecordReport) -> Self {
        // The newest of each key: a statement must not meet a row twice.
        let mut answers: BTreeMap<&InstanceKey, &Observation> = BTreeMap::new();
        let mut batch = Self { same: Vec::new(), full: Vec::new(), failed: Vec::new(), renamed: Vec::new() };
        for one in observations {
            let key = match &one.answer {
                Answer::Facts { key, .. } => key,
                Answer::Failed(_) => &one.asked,
                Answer::Filtered { .. } => continue,
            };
            if let Err(error) = check_key(RECORDING, key).and_then(|()| check_key(RECORDING, &one.asked)) {
                report.rejected.push((one.asked.clone(), error.to_string()));
                continue;
            }
            if *key != one.asked {
                batch.renamed.push((&one.asked, key));
            }
            let newest = answers.entry(key).or_insert(one);
            if newest.observed_at <= one.observed_at {
                *newest = one;
            }
        }
        for (key, one) in answers {
            batch.add(key, one, report);
        }
        let known = written.lock();
        batch.full = std::mem::take(&mut batch.full)
            .into_iter()
            .filter_map(|full| match known.get(full.key) {
                Some(last) if last.facts_hash == full.hash => {
                    batch.same.push((*last, full));
                    None
                }
                _ => Some(full),
            })
            .collect();
        batch
    }

    fn add(&mut self, key: &'a InstanceKey, one: &'a Observation, report: &mut RecordReport) {
        match &one.answer {
            Answer::Filtered { .. } => {}
            Answer::Failed(failure) => self.failed.push(Failed { key, failure, observed_at: one.observed_at }),
            Answer::Facts { facts, .. } => match document(facts) {
                Ok(document) => self.full.push(Full {
                    key,
                    facts,
                    hash: fnv(document.as_bytes()),
                    document,
                    observed_at: one.observed_at,
                    latency_micros: one.latency_micros,
                }),
                Err(error) => report.rejected.push((key.clone(), error.to_string())),
            },
        }
    }

    fn is_empty(&self) -> bool {
        self.same.is_empty() && self.full.is_empty() && self.failed.is_empty() && self.renamed.is_empty()
    }
}

fn document(facts: &ServerFacts) -> Result<String, Error> {
    let invalid = |reason: String| Error::Invalid { doing: RECORDING, reason };
    if let Some(source) = facts.source() {
        check_width(RECORDING, "the source's host name", &source.hostname, domain::instance::MAX_HOSTNAME_BYTES)?;
    }
    let document = serde_json::to_string(facts).map_err(|error| invalid(error.to_string()))?;
    if document.len() > MAX_FACTS_BYTES {
        return Err(invalid(format!(
            "the facts are {} bytes long, at most {MAX_FACTS_BYTES} are stored",
            document.len()
        )));
    }
    Ok(document)
}

/// FNV-1a, 64 bits: stable across releases and machines, unlike the standard library's hashers.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

async fn write(
    conn: &mut MySqlConnection,
    written: &Written,
    batch: &Batch<'_>,
    mut report: RecordReport,
) -> Result<RecordReport, Error> {
    let mut full: Vec<&Full<'_>> = batch.full.iter().collect();
    if !batch.same.is_empty() {
        if see_patiently(conn, &batch.same).await? == batch.same.len() as u64 {
            report.unchanged = batch.same.len();
        } else {
            full.extend(batch.same.iter().map(|(_, full)| full));
            full.sort_by_key(|one| one.key);
        }
    }
    if full.is_empty() && batch.failed.is_empty() && batch.renamed.is_empty() {
        return Ok(report);
    }
    let rows = write_full(conn, &full).await?;
    for (asked, resolved) in &batch.renamed {
        crate::hostnames::save(&mut *conn, &asked.hostname, &resolved.hostname).await?;
        drop_renamed(conn, asked).await?;
    }
    report.failed = fail(conn, &batch.failed).await?;
    remember(written, batch, &rows);
    for row in rows {
        if row.forgotten {
            report.forgotten.insert(row.key);
            continue;
        }
        if row.new {
            report.new.insert(row.key.clone());
        }
        report.changed.insert(row.key);
    }
    report.renamed = batch.renamed.iter().map(|(asked, resolved)| ((*asked).clone(), (*resolved).clone())).collect();
    Ok(report)
}

/// Takes over what was written into the memory of this process.
fn remember(written: &Written, batch: &Batch<'_>, rows: &[StoredRow]) {
    let mut known = written.lock();
    if known.len() + rows.len() > REMEMBERED {
        known.clear();
    }
    for row in rows {
        if row.forgotten {
            known.remove(&row.key);
        } else {
            known.insert(row.key.clone(), Last { id: row.id, facts_hash: row.facts_hash });
        }
    }
    // The next good check must clear the failure: write it in full.
    for failed in &batch.failed {
        known.remove(failed.key);
    }
}

async fn see_patiently(conn: &mut MySqlConnection, same: &[(Last, Full<'_>)]) -> Result<u64, Error> {
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
    let at = stamp_literal(same.iter().map(|(_, full)| full.observed_at).min().unwrap_or(0));
    let mut lasts: Vec<Last> = same.iter().map(|(last, _)| *last).collect();
    lasts.sort_by_key(|last| last.id);
    let join = |texts: Vec<String>| texts.join(",");
    let ids = join(lasts.iter().map(|last| last.id.to_string()).collect());
    let pairs = join(lasts.iter().map(|last| format!("({},{})", last.id, last.facts_hash)).collect());
    // `observed_at` is set last: MySQL and MariaDB assign from left to right.
    let statement = format!(
        "UPDATE instance SET last_checked_at = {at}, last_seen_at = {at}, observed_at = {at} \
          WHERE id IN ({ids}) AND (id, facts_hash) IN ({pairs}) AND failures = 0 AND observed_at < {at}"
    );
    // A plain text is sent unprepared (`raw_sql` does the same, in a future that is not `Send` for every lifetime).
    let done = conn.execute(statement.as_str()).await.map_err(Error::doing(RECORDING))?;
    Ok(done.rows_affected())
}

/// A row as it stands after the upsert.
struct StoredRow {
    id: u64,
    key: InstanceKey,
    facts_hash: u64,
    new: bool,
    forgotten: bool,
}

/// Chunk by chunk, each its own transaction: rows need not be written together.
async fn write_full(conn: &mut MySqlConnection, full: &[&Full<'_>]) -> Result<Vec<StoredRow>, Error> {
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

/// What to do about deadlocks: try again, each time with fewer rows per transaction. Transactions of one row have no order
/// of locks to disagree about.
#[derive(Debug, Default)]
struct Patience {
    conflicts: u32,
    smaller: u32,
}

impl Patience {
    fn chunk(&self) -> usize {
        (CHUNK_ROWS >> (2 * self.smaller)).max(1)
    }

    fn worked(&mut self) {
        self.conflicts = 0;
    }

    /// Waits a little, or gives the error back if it is none of that kind or there were too many.
    async fn conflicted(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_conflict() || self.conflicts >= TRIES {
            return Err(error);
        }
        self.conflicts += 1;
        self.smaller = (self.smaller + 1).min(CHUNK_ROWS.ilog2() / 2 + 1);
        tracing::debug!(self.conflicts, "recording collided with another, trying again with fewer rows");
        tokio::time::sleep(Duration::from_millis(u64::from((self.conflicts * 3).min(LONGEST_PAUSE_MS)))).await;
        Ok(())
    }
}

async fn upsert(conn: &mut MySqlConnection, chunk: &[&Full<'_>]) -> Result<(), Error> {
    const NEWER: &str = "(observed_at IS NULL OR VALUES(observed_at) >= observed_at)";
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
    query.push(" ON DUPLICATE KEY UPDATE lane = IF(").push(NEWER);
    query.push(" AND VALUES(lane) <> '', VALUES(lane), lane)");
    for column in ["facts", "facts_hash", "flavor", "source_hostname", "source_port", "latency_us", "last_checked_at"] {
        query.push(format_args!(", {column} = IF({NEWER}, VALUES({column}), {column})"));
    }
    query.push(format_args!(", last_seen_at = IF({NEWER}, VALUES(last_seen_at), last_seen_at)"));
    query
        .push(format_args!(", failures = IF({NEWER}, 0, failures), partial_success = IF({NEWER}, 0, partial_success)"));
    query.push(format_args!(", error_kind = IF({NEWER}, '', error_kind), last_error = IF({NEWER}, '', last_error)"));
    query.push(format_args!(", changed_at = IF({NEWER}, NOW(6), changed_at)"));
    // Last, because the conditions before it look at it.
    query.push(format_args!(", observed_at = IF({NEWER}, VALUES(observed_at), observed_at)"));
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
async fn drop_renamed(conn: &mut MySqlConnection, asked: &InstanceKey) -> Result<(), Error> {
    sqlx::query("DELETE FROM instance WHERE hostname = ? AND port = ?")
        .bind(&asked.hostname)
        .bind(asked.port)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(Error::doing(RECORDING))
}

async fn fail(conn: &mut MySqlConnection, failed: &[Failed<'_>]) -> Result<usize, Error> {
    let mut total = 0;
    let mut patience = Patience::default();
    let mut rest = failed;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(patience.chunk().min(rest.len()));
        match fail_chunk(conn, chunk).await {
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

async fn fail_chunk(conn: &mut MySqlConnection, chunk: &[Failed<'_>]) -> Result<usize, Error> {
    let mut query = QueryBuilder::<MySql>::new("UPDATE (");
    for (index, one) in chunk.iter().enumerate() {
        query.push(if index > 0 { " UNION ALL SELECT " } else { "SELECT " });
        // The collation keeps the comparison on the unique index.
        query.push("CAST(").push_bind(&one.key.hostname).push(" AS CHAR(255)) COLLATE utf8mb4_bin AS hostname, CAST(");
        query.push_bind(one.key.port).push(" AS UNSIGNED) AS port, CAST(");
        query.push_bind(one.failure.kind.name()).push(" AS CHAR(32)) AS error_kind, CAST(");
        query.push_bind(cut(&one.failure.message, ERROR_CHARS)).push(" AS CHAR(1024)) AS last_error, CAST(");
        query.push_bind(u8::from(one.failure.kind.is_sign_of_life())).push(" AS UNSIGNED) AS alive, CAST(");
        query.push_bind(stamp(one.observed_at)).push(" AS DATETIME(6)) AS observed_at");
    }
    // Straight and by that index: from the few failures to their rows, in key order. On a small table the optimizer would
    // scan, and lock rows of others.
    query.push(
        ") f STRAIGHT_JOIN instance i FORCE INDEX (instance_name) ON i.hostname = f.hostname AND i.port = f.port \
         SET i.failures = i.failures + 1, i.error_kind = f.error_kind, i.last_error = f.last_error, \
             i.partial_success = f.alive, i.last_checked_at = f.observed_at, i.changed_at = NOW(6), \
             i.observed_at = f.observed_at \
         WHERE i.observed_at IS NULL OR i.observed_at < f.observed_at",
    );
    let done = query.build().execute(conn).await.map_err(Error::doing(RECORDING))?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use domain::instance::{GroupFacts, ReplicaFacts};

    use super::*;

    #[test]
    fn neighbours_are_all_that_are_mentioned_but_oneself() {
        let named = |name: &str| InstanceKey::new(name, 3306);
        let facts = ServerFacts {
            replica: Some(ReplicaFacts { source: named("//detached"), ..ReplicaFacts::default() }),
            replicas: [named("b"), named("own")].into(),
            group: Some(GroupFacts {
                members: [named("c")].into(),
                primary: Some(named("d")),
                ..GroupFacts::default()
            }),
            ..ServerFacts::default()
        };
        assert_eq!(neighbours(&facts, &named("own")), [named("b"), named("c"), named("d")].into());
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
