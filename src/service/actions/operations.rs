//! Operations on managed servers: asking for one, following it, planning without doing.
//!
//! Nothing here touches a managed server: a request becomes a row and a job, a worker carries it out under locks, and the
//! one who asked reads how it goes. The row outlives everybody: who stops waiting loses nothing.

use std::time::{Duration, Instant};

use ::jobs::Operate;
use ::operations::OperationOutcome;
use domain::instance::InstanceKey;
use domain::plan::Request;
use queue::{Awaited, NewJob, Outcome};
use rand::Rng;
use store::operations::{Filter, NewOperation, Operation, State, StepRow};

use super::{Error, Scope, instances};

/// First and longest pause between two looks at how an operation goes: a person waits, and a look costs two statements.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// An operation that nobody takes up: how often to look whether there are workers at all.
const WORKERS_EVERY: Duration = Duration::from_secs(3);
/// Longest wait of a request over HTTP, and of a command that does not say otherwise: as long as the job may run.
pub const PATIENCE: Duration = Duration::from_secs(3_600);
/// Longest wait for a plan: two looks at a cluster.
const PLAN_PATIENCE: Duration = Duration::from_secs(60);
/// Tries, and longest random pause per try already made, when the transaction meets a conflict.
const TRIES: u64 = 20;
const PAUSE_MS: u64 = 2;

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
    let instance = instances::read(scope, request.instance()).await?;
    if let Some(destination) = request.destination() {
        instances::read(scope, destination).await?;
    }
    check_workers(scope, &instance.lane).await?;
    let new = NewOperation {
        request,
        dry_run: intent == Intent::Plan,
        cluster_name: &instance.placement.cluster_name,
        actor: &scope.actor,
    };
    let mut tries = 0;
    loop {
        tries += 1;
        match try_submit(scope, &new, &instance.lane).await {
            Err(error) if error.is_conflict() && tries < TRIES => {
                let pause = rand::rng().random_range(0..=PAUSE_MS * tries);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            other => return other,
        }
    }
}

async fn try_submit(scope: &Scope, new: &NewOperation<'_>, lane: &str) -> Result<Submitted, Error> {
    let mut tx = scope.begin().await?;
    let operation = store::operations::create(&mut tx, new).await?;
    let job = NewJob::of(&Operate { operation })?.datacenter(lane).submitted_by(&scope.actor).wants_outcome();
    let enqueued = queue::enqueue(&mut tx, &[job]).await?;
    let job = enqueued.first().ok_or_else(|| Error::NotPossible("no job was enqueued".to_owned()))?.id();
    store::operations::set_job(&mut tx, operation, job).await?;
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(Submitted { operation, job })
}

/// Writes down an operation that this process carries out itself.
pub async fn create_local(scope: &Scope, request: &Request, intent: Intent) -> Result<u64, Error> {
    let instance = instances::read(scope, request.instance()).await?;
    if let Some(destination) = request.destination() {
        instances::read(scope, destination).await?;
    }
    let new = NewOperation {
        request,
        dry_run: intent == Intent::Plan,
        cluster_name: &instance.placement.cluster_name,
        actor: &scope.actor,
    };
    let mut conn = scope.connection().await?;
    Ok(store::operations::create(&mut conn, &new).await?)
}

