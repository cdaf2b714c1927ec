//! Steps of runs: allowed to begin under all locks, and how they ended.

use std::time::Duration;

use domain::plan::Step;
use sqlx::mysql::MySqlPool;
use sqlx::{MySqlExecutor, Row};

use super::{ERROR_CHARS, NAME_CHARS, Run, patiently};
use crate::Error;
use crate::maintenance::{self, FencingToken};
use crate::sql::{cut, interval, json};

/// A step about to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewStep<'a> {
    /// `head`, `branch`, `restore`, `tail`.
    pub part: &'a str,
    pub branch: u32,
    pub sequence: u32,
    pub step: &'a Step,
    /// Of the server that the step changes.
    pub token: FencingToken,
    pub worker: &'a str,
}

/// Lets a step begin, if all locks are in force: prolongs them to `hold` from now and writes the step down, with the
/// moment after which nothing may be sent. `None`: a lock is lost, nothing was written.
pub async fn begin_step(
    pool: &MySqlPool,
    run: Run,
    fence: &[FencingToken],
    new: &NewStep<'_>,
    hold: Duration,
    send_within: Duration,
) -> Result<Option<u64>, Error> {
    patiently(|| try_step(pool, run, fence, new, hold, send_within)).await
}

async fn try_step(
    pool: &MySqlPool,
    run: Run,
    fence: &[FencingToken],
    new: &NewStep<'_>,
    hold: Duration,
    send_within: Duration,
) -> Result<Option<u64>, Error> {
    const DOING: &str = "begin a step";
    let mut tx = pool.begin().await.map_err(Error::doing(DOING))?;
    if !maintenance::extend_for(&mut tx, fence, hold).await? {
        return Ok(None);
    }
    let done = sqlx::query(
        "INSERT INTO operation_step (operation_id, run, part, branch, sequence, hostname, port, step, text, state, \
                token, worker, begun_at, deadline_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'begun', ?, ?, NOW(6), NOW(6) + INTERVAL ? MICROSECOND)",
    )
    .bind(run.operation)
    .bind(run.number)
    .bind(new.part)
    .bind(new.branch)
    .bind(new.sequence)
    .bind(&new.step.on.hostname)
    .bind(new.step.on.port)
    .bind(json(DOING, new.step)?)
    .bind(cut(&new.step.to_string(), ERROR_CHARS))
    .bind(new.token.0)
    .bind(cut(new.worker, NAME_CHARS))
    .bind(interval(send_within))
    .execute(&mut *tx)
    .await
    .map_err(Error::doing(DOING))?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(Some(done.last_insert_id()))
}

/// Writes down how a step ended; `error`: it failed. False: it was closed before, by the run that took over.
pub async fn end_step(db: impl MySqlExecutor<'_>, step: u64, error: Option<&str>) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE operation_step SET state = IF(? IS NULL, 'done', 'failed'), error = ?, ended_at = NOW(6) \
          WHERE id = ? AND state = 'begun'",
    )
    .bind(error.map(|error| cut(error, ERROR_CHARS)))
    .bind(error.map(|error| cut(error, ERROR_CHARS)))
    .bind(step)
    .execute(db)
    .await
    .map_err(Error::doing("end a step"))?;
    Ok(done.rows_affected() == 1)
}

/// How long something of an earlier run may still be sent to a server; zero: no longer.
pub async fn pending(db: impl MySqlExecutor<'_>, run: Run) -> Result<Duration, Error> {
    const DOING: &str = "read the steps of an operation";
    let row = sqlx::query(
        "SELECT CAST(COALESCE(MAX(GREATEST(0, TIMESTAMPDIFF(MICROSECOND, NOW(6), deadline_at))), 0) AS UNSIGNED) AS micros \
           FROM operation_step WHERE operation_id = ? AND run < ? AND state = 'begun'",
    )
    .bind(run.operation)
    .bind(run.number)
    .fetch_one(db)
    .await
    .map_err(Error::doing(DOING))?;
    row.try_get_unchecked::<u64, _>("micros").map(Duration::from_micros).map_err(Error::doing(DOING))
}

/// Closes the steps that earlier runs left open; how many there were. After [`pending`] is zero.
pub async fn close_steps(db: impl MySqlExecutor<'_>, run: Run) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE operation_step SET state = 'failed', ended_at = NOW(6), error = 'its worker was lost; looked at afresh' \
          WHERE operation_id = ? AND run < ? AND state = 'begun'",
    )
    .bind(run.operation)
    .bind(run.number)
    .execute(db)
    .await
    .map_err(Error::doing("close the steps of a lost worker"))?;
    Ok(done.rows_affected())
}
