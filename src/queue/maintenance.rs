//! What a leader does for the queue on a timer. Every function looks at the whole state, is idempotent and harmless when two
//! leaders run it at once: rows are locked with `SKIP LOCKED`, and moving a row twice is impossible.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, MySql, QueryBuilder, Row};

use crate::Error;
use crate::error::is_conflict;
use crate::moves::{Counts, Moved, Source, delete, make_ready, park};
use crate::sql::{bind_ids, micros};
use crate::worker::DEAD_AFTER;

/// Rows per transaction of the functions below.
const BATCH: u32 = 500;
/// Rows of the id sequence per transaction: narrow, and one for each enqueue.
const SEQUENCE_BATCH: u32 = 10_000;
/// Transactions per call, so that a duty ends within its tick even after a long outage.
const MAX_ROUNDS: u32 = 20;
/// A job that was taken back this many times is taken to be what kills its workers. Honest bad luck (deployments, a rack
/// losing power) stays below.
pub const MAX_RESCUES: u32 = 5;

/// What [`rescue`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Back to ready.
    pub released: u64,
    /// Ended as merged into an equal waiting job.
    pub merged: u64,
    /// Parked, because they killed too many workers.
    pub failed: u64,
}

/// Gives the jobs of silent workers, and those past their deadline, back to others. One statement when there is nothing to do.
pub async fn rescue(conn: &mut MySqlConnection) -> Result<Rescued, Error> {
    let mut total = Rescued::default();
    for _ in 0..MAX_ROUNDS {
        let round = retrying(conn, rescue_round).await.map_err(Error::backend("rescue the jobs of silent workers"))?;
        let Some(round) = round else { break };
        total.released += round.released;
        total.merged += round.merged;
        total.failed += round.failed;
    }
    Ok(total)
}

async fn rescue_round(conn: &mut MySqlConnection) -> sqlx::Result<Option<Rescued>> {
    let rows = sqlx::query(
        "(SELECT c.id AS id, c.claim_token AS claim_token FROM job_claimed c LEFT JOIN queue_worker w ON w.token = c.worker \
           WHERE w.token IS NULL OR w.heartbeat_at < NOW(6) - INTERVAL ? MICROSECOND LIMIT ?) \
         UNION (SELECT id, claim_token FROM job_claimed WHERE deadline_at < NOW(6) LIMIT ?)",
    )
    .bind(micros(DEAD_AFTER))
    .bind(BATCH)
    .bind(BATCH)
    .fetch_all(&mut *conn)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut tx = conn.begin().await?;
    let mut lock = QueryBuilder::<MySql>::new("SELECT id, claim_token, rescues FROM job_claimed WHERE id IN (");
    let suspects = rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("claim_token")?)));
    let suspects: Vec<(u64, u64)> = suspects.collect::<sqlx::Result<_>>()?;
    bind_ids(&mut lock, &suspects.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    lock.push(") FOR UPDATE SKIP LOCKED");
    let (mut lost, mut deadly) = (vec![], vec![]);
    for row in lock.build().fetch_all(&mut *tx).await? {
        let (id, claim_token, rescues): (u64, u64, u32) =
            (row.try_get("id")?, row.try_get("claim_token")?, row.try_get("rescues")?);
        // Claimed again since we looked: that claim is another story.
        if suspects.contains(&(id, claim_token)) {
            if rescues >= MAX_RESCUES { deadly.push((id, rescues + 1)) } else { lost.push(id) }
        }
    }
    let Moved { moved, merged } = make_ready(&mut tx, Source::Rescued, &lost).await?;
    let failures: Vec<(u64, String)> =
        deadly.iter().map(|(id, times)| (*id, format!("killed its worker {times} times"))).collect();
    let failures: Vec<(u64, &str)> = failures.iter().map(|(id, error)| (*id, error.as_str())).collect();
    park(&mut tx, &failures, Counts::Rescue).await?;
    delete(&mut tx, "job_claimed", &failures.iter().map(|(id, _)| *id).collect::<Vec<_>>()).await?;
    tx.commit().await?;
    let progress = !(lost.is_empty() && failures.is_empty());
    Ok(progress.then_some(Rescued { released: moved, merged, failed: failures.len() as u64 }))
}

/// Tries of one transaction that the server ends because of a conflict with claims and enqueuers.
const MAX_TRIES: u32 = 10;

async fn retrying<T>(
    conn: &mut MySqlConnection,
    round: impl AsyncFn(&mut MySqlConnection) -> sqlx::Result<T>,
) -> sqlx::Result<T> {
    let mut tries = 1;
    loop {
        match round(conn).await {
            Err(error) if is_conflict(&error) && tries < MAX_TRIES => tries += 1,
            other => return other,
        }
    }
}

/// What [`promote_due`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promoted {
    /// Scheduled jobs that became ready.
    pub promoted: u64,
    /// Scheduled jobs that ended as merged into an equal ready one.
    pub merged: u64,
    /// Ready jobs whose hint ran out and that are anyone's now.
    pub released_hints: u64,
}

