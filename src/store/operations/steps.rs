//! Steps of runs: allowed to begin under all locks, and how they ended.

use std::time::Duration;

use domain::instance::InstanceKey;
use domain::plan::Step;
use sqlx::mysql::MySqlPool;
use sqlx::{MySql, MySqlExecutor, QueryBuilder, Row};

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

/// Lets a step begin, if all locks are in force: writes the step down, with the moment after which nothing may be sent.
/// `None`: a lock is lost, nothing was written. [`keep_locks`] keeps the locks beyond the step.
///
/// One statement. It locks the rows of the locks in share mode: steps of other branches pass, whoever ends or takes over a
/// lock waits, or was first.
pub async fn begin_step(
    pool: &MySqlPool,
    run: Run,
    fence: &[FencingToken],
    new: &NewStep<'_>,
    send_within: Duration,
) -> Result<Option<u64>, Error> {
    if fence.is_empty() {
        return Ok(None);
    }
    patiently(|| try_step(pool, run, fence, new, send_within)).await
}

async fn try_step(
    pool: &MySqlPool,
    run: Run,
    fence: &[FencingToken],
    new: &NewStep<'_>,
    send_within: Duration,
) -> Result<Option<u64>, Error> {
    const DOING: &str = "begin a step";
    let mut query = QueryBuilder::<MySql>::new(
        "INSERT INTO operation_step (operation_id, run, part, branch, sequence, hostname, port, step, text, state, \
                token, worker, begun_at, deadline_at) SELECT ",
    );
    let mut values = query.separated(", ");
    values
        .push_bind(run.operation)
        .push_bind(run.number)
        .push_bind(new.part)
        .push_bind(new.branch)
        .push_bind(new.sequence)
        .push_bind(&new.step.on.hostname)
        .push_bind(new.step.on.port)
        .push_bind(json(DOING, new.step)?)
        .push_bind(cut(&new.step.to_string(), ERROR_CHARS).to_owned())
        .push("'begun'")
        .push_bind(new.token.0)
        .push_bind(cut(new.worker, NAME_CHARS))
        .push("NOW(6)")
        .push("NOW(6) + INTERVAL ")
        .push_bind_unseparated(interval(send_within));
    query.push(" MICROSECOND FROM (SELECT COUNT(*) AS in_force FROM maintenance WHERE id IN (");
    let mut list = query.separated(", ");
    for token in fence {
        list.push_bind(token.0);
    }
    query.push(") AND active_slot = 1 AND expires_at > NOW(6) LOCK IN SHARE MODE) fence WHERE fence.in_force = ");
    query.push_bind(fence.len() as u64);
    let done = query.build().execute(pool).await.map_err(Error::doing(DOING))?;
    Ok((done.rows_affected() == 1).then(|| done.last_insert_id()))
}

/// Prolongs all these locks; false: one of them is not in force any more.
pub async fn keep_locks(pool: &MySqlPool, fence: &[FencingToken], hold: Duration) -> Result<bool, Error> {
    patiently(|| async {
        let mut conn = pool.acquire().await.map_err(Error::doing("extend the locks of an operation"))?;
        maintenance::extend_for(&mut conn, fence, hold).await
    })
    .await
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

/// How long something of other operations may still be sent to one of these servers: a lock that was ended by a person leaves
/// that behind. Zero: no longer.
pub async fn pending_of_others(
    db: impl MySqlExecutor<'_>,
    operation: u64,
    servers: &[InstanceKey],
) -> Result<Duration, Error> {
    const DOING: &str = "read the steps of other operations";
    let mut query = QueryBuilder::<MySql>::new(
        "SELECT CAST(COALESCE(MAX(GREATEST(0, TIMESTAMPDIFF(MICROSECOND, NOW(6), deadline_at))), 0) AS UNSIGNED) AS micros \
           FROM operation_step WHERE state = 'begun' AND deadline_at > NOW(6) \
            AND begun_at > NOW(6) - INTERVAL 1 MINUTE AND operation_id <> ",
    );
    query.push_bind(operation).push(" AND (1 = 0");
    for key in servers {
        query.push(" OR (hostname = ").push_bind(&key.hostname).push(" AND port = ").push_bind(key.port).push(")");
    }
    let row = query.push(")").build().fetch_one(db).await.map_err(Error::doing(DOING))?;
    row.try_get_unchecked::<u64, _>("micros").map(Duration::from_micros).map_err(Error::doing(DOING))
}

/// Has another operation begun to change this server since this one last did?
pub async fn changed_since(
    db: impl MySqlExecutor<'_>,
    operation: u64,
    server: &InstanceKey,
) -> Result<Option<u64>, Error> {
    const DOING: &str = "read the steps of other operations";
    let row = sqlx::query(
        "SELECT MAX(other.operation_id) AS other FROM operation_step other \
          WHERE other.hostname = ? AND other.port = ? AND other.operation_id <> ? \
            AND other.begun_at > (SELECT COALESCE(MAX(own.begun_at), NOW(6)) FROM operation_step own \
                                   WHERE own.operation_id = ? AND own.hostname = ? AND own.port = ?)",
    )
    .bind(&server.hostname)
    .bind(server.port)
    .bind(operation)
    .bind(operation)
    .bind(&server.hostname)
    .bind(server.port)
    .fetch_one(db)
    .await
    .map_err(Error::doing(DOING))?;
    row.try_get_unchecked("other").map_err(Error::doing(DOING))
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
