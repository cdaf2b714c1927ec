//! Taking jobs: the claim protocol.
//!
//! ```text
//!               enqueue                      run_at reached, or
//!                  |                         joined by an equal job
//!        +---------+-----------+        +------------------------------+
//!        v                     v        |                              v
//!   job_scheduled ----------------------+                          job_ready
//!        ^                                                        |    ^   ^
//!        | retry: attempts + 1                             claim  |    |   |
//!        |                                                        v    |   |
//!        +------------------------- job_claimed <-----------------+    |   |
//!                                    |  |  |  |   release (drain), or  |   |
//!               done: row deleted <--+  |  |  +---- rescue: rescues+1 -+   |
//!             (+ job_outcome, awaited)  |  |                               |
//!                           cancelled <-+  +--> job_failed --- operator ---+
//!                       (+ job_outcome)        (+ job_outcome)    retries
//! ```
//! A claim is peek, then one READ COMMITTED transaction: select with `FOR UPDATE SKIP LOCKED` on the claim index (own hint first,
//! then anyone's: two statements, no `OR`), insert into `job_claimed`, delete from `job_ready`, commit. No transaction is open
//! during work. An idle poll is the peek alone: one statement.
//!
//! Failure cases:
//! - *Worker dies before commit*: the server rolls back, the row is still ready.
//! - *Worker dies after commit*: its heartbeats stop; [`crate::rescue`] returns the row. A run counts as a rescue, not an attempt.
//! - *Commit succeeds, its answer is lost*: the row is claimed and nobody works on it. Its worker reads its own claims at each
//!   heartbeat and gives back what it does not know, two heartbeats in a row. At `deadline_at` the claim ends anyway.
//! - *Worker is cut off, frozen or slow, and comes back*: its claim token no longer matches; its finish changes nothing. Until
//!   then two workers may run the job: jobs are safe to run twice, and a cut-off worker cancels its own in time.
//! - *A job kills each worker that takes it*: parked as failed after [`crate::MAX_RESCUES`] rescues.
//! - *Two claimers at once*: each skips what the other has locked. An enqueuer that joins a waiting job locks it too, so the job
//!   starts after that enqueuer's commit.

use std::time::Duration;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{Connection, MySql, QueryBuilder, Row};

use crate::Lane;
use crate::sql::{bind_ids, text};

/// Time a claim outlives its job's timeout: the worker enforces the timeout itself and needs a moment to report.
const DEADLINE_GRACE_MS: u32 = 10_000;
/// Jobs per claim: keeps the transaction in the low milliseconds.
pub(crate) const MAX_CLAIM: usize = 100;

/// A lane with jobs this worker might claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) lane: Lane,
    /// Some are kept for this worker.
    pub(crate) hinted: bool,
    /// Some are anyone's.
    pub(crate) open: bool,
}

/// What to take from one lane.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) seen: Seen,
    pub(crate) limit: usize,
}

/// A job this worker holds.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub(crate) id: u64,
    pub(crate) claim_token: u64,
    pub(crate) kind: String,
    pub(crate) lane: Lane,
    pub(crate) payload: String,
    pub(crate) attempts: u32,
    pub(crate) rescues: u32,
    pub(crate) max_attempts: u32,
    pub(crate) timeout: Duration,
    pub(crate) wants_outcome: bool,
    pub(crate) submitted_by: String,
    pub(crate) enqueued_term: Option<u64>,
}

/// Which lanes hold something for this worker. The server jumps along the claim index from group to group (a loose index scan),
/// whatever the number of jobs. MariaDB does so once its statistics have noticed a backlog, ten seconds at most; until then it
/// reads the index, milliseconds for ten thousands of jobs. A walk of our own (recursive, lane by lane) reads it always.
pub(crate) async fn peek(conn: &mut MySqlConnection, worker: &str) -> sqlx::Result<Vec<Seen>> {
    let rows =
        sqlx::query("SELECT DISTINCT lane, worker_hint FROM job_ready FORCE INDEX (claim)").fetch_all(conn).await?;
    let mut seen: Vec<Seen> = Vec::new();
    for row in &rows {
        let hint = text(row, "worker_hint")?;
        // A lane of a newer release's queue is left to newer workers.
        let Some(lane) = Lane::parse(&text(row, "lane")?) else { continue };
        let (open, hinted) = (hint.is_empty(), hint == worker);
        if !open && !hinted {
            continue;
        }
        match seen.iter_mut().find(|seen| seen.lane == lane) {
            Some(seen) => {
                seen.open |= open;
                seen.hinted |= hinted;
            }
            None => seen.push(Seen { lane, hinted, open }),
        }
    }
    Ok(seen)
}

