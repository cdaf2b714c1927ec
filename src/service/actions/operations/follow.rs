//! Watching how an operation goes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use operations::OperationOutcome;
use queue::{Awaited, Outcome};
use store::operations::{Operation, State, StepRow};

use super::{Submitted, cancel, ending, read};
use crate::actions::{Error, Scope};

/// Shortest and longest pause between two looks at how an operation goes: a person waits, and a look costs two statements.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Of the time that has passed this part goes by until the next look: so much later, at most, one hears of the end.
const PART: u32 = 8;
/// An operation that nobody takes up: how often to look whether there are workers at all.
const WORKERS_EVERY: Duration = Duration::from_secs(3);
/// One look at the backend.
const LOOK: Duration = Duration::from_secs(15);
/// How long the backend may be away while we wait: the operation itself survives that, so should its watcher.
const OUTAGE: Duration = Duration::from_secs(60);

/// Waits until an operation has ended, and tells `progress` of each step as it begins and as it ends.
/// [`Error::NoWorker`]: nobody took it up, and it has been cancelled. [`Error::Pending`]: it goes on without us.
pub async fn follow(
    scope: &Scope,
    submitted: Submitted,
    patience: Duration,
    progress: impl FnMut(&StepRow),
) -> Result<OperationOutcome, Error> {
    let mut watch = Watch::new(scope, submitted.operation, progress);
    let begun = Instant::now();
    let (mut looked_for_workers, mut answered) = (Instant::now(), Instant::now());
    loop {
        match watch.look(Some(submitted.job)).await {
            Ok(Looked::Ended(operation)) => return Ok(ending::outcome(&operation)),
            Ok(Looked::Under(operation)) => {
                answered = Instant::now();
                if operation.state == State::Waiting && looked_for_workers.elapsed() > WORKERS_EVERY {
                    looked_for_workers = Instant::now();
                    give_up_without_workers(scope, &operation).await?;
                }
            }
            Err(error @ Error::Unavailable { .. }) if answered.elapsed() < OUTAGE => {
                tracing::debug!(error = error.chain(), "cannot look at the operation now");
            }
            Err(error) => return Err(error),
        }
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(Error::Pending { operation: submitted.operation, seconds: patience.as_secs() });
        }
        let pause = (begun.elapsed() / PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        tokio::time::sleep(pause.min(left)).await;
    }
}

/// What a look saw.
pub(super) enum Looked {
    Under(Box<Operation>),
    Ended(Box<Operation>),
}

/// One who watches an operation, and what it was told already.
pub(super) struct Watch<'a, F> {
    scope: &'a Scope,
    operation: u64,
    progress: F,
    told: HashMap<u64, String>,
}

impl<'a, F: FnMut(&StepRow)> Watch<'a, F> {
    pub(super) fn new(scope: &'a Scope, operation: u64, progress: F) -> Self {
        Self { scope, operation, progress, told: HashMap::new() }
    }

    /// Tells what is new since the look before.
    pub(super) async fn look(&mut self, job: Option<u64>) -> Result<Looked, Error> {
        let looking = self.look_now(job);
        tokio::time::timeout(LOOK, looking).await.unwrap_or_else(|_| {
            let cause = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Err(Error::Unavailable { text: "the backend database does not answer".to_owned(), cause: Box::new(cause) })
        })
    }

    async fn look_now(&mut self, job: Option<u64>) -> Result<Looked, Error> {
        // The job first: what ended between the two looks is seen as ended by the second.
        let job_ended = match job {
            Some(job) => queue::await_outcome(&self.scope.pool, job, Duration::ZERO).await?,
            None => Awaited::Pending,
        };
        let operation = read(self.scope, self.operation).await?;
        if operation.run > 0 {
            for step in store::operations::steps(&self.scope.pool, self.operation).await? {
                if self.told.get(&step.id) != Some(&step.state) {
                    (self.progress)(&step);
                    self.told.insert(step.id, step.state);
                }
            }
        }
        if operation.state.has_ended() {
            return Ok(Looked::Ended(Box::new(operation)));
        }
        match (job, job_ended) {
            (Some(job), Awaited::Ended(Outcome::Failed(text))) => Err(Error::JobFailed { job, text }),
            (Some(job), Awaited::Ended(Outcome::Cancelled)) => {
                let text = format!("job {job} was cancelled; operation {} waits to be put back", operation.id);
                Err(Error::JobFailed { job, text })
            }
            _ => Ok(Looked::Under(Box::new(operation))),
        }
    }
}

async fn give_up_without_workers(scope: &Scope, operation: &Operation) -> Result<(), Error> {
    let Err(nobody @ Error::NoWorker { .. }) = super::check_workers(scope, "").await else { return Ok(()) };
    // Told that nobody does it, the person does not expect it to be done an hour later.
    match cancel(scope, operation.id).await {
        Ok(State::Cancelled) => Err(nobody),
        Ok(_) | Err(_) => Ok(()),
    }
}
