//! Making servers known: submitting discovery jobs, and waiting for what they find.

use std::time::Duration;

use ::jobs::Discover;
use domain::instance::InstanceKey;
use queue::{Enqueued, NewJob, Queue};

use super::{Error, Record, Scope, instances, submission};

/// How long a person waits for a discovery: longer than the job itself may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tries when others submit the same at the same moment.
const TRIES: u64 = 50;

/// What a discovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// The job that found it.
    pub job: u64,
    /// The server as it names itself.
    pub key: InstanceKey,
}

/// Discovers one server now and waits for the outcome. Says at once when nobody works.
pub async fn discover(scope: &Scope, key: &InstanceKey) -> Result<Discovered, Error> {
    let lane = lane_of(scope, key).await?;
    submission::check_workers(scope, Queue::Discovery, &lane).await?;
    let job = submit_to(scope, key, &lane, Duration::ZERO, Wish::Outcome).await?.id();
    match submission::answer(scope, job, PATIENCE).await {
        Ok(found) => Ok(Discovered { job, key: found_key(&found, key) }),
        Err(late @ Error::Timeout { .. }) => {
            // Workers may have gone in the meantime: then that is what to say.
            submission::check_workers(scope, Queue::Discovery, &lane).await?;
            Err(late)
        }
        Err(error) => Err(error),
    }
}

/// Queues the discovery of one server and returns at once. With `jitter` the job starts at a random moment within it.
pub async fn submit(scope: &Scope, key: &InstanceKey, jitter: Duration) -> Result<Enqueued, Error> {
    let lane = lane_of(scope, key).await?;
    submit_to(scope, key, &lane, jitter, Wish::Nothing).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Outcome,
    Nothing,
}

async fn submit_to(
    scope: &Scope,
    key: &InstanceKey,
    lane: &str,
    jitter: Duration,
    wish: Wish,
) -> Result<Enqueued, Error> {
    let mut job = NewJob::of(&Discover::by_person(key))?.datacenter(lane).submitted_by(&scope.actor);
    if wish == Wish::Outcome {
        job = job.wants_outcome();
    }
    let delay = submission::delay_within(jitter);
    if !delay.is_zero() {
        job = job.run_in(delay);
    }
    // An equal job that waits already may come from a server, not from a person: lift the ban here, too.
    store::instances::remember(&scope.pool, key).await?;
    submission::retried(TRIES, || try_submit(scope, key, &job)).await
}

/// One try, in a transaction of its own; an error rolls it back.
async fn try_submit(scope: &Scope, key: &InstanceKey, job: &NewJob) -> Result<Enqueued, Error> {
    let mut tx = scope.begin().await?;
    let enqueued = submission::enqueue(&mut tx, job).await?;
    if enqueued.is_new() {
        let message = format!("job {}", enqueued.id());
        let record = Record { kind: "submit-discover", key: Some(key), message: &message, ..Record::default() };
        scope.record(&mut tx, &record).await?;
    }
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(enqueued)
}

/// Known servers are probed from their own datacenter, unknown ones from anywhere.
async fn lane_of(scope: &Scope, key: &InstanceKey) -> Result<String, Error> {
    Ok(instances::find_exact(scope, key).await?.map(|known| known.lane).unwrap_or_default())
}

fn found_key(found: &serde_json::Value, asked: &InstanceKey) -> InstanceKey {
    let hostname = found.get("hostname").and_then(serde_json::Value::as_str);
    let port = found.get("port").and_then(serde_json::Value::as_u64).and_then(|port| u16::try_from(port).ok());
    match (hostname, port) {
        (Some(hostname), Some(port)) => InstanceKey::new(hostname, port),
        _ => asked.clone(),
    }
}