/// Waits until an operation has ended, and tells `progress` of each step as it begins and as it ends.
/// [`Error::NoWorker`]: nobody took it up, and it has been cancelled. [`Error::Timeout`]: it goes on without us.
pub async fn follow(
    scope: &Scope,
    submitted: Submitted,
    patience: Duration,
    mut progress: impl FnMut(&StepRow),
) -> Result<OperationOutcome, Error> {
    let begun = Instant::now();
    let (mut pause, mut told, mut looked_for_workers) = (FIRST_PAUSE, Told::default(), Instant::now());
    loop {
        let operation = read(scope, submitted.operation).await?;
        if operation.run > 0 {
            let steps = store::operations::steps(&scope.pool, submitted.operation).await?;
            told.tell(&steps, &mut progress);
        }
        if operation.state.has_ended() {
            return outcome(&operation);
        }
        if operation.state == State::Waiting && looked_for_workers.elapsed() > WORKERS_EVERY {
            looked_for_workers = Instant::now();
            give_up_without_workers(scope, &operation).await?;
        }
        if let Awaited::Ended(Outcome::Failed(text)) =
            queue::await_outcome(&scope.pool, submitted.job, Duration::ZERO).await?
        {
            return Err(Error::JobFailed { job: submitted.job, text });
        }
        if begun.elapsed() > patience {
            return Err(Error::Timeout { job: submitted.job, seconds: patience.as_secs() });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Asks for an operation and waits for its end.
pub async fn run(scope: &Scope, request: &Request) -> Result<OperationOutcome, Error> {
    let submitted = submit(scope, request, Intent::Do).await?;
    follow(scope, submitted, PATIENCE, |_| {}).await
}

/// What an operation would do: planned by a worker from a fresh look at the servers; nothing is changed.
pub async fn plan(scope: &Scope, request: &Request) -> Result<OperationOutcome, Error> {
    let submitted = submit(scope, request, Intent::Plan).await?;
    follow(scope, submitted, PLAN_PATIENCE, |_| {}).await
}

/// One operation.
pub async fn read(scope: &Scope, id: u64) -> Result<Operation, Error> {
    let found = store::operations::read(&scope.pool, id).await?;
    found.ok_or_else(|| Error::NotFound(format!("there is no operation {id}")))
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
    let operation = read(scope, id).await?;
    if operation.state.has_ended() {
        return Err(Error::NotPossible(format!("operation {id} has ended: it is {}", operation.state.name())));
    }
    let mut conn = scope.connection().await?;
    let at_once = store::operations::cancel_waiting(&mut conn, id).await?;
    drop(conn);
    if operation.job_id != 0 {
        match super::jobs::cancel(scope, operation.job_id).await {
            // The job saw that its operation was cancelled, and ended.
            Err(Error::NotFound(_) | Error::NotPossible(_)) if at_once => {}
            other => {
                other?;
            }
        }
    }
    Ok(if at_once { State::Cancelled } else { State::Running })
}

/// How an operation ended, as its worker wrote it down.
pub fn outcome(operation: &Operation) -> Result<OperationOutcome, Error> {
    let written = operation.outcome.clone().map(serde_json::from_value::<OperationOutcome>);
    Ok(match written {
        Some(Ok(outcome)) => outcome,
        Some(Err(_)) | None => OperationOutcome {
            operation: operation.id,
            word: operation.word.clone(),
            state: operation.state.name().to_owned(),
            instance: operation.instance.clone(),
            error: operation.error.clone(),
            ..OperationOutcome::default()
        },
    })
}

/// The error of an outcome that is not "done". `Ok` also when some of many servers could not be moved: those are told.
pub fn check(outcome: &OperationOutcome) -> Result<(), Error> {
    if outcome.state == State::Done.name() {
        return Ok(());
    }
    let text = match (&outcome.refusal, outcome.error.as_str()) {
        (Some(refusal), _) => refusal.to_string(),
        (None, "") => format!("{} of {} is {}", outcome.word, outcome.instance, outcome.state),
        (None, error) => error.to_owned(),
    };
    Err(Error::NotPossible(text))
}

/// The servers an operation moved or changed, in its order.
pub fn changed(outcome: &OperationOutcome) -> Vec<InstanceKey> {
    outcome.done.iter().map(|moved| moved.instance.clone()).collect()
}

/// What a follower was told already.
#[derive(Debug, Default)]
struct Told {
    known: std::collections::HashMap<u64, String>,
}

impl Told {
    fn tell(&mut self, steps: &[StepRow], progress: &mut impl FnMut(&StepRow)) {
        for step in steps {
            if self.known.get(&step.id) != Some(&step.state) {
                self.known.insert(step.id, step.state.clone());
                progress(step);
            }
        }
    }
}

async fn give_up_without_workers(scope: &Scope, operation: &Operation) -> Result<(), Error> {
    let Err(nobody) = check_workers(scope, "").await else { return Ok(()) };
    // Told that nobody does it, the person does not expect it to be done an hour later.
    match cancel(scope, operation.id).await {
        Ok(State::Cancelled) => Err(nobody),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A lane without its own workers is served by all, so one live worker anywhere is enough.
async fn check_workers(scope: &Scope, lane: &str) -> Result<(), Error> {
    let mut conn = scope.connection().await?;
    if queue::live_workers(&mut conn).await?.is_empty() {
        return Err(Error::NoWorker { lane: format!("{}/{lane}", queue::Queue::Operations) });
    }
    Ok(())
}
