//! Making servers known: submitting discovery jobs, and waiting for what they find.

use std::time::Duration;

use ::jobs::Discover;
use domain::instance::InstanceKey;
use queue::{Awaited, Enqueued, NewJob, Outcome};
use rand::Rng;

use super::{Error, Record, Scope, instances};

/// How long a person waits for a discovery: longer than the job itself may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tries, and longest random pause per try already made, when others submit the same at the same moment: as in
/// [`queue::submit`], which cannot be used because the record belongs into the transaction.
const TRIES: u64 = 50;
const PAUSE_MS: u64 = 2;

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
    check_workers(scope, &lane).await?;
    let job = submit_to(scope, key, &lane, Duration::ZERO, Wish::Outcome).await?.id();
    match queue::await_outcome(&scope.pool, job, PATIENCE).await? {
        Awaited::Ended(Outcome::Done(found)) => Ok(Discovered { job, key: found_key(&found, key) }),
        Awaited::Ended(Outcome::Failed(text)) => Err(Error::JobFailed { job, text }),
        Awaited::Ended(Outcome::Cancelled) => Err(Error::JobFailed { job, text: format!("job {job} was cancelled") }),
        Awaited::Pending => {
            // Workers may have gone in the meantime: then that is what to say.
            check_workers(scope, &lane).await?;
            Err(Error::Timeout { job, seconds: PATIENCE.as_secs() })
        }
        Awaited::Unknown => Err(Error::NotPossible(format!("nothing is known of job {job} any more"))),
    }
}

/// Queues the discovery of one server and returns at once. With `jitter` the job starts at a random moment within it,
/// so that a fleet of hosts that submit themselves at the same minute does not come all at once.
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
    if let Ok(longest @ 1..) = u64::try_from(jitter.as_millis()) {
        job = job.run_in(Duration::from_millis(rand::rng().random_range(0..=longest)));
    }
    // An equal job that waits already may come from a server, not from a person: lift the ban here, too.
    store::instances::remember(&scope.pool, key).await?;
    let mut tries = 0;
    loop {
        tries += 1;
        match try_submit(scope, key, &job).await {
            Err(error) if error.is_conflict() && tries < TRIES => {
                tracing::debug!(instance.key = %key, tries, "submitting a discovery met a conflict, trying again");
                let pause = rand::rng().random_range(0..=PAUSE_MS * tries);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            other => return other,
        }
    }
}

/// One try, in a transaction of its own; an error rolls it back.
async fn try_submit(scope: &Scope, key: &InstanceKey, job: &NewJob) -> Result<Enqueued, Error> {
    let mut tx = scope.begin().await?;
    let enqueued = queue::enqueue(&mut tx, std::slice::from_ref(job)).await?;
    let enqueued = enqueued.first().copied().ok_or_else(|| Error::NotPossible("no job was enqueued".to_owned()))?;
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

/// A lane without its own workers is served by all, so one live worker anywhere is enough.
async fn check_workers(scope: &Scope, lane: &str) -> Result<(), Error> {
    let mut conn = scope.connection().await?;
    if queue::live_workers(&mut conn).await?.is_empty() {
        return Err(Error::NoWorker { lane: format!("{}/{lane}", queue::Queue::Discovery) });
    }
    Ok(())
}

fn found_key(found: &serde_json::Value, asked: &InstanceKey) -> InstanceKey {
    let hostname = found.get("hostname").and_then(serde_json::Value::as_str);
    let port = found.get("port").and_then(serde_json::Value::as_u64).and_then(|port| u16::try_from(port).ok());
    match (hostname, port) {
        (Some(hostname), Some(port)) => InstanceKey::new(hostname, port),
        _ => asked.clone(),
    }
}
