//! What a recovering worker writes. Every write names the run of the operation and finds nothing once another has begun.

use std::time::Duration;

use domain::instance::InstanceKey;
use serde_json::Value;
use sqlx::mysql::{MySqlConnection, MySqlPool};

use super::{FAILURE_BLOCK, NewEvent, Outcome, Phase, event};
use crate::Error;
use crate::operations::{Finish, Run, finish_in, is_ours, patiently};
use crate::sql::{cut, interval, json};

/// What became known meanwhile; `None` leaves what is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress<'a> {
    pub successor_alias: Option<&'a str>,
    /// `file:position` at promotion.
    pub successor_coordinates: Option<&'a str>,
    pub lost: Option<&'a [InstanceKey]>,
    pub participating: Option<&'a [InstanceKey]>,
    pub errors: Option<&'a [String]>,
    pub outage: Option<&'a Value>,
}

/// How a recovery ends.
#[derive(Debug, Clone, Copy)]
pub struct Close<'a> {
    pub outcome: Outcome,
    /// The server that has taken over, or that is well again; `None` with any outcome but recovered.
    pub successor: Option<&'a InstanceKey>,
    /// How long after its start a success holds back the next recovery: `RecoveryPeriodBlockSeconds`.
    pub hold: Duration,
    /// For the timeline.
    pub text: &'a str,
}

/// Moves on to a phase, and notes it in the timeline; false: no longer this run's, or closed. Going back is allowed: whoever
/// takes over begins with what he finds.
pub async fn set_phase(pool: &MySqlPool, run: Run, recovery: u64, phase: Phase, worker: &str) -> Result<bool, Error> {
    patiently(|| try_phase(pool, run, recovery, phase, worker)).await
}

async fn try_phase(pool: &MySqlPool, run: Run, recovery: u64, phase: Phase, worker: &str) -> Result<bool, Error> {
    const DOING: &str = "note the phase of a recovery";
    let mut tx = pool.begin().await.map_err(Error::doing(DOING))?;
    if !is_ours(&mut tx, run).await? {
        return Ok(false);
    }
    let done = sqlx::query(
        "UPDATE recovery SET phase_at = IF(phase = ?, phase_at, NOW(6)), phase = ? \
          WHERE id = ? AND operation_id = ? AND open_slot = 1",
    )
    .bind(phase.name())
    .bind(phase.name())
    .bind(recovery)
    .bind(run.operation)
    .execute(&mut *tx)
    .await
    .map_err(Error::doing(DOING))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let told = NewEvent { run: run.number, worker, kind: "phase", text: phase.name(), data: None };
    event(&mut *tx, recovery, &told).await?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(true)
}

/// Keeps the choice and its reasons, before anything is promoted; false: no longer this run's.
pub async fn save_choice(
    pool: &MySqlPool,
    run: Run,
    recovery: u64,
    successor: Option<&InstanceKey>,
    choice: &Value,
) -> Result<bool, Error> {
    patiently(|| try_choice(pool, run, recovery, successor, choice)).await
}

async fn try_choice(
    pool: &MySqlPool,
    run: Run,
    recovery: u64,
    successor: Option<&InstanceKey>,
    choice: &Value,
) -> Result<bool, Error> {
    const DOING: &str = "keep the choice of a recovery";
    let mut tx = pool.begin().await.map_err(Error::doing(DOING))?;
    if !is_ours(&mut tx, run).await? {
        return Ok(false);
    }
    let none = InstanceKey::default();
    let successor = successor.unwrap_or(&none);
    let done = sqlx::query(
        "UPDATE recovery SET successor_hostname = ?, successor_port = ?, choice = ? \
          WHERE id = ? AND operation_id = ? AND open_slot = 1",
    )
    .bind(&successor.hostname)
    .bind(successor.port)
    .bind(json(DOING, choice)?)
    .bind(recovery)
    .bind(run.operation)
    .execute(&mut *tx)
    .await
    .map_err(Error::doing(DOING))?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(done.rows_affected() == 1)
}

/// Keeps what became known; false: no longer this run's.
pub async fn note_result(pool: &MySqlPool, run: Run, recovery: u64, known: &Progress<'_>) -> Result<bool, Error> {
    patiently(|| try_result(pool, run, recovery, known)).await
}

