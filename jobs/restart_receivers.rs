//! Restarts the receivers of a source that is silent to us while its replicas still seem to hear it. A receiver that connected
//! long ago notices a frozen or cut off source only when its own patience (`replica_net_timeout`, a minute) is over; one that
//! has to connect anew says at once whether it can.
//!
//! ```text
//!   ask the receivers ─▶ somebody got a transaction or a heartbeat ────────────▶ alive: nobody is touched
//!                    └─▶ nobody got anything for longer than a heartbeat takes
//!                        └─▶ restart all ─▶ anybody connects ──────────────────▶ alive
//!                                       └─▶ nobody can, within the patience of the first try: lost
//! ```
//! A receiver that hears its source is never touched: to break a connection that works would be to break the evidence. One that
//! got less than the heartbeats it was promised has lost its source already, and does not know it yet.
//!
//! What this job finds it does not judge: the analysis does, from the facts recorded here; while it restarts receivers no
//! recovery of the cluster begins (gate `receivers`), because one that has only begun to connect looks like one that cannot.
//!
//! Safe to run twice, or late: it is an operation with locks and steps. Whoever takes it up from a lost worker starts the
//! receivers that ran before, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::instance::{Instance, InstanceKey, ThreadState};
use domain::operation::{World, receivers};
use domain::plan::{Baseline, Request};
use mysql::heard::{Heard, heard};
use operations::OperationOutcome;
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use store::maintenance::Claim;
use store::operations::{Begun, Finish, State};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::acting::{Expected, Gathered, Tokens, Work, note_running, options, unsound};
use crate::policies::planner_policy;
use crate::{Context, probing};

/// Who does it.
const OWNER: &str = "orchestrator";
/// Heartbeats are waited for as long as this at most: the usual period is 30 s.
const MOST: Duration = Duration::from_secs(50);
/// An answer about what was heard.
const ANSWER: Duration = Duration::from_secs(1);
/// Between two questions about that; soon, and later.
const ASK_EVERY: Duration = Duration::from_millis(100);
const ASK_CALMLY: Duration = Duration::from_secs(1);
/// Locks hold for so long beyond the last step: while they do no recovery begins, whatever became of us.
const LOCKS_FOR: Duration = Duration::from_secs(10);
/// Restarted receivers get this long from the order on: longer than the patience of their first try ([`receivers::PATIENCE_SECONDS`]).
const LONGEST: Duration = Duration::from_millis(1_400);
/// Between two looks at them.
const EVERY: Duration = Duration::from_millis(50);

/// One round of restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartReceivers {
    /// The operation that it is.
    pub operation: u64,
}

impl RestartReceivers {
    /// Carries out this operation.
    pub fn new(operation: u64) -> Self {
        Self { operation }
    }
}

impl Job for RestartReceivers {
    type Context = Context;
    const KIND: &'static str = "restart_receivers";
    // Attempts: what a lost worker stopped is started again.
    const LIMITS: Limits = Limits {
        queue: Queue::Recovery,
        timeout: Duration::from_secs(60),
        attempts: 5,
        backoff: Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) },
    };

    fn unique_key(&self) -> Option<String> {
        Some(format!("restart-receivers:{}", self.operation))
    }

    async fn run(self, ctx: Arc<Context>, attempt: Attempt) -> Result<serde_json::Value, JobError> {
        let unknown = || JobError::give_up(format!("there is no operation {}", self.operation));
        let known = store::operations::read(&ctx.pool, self.operation).await.map_err(JobError::retry)?;
        let Request::RestartReceivers { of } = known.ok_or_else(unknown)?.request else { return Err(unknown()) };
        let reason = format!("{of} gives no answer: its receivers are restarted");
        let claim = Claim { owner: OWNER, reason: &reason, duration: LOCKS_FOR, holder_node: &attempt.worker };
        match store::operations::begin_run(&ctx.pool, self.operation, claim).await.map_err(JobError::retry)? {
            Begun::Unknown => Err(unknown()),
            Begun::Ended(ended) => Ok(ended.outcome.unwrap_or_default()),
            Begun::Run { run, operation, tokens } => {
                let config = ctx.config.get();
                let work = Work { ctx: &ctx, config: &config, attempt: &attempt, operation: *operation, run, claim };
                Box::pin(Restarting { work, of, tokens, baseline: Baseline::new() }.carry_out()).await
            }
        }
    }
}

