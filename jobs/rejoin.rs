//! A replaced primary that comes back: closed to writes at once, then compared with the cluster, then made a replica of it
//! again where that is configured, or left alone with the exact set of what only it has.
//!
//! ```text
//!   lost ──answers──▶ closed: fenced ──contained, RejoinFormerPrimary──▶ replicates from the present primary: rejoined
//!                                  └──has transactions of its own─────▶ errant: shown, left alone
//! ```
//! Safe to run twice or late: each change is an operation with its own locks, planned from a fresh look, and what is done
//! already is found done. The state moves on only from the state that was read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::instance::InstanceKey;
use domain::operation::World;
use domain::plan::{Baseline, Plan, Refusal, Request};
use domain::recovery::rejoin::{self, Judgement};
use operations::OperationOutcome;
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::former_primaries::{Former, FormerState};
use store::maintenance::Claim;
use store::operations::{Begun, Finish, NewOperation, State};
use store::recoveries::NewEvent;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::acting::{
    Eyes, Gathered, LOCK_FOR, Tokens, Work, gather_around, look_again, note_running, options, unsound,
};

/// Who does it.
const OWNER: &str = "orchestrator";
/// How long locks of other operations are waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What becomes of one replaced primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejoin {
    /// Which server.
    pub instance: InstanceKey,
    /// The recovery that replaced it.
    pub recovery: u64,
}

impl Rejoin {
    /// Of this server, replaced by this recovery.
    pub fn new(instance: InstanceKey, recovery: u64) -> Self {
        Self { instance, recovery }
    }
}

impl Job for Rejoin {
    type Context = Context;
    const KIND: &'static str = "rejoin";
    // The leader asks again for as long as it is needed.
    const LIMITS: Limits =
        Limits { queue: Queue::Recovery, timeout: Duration::from_secs(300), attempts: 1, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        // The queue keeps 255 characters.
        Some(format!("rejoin:{}", self.instance).chars().take(255).collect())
    }

    async fn run(self, ctx: Arc<Context>, attempt: Attempt) -> Result<Value, JobError> {
        let all = store::former_primaries::of(&ctx.pool).await.map_err(JobError::retry)?;
        let former = all.iter().find(|one| one.key == self.instance && one.recovery_id == self.recovery);
        let Some(former) = former.filter(|one| matches!(one.state, FormerState::Lost | FormerState::Fenced)) else {
            return Ok(json!({ "state": "settled" }));
        };
        let primary = present_primary(former, &all);
        if primary == former.key {
            // Its successor was replaced by it: it is the primary, and nobody may close it.
            return Ok(json!({ "state": "primary" }));
        }
        let primary = head_of(&ctx, former, primary).await?;
        let returning = Returning { ctx: &ctx, attempt: &attempt, former, primary };
        let state = returning.settle().await?;
        Ok(json!({ "state": state }))
    }
}

/// Its successor, or whoever has replaced that since.
fn present_primary(former: &Former, all: &[Former]) -> InstanceKey {
    let mut primary = &former.successor;
    let mut seen = BTreeSet::from([&former.key]);
    while seen.insert(primary)
        && let Some(next) = all.iter().find(|one| one.key == *primary)
    {
        primary = &next.successor;
    }
    primary.clone()
}

/// Whom it replicates from, if it was replaced by hand, or in a planned takeover, after which it follows.
async fn head_of(ctx: &Context, former: &Former, successor: InstanceKey) -> Result<InstanceKey, JobError> {
    let mut head = successor;
    let mut seen = BTreeSet::from([former.key.clone()]);
    while seen.insert(head.clone()) {
        let one = store::instances::read(&ctx.pool, &head).await.map_err(JobError::retry)?;
        let Some(one) = one.filter(|one| one.check.is_valid() && one.facts.read_only) else { break };
        match one.facts.source() {
            Some(source) if source.is_valid() && !seen.contains(source) => head = source.clone(),
            _ => break,
        }
    }
    Ok(head)
}

