//! Carries out one operation on managed servers: probes them, plans, locks, probes and plans again, executes, records.
//!
//! ```text
//!   probe ─▶ plan ─▶ check ─▶ lock (all or none) ─▶ probe ─▶ plan: locks still the right ones? ─▶ keep plan ─▶ execute ─▶ probe
//!     │        │                 │ held: refused, nothing touched         │ no: once more, then refused          │
//!     │        └ refused         └───────────────────────────────────────────────────────────────────────────────┴─▶ finish
//!   resumed: take over the locks ─▶ wait until nothing of the lost worker can be under way ─▶ (as above, with the kept baseline)
//! ```
//! Safe to run twice, late, or on two workers at once: taking up an operation makes every token of the run before void,
//! in one transaction; a step begins only if all locks are in force under our tokens; what a lost worker may still have on
//! its way ends before we look. An operation that has ended is not taken up again.
//!
//! When the backend is lost, nothing more is done to any server, and the job is tried again: it resumes.

mod conclusion;
mod locks;
mod orphans;
mod put_back;
mod take_master;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::instance::InstanceKey;
use domain::operation::World;
use domain::plan::{Baseline, Plan, Refusal, Rule};
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use store::maintenance::Claim;
use store::operations::{Begun, State};

use crate::Context;
use crate::acting::{Expected, Gathered, LOCK_FOR, Tokens, Work, gather, look_again, note_running, options, unsound};
use conclusion::{End, state_of};
pub(crate) use orphans::adopt;
use put_back::intended;

/// Plans made under locks before the world counts as restless.
const PLANS: usize = 3;

/// Carrying out of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operate {
    /// Its number in the table of operations.
    pub operation: u64,
    /// Only put back what a lost run left behind, and end it: its job ended before it did.
    #[serde(default)]
    pub only_put_back: bool,
}

impl Operate {
    /// Carries out this operation, to its end.
    pub fn new(operation: u64) -> Self {
        Self { operation, only_put_back: false }
    }
}

impl Job for Operate {
    type Context = Context;
    const KIND: &'static str = "operate";
    // Steps have limits of their own; the hour is for a hundred replicas that drain. Attempts: each loss of the backend
    // costs one.
    const LIMITS: Limits = Limits {
        queue: Queue::Operations,
        timeout: Duration::from_secs(3_600),
        attempts: 10,
        backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(15) },
    };

    fn unique_key(&self) -> Option<String> {
        Some(format!("operate:{}", self.operation))
    }

    async fn run(self, ctx: Arc<Context>, attempt: Attempt) -> Result<serde_json::Value, JobError> {
        let known = store::operations::read(&ctx.pool, self.operation).await.map_err(JobError::retry)?;
        let known = known.ok_or_else(|| JobError::give_up(format!("there is no operation {}", self.operation)))?;
        let reason = format!("{} (operation {})", known.request, known.id);
        let claim = Claim { owner: &known.actor, reason: &reason, duration: LOCK_FOR, holder_node: &attempt.worker };
        match store::operations::begin_run(&ctx.pool, self.operation, claim).await.map_err(JobError::retry)? {
            Begun::Unknown => Err(JobError::give_up(format!("there is no operation {}", self.operation))),
            Begun::Ended(ended) => conclusion::answer(&ended),
            Begun::Run { run, operation, tokens } => {
                let config = ctx.config.get();
                let work = Work { ctx: &ctx, config: &config, attempt: &attempt, operation: *operation, run, claim };
                // Boxed: all that it may hold at once is a lot for the stack of whoever calls.
                Box::pin(work.to_the_end(tokens, self.only_put_back)).await
            }
        }
    }
}

/// A final plan with the locks it has.
struct Ready {
    plan: Plan,
    gathered: Gathered,
    tokens: Tokens,
    /// Branches without locks, with the reason.
    withheld: BTreeMap<InstanceKey, String>,
}

