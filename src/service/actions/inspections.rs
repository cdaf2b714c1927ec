//! Questions that need a look at a managed server: a worker looks, we await its answer.

use std::time::Duration;

use ::jobs::{Inspect, Question};
use domain::instance::{BinlogCoordinates, InstanceKey};
use queue::{NewJob, Queue};
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::equivalences::Equivalence;

use super::operations::{Local, inspect_local, known};
use super::{Error, Scope, submission};

/// How long a person waits for an answer: longer than the job itself may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Who looks.
#[derive(Debug, Clone, Copy)]
pub enum Eyes<'a> {
    /// A worker.
    Worker,
    /// This process.
    Ours(&'a Local),
}

/// The errant GTIDs of a replica; empty: there are none.
pub async fn errant_gtid(scope: &Scope, eyes: Eyes<'_>, key: &InstanceKey) -> Result<String, Error> {
    ask(scope, eyes, key, Question::ErrantGtid).await
}

/// The binary logs that hold the errant GTIDs of a replica.
pub async fn locate_errant_gtid(scope: &Scope, eyes: Eyes<'_>, key: &InstanceKey) -> Result<Vec<String>, Error> {
    ask(scope, eyes, key, Question::LocateErrantGtid).await
}

/// The statements that run `statement` while replication is stopped, each with its semicolon. Nothing is executed.
pub async fn restart_statements(
    scope: &Scope,
    eyes: Eyes<'_>,
    key: &InstanceKey,
    statement: &str,
) -> Result<Vec<String>, Error> {
    ask(scope, eyes, key, Question::RestartStatements { statement: statement.to_owned() }).await
}

/// Waits until the applier of a replica has reached a place in its source's log; false: not within `limit`.
pub async fn wait_for(
    scope: &Scope,
    eyes: Eyes<'_>,
    key: &InstanceKey,
    place: &BinlogCoordinates,
    limit: Duration,
) -> Result<bool, Error> {
    let begun = std::time::Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        let seconds = left.min(::jobs::LONGEST_WAIT).as_secs().max(1);
        let question = Question::Reached { file: place.file.clone(), position: place.position, seconds };
        if ask(scope, eyes, key, question).await? {
            return Ok(true);
        }
        if begun.elapsed() >= limit {
            return Ok(false);
        }
    }
}

/// Places in other servers' logs that hold the same as this place of this server's, as recorded at earlier moves.
pub async fn equivalents(
    scope: &Scope,
    key: &InstanceKey,
    place: &BinlogCoordinates,
) -> Result<Vec<(InstanceKey, BinlogCoordinates)>, Error> {
    let recorded = store::equivalences::of_server(&scope.pool, key).await?;
    let same = recorded.into_iter().filter(|pair: &Equivalence| pair.one.1 == *place);
    Ok(same.map(|pair| pair.other).collect())
}

async fn ask<T: DeserializeOwned>(
    scope: &Scope,
    eyes: Eyes<'_>,
    key: &InstanceKey,
    question: Question,
) -> Result<T, Error> {
    let instance = known(scope, key).await?;
    let question = Inspect::new(key, question);
    let value = match eyes {
        Eyes::Ours(local) => inspect_local(scope, local, question).await?,
        Eyes::Worker => ask_worker(scope, &instance.lane, &question).await?,
    };
    serde_json::from_value(value)
        .map_err(|error| Error::NotPossible(format!("the worker answers in words of another release: {error}")))
}

async fn ask_worker(scope: &Scope, lane: &str, question: &Inspect) -> Result<Value, Error> {
    submission::check_workers(scope, Queue::Operations, lane).await?;
    let job = NewJob::of(question)?.datacenter(lane).submitted_by(&scope.actor).wants_outcome();
    let job = submission::only(&queue::submit(&scope.pool, &[job]).await?)?.id();
    submission::answer(scope, job, PATIENCE).await
}