/// One replaced primary that answers.
struct Returning<'a> {
    ctx: &'a Arc<Context>,
    attempt: &'a Attempt,
    former: &'a Former,
    primary: InstanceKey,
}

/// What is done to it.
enum Part {
    Close,
    Attach,
}

impl Returning<'_> {
    /// The word for where it stands now.
    async fn settle(&self) -> Result<&'static str, JobError> {
        let key = &self.former.key;
        let mut gathered = self.look().await?;
        if !answers(&gathered, key) {
            return Ok("silent");
        }
        if self.is_primary_again(&gathered) {
            let mut conn = self.ctx.pool.acquire().await.map_err(JobError::retry)?;
            store::former_primaries::forget(&mut conn, key).await.map_err(JobError::retry)?;
            drop(conn);
            self.tell(&format!("{key} is the source of {} by now: it is a primary again", self.primary)).await;
            return Ok("primary");
        }
        match self.act(Part::Close, &gathered).await? {
            Acted::Done => {
                self.tell(&format!("{key} came back and is closed to writes")).await;
                gathered = self.look().await?;
            }
            Acted::AlreadySo => {}
            Acted::Not(reason) => {
                tracing::warn!(instance.key = %key, reason, "a former primary is not closed");
                return Ok("open");
            }
        }
        let mut former = self.former.clone();
        if former.state == FormerState::Lost {
            self.set_state(&former, FormerState::Fenced, "").await?;
            former.state = FormerState::Fenced;
        }
        let (Some(one), Some(primary)) = (gathered.instances.get(key), gathered.instances.get(&self.primary)) else {
            return Ok("fenced");
        };
        if !primary.check.is_valid() {
            return Ok("fenced");
        }
        match rejoin::judge(one, primary, &self.former.gtid) {
            Judgement::Errant(set) => {
                self.set_state(&former, FormerState::Errant, &set).await?;
                self.tell(&format!("{key} has transactions that {} lacks, it is left alone: {set}", self.primary))
                    .await;
                Ok("errant")
            }
            Judgement::Contained => self.attach(&former, &gathered).await,
            Judgement::Unknown(reason) => {
                tracing::info!(instance.key = %key, reason, "whether a former primary has errant transactions is unknown");
                Ok("fenced")
            }
        }
    }

    /// It has nothing of its own.
    async fn attach(&self, former: &Former, gathered: &Gathered) -> Result<&'static str, JobError> {
        let key = &former.key;
        let one = gathered.instances.get(key);
        let follows =
            one.is_some_and(|one| one.facts.is_replica_running() && one.facts.source() == Some(&self.primary));
        if !follows {
            if !self.is_wanted().await? {
                return Ok("fenced");
            }
            if let Acted::Not(reason) = self.act(Part::Attach, gathered).await? {
                tracing::warn!(instance.key = %key, reason, "a former primary stays closed and alone");
                return Ok("fenced");
            }
        }
        self.set_state(former, FormerState::Rejoined, "").await?;
        self.tell(&format!("{key} replicates from {}", self.primary)).await;
        Ok("rejoined")
    }

    async fn look(&self) -> Result<Gathered, JobError> {
        let config = self.ctx.config.get();
        let eyes = Eyes { ctx: self.ctx, config: &config };
        gather_around(eyes, &[self.former.key.clone(), self.primary.clone()], None).await
    }

    /// Somebody has turned the roles round.
    fn is_primary_again(&self, gathered: &Gathered) -> bool {
        let primary = gathered.instances.get(&self.primary);
        primary.is_some_and(|one| one.check.is_valid() && one.facts.source() == Some(&self.former.key))
    }

    /// `RejoinFormerPrimary`.
    async fn is_wanted(&self) -> Result<bool, JobError> {
        let config = self.ctx.config.get();
        let filter = &config.patterns.rejoin_former_primary;
        if filter.is_empty() {
            return Ok(false);
        }
        let names = [self.former.cluster_name.clone(), self.primary.to_string()];
        let aliases = store::clusters::aliases_of(&self.ctx.pool, &names).await.map_err(JobError::retry)?;
        Ok(names.iter().any(|name| filter.matches(name, aliases.get(name).unwrap_or(name))))
    }

    /// One change, as an operation of its own, if there is anything to be changed.
    async fn act(&self, part: Part, gathered: &Gathered) -> Result<Acted, JobError> {
        let key = self.former.key.clone();
        let request = match part {
            Part::Close => Request::SetReadOnly { instance: key },
            Part::Attach => Request::Relocate { instance: key, below: self.primary.clone() },
        };
        match self.plan(&request, &part, gathered) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Acted::AlreadySo),
            Err(refusal) => return Ok(Acted::Not(refusal.to_string())),
        }
        let pool = &self.ctx.pool;
        let mut tx = pool.begin().await.map_err(JobError::retry)?;
        let new =
            NewOperation { request: &request, dry_run: false, cluster_name: &self.former.cluster_name, actor: OWNER };
        let operation = store::operations::create(&mut tx, &new).await.map_err(JobError::retry)?;
        store::operations::set_job(&mut tx, operation, self.attempt.job_id).await.map_err(JobError::retry)?;
        tx.commit().await.map_err(JobError::retry)?;
        let reason = format!(
            "{} was replaced by {} (recovery {})",
            self.former.key, self.former.successor, self.former.recovery_id
        );
        let claim = Claim { owner: OWNER, reason: &reason, duration: LOCK_FOR, holder_node: &self.attempt.worker };
        let begun = store::operations::begin_run(pool, operation, claim).await.map_err(JobError::retry)?;
        let Begun::Run { run, operation, .. } = begun else {
            return Ok(Acted::Not("somebody else ended it".to_owned()));
        };
        let config = self.ctx.config.get();
        let work = Work { ctx: self.ctx, config: &config, attempt: self.attempt, operation: *operation, run, claim };
        let acted = self.carry_out(&work, &part).await?;
        finish(&work, &acted).await?;
        Ok(acted)
    }

    async fn carry_out(&self, work: &Work<'_>, part: &Part) -> Result<Acted, JobError> {
        let mut tokens = Tokens::new();
        let keys = [self.former.key.clone()];
        let held = work.lock_what_is_free(&keys, &mut tokens, LOCK_PATIENCE).await?;
        if let Some(held) = held.into_values().next() {
            return Ok(Acted::Not(held));
        }
        let gathered = self.look().await?;
        if self.is_primary_again(&gathered) {
            return Ok(Acted::Not(format!("{} replicates from it", self.primary)));
        }
        let plan = match self.plan(&work.operation.request, part, &gathered) {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(Acted::AlreadySo),
            Err(refusal) => return Ok(Acted::Not(refusal.to_string())),
        };
        if let Some(flaws) = unsound(&plan) {
            return Ok(Acted::Not(flaws));
        }
        let mut baseline = Baseline::new();
        note_running(&mut baseline, &plan, &gathered);
        work.still_ours(store::operations::save_plan(&self.ctx.pool, work.run, &plan, &baseline).await)?;
        if let Err(held) = work.lock(&plan.locks, &mut tokens).await? {
            return Ok(Acted::Not(held));
        }
        let options = options(&gathered, CancellationToken::new(), std::collections::BTreeMap::new());
        let report = work.execute(&plan, &gathered, tokens, &options).await?;
        look_again(work, &plan.servers()).await;
        let errors = crate::recover::errors_of(&report);
        Ok(if errors.is_empty() { Acted::Done } else { Acted::Not(errors.join("; ")) })
    }

    fn plan(&self, request: &Request, part: &Part, gathered: &Gathered) -> Result<Option<Plan>, Refusal> {
        let baseline = Baseline::new();
        let world = World {
            instances: &gathered.instances,
            baseline: &baseline,
            earlier: None,
            equivalences: &gathered.equivalences,
            policy: &gathered.policy,
            now: gathered.now,
        };
        match part {
            Part::Close => rejoin::fence(&world, &self.former.key, request),
            Part::Attach => rejoin::plan(&world, &self.former.key, &self.primary, &self.former.gtid, request),
        }
    }

    async fn set_state(&self, former: &Former, to: FormerState, errant: &str) -> Result<(), JobError> {
        let mut conn = self.ctx.pool.acquire().await.map_err(JobError::retry)?;
        let moved = store::former_primaries::set_state(&mut conn, former, to, errant).await.map_err(JobError::retry)?;
        if moved { Ok(()) } else { Err(JobError::give_up("another worker settles the same former primary")) }
    }

    /// In the timeline of the recovery that replaced it.
    async fn tell(&self, text: &str) {
        tracing::warn!(recovery.id = self.former.recovery_id, instance.key = %self.former.key, "{text}");
        let event = NewEvent { run: 0, worker: &self.attempt.worker, kind: "fact", text, data: None };
        if let Err(error) = store::recoveries::event(&self.ctx.pool, self.former.recovery_id, &event).await {
            tracing::warn!(recovery.id = self.former.recovery_id, %error, "a line of the timeline was not written");
        }
    }
}

