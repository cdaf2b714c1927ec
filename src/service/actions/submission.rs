//! What submissions of jobs have in common: somebody must be there to do them, some are spread over time, their transactions
//! may meet a conflict (as those of others may), and their answers are awaited.

use std::time::Duration;

use queue::{Awaited, Enqueued, NewJob, Outcome, Queue};
use rand::Rng;
use serde_json::Value;
use sqlx::MySqlConnection;

use super::{Error, Scope};

/// Longest random pause per try already made, so that those in conflict do not meet again.
const PAUSE_MS: u64 = 2;

/// A lane without its own workers is served by all, so one live worker anywhere is enough.
pub(super) async fn check_workers(scope: &Scope, queue: Queue, lane: &str) -> Result<(), Error> {
    let mut conn = scope.connection().await?;
    if queue::live_workers(&mut conn).await?.is_empty() {
        return Err(Error::NoWorker { lane: format!("{queue}/{lane}") });
    }
    Ok(())
}

/// A random moment within `jitter`, so that a fleet of hosts that submit at the same minute does not come all at once.
pub(super) fn delay_within(jitter: Duration) -> Duration {
    match u64::try_from(jitter.as_millis()) {
        Ok(longest @ 1..) => Duration::from_millis(rand::rng().random_range(0..=longest)),
        _ => Duration::ZERO,
    }
}

/// Tries a transaction up to `tries` times, as long as it meets conflicts with others; each time it is a new one. As
/// [`queue::submit`] does, which cannot be used where a record belongs into the transaction.
pub(super) async fn retried<T, F>(tries: u64, mut transaction: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tried = 0;
    loop {
        tried += 1;
        match transaction().await {
            Err(error) if error.is_conflict() && tried < tries => {
                tracing::debug!(tried, "a transaction met a conflict, trying again");
                let pause = rand::rng().random_range(0..=PAUSE_MS * tried);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            other => return other,
        }
    }
}

/// Enqueues one job in the caller's transaction.
pub(super) async fn enqueue(conn: &mut MySqlConnection, job: &NewJob) -> Result<Enqueued, Error> {
    only(&queue::enqueue(conn, std::slice::from_ref(job)).await?)
}

/// What became of the only job of a submission.
pub(super) fn only(enqueued: &[Enqueued]) -> Result<Enqueued, Error> {
    enqueued.first().copied().ok_or_else(|| Error::NotPossible("no job was enqueued".to_owned()))
}

/// The answer of a job that was submitted with the wish for one.
pub(super) async fn answer(scope: &Scope, job: u64, patience: Duration) -> Result<Value, Error> {
    match queue::await_outcome(&scope.pool, job, patience).await? {
        Awaited::Ended(Outcome::Done(value)) => Ok(value),
        Awaited::Ended(Outcome::Failed(text)) => Err(Error::JobFailed { job, text }),
        Awaited::Ended(Outcome::Cancelled) => Err(Error::JobFailed { job, text: format!("job {job} was cancelled") }),
        Awaited::Pending => Err(Error::Timeout { job, seconds: patience.as_secs() }),
        Awaited::Unknown => Err(Error::NotPossible(format!("nothing is known of job {job} any more"))),
    }
}