/// Takes what is wanted, in the order given. Rows that others hold at this moment are skipped.
pub(crate) async fn claim(
    conn: &mut MySqlConnection,
    worker: &str,
    claim_token: u64,
    wants: &[Want],
) -> sqlx::Result<Vec<Claimed>> {
    let mut tx = conn.begin().await?;
    let mut taken: Vec<Claimed> = Vec::new();
    for Want { seen, limit } in wants {
        let mut left = *limit;
        for (hint, any) in [(worker, seen.hinted), ("", seen.open)] {
            if any && left > 0 {
                let rows = lock_ready(&mut tx, &seen.lane, hint, left).await?;
                left -= rows.len().min(left);
                for row in &rows {
                    taken.push(read(row, &seen.lane, claim_token)?);
                }
            }
        }
    }
    if taken.is_empty() {
        tx.rollback().await?;
        return Ok(taken);
    }
    let ids: Vec<u64> = taken.iter().map(|job| job.id).collect();
    move_to_claimed(&mut tx, worker, claim_token, &ids).await?;
    let mut delete = QueryBuilder::<MySql>::new("DELETE FROM job_ready WHERE id IN (");
    bind_ids(&mut delete, &ids);
    delete.push(")").build().execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(taken)
}

async fn lock_ready(conn: &mut MySqlConnection, lane: &Lane, hint: &str, limit: usize) -> sqlx::Result<Vec<MySqlRow>> {
    // Forced index: on a small table the optimizer would scan and lock rows of other lanes.
    sqlx::query(
        "SELECT id, kind, payload, attempts, rescues, max_attempts, timeout_ms, wants_outcome, submitted_by, enqueued_term \
           FROM job_ready FORCE INDEX (claim) \
          WHERE lane = ? AND worker_hint = ? ORDER BY priority, id LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(lane.to_string())
    .bind(hint)
    .bind(limit as u64)
    .fetch_all(conn)
    .await
}

fn read(row: &MySqlRow, lane: &Lane, claim_token: u64) -> sqlx::Result<Claimed> {
    let timeout_ms: u32 = row.try_get("timeout_ms")?;
    Ok(Claimed {
        id: row.try_get("id")?,
        claim_token,
        kind: text(row, "kind")?,
        lane: lane.clone(),
        payload: text(row, "payload")?,
        attempts: row.try_get("attempts")?,
        rescues: row.try_get("rescues")?,
        max_attempts: row.try_get("max_attempts")?,
        timeout: Duration::from_millis(timeout_ms.into()),
        wants_outcome: row.try_get_unchecked("wants_outcome")?,
        submitted_by: text(row, "submitted_by")?,
        enqueued_term: row.try_get("enqueued_term")?,
    })
}

async fn move_to_claimed(conn: &mut MySqlConnection, worker: &str, claim_token: u64, ids: &[u64]) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<MySql>::new(
        "INSERT INTO job_claimed (id, kind, lane, priority, unique_key, payload, attempts, rescues, max_attempts, timeout_ms, \
         wants_outcome, merges, submitted_by, submitted_at, enqueued_term, worker, claim_token, claimed_at, deadline_at) \
         SELECT id, kind, lane, priority, unique_key, payload, attempts, rescues, max_attempts, timeout_ms, \
         wants_outcome, merges, submitted_by, submitted_at, enqueued_term, ",
    );
    insert.push_bind(worker).push(", ").push_bind(claim_token).push(", NOW(6), NOW(6) + INTERVAL (timeout_ms + ");
    insert.push_bind(DEADLINE_GRACE_MS).push(") * 1000 MICROSECOND FROM job_ready WHERE id IN (");
    bind_ids(&mut insert, ids);
    insert.push(")").build().execute(conn).await?;
    Ok(())
}
