//! Work of a worker done in this process, for one who has no live worker: the same job on the same tables under the same
//! locks, so that whatever else is going on is respected, and respects us.

use std::sync::Arc;
use std::time::Duration;

use ::jobs::{Context, Inspect, Operate, SharedSettings};
use ::operations::OperationOutcome;
use domain::plan::Request;
use futures::future::BoxFuture;
use queue::{Attempt, DbClock, Job, JobError};
use serde_json::Value;
use store::operations::{NewOperation, StepRow};
use tokio_util::sync::CancellationToken;

use super::follow::{Looked, Watch};
use super::{Intent, ending, lane_of, unended};
use crate::actions::{Error, Record, Scope};
use crate::worker::{self, Budget};

/// Pause between two looks at how the work goes.
const PAUSE: Duration = Duration::from_millis(100);
/// Times to take the work up again when the backend was away, and the pause before the first; it doubles.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Who does the work here.
#[derive(Debug, Clone)]
pub struct Local {
    /// Name of this process, for the records: `user@host, process 7`.
    pub name: String,
    /// Fires when the work is to stop at the next safe point; what was stopped is started again then.
    pub cancelled: CancellationToken,
}

/// Carries an operation out in this process.
pub async fn run_local(
    scope: &Scope,
    local: &Local,
    request: &Request,
    intent: Intent,
    begun: impl FnOnce(u64),
    progress: impl FnMut(&StepRow),
) -> Result<OperationOutcome, Error> {
    let place = lane_of(scope, request).await?;
    let new = NewOperation {
        request,
        dry_run: intent == Intent::Plan,
        cluster_name: &place.cluster_name,
        actor: &scope.actor,
    };
    let mut conn = scope.connection().await?;
    let id = store::operations::create(&mut conn, &new).await?;
    drop(conn);
    begun(id);
    to_the_end(scope, local, id, progress).await
}

/// Takes up an operation whose process was lost, in this process.
pub async fn resume_local(
    scope: &Scope,
    local: &Local,
    id: u64,
    progress: impl FnMut(&StepRow),
) -> Result<OperationOutcome, Error> {
    let operation = unended(scope, id).await?;
    let mut conn = scope.connection().await?;
    let message = format!("operation {id}, by {}", local.name);
    let record =
        Record { kind: "resume-operation", key: Some(&operation.instance), message: &message, ..Record::default() };
    scope.record(&mut conn, &record).await?;
    drop(conn);
    to_the_end(scope, local, id, progress).await
}

/// Answers a question about a server from this process.
pub async fn inspect_local(scope: &Scope, local: &Local, question: Inspect) -> Result<Value, Error> {
    let ctx = context(scope).await?;
    let run: BoxFuture<'_, Result<Value, JobError>> = Box::pin(question.run(ctx, attempt(local)));
    run.await.map_err(|error| failed(&error))
}

async fn to_the_end(
    scope: &Scope,
    local: &Local,
    id: u64,
    progress: impl FnMut(&StepRow),
) -> Result<OperationOutcome, Error> {
    let ctx = context(scope).await?;
    let mut watch = Watch::new(scope, id, progress);
    let mut work = Box::pin(work(&ctx, local, id));
    let ended = loop {
        tokio::select! {
            ended = &mut work => break ended,
            // Only for telling: what cannot be read now is told later.
            () = tokio::time::sleep(PAUSE) => drop(watch.look(None).await),
        }
    };
    match watch.look(None).await? {
        Looked::Ended(operation) => Ok(ending::outcome(&operation)),
        Looked::Under(_) => Err(match ended {
            Err(error) => failed(&error),
            Ok(_) => {
                Error::NotPossible(format!("operation {id} is not ended; see `orchestrator operations show {id}`"))
            }
        }),
    }
}

async fn work(ctx: &Arc<Context>, local: &Local, id: u64) -> Result<Value, JobError> {
    let (mut tries, mut pause) = (1, FIRST_PAUSE);
    loop {
        let run: BoxFuture<'_, Result<Value, JobError>> =
            Box::pin(Operate::new(id).run(Arc::clone(ctx), attempt(local)));
        match run.await {
            Err(error) if error.is_retryable() && tries < TRIES && !local.cancelled.is_cancelled() => {
                tracing::warn!(operation.id = id, %error, "the operation is taken up again");
                tokio::time::sleep(pause).await;
                (tries, pause) = (tries + 1, pause * 2);
            }
            ended => return ended,
        }
    }
}

fn attempt(local: &Local) -> Attempt {
    Attempt { cancelled: local.cancelled.clone(), worker: local.name.clone(), ..Attempt::detached() }
}

async fn context(scope: &Scope) -> Result<Arc<Context>, Error> {
    let clock = Arc::new(DbClock::new());
    let mut conn = scope.connection().await?;
    clock.ask(&mut conn).await?;
    drop(conn);
    let config = SharedSettings::new(scope.config.settings.clone());
    let budget = Budget::new(&scope.config.settings, None);
    Ok(Arc::new(worker::context(scope.pool.clone(), clock, config, &budget)))
}

fn failed(error: &JobError) -> Error {
    Error::JobFailed { job: 0, text: error.to_string() }
}