/// Makes due jobs ready and opens hinted ones to everyone when their worker did not come. One statement when nothing is due.
pub async fn promote_due(conn: &mut MySqlConnection) -> Result<Promoted, Error> {
    let mut total = Promoted::default();
    for _ in 0..MAX_ROUNDS {
        let round = retrying(conn, promote_round).await.map_err(Error::backend("promote due jobs"))?;
        let Some(round) = round else { break };
        total.promoted += round.promoted;
        total.merged += round.merged;
        total.released_hints += round.released_hints;
    }
    Ok(total)
}

async fn promote_round(conn: &mut MySqlConnection) -> sqlx::Result<Option<Promoted>> {
    let due = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM job_scheduled WHERE run_at <= NOW(6)) AS scheduled, \
                EXISTS (SELECT 1 FROM job_ready WHERE hint_until <= NOW(6)) AS hinted",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (scheduled, hinted): (i64, i64) = (due.try_get("scheduled")?, due.try_get("hinted")?);
    let mut round = Promoted::default();
    if scheduled != 0 {
        let mut tx = conn.begin().await?;
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT id FROM job_scheduled FORCE INDEX (due) WHERE run_at <= NOW(6) ORDER BY run_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(BATCH)
        .fetch_all(&mut *tx)
        .await?;
        let moved = make_ready(&mut tx, Source::Scheduled, &ids).await?;
        tx.commit().await?;
        (round.promoted, round.merged) = (moved.moved, moved.merged);
    }
    if hinted != 0 {
        let mut tx = conn.begin().await?;
        // Locked by primary key with SKIP LOCKED first: a plain update would wait for claims, and they for it.
        let ids: Vec<u64> = sqlx::query_scalar(
            "SELECT id FROM job_ready FORCE INDEX (hints) WHERE hint_until <= NOW(6) LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(BATCH)
        .fetch_all(&mut *tx)
        .await?;
        if !ids.is_empty() {
            let mut update =
                QueryBuilder::<MySql>::new("UPDATE job_ready SET worker_hint = '', hint_until = NULL WHERE id IN (");
            bind_ids(&mut update, &ids);
            update.push(")").build().execute(&mut *tx).await?;
        }
        tx.commit().await?;
        round.released_hints = ids.len() as u64;
    }
    Ok((round != Promoted::default()).then_some(round))
}

/// Deletes outcomes older than `age`, a batch at a time, and used-up rows of the id sequence. Returns the outcomes deleted.
pub async fn trim_outcomes(conn: &mut MySqlConnection, age: Duration) -> Result<u64, Error> {
    let deleted =
        delete_old(conn, "DELETE FROM job_outcome WHERE finished_at < NOW(6) - INTERVAL ? MICROSECOND LIMIT ?", age)
            .await
            .map_err(Error::backend("trim job outcomes"))?;
    // The highest row stays: servers before MySQL 8 forgot the counter of an empty table at a restart.
    for _ in 0..MAX_ROUNDS {
        let used = sqlx::query(
            "DELETE FROM job_sequence WHERE block < (SELECT top FROM (SELECT MAX(block) AS top FROM job_sequence) t) LIMIT ?",
        )
        .bind(SEQUENCE_BATCH)
        .execute(&mut *conn)
        .await
        .map_err(Error::backend("trim the job id sequence"))?;
        if used.rows_affected() < u64::from(SEQUENCE_BATCH) {
            break;
        }
    }
    Ok(deleted)
}

/// Deletes parked jobs older than `age`.
pub async fn trim_failed(conn: &mut MySqlConnection, age: Duration) -> Result<u64, Error> {
    delete_old(conn, "DELETE FROM job_failed WHERE failed_at < NOW(6) - INTERVAL ? MICROSECOND LIMIT ?", age)
        .await
        .map_err(Error::backend("trim failed jobs"))
}

/// Forgets workers silent for `age`, which should be long enough for a person to notice them. Their jobs are not touched.
pub async fn forget_dead_workers(conn: &mut MySqlConnection, age: Duration) -> Result<u64, Error> {
    delete_old(
        conn,
        "DELETE FROM queue_worker WHERE heartbeat_at < NOW(6) - INTERVAL ? MICROSECOND LIMIT ?",
        age.max(DEAD_AFTER),
    )
    .await
    .map_err(Error::backend("forget dead workers"))
}

async fn delete_old(conn: &mut MySqlConnection, statement: &'static str, age: Duration) -> sqlx::Result<u64> {
    let mut deleted = 0;
    for _ in 0..MAX_ROUNDS {
        let batch = sqlx::query(statement).bind(micros(age)).bind(BATCH).execute(&mut *conn).await?.rows_affected();
        deleted += batch;
        if batch < u64::from(BATCH) {
            break;
        }
    }
    Ok(deleted)
}
