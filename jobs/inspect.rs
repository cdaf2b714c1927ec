//! Answers a question about one server that needs a look at the server itself. Nothing is changed on any server.
//!
//! Safe to run twice: a question asked twice is answered twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::gtid::mysql::GtidSet;
use domain::instance::{Answer, BinlogCoordinates, Instance, InstanceKey, ServerFacts};
use domain::topology;
use mysql::replication::{Waited, restart_replica_statements, wait_for_position};
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Context, probing};

/// Longest wait for a place by one job: whoever wants to wait longer asks again, so that no waiting fills a worker.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Reading the heads of all binary logs.
const LOCATE_WITHIN: Duration = Duration::from_secs(20);

/// A question about one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspect {
    /// Host.
    pub hostname: String,
    /// Port.
    pub port: u16,
    /// What is to be known.
    #[serde(flatten)]
    pub question: Question,
}

/// What is to be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "kebab-case")]
pub enum Question {
    /// The errant GTIDs of a replica: a text.
    ErrantGtid,
    /// The binary logs that hold them: a list of names.
    LocateErrantGtid,
    /// The statements that run this one while replication is stopped: a list of texts.
    RestartStatements {
        /// Any statement, or none.
        statement: String,
    },
    /// Has the applier reached this place in its source's log? Waits for it, [`LONGEST_WAIT`] at most: true or false.
    Reached {
        /// Log of the source.
        file: String,
        /// Position in it.
        position: u64,
        /// How long to wait.
        seconds: u64,
    },
}

impl Inspect {
    /// This question about this server.
    pub fn new(key: &InstanceKey, question: Question) -> Self {
        Self { hostname: key.hostname.clone(), port: key.port, question }
    }
}

impl Job for Inspect {
    type Context = Context;
    const KIND: &'static str = "inspect";
    const LIMITS: Limits = Limits {
        queue: Queue::Operations,
        timeout: Duration::from_secs(30),
        attempts: 1,
        backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(1) },
    };

    async fn run(self, ctx: Arc<Context>, _: Attempt) -> Result<Value, JobError> {
        let key = InstanceKey::reported(&self.hostname, self.port).map_err(JobError::give_up)?;
        let instance = look(&ctx, &key).await?;
        match &self.question {
            Question::ErrantGtid => Ok(Value::String(errant(&ctx, &instance).await?)),
            Question::LocateErrantGtid => locate(&ctx, &instance).await,
            Question::RestartStatements { statement } => {
                let statements = restart_replica_statements(&instance.facts, statement).map_err(JobError::give_up)?;
                Ok(json!(statements))
            }
            Question::Reached { file, position, seconds } => {
                let place = BinlogCoordinates { file: file.clone(), position: *position };
                reached(&ctx, &instance, &place, Duration::from_secs(*seconds)).await
            }
        }
    }
}

/// What a server says now, recorded.
async fn look(ctx: &Context, key: &InstanceKey) -> Result<Instance, JobError> {
    let config = ctx.config.get();
    let observation = probing::probe_one(ctx, key).await;
    let failure = match &observation.answer {
        Answer::Failed(failure) => Some(format!("{key}: {} ({})", failure.message, failure.kind.name())),
        Answer::Filtered { filter } => Some(format!("{key} is left out by {filter}")),
        Answer::Facts { .. } => None,
    };
    if let Some(failure) = failure {
        return Err(JobError::give_up(failure));
    }
    probing::record(ctx, &config, vec![observation]).await?;
    let known = store::instances::read(&ctx.pool, key).await.map_err(JobError::retry)?;
    known.ok_or_else(|| JobError::give_up(format!("Cannot read instance: {key}")))
}

/// What a replica has and its source has not. The source is asked after the replica: what the replica got in between is
/// not taken for errant.
async fn errant(ctx: &Context, instance: &Instance) -> Result<String, JobError> {
    let Some(source) = instance.facts.source().filter(|source| source.is_valid()) else { return Ok(String::new()) };
    let upstream: ServerFacts = look(ctx, source).await?.facts;
    Ok(topology::errant(&instance.facts, &instance.placement, Some(&upstream)))
}

async fn locate(ctx: &Context, instance: &Instance) -> Result<Value, JobError> {
    let key = &instance.key;
    let found = errant(ctx, instance).await?;
    if found.is_empty() {
        return Err(JobError::give_up(format!("locate-gtid-errant: no errant GTID on {key}")));
    }
    let set = |text: &str| GtidSet::parse(text).map_err(|error| JobError::give_up(format!("{key}: {error}")));
    let (errant, purged) = (set(&found)?, set(&instance.facts.gtid.purged)?);
    let until = Instant::now() + LOCATE_WITHIN;
    let located = mysql::binlogs::locate(&ctx.prober.connector(), key, &errant, &purged, until).await;
    Ok(json!(located.map_err(JobError::give_up)?))
}

async fn reached(
    ctx: &Context,
    instance: &Instance,
    place: &BinlogCoordinates,
    limit: Duration,
) -> Result<Value, JobError> {
    let key = &instance.key;
    if !instance.facts.is_replica() {
        return Err(JobError::give_up(format!("{key} is no replica")));
    }
    let limit = limit.min(LONGEST_WAIT);
    let waited = wait_for_position(&ctx.prober.connector(), key, &instance.facts, place, limit).await;
    match waited.map_err(JobError::give_up)? {
        Waited::Reached { .. } => Ok(Value::Bool(true)),
        Waited::TimedOut => Ok(Value::Bool(false)),
        Waited::NotApplying => Err(JobError::give_up(format!("{key} does not apply: its applier is stopped"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_stay_readable() {
        let key = InstanceKey::new("db1", 3306);
        let wait = Inspect::new(&key, Question::Reached { file: "bin.000007".to_owned(), position: 4, seconds: 9 });
        let text = serde_json::to_string(&wait).expect("plain data");
        let expected =
            r#"{"hostname":"db1","port":3306,"question":"reached","file":"bin.000007","position":4,"seconds":9}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Inspect>(expected).expect("own payload"), wait);
        let errant = r#"{"hostname":"db1","port":3306,"question":"errant-gtid"}"#;
        assert_eq!(serde_json::from_str::<Inspect>(errant).expect("payload"), Inspect::new(&key, Question::ErrantGtid));
    }
}
