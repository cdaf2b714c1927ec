//! Operations on managed servers: asking for one, following it, planning without doing, looking back, cancelling.
//!
//! An operation is a row and a job, written in one transaction. The job carries it out in a worker, or, where somebody asks
//! for that, in this process ([`run_local`]); the one who asked reads how it goes. The row outlives everybody: who stops
//! waiting loses nothing.

mod ending;
mod follow;
mod local;
mod request;
mod shown;

use std::time::Duration;

use ::jobs::Operate;
use ::operations::OperationOutcome;
use domain::plan::Request;
use queue::{NewJob, Queue};
use store::operations::{Filter, NewOperation, Operation, State, StepRow};

use super::{Error, Record, Scope, submission};

pub use ending::{changed, check, outcome, troubles};
pub use follow::follow;
pub use local::{Local, inspect_local, resume_local, run_local};
pub use request::{Asked, Below, known, request, words};
pub use shown::{brief, full, planned};

/// Longest wait of a command: as long as the job may run.
pub const PATIENCE: Duration = Duration::from_secs(3_600);
/// Longest wait for a plan: two looks at a cluster.
pub const PLAN_PATIENCE: Duration = Duration::from_secs(60);
/// Tries when the transaction meets a conflict.
const TRIES: u64 = 20;

/// An operation that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// Its number.
    pub operation: u64,
    /// The job that will carry it out.
    pub job: u64,
}

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Carry it out.
    Do,
    /// Say what would be done.
    Plan,
}

/// Queues an operation. Both servers must be known. [`Error::NoWorker`] at once when nobody would do it.
pub async fn submit(scope: &Scope, request: &Request, intent: Intent) -> Result<Submitted, Error> {
    let lane = lane_of(scope, request).await?.lane;
    check_workers(scope, &lane).await?;
    enqueue(scope, request, intent, Duration::ZERO).await
}

/// Queues an operation to be carried out by whatever worker comes, at a random moment within `jitter`.
pub async fn submit_to_queue(scope: &Scope, request: &Request, jitter: Duration) -> Result<Submitted, Error> {
    enqueue(scope, request, Intent::Do, jitter).await
}

struct Where {
    lane: String,
    cluster_name: String,
}

/// Both servers must be known.
async fn lane_of(scope: &Scope, request: &Request) -> Result<Where, Error> {
    let instance = known(scope, request.instance()).await?;
    if let Some(destination) = request.destination() {
        known(scope, destination).await?;
    }
    Ok(Where { lane: instance.lane, cluster_name: instance.placement.cluster_name })
}

async fn enqueue(scope: &Scope, request: &Request, intent: Intent, jitter: Duration) -> Result<Submitted, Error> {
    let place = lane_of(scope, request).await?;
    let new = NewOperation {
        request,
        dry_run: intent == Intent::Plan,
        cluster_name: &place.cluster_name,
        actor: &scope.actor,
    };
    let delay = submission::delay_within(jitter);
    submission::retried(TRIES, || try_enqueue(scope, &new, &place.lane, delay)).await
}

async fn try_enqueue(scope: &Scope, new: &NewOperation<'_>, lane: &str, delay: Duration) -> Result<Submitted, Error> {
    let mut tx = scope.begin().await?;
    let operation = store::operations::create(&mut tx, new).await?;
    let mut job = job_of(scope, operation, lane)?;
    if !delay.is_zero() {
        job = job.run_in(delay);
    }
    let job = submission::enqueue(&mut tx, &job).await?.id();
    store::operations::set_job(&mut tx, operation, job).await?;
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(Submitted { operation, job })
}

fn job_of(scope: &Scope, operation: u64, lane: &str) -> Result<NewJob, Error> {
    Ok(NewJob::of(&Operate::new(operation))?.datacenter(lane).submitted_by(&scope.actor).wants_outcome())
}

/// Asks for an operation and waits for its end.
pub async fn run(scope: &Scope, request: &Request, patience: Duration) -> Result<OperationOutcome, Error> {
    let submitted = submit(scope, request, Intent::Do).await?;
    follow(scope, submitted, patience, |_| {}).await
}

