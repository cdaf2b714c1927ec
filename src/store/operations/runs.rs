//! Runs of operations: taken up, planned, ended. Every write names the run and finds nothing once another has begun.

use std::collections::BTreeMap;

use domain::instance::InstanceKey;
use domain::plan::{Baseline, Plan};
use sqlx::MySqlExecutor;
use sqlx::mysql::{MySqlConnection, MySqlPool};

use super::{BaselineRow, ERROR_CHARS, NAME_CHARS, Operation, State, patiently, read};
use crate::Error;
use crate::audit::{self, Entry};
use crate::maintenance::{self, Claim, FencingToken};
use crate::sql::{cut, json};

/// One worker's hold on an operation: void when another begins a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub operation: u64,
    pub number: u32,
}

/// Answer to [`begin_run`].
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// There is no such operation.
    Unknown,
    /// It has ended before.
    Ended(Box<Operation>),
    /// It is this worker's now.
    Run {
        run: Run,
        /// As it is now: what earlier runs kept, under the number of this one.
        operation: Box<Operation>,
        /// The locks taken over from the run before; empty for a first run.
        tokens: BTreeMap<InstanceKey, FencingToken>,
    },
}

/// How an operation ends.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    pub state: State,
    /// For the one who asked.
    pub outcome: &'a serde_json::Value,
    pub error: &'a str,
    /// For the audit.
    pub message: &'a str,
}

/// Takes up an operation: a new run, and new tokens for the locks that the run before left behind.
pub async fn begin_run(pool: &MySqlPool, operation: u64, claim: Claim<'_>) -> Result<Begun, Error> {
    patiently(|| try_run(pool, operation, claim)).await
}

async fn try_run(pool: &MySqlPool, operation: u64, claim: Claim<'_>) -> Result<Begun, Error> {
    const DOING: &str = "take up an operation";
    let mut tx = pool.begin().await.map_err(Error::doing(DOING))?;
    let raised = sqlx::query(
        "UPDATE operation SET run = run + 1, executor = ?, state = 'running', \
                started_at = COALESCE(started_at, NOW(6)) \
          WHERE id = ? AND state IN ('waiting', 'running')",
    )
    .bind(cut(claim.holder_node, NAME_CHARS))
    .bind(operation)
    .execute(&mut *tx)
    .await
    .map_err(Error::doing(DOING))?;
    let Some(found) = read(&mut *tx, operation).await? else { return Ok(Begun::Unknown) };
    if raised.rows_affected() == 0 {
        return Ok(Begun::Ended(Box::new(found)));
    }
    let tokens = maintenance::take_over(&mut tx, operation, claim).await?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    let run = Run { operation, number: found.run };
    Ok(Begun::Run { run, operation: Box::new(found), tokens })
}

/// Is the operation still this run's? In a transaction it stays so until commit.
pub async fn is_ours(conn: &mut MySqlConnection, run: Run) -> Result<bool, Error> {
    // Found rows are counted, not changed ones: nothing needs to change.
    let done = sqlx::query("UPDATE operation SET run = run WHERE id = ? AND run = ? AND state = 'running'")
        .bind(run.operation)
        .bind(run.number)
        .execute(conn)
        .await
        .map_err(Error::doing("check whose an operation is"))?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the plan and what ran before, before the first step. The first plan stays, a later run's goes beside it; the
/// baseline is replaced, so a later run passes the one it read with what it adds. False: no longer this run's.
pub async fn save_plan(db: impl MySqlExecutor<'_>, run: Run, plan: &Plan, baseline: &Baseline) -> Result<bool, Error> {
    const DOING: &str = "keep the plan of an operation";
    // Assignments go from left to right: the second reads the plan as the first left it, hence this order.
    let done = sqlx::query(
        "UPDATE operation SET resumed_plan = IF(plan IS NULL, NULL, ?), plan = COALESCE(plan, ?), baseline = ? \
          WHERE id = ? AND run = ? AND state = 'running'",
    )
    .bind(json(DOING, plan)?)
    .bind(json(DOING, plan)?)
    .bind(json(DOING, &BaselineRow::from(baseline))?)
    .bind(run.operation)
    .bind(run.number)
    .execute(db)
    .await
    .map_err(Error::doing(DOING))?;
    Ok(done.rows_affected() == 1)
}

/// Ends locks that this run turned out not to need; false: no longer this run's.
pub async fn release(pool: &MySqlPool, run: Run) -> Result<bool, Error> {
    patiently(|| try_release(pool, run)).await
}

async fn try_release(pool: &MySqlPool, run: Run) -> Result<bool, Error> {
    const DOING: &str = "release the locks of an operation";
    let mut tx = pool.begin().await.map_err(Error::doing(DOING))?;
    if !is_ours(&mut tx, run).await? {
        return Ok(false);
    }
    maintenance::end_for(&mut tx, run.operation).await?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(true)
}

/// Ends the operation: outcome, end of its locks and audit entry, all or nothing. False: no longer this run's.
pub async fn finish(pool: &MySqlPool, run: Run, finish: Finish<'_>) -> Result<bool, Error> {
    patiently(|| try_finish(pool, run, finish)).await
}

async fn try_finish(pool: &MySqlPool, run: Run, finish: Finish<'_>) -> Result<bool, Error> {
    const DOING: &str = "end an operation";
    let mut tx = pool.begin().await.map_err(Error::doing(DOING))?;
    let is_ours = finish_in(&mut tx, run, finish).await?;
    if is_ours {
        tx.commit().await.map_err(Error::doing(DOING))?;
    }
    Ok(is_ours)
}

/// The same in the caller's transaction, which must be dropped when the answer is false.
pub(crate) async fn finish_in(conn: &mut MySqlConnection, run: Run, finish: Finish<'_>) -> Result<bool, Error> {
    const DOING: &str = "end an operation";
    let done = sqlx::query(
        "UPDATE operation SET state = ?, outcome = ?, error = ?, finished_at = NOW(6) \
          WHERE id = ? AND run = ? AND state = 'running'",
    )
    .bind(finish.state.name())
    .bind(json(DOING, finish.outcome)?)
    .bind(cut(finish.error, ERROR_CHARS))
    .bind(run.operation)
    .bind(run.number)
    .execute(&mut *conn)
    .await
    .map_err(Error::doing(DOING))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    maintenance::end_for(conn, run.operation).await?;
    if let Some(ended) = read(&mut *conn, run.operation).await?
        && !ended.dry_run
    {
        let entry = Entry {
            audit_type: &ended.word,
            instance: Some(&ended.instance),
            cluster_name: &ended.cluster_name,
            actor: &ended.actor,
            message: finish.message,
        };
        audit::write(conn, &entry).await?;
    }
    Ok(true)
}
