//! Operations and recoveries whose job is gone: cancelled before it began, or parked after too many failures.

use std::time::Duration;

use domain::plan::Request;
use queue::{JobError, NewJob};
use sqlx::{MySql, MySqlPool, Transaction};
use store::operations::{Filter, Operation, State};

use super::Operate;
use crate::Recover;

/// An operation is this old before it counts as abandoned: its job is enqueued with it, and a moment may lie between the
/// end of a job and of its operation.
const AGE: Duration = Duration::from_secs(60);
const MOST: u32 = 500;

/// Ends those that never began; has the others put back what they left behind. How many there were.
pub(crate) async fn adopt(pool: &MySqlPool) -> Result<usize, JobError> {
    let mut adopted = 0;
    for state in [State::Waiting, State::Running] {
        let filter = Filter { state: Some(state), limit: MOST, ..Filter::default() };
        for one in store::operations::list(pool, &filter).await.map_err(JobError::retry)? {
            let age = Duration::from_micros(u64::try_from(one.now - one.created_at).unwrap_or(0));
            // Without a job it is carried out in place, by a process we do not know: it takes care of itself.
            if one.job_id != 0 && age > AGE && is_gone(pool, one.job_id).await? {
                adopt_one(pool, &one).await?;
                adopted += 1;
            }
        }
    }
    Ok(adopted)
}

async fn is_gone(pool: &MySqlPool, job: u64) -> Result<bool, JobError> {
    let mut conn = pool.acquire().await.map_err(JobError::retry)?;
    let found = queue::show(&mut conn, job).await.map_err(JobError::retry)?;
    Ok(found.is_none_or(|job| job.state == queue::State::Failed))
}

async fn adopt_one(pool: &MySqlPool, operation: &Operation) -> Result<(), JobError> {
    tracing::warn!(operation.id = operation.id, job.id = operation.job_id, "the job of an operation is gone");
    let mut tx = pool.begin().await.map_err(JobError::retry)?;
    if let Request::Recover { recovery, .. } = &operation.request {
        // One that never began is finished as well: it alone knows what its recovery is to be told.
        let job = Recover { recovery: *recovery, only_finish: true };
        return enqueue(tx, operation, NewJob::of(&job).map_err(JobError::give_up)?).await;
    }
    if !store::operations::cancel_waiting(&mut tx, operation.id).await.map_err(JobError::retry)? {
        let job = Operate { operation: operation.id, only_put_back: true };
        return enqueue(tx, operation, NewJob::of(&job).map_err(JobError::give_up)?).await;
    }
    tx.commit().await.map_err(JobError::retry)
}

async fn enqueue(mut tx: Transaction<'_, MySql>, operation: &Operation, job: NewJob) -> Result<(), JobError> {
    let enqueued = queue::enqueue(&mut tx, &[job.submitted_by("expiry")]).await.map_err(JobError::retry)?;
    if let Some(enqueued) = enqueued.first() {
        store::operations::set_job(&mut tx, operation.id, enqueued.id()).await.map_err(JobError::retry)?;
    }
    tx.commit().await.map_err(JobError::retry)
}