/// What became of one change.
enum Acted {
    Done,
    AlreadySo,
    Not(String),
}

fn answers(gathered: &Gathered, key: &InstanceKey) -> bool {
    gathered.instances.get(key).is_some_and(|one| one.check.is_valid())
}

async fn finish(work: &Work<'_>, acted: &Acted) -> Result<(), JobError> {
    let (state, error) = match acted {
        Acted::Done | Acted::AlreadySo => (State::Done, String::new()),
        Acted::Not(reason) => (State::Failed, reason.clone()),
    };
    let operation = &work.operation;
    let outcome = OperationOutcome {
        operation: operation.id,
        word: operation.word.clone(),
        state: state.name().to_owned(),
        instance: operation.instance.clone(),
        error: error.clone(),
        runs: work.run.number,
        ..OperationOutcome::default()
    };
    let outcome = serde_json::to_value(outcome).map_err(JobError::give_up)?;
    let message = format!("operation {}, a former primary came back: {}{error}", operation.id, state.name());
    let end = Finish { state, outcome: &outcome, error: &error, message: &message };
    work.still_ours(store::operations::finish(&work.ctx.pool, work.run, end).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn former(name: &str, successor: &str) -> Former {
        Former {
            key: InstanceKey::new(name, 3306),
            cluster_name: String::new(),
            successor: InstanceKey::new(successor, 3306),
            recovery_id: 1,
            gtid: String::new(),
            state: FormerState::Lost,
            errant_gtid: String::new(),
            marked_at: 0,
            state_at: 0,
            seen_at: None,
        }
    }

    #[test]
    fn the_payload_is_a_wire_format() {
        let job = Rejoin::new(InstanceKey::new("a", 3306), 7);
        let text = r#"{"instance":{"hostname":"a","port":3306},"recovery":7}"#;
        assert_eq!(serde_json::to_string(&job).unwrap(), text);
        assert_eq!(serde_json::from_str::<Rejoin>(text).unwrap(), job);
        assert_eq!(job.unique_key().unwrap(), "rejoin:a:3306");
    }

    #[test]
    fn the_present_primary_is_the_last_of_a_row_of_successors() {
        let all = [former("a", "b"), former("b", "c"), former("x", "y"), former("y", "x")];
        assert_eq!(present_primary(&all[0], &all), InstanceKey::new("c", 3306));
        assert_eq!(present_primary(&all[1], &all), InstanceKey::new("c", 3306));
        // Round in a ring it ends somewhere.
        assert!(["x", "y"].contains(&present_primary(&all[2], &all).hostname.as_str()));
    }
}