async fn try_result(pool: &MySqlPool, run: Run, recovery: u64, known: &Progress<'_>) -> Result<bool, Error> {
    const DOING: &str = "keep the results of a recovery";
    let mut tx = pool.begin().await.map_err(Error::doing(DOING))?;
    if !is_ours(&mut tx, run).await? {
        return Ok(false);
    }
    let done = sqlx::query(
        "UPDATE recovery SET successor_alias = COALESCE(?, successor_alias), \
                successor_coordinates = COALESCE(?, successor_coordinates), lost = COALESCE(?, lost), \
                participating = COALESCE(?, participating), errors = COALESCE(?, errors), outage = COALESCE(?, outage) \
          WHERE id = ? AND operation_id = ? AND open_slot = 1",
    )
    .bind(known.successor_alias.map(|alias| cut(alias, 255)))
    .bind(known.successor_coordinates.map(|at| cut(at, 300)))
    .bind(known.lost.map(|lost| json(DOING, lost)).transpose()?)
    .bind(known.participating.map(|keys| json(DOING, keys)).transpose()?)
    .bind(known.errors.map(|errors| json(DOING, errors)).transpose()?)
    .bind(known.outage.map(|outage| json(DOING, outage)).transpose()?)
    .bind(recovery)
    .bind(run.operation)
    .execute(&mut *tx)
    .await
    .map_err(Error::doing(DOING))?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(done.rows_affected() == 1)
}

/// Ends the recovery, in the caller's transaction, which must be dropped when the answer is false: no longer this run's, or
/// ended before. See [`finish`] for recovery and operation together.
pub async fn close(conn: &mut MySqlConnection, run: Run, recovery: u64, close: &Close<'_>) -> Result<bool, Error> {
    if !is_ours(conn, run).await? {
        return Ok(false);
    }
    end(conn, run, recovery, close).await
}

/// Ends recovery and operation with its locks and its audit entry, all or nothing; false: no longer this run's.
pub async fn finish(
    pool: &MySqlPool,
    run: Run,
    recovery: u64,
    close: &Close<'_>,
    finish: Finish<'_>,
) -> Result<bool, Error> {
    patiently(|| try_finish(pool, run, recovery, close, finish)).await
}

async fn try_finish(
    pool: &MySqlPool,
    run: Run,
    recovery: u64,
    close: &Close<'_>,
    finish: Finish<'_>,
) -> Result<bool, Error> {
    const DOING: &str = "end a recovery";
    let mut tx = pool.begin().await.map_err(Error::doing(DOING))?;
    if !finish_in(&mut tx, run, finish).await? || !end(&mut tx, run, recovery, close).await? {
        return Ok(false);
    }
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(true)
}

/// The caller's transaction holds the operation's row.
async fn end(conn: &mut MySqlConnection, run: Run, recovery: u64, close: &Close<'_>) -> Result<bool, Error> {
    let is_successful = close.outcome == Outcome::Recovered;
    let successor = close.successor;
    // From left to right: each assignment sees what those before it left.
    let done = sqlx::query(
        "UPDATE recovery SET open_slot = NULL, phase = 'closed', phase_at = NOW(6), ended_at = NOW(6), outcome = ?, \
                is_successful = ?, \
                successor_hostname = COALESCE(?, successor_hostname), successor_port = COALESCE(?, successor_port), \
                active_slot = IF(? AND acknowledged_at IS NULL, active_slot, NULL), \
                active_ended_at = IF(active_slot IS NULL, NOW(6), IF(is_successful, started_at, NOW(6)) + INTERVAL ? MICROSECOND) \
          WHERE id = ? AND operation_id = ? AND open_slot = 1",
    )
    .bind(close.outcome.name())
    .bind(is_successful)
    .bind(successor.map(|key| key.hostname.as_str()))
    .bind(successor.map(|key| key.port))
    .bind(close.outcome.blocks())
    .bind(interval(if is_successful { close.hold } else { close.hold.min(FAILURE_BLOCK) }))
    .bind(recovery)
    .bind(run.operation)
    .execute(&mut *conn)
    .await
    .map_err(Error::doing("end a recovery"))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let data = serde_json::json!({ "outcome": close.outcome.name(), "successor": successor });
    let told = NewEvent { run: run.number, worker: "", kind: "closed", text: close.text, data: Some(&data) };
    event(conn, recovery, &told).await?;
    Ok(true)
}