impl Work<'_> {
    async fn to_the_end(&self, tokens: Tokens, only_put_back: bool) -> Result<serde_json::Value, JobError> {
        tracing::info!(
            operation.id = self.operation.id,
            run = self.run.number,
            request = %self.operation.request,
            "takes up an operation"
        );
        let given_up = || End::Failed("its job ended before it did".to_owned());
        let end = match &self.operation.plan {
            Some(first) if only_put_back => {
                self.wait_for_the_lost().await?;
                self.put_back(first, tokens, &self.operation.baseline.clone().unwrap_or_default(), given_up()).await?
            }
            Some(first) => self.resume(first, tokens).await?,
            None if only_put_back => given_up(),
            None => {
                if !tokens.is_empty() {
                    // The run before ended between locking and its first step.
                    self.still_ours(store::operations::release(&self.ctx.pool, self.run).await)?;
                }
                self.begin().await?
            }
        };
        let swapped = take_master::swapped(self, &end);
        let value = self.conclude(end).await?;
        if let Some((successor, demoted)) = swapped {
            take_master::tell(self, &successor, &demoted).await;
        }
        Ok(value)
    }

    /// A first run: nothing was touched yet.
    async fn begin(&self) -> Result<End, JobError> {
        let baseline = Baseline::new();
        let gathered = gather(self).await?;
        let plan = match self.plan(&gathered, &baseline) {
            Ok(plan) => plan,
            Err(end) => return Ok(end),
        };
        if self.operation.dry_run {
            return locks::planned(self, plan, &gathered).await;
        }
        match self.make_ready(plan, gathered, Tokens::new(), &baseline).await? {
            Ok(ready) => self.carry_out(ready, baseline).await,
            Err(end) => Ok(end),
        }
    }

    /// A later run: a worker was lost between two steps, or in one.
    async fn resume(&self, first: &Plan, tokens: Tokens) -> Result<End, JobError> {
        let baseline = self.operation.baseline.clone().unwrap_or_default();
        self.wait_for_the_lost().await?;
        let gathered = gather(self).await?;
        let planned = self.plan(&gathered, &baseline);
        let refusal = match planned {
            Ok(plan) => match self.make_ready(plan, gathered, tokens.clone(), &baseline).await? {
                Ok(ready) => {
                    let tokens = ready.tokens.clone();
                    let mut end = self.carry_out(ready, baseline.clone()).await?;
                    if state_of(&end) == State::Done
                        && let End::Executed { report, .. } = &mut end
                    {
                        // What is left to do is not all that the lost worker left behind.
                        let left = self.start_stopped(tokens, &intended(first, &baseline), Expected::Running).await?;
                        report.tail_errors.extend(left);
                    }
                    return Ok(end);
                }
                Err(end) => end,
            },
            Err(end) => end,
        };
        self.put_back(first, tokens, &baseline, refusal).await
    }

    fn plan(&self, gathered: &Gathered, baseline: &Baseline) -> Result<Plan, End> {
        let world = World {
            instances: &gathered.instances,
            baseline,
            earlier: self.operation.plan.as_ref(),
            equivalences: &gathered.equivalences,
            policy: &gathered.policy,
            now: gathered.now,
        };
        let plan = domain::operation::plan(&self.operation.request, &world).map_err(End::refused)?;
        if let Some(flaws) = unsound(&plan) {
            return Err(End::Failed(flaws));
        }
        Ok(plan)
    }

    /// Takes the locks, looks again, plans again, until the plan needs the locks it has.
    async fn make_ready(
        &self,
        mut plan: Plan,
        mut gathered: Gathered,
        mut tokens: Tokens,
        baseline: &Baseline,
    ) -> Result<Result<Ready, End>, JobError> {
        for _ in 0..PLANS {
            if self.attempt.cancelled.is_cancelled() {
                return Ok(Err(End::Cancelled));
            }
            let withheld = match locks::take(self, &plan, &mut tokens).await? {
                Ok(withheld) => withheld,
                Err(end) => return Ok(Err(end)),
            };
            gathered = gather(self).await?;
            let next = match self.plan(&gathered, baseline) {
                Ok(next) => next,
                Err(end) => return Ok(Err(end)),
            };
            if locks::same(&plan, &next) {
                let withheld = match locks::sources_are_free(self, &next, &gathered, &tokens, withheld).await? {
                    Ok(withheld) => withheld,
                    Err(end) => return Ok(Err(end)),
                };
                return Ok(Ok(Ready { plan: next, gathered, tokens, withheld }));
            }
            plan = next;
        }
        drop(gathered);
        let reason = "the topology changes faster than it can be planned for";
        let remedy = "try again when it is at rest";
        Ok(Err(End::refused(Refusal::new(Rule::StaleFacts, &self.operation.instance, reason, remedy))))
    }

    /// Keeps the plan and what ran before it, executes it, and looks at what became of it.
    async fn carry_out(&self, ready: Ready, mut baseline: Baseline) -> Result<End, JobError> {
        let Ready { plan, gathered, tokens, withheld } = ready;
        note_running(&mut baseline, &plan, &gathered);
        let kept = store::operations::save_plan(&self.ctx.pool, self.run, &plan, &baseline).await;
        self.still_ours(kept)?;
        let options = options(&gathered, self.attempt.cancelled.clone(), withheld);
        let report = self.execute(&plan, &gathered, tokens, &options).await?;
        look_again(self, &plan.servers()).await;
        Ok(End::Executed { plan: Box::new(plan), report })
    }
}