/// One run.
struct Restarting<'a> {
    work: Work<'a>,
    of: InstanceKey,
    tokens: Tokens,
    /// What ran before.
    baseline: Baseline,
}

/// What was found.
enum Found {
    /// It is alive, and why.
    Alive(String),
    /// Nobody gets through to it.
    Lost(String),
    /// Nothing was done, and why.
    Nothing(String),
}

impl Restarting<'_> {
    async fn carry_out(mut self) -> Result<serde_json::Value, JobError> {
        let found = if self.work.run.number > 1 {
            self.work.wait_for_the_lost().await?;
            let ran = self.work.operation.baseline.clone().unwrap_or_default();
            let errors = self.work.start_stopped(self.tokens.clone(), &ran, Expected::Started).await?;
            Found::Nothing(format!("the worker before was lost; {}", errors.join("; ")))
        } else {
            self.restart().await?
        };
        self.finish(&found).await
    }

    async fn restart(&mut self) -> Result<Found, JobError> {
        if let Some(found) = self.nobody_hears().await? {
            return Ok(found);
        }
        let replicas = self.replicas(&self.known().await?);
        let mut gathered = self.look(&replicas).await?;
        let mut hearing: Vec<&Instance> = gathered.instances.values().filter(|one| hears(one, &self.of)).collect();
        hearing.sort_by_key(|one| (one.facts.semi_sync.replica_enabled, &one.key));
        let mut keys: Vec<InstanceKey> = hearing.into_iter().map(|one| one.key.clone()).collect();
        let held = self.work.lock_what_is_free(&keys, &mut self.tokens, Duration::ZERO).await?;
        keys.retain(|key| !held.contains_key(key));
        if keys.is_empty() {
            let held: Vec<String> = held.into_values().collect();
            return Ok(Found::Nothing(format!("no receiver can be restarted: {}", held.join("; "))));
        }
        let began = Instant::now();
        let all = match self.act(&gathered, &keys.into_iter().collect()).await? {
            Ok(all) if !all.is_empty() => all,
            Ok(_) => return Ok(Found::Nothing("no receiver could be restarted".to_owned())),
            Err(why) => return Ok(Found::Nothing(format!("receivers are left as they are: {why}"))),
        };
        gathered = self.watch(&all, began + LONGEST).await?;
        if let Some(one) = connected(&gathered, &all, &self.of) {
            return Ok(Found::Alive(format!("{one} has connected to {} anew", self.of)));
        }
        let told: Vec<String> = all.iter().map(|key| told(&gathered, key)).collect();
        Ok(Found::Lost(format!("nobody gets through to {}: {}", self.of, told.join("; "))))
    }

    /// Waits until every receiver that seems to hear the source has got nothing for longer than its heartbeats take. `Some`: that
    /// is not so, or cannot be told.
    async fn nobody_hears(&self) -> Result<Option<Found>, JobError> {
        let began = Instant::now();
        let mut marks: BTreeMap<InstanceKey, String> = BTreeMap::new();
        loop {
            let known = self.known().await?;
            if known.get(&self.of).is_none_or(|one| one.check.silent_since.is_none()) {
                return Ok(Some(Found::Nothing(format!("{} answers again", self.of))));
            }
            let hearing: Vec<&Instance> = known.values().filter(|one| hears(one, &self.of)).collect();
            if hearing.is_empty() {
                return Ok(Some(Found::Nothing("no replica seems to hear it any more".to_owned())));
            }
            let connector = &self.work.ctx.prober.connector();
            let asking = hearing.iter().map(|one| heard(connector, &one.key, &one.facts, ANSWER));
            let mut is_quiet = true;
            for (one, answer) in hearing.iter().zip(futures::future::join_all(asking).await) {
                let key = &one.key;
                let untold = |why: String| Found::Nothing(format!("what {key} hears cannot be told: {why}"));
                let Heard { period, quiet, mark } = match answer {
                    Ok(Some(heard)) => heard,
                    Ok(None) => return Ok(Some(untold("it does not say".to_owned()))),
                    Err(error) => return Ok(Some(untold(error.to_string()))),
                };
                let Some(period) = period else { return Ok(Some(untold("it wants no heartbeats".to_owned()))) };
                if *marks.entry(key.clone()).or_insert_with(|| mark.clone()) != mark {
                    let text = format!("{key} has heard of {} since that fell silent", self.of);
                    return Ok(Some(Found::Alive(text)));
                }
                is_quiet &= quiet.unwrap_or_else(|| began.elapsed()) >= patience(period);
            }
            if is_quiet {
                return Ok(None);
            }
            if began.elapsed() > MOST {
                return Ok(Some(Found::Nothing("heartbeats are too rare to be waited for".to_owned())));
            }
            tokio::time::sleep(if began.elapsed() < MOST / 10 { ASK_EVERY } else { ASK_CALMLY }).await;
        }
    }

    /// Restarts these receivers, side by side; gives those that were, or why nothing was done.
    async fn act(
        &mut self,
        gathered: &Gathered,
        keys: &BTreeSet<InstanceKey>,
    ) -> Result<Result<BTreeSet<InstanceKey>, String>, JobError> {
        let request = &self.work.operation.request;
        let world = World {
            instances: &gathered.instances,
            baseline: &self.baseline,
            earlier: None,
            equivalences: &[],
            policy: &gathered.policy,
            now: gathered.now,
        };
        let plan = match receivers::restart(request, &self.of, keys, &world) {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal.to_string())),
        };
        if let Some(flaws) = unsound(&plan) {
            return Ok(Err(flaws));
        }
        note_running(&mut self.baseline, &plan, gathered);
        let kept = store::operations::save_plan(&self.work.ctx.pool, self.work.run, &plan, &self.baseline).await;
        self.work.still_ours(kept)?;
        let mut options = options(gathered, CancellationToken::new(), BTreeMap::new());
        options.max_parallel = options.max_parallel.max(keys.len());
        let report = self.work.execute(&plan, gathered, self.tokens.clone(), &options).await?;
        // One that has stopped meanwhile has noticed by itself.
        let mut restarted = BTreeSet::new();
        for branch in report.branches {
            match branch.result.error() {
                Some(error) => tracing::info!(instance.key = %branch.instance, error, "a receiver was not restarted"),
                None => drop(restarted.insert(branch.instance)),
            }
        }
        Ok(Ok(restarted))
    }

    /// Looks again and again until one of them is connected, all have failed to, or the time is over.
    async fn watch(&self, keys: &BTreeSet<InstanceKey>, until: Instant) -> Result<Gathered, JobError> {
        loop {
            let gathered = self.look(keys).await?;
            let tries = |key: &&InstanceKey| gathered.instances.get(*key).is_some_and(tries);
            if connected(&gathered, keys, &self.of).is_some()
                || !keys.iter().any(|key| tries(&key))
                || Instant::now() >= until
            {
                return Ok(gathered);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// The source and all its replicas, as they are known.
    async fn known(&self) -> Result<BTreeMap<InstanceKey, Instance>, JobError> {
        let pool = &self.work.ctx.pool;
        let source =
            store::instances::read_many(pool, std::slice::from_ref(&self.of)).await.map_err(JobError::retry)?;
        let replicas = store::instances::read_replicas(pool, &self.of).await.map_err(JobError::retry)?;
        Ok(source.into_iter().chain(replicas.instances).map(|one| (one.key.clone(), one)).collect())
    }

    fn replicas(&self, known: &BTreeMap<InstanceKey, Instance>) -> BTreeSet<InstanceKey> {
        known.keys().filter(|key| **key != self.of).cloned().collect()
    }

    /// Asks these, and records what they say.
    async fn look(&self, keys: &BTreeSet<InstanceKey>) -> Result<Gathered, JobError> {
        let (ctx, config) = (self.work.ctx, self.work.config);
        let mut answers = futures::future::join_all(keys.iter().map(|key| probing::probe_one(ctx, key))).await;
        probing::record_extra(ctx, config, &mut answers).await?;
        ctx.news.ring();
        let instances = self.known().await?;
        let now = store::database_now(&ctx.pool).await.map_err(JobError::retry)?;
        Ok(Gathered { instances, equivalences: Vec::new(), policy: planner_policy(config), now })
    }

    async fn finish(&self, found: &Found) -> Result<serde_json::Value, JobError> {
        let (state, text) = match found {
            Found::Alive(text) | Found::Lost(text) => (State::Done, text),
            Found::Nothing(text) => (State::Failed, text),
        };
        tracing::warn!(instance.key = %self.of, operation.id = self.work.operation.id, "restarted receivers: {text}");
        let operation = &self.work.operation;
        let error = if state == State::Failed { text.as_str() } else { "" };
        let outcome = OperationOutcome {
            operation: operation.id,
            word: operation.word.clone(),
            state: state.name().to_owned(),
            instance: operation.instance.clone(),
            error: error.to_owned(),
            runs: self.work.run.number,
            ..OperationOutcome::default()
        };
        let mut outcome = serde_json::to_value(outcome).map_err(JobError::give_up)?;
        if let Some(outcome) = outcome.as_object_mut() {
            outcome.insert("found".to_owned(), text.as_str().into());
        }
        let end = Finish { state, outcome: &outcome, error, message: text };
        self.work.still_ours(store::operations::finish(&self.work.ctx.pool, self.work.run, end).await)?;
        self.work.ctx.news.ring();
        Ok(outcome)
    }
}

/// Its receiver runs, below that source.
fn hears(one: &Instance, of: &InstanceKey) -> bool {
    one.check.is_valid() && one.facts.source() == Some(of) && one.facts.threads().0 == ThreadState::Running
}

/// A heartbeat that has not come within this time does not come any more.
fn patience(period: Duration) -> Duration {
    period * 5 / 4 + Duration::from_millis(250)
}

/// One of these whose receiver is connected.
fn connected<'a>(gathered: &Gathered, keys: &'a BTreeSet<InstanceKey>, of: &InstanceKey) -> Option<&'a InstanceKey> {
    keys.iter().find(|key| gathered.instances.get(*key).is_some_and(|one| hears(one, of)))
}

/// Its receiver tries to connect, and has not failed to yet.
fn tries(one: &Instance) -> bool {
    let failed = one.facts.replica.as_ref().is_some_and(|replica| replica.last_io_errno != 0);
    one.check.is_valid() && one.facts.threads().0 == ThreadState::Other && !failed
}

fn told(gathered: &Gathered, key: &InstanceKey) -> String {
    let replica = gathered.instances.get(key).and_then(|one| one.facts.replica.as_ref());
    match replica.map(|replica| replica.last_io_error.as_str()) {
        Some("") => format!("{key} is still trying"),
        Some(error) => format!("{key} says: {error}"),
        None => format!("{key} does not say"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_a_wire_format() {
        let job = RestartReceivers::new(7);
        assert_eq!(serde_json::to_string(&job).unwrap(), r#"{"operation":7}"#);
        assert_eq!(serde_json::from_str::<RestartReceivers>(r#"{"operation":7}"#).unwrap(), job);
        assert_eq!(job.unique_key().unwrap(), "restart-receivers:7");
    }
}