/// Waits for the end of an operation that was asked for already, by the same request.
pub async fn again(
    scope: &Scope,
    operation: u64,
    request: &Request,
    patience: Duration,
) -> Result<OperationOutcome, Error> {
    let known = read(scope, operation).await?;
    if known.request != *request || known.dry_run {
        let text = format!("operation {operation} is another one: {} of {}", known.word, known.instance);
        return Err(Error::Invalid(text));
    }
    follow(scope, Submitted { operation, job: known.job_id }, patience, |_| {}).await
}

/// What an operation would do: planned by a worker from a fresh look at the servers; nothing is changed.
pub async fn plan(scope: &Scope, request: &Request, patience: Duration) -> Result<OperationOutcome, Error> {
    let submitted = submit(scope, request, Intent::Plan).await?;
    follow(scope, submitted, patience.min(PLAN_PATIENCE), |_| {}).await
}

/// Has an operation whose process was lost taken up again by a worker. Harmless when the process lives after all: from
/// then on it may do nothing more.
pub async fn resume(scope: &Scope, id: u64) -> Result<Submitted, Error> {
    let operation = unended(scope, id).await?;
    let lane = lane_of(scope, &operation.request).await?.lane;
    check_workers(scope, &lane).await?;
    let mut tx = scope.begin().await?;
    let job = submission::enqueue(&mut tx, &job_of(scope, id, &lane)?).await?.id();
    store::operations::set_job(&mut tx, id, job).await?;
    let message = format!("operation {id}, job {job}");
    let record =
        Record { kind: "resume-operation", key: Some(&operation.instance), message: &message, ..Record::default() };
    scope.commit_as(tx, &record).await?;
    Ok(Submitted { operation: id, job })
}

/// One operation.
pub async fn read(scope: &Scope, id: u64) -> Result<Operation, Error> {
    let found = store::operations::read(&scope.pool, id).await?;
    found.ok_or_else(|| Error::NotFound(format!("there is no operation {id}")))
}

async fn unended(scope: &Scope, id: u64) -> Result<Operation, Error> {
    let operation = read(scope, id).await?;
    if operation.state.has_ended() {
        return Err(Error::NotPossible(format!("operation {id} has ended: it is {}", operation.state.name())));
    }
    Ok(operation)
}

/// The operation that a job carries out, if it does.
pub async fn of_job(scope: &Scope, job: u64) -> Result<Option<Operation>, Error> {
    Ok(store::operations::by_job(&scope.pool, job).await?)
}

/// Operations, newest first.
pub async fn list(scope: &Scope, filter: &Filter<'_>) -> Result<Vec<Operation>, Error> {
    Ok(store::operations::list(&scope.pool, filter).await?)
}

/// Every step ever begun for an operation, in order.
pub async fn steps(scope: &Scope, id: u64) -> Result<Vec<StepRow>, Error> {
    Ok(store::operations::steps(&scope.pool, id).await?)
}

/// Cancels an operation: at once if nobody took it up, else before its next step, and what it stopped is started again.
pub async fn cancel(scope: &Scope, id: u64) -> Result<State, Error> {
    let operation = unended(scope, id).await?;
    let mut tx = scope.begin().await?;
    let at_once = store::operations::cancel_waiting(&mut tx, id).await?;
    let message = format!("operation {id}");
    let record =
        Record { kind: "cancel-operation", key: Some(&operation.instance), message: &message, ..Record::default() };
    scope.commit_as(tx, &record).await?;
    match operation.job_id {
        0 if at_once => {}
        0 => {
            let text = format!("operation {id} is carried out by a command on {}: interrupt that", operation.executor);
            return Err(Error::NotPossible(text));
        }
        job => match super::jobs::cancel(scope, job).await {
            // The job saw that its operation was cancelled, and ended.
            Err(Error::NotFound(_) | Error::NotPossible(_)) if at_once => {}
            other => {
                other?;
            }
        },
    }
    Ok(if at_once { State::Cancelled } else { State::Running })
}

async fn check_workers(scope: &Scope, lane: &str) -> Result<(), Error> {
    submission::check_workers(scope, Queue::Operations, lane).await
}
