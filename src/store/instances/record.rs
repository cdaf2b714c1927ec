//! Writing what probes brought back: the hot path of the whole product.
//!
//! ```text
//!  batch ─┬─ same facts as this process wrote last ──▶ one narrow UPDATE for all ──┬─ matched all: done, one statement
//!         │                                                                        └─ fewer: ask which, write those
//!         │                                                                            in full ──────────────────────┐
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

mod batch;
mod patience;
mod statements;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::instance::{InstanceKey, Observation};
use sqlx::mysql::{MySqlConnection, MySqlPool};

use crate::Error;
use batch::{Batch, Full};
use statements::StoredRow;

/// Instances remembered per process: ten times the largest fleet we know of.
const REMEMBERED: usize = 200_000;
const RECORDING: &str = "record observations";

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
    record_as(pool, written, observations, Tries::Regular).await
}

/// As [`record`], of probes that come on top of the regular ones, many within a second perhaps: such failures do not make
/// the next regular try come later.
pub async fn record_extra(
    pool: &MySqlPool,
    written: &Written,
    observations: &[Observation],
) -> Result<RecordReport, Error> {
    record_as(pool, written, observations, Tries::Extra).await
}

/// What a failure counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tries {
    /// One more in a row: the pause until the next grows with their number.
    Regular,
    /// The first of a row makes it one, another does not make it longer.
    Extra,
}

async fn record_as(
    pool: &MySqlPool,
    written: &Written,
    observations: &[Observation],
    tries: Tries,
) -> Result<RecordReport, Error> {
    let mut report = RecordReport::default();
    let batch = Batch::sort(observations, written, &mut report);
    if batch.is_empty() {
        return Ok(report);
    }
    let mut conn = pool.acquire().await.map_err(Error::doing(RECORDING))?;
    write(&mut conn, written, &batch, tries, report).await
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

async fn write(
    conn: &mut MySqlConnection,
    written: &Written,
    batch: &Batch<'_>,
    tries: Tries,
    mut report: RecordReport,
) -> Result<RecordReport, Error> {
    let mut full: Vec<&Full<'_>> = batch.full.iter().collect();
    if !batch.same.is_empty() {
        if statements::see_patiently(conn, &batch.same).await? == batch.same.len() as u64 {
            report.unchanged = batch.same.len();
        } else {
            let seen = statements::seen(conn, &batch.same).await?;
            report.unchanged = seen.len();
            full.extend(batch.same.iter().filter(|(last, _)| !seen.contains(&last.id)).map(|(_, full)| full));
            full.sort_by_key(|one| one.key);
        }
    }
    if full.is_empty() && batch.failed.is_empty() && batch.renamed.is_empty() {
        return Ok(report);
    }
    let rows = statements::write_full(conn, &full).await?;
    for (asked, resolved) in &batch.renamed {
        crate::hostnames::save(&mut *conn, &asked.hostname, &resolved.hostname).await?;
        statements::drop_renamed(conn, asked).await?;
    }
    report.failed = statements::fail(conn, &batch.failed, tries).await?;
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
