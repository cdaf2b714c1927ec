//! The queue, as people see and steer it.

use std::time::Duration;

use queue::{Awaited, Cancelled, Depth, Filter, JobView, LiveWorker, Outcome};

use super::{Error, Record, Scope};

/// Jobs shown when nobody says how many.
pub const DEFAULT_LIMIT: u32 = 100;
/// Most jobs shown at once.
pub const MAX_LIMIT: u32 = 1_000;

/// Jobs that wait, run or failed.
pub async fn list(scope: &Scope, filter: &Filter, limit: u32) -> Result<Vec<JobView>, Error> {
    let mut conn = scope.connection().await?;
    Ok(queue::list(&mut conn, filter, limit.min(MAX_LIMIT)).await?)
}

/// One job that waits, runs or failed. Of one that has ended the error says how, if that is still known.
pub async fn show(scope: &Scope, id: u64) -> Result<JobView, Error> {
    let mut conn = scope.connection().await?;
    if let Some(found) = queue::show(&mut conn, id).await? {
        return Ok(found);
    }
    drop(conn);
    let ended = match queue::await_outcome(&scope.pool, id, Duration::ZERO).await? {
        Awaited::Ended(Outcome::Done(_)) => "is done",
        Awaited::Ended(Outcome::Cancelled) => "was cancelled",
        Awaited::Ended(Outcome::Failed(_)) => "has failed, and was removed since",
        Awaited::Pending | Awaited::Unknown => "has ended or never existed",
    };
    Err(Error::NotFound(format!("job {id} {ended}")))
}

/// Puts a failed job back to ready.
pub async fn retry(scope: &Scope, id: u64) -> Result<(), Error> {
    let mut conn = scope.connection().await?;
    queue::retry(&mut conn, id).await?;
    let message = format!("job {id}");
    scope.record(&mut conn, &Record { kind: "retry-job", message: &message, ..Record::default() }).await
}

/// Cancels a waiting job, or asks a running one to stop.
pub async fn cancel(scope: &Scope, id: u64) -> Result<Cancelled, Error> {
    let mut conn = scope.connection().await?;
    let cancelled = queue::cancel(&mut conn, id).await?;
    let message = format!("job {id}");
    scope.record(&mut conn, &Record { kind: "cancel-job", message: &message, ..Record::default() }).await?;
    Ok(cancelled)
}

/// Workers heard lately.
pub async fn workers(scope: &Scope) -> Result<Vec<LiveWorker>, Error> {
    let mut conn = scope.connection().await?;
    Ok(queue::live_workers(&mut conn).await?)
}

/// How full each lane is.
pub async fn lanes(scope: &Scope) -> Result<Vec<Depth>, Error> {
    let mut conn = scope.connection().await?;
    Ok(queue::depth(&mut conn).await?)
}
