//! Drives one recovery, or planned takeover, through its phases: from a row that says "this server failed" to a cluster
//! that takes writes again, every fact, choice and step written down.
//!
//! ```text
//!  begin_run ─▶ locks ─▶ look at all ─▶ analyse again ─▶ PreFailover hooks ─▶ FENCE ─▶ look ─▶ CHOOSE ─▶ PROMOTE ─▶ (writes are open)
//!      │          │ held: left out        │ gone: no longer needed                      └◀── failed: up to three rounds ──┘
//!      │ resumed: wait until nothing of the lost worker can be under way           ─▶ REPOINT ─▶ PUBLISH ─▶ end locks ─▶ hooks ─▶ CLOSE
//! ```
//! Safe to run twice, late, or on two workers at once: a recovery is an operation as well (`store::operations`), so taking
//! it up makes every token of the run before void, and every phase, choice and hook is written under the number of the run.
//! Whoever resumes looks at the servers afresh; from the row it needs the phase, the choice, and the hooks that were begun.
//!
//! Until the phase `promoting` it can be given up: receivers that were stopped start again, a primary that was closed is
//! opened again. From then on it goes forward only, because the successor may have been opened.

mod close;
mod commits;
mod journal;
mod lists;
mod open;
mod primary;
mod publish;
mod put_back;
mod scene;
mod single;
mod takeover;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::instance::InstanceKey;
use domain::plan::{Baseline, Plan};
use domain::recovery::Choice;
use operations::{Ending, Report};
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use store::maintenance::Claim;
use store::operations::Begun;
use store::recoveries::{Kind, Phase, Recovery};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::acting::{Gathered, Hurry, LOCK_FOR, Tokens, Work, gather_around, members, note_running, options, unsound};
pub use close::{Outage, RecoveryOutcome};
use journal::{Journal, Line};
pub use open::{OpenError, Opened, open};

/// Who holds the locks of an automatic recovery.
const OWNER: &str = "orchestrator";
/// How long locks that others hold are waited for: clients cannot write meanwhile.
const LOCK_PATIENCE: Duration = Duration::from_millis(1_500);
/// How long the failed server is waited for when it gave no answer a moment before.
const SILENT_BEFORE: Duration = Duration::from_millis(300);
/// And when this run itself has asked it in vain.
const SILENT_NOW: Duration = Duration::from_millis(100);

/// Survivors whose receivers are stopped side by side.
const FENCED_AT_ONCE: usize = 64;

/// Carrying out of one recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// Its number in the table of recoveries.
    pub recovery: u64,
    /// Do not begin anything: put back or finish what a lost run left behind. Its job ended before it did.
    #[serde(default)]
    pub only_finish: bool,
}

impl Recover {
    /// Carries out this recovery, to its end.
    pub fn new(recovery: u64) -> Self {
        Self { recovery, only_finish: false }
    }
}

impl Job for Recover {
    type Context = Context;
    const KIND: &'static str = "recover";
    // Steps and hooks have limits of their own; the hour is for replicas that drain. Attempts: each loss of the backend
    // costs one, and they come fast, because clients wait.
    const LIMITS: Limits = Limits {
        queue: Queue::Recovery,
        timeout: Duration::from_secs(3_600),
        attempts: 20,
        backoff: Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) },
    };

    fn unique_key(&self) -> Option<String> {
        Some(format!("recover:{}", self.recovery))
    }

    async fn run(self, ctx: Arc<Context>, attempt: Attempt) -> Result<serde_json::Value, JobError> {
        let unknown = || JobError::give_up(format!("there is no recovery {}", self.recovery));
        let read = async || store::recoveries::read(&ctx.pool, self.recovery).await.map_err(JobError::retry);
        let row = read().await?.ok_or_else(unknown)?;
        let owner = if row.actor.is_empty() { OWNER.to_owned() } else { row.actor.clone() };
        let reason = format!("recovery {} from {} ({})", row.id, row.failed, row.code);
        let claim = Claim { owner: &owner, reason: &reason, duration: LOCK_FOR, holder_node: &attempt.worker };
        match store::operations::begin_run(&ctx.pool, row.operation_id, claim).await.map_err(JobError::retry)? {
            Begun::Unknown => Err(JobError::give_up(format!("recovery {} has no operation", self.recovery))),
            Begun::Ended(ended) => close::answer(&ended),
            Begun::Run { run, operation, tokens } => {
                // What the run before wrote last, it wrote before this one began.
                let row = if run.number > 1 { read().await?.ok_or_else(unknown)? } else { row };
                let config = ctx.config.get();
                let work = Work { ctx: &ctx, config: &config, attempt: &attempt, operation: *operation, run, claim };
                // Boxed: all that it may hold at once is a lot for the stack of whoever calls.
                Box::pin(Recovering::new(work, row, tokens).run_to_the_end(self.only_finish)).await
            }
        }
    }
}

/// One run of one recovery.
struct Recovering<'a> {
    work: Work<'a>,
    row: Recovery,
    tokens: Tokens,
    /// Members that others hold: nothing is done to them.
    held: BTreeMap<InstanceKey, String>,
    journal: Journal,
    /// All were asked by this run.
    looked: bool,
    /// The order that opens the chosen one for writes may have been sent.
    opening_begun: bool,
    /// Asked once the survivors are fenced.
    last_commit: Option<commits::LastCommit>,
    /// Running once the successor is open.
    first_commit: Option<commits::FirstCommit>,
    /// Who took part, and what became of it.
    done: Done,
}

/// What a recovery brought about so far.
#[derive(Debug, Default)]
struct Done {
    participating: BTreeSet<InstanceKey>,
    /// Servers given up, with the reason.
    lost: BTreeMap<InstanceKey, String>,
    errors: Vec<String>,
    outage: Option<Outage>,
}

/// How a recovery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// There is a successor.
    Recovered,
    /// Something went wrong.
    Failed(String),
    /// A rule or a hook forbids it.
    Refused(String),
    /// The failure is over.
    NoLongerNeeded(String),
    /// A person asked it to stop, in time.
    Cancelled,
}

impl<'a> Recovering<'a> {
    fn new(work: Work<'a>, row: Recovery, tokens: Tokens) -> Self {
        let journal = Journal::open(&work.ctx.pool, row.id, work.run.number, &work.attempt.worker);
        let done = Done {
            participating: row.participating.iter().cloned().collect(),
            lost: row.lost.iter().map(|key| (key.clone(), String::new())).collect(),
            errors: row.errors.clone(),
            outage: row.outage.clone().and_then(|outage| serde_json::from_value(outage).ok()),
        };
        Self {
            work,
            row,
            tokens,
            held: BTreeMap::new(),
            journal,
            looked: false,
            opening_begun: false,
            last_commit: None,
            first_commit: None,
            done,
        }
    }

    async fn run_to_the_end(mut self, only_finish: bool) -> Result<serde_json::Value, JobError> {
        tracing::info!(
            recovery.id = self.row.id,
            run = self.work.run.number,
            code = self.row.code,
            "takes up a recovery"
        );
        let ended = match self.carry_out(only_finish).await {
            Ok(end) => self.close(end).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &ended {
            self.journal.note(Line::Error, format!("this run ends: {error}"));
        }
        self.journal.close().await;
        ended
    }

    async fn carry_out(&mut self, only_finish: bool) -> Result<End, JobError> {
        if self.work.run.number > 1 {
            self.journal.note(
                Line::Fact,
                format!(
                    "{} goes on in phase {}; the worker before was lost",
                    self.work.attempt.worker,
                    self.row.phase.name()
                ),
            );
            self.work.wait_for_the_lost().await?;
            let marked = store::hook_runs::mark_unknown(&self.work.ctx.pool, self.row.id, self.work.run).await;
            marked.map_err(JobError::retry)?;
            self.note_opening().await?;
        }
        self.lock().await?;
        if only_finish && self.row.phase < Phase::Promoting {
            match self.choice().filter(|_| self.row.kind == Kind::Takeover) {
                Some(choice) => self.take_back(&choice).await?,
                None => self.put_back().await?,
            }
            return Ok(End::Failed("its job ended before it did".to_owned()));
        }
        match self.row.kind {
            Kind::Primary | Kind::CoPrimary => self.primary().await,
            Kind::Intermediate | Kind::GroupMember | Kind::NonWriteable | Kind::SemiSync => self.single().await,
            Kind::Takeover => self.takeover().await,
        }
    }

    /// Locks every member of the cluster that can be had: one that somebody else holds is left alone.
    async fn lock(&mut self) -> Result<(), JobError> {
        let keys = members(self.work.eyes(), &self.named()).await?;
        self.held = self.work.lock_what_is_free(&keys, &mut self.tokens, LOCK_PATIENCE).await?;
        for held in self.held.values() {
            self.journal.note(Line::Fact, format!("{held}; it is left out"));
        }
        let locked: Vec<String> = self.tokens.keys().map(ToString::to_string).collect();
        self.journal.note(Line::Fact, format!("locked: {}", locked.join(", ")));
        Ok(())
    }

    /// The servers whose clusters are looked at: names of clusters change with their primaries.
    fn named(&self) -> Vec<InstanceKey> {
        let mut named = BTreeSet::from([self.row.failed.clone()]);
        named.extend(self.row.successor.clone());
        named.extend(self.row.requested_candidate.clone());
        if let Some(choice) = self.choice() {
            named.extend(choice.catch_up_from.clone());
            named.extend(choice.followers.iter().cloned());
            named.extend(choice.lost.iter().map(|(key, _)| key.clone()));
            named.insert(choice.successor);
        }
        named.into_iter().collect()
    }

    /// Asks all members now. One that hangs must not cost a second each time.
    async fn look(&mut self) -> Result<Gathered, JobError> {
        let at_most = if self.looked { SILENT_NOW } else { SILENT_BEFORE };
        self.looked = true;
        let hurry = Hurry { server: &self.row.failed, at_most };
        gather_around(self.work.eyes(), &self.named(), Some(hurry)).await
    }

    /// What an earlier run, or an earlier round, chose.
    fn choice(&self) -> Option<Choice> {
        self.row.choice.clone().and_then(|choice| serde_json::from_value(choice).ok())
    }

    fn baseline(&self) -> Baseline {
        self.work.operation.baseline.clone().unwrap_or_default()
    }

    /// A phase begins; written before anything of it is done. Phases of a later run may repeat, never go back behind
    /// `promoting`.
    async fn phase(&mut self, phase: Phase) -> Result<(), JobError> {
        if self.row.phase == phase {
            return Ok(());
        }
        let (pool, worker) = (&self.work.ctx.pool, &self.work.attempt.worker);
        let written = store::recoveries::set_phase(pool, self.work.run, self.row.id, phase, worker).await;
        self.work.still_ours(written)?;
        self.row.phase = phase;
        Ok(())
    }

    /// Keeps a plan with what ran before, carries it out under our locks, and tells what became of it.
    async fn execute(&mut self, plan: &Plan, gathered: &Gathered) -> Result<Report, JobError> {
        if let Some(error) = self.unfit(plan) {
            self.trouble(error.clone());
            return Ok(Report {
                branches: Vec::new(),
                ending: Ending::HeadFailed(error),
                tail_errors: Vec::new(),
                touched: false,
            });
        }
        self.journal.note_with(Line::Plan, plan.to_string(), plan);
        let mut baseline = self.baseline();
        note_running(&mut baseline, plan, gathered);
        let kept = store::operations::save_plan(&self.work.ctx.pool, self.work.run, plan, &baseline).await;
        self.work.still_ours(kept)?;
        self.work.operation.baseline = Some(baseline);
        // Not cancelled in the middle: whether to go on is asked between phases.
        let mut options = options(gathered, CancellationToken::new(), self.withheld(plan));
        if self.row.phase < Phase::Repointing {
            // Clients wait, and stopping receivers costs nobody anything.
            options.max_parallel = options.max_parallel.max(FENCED_AT_ONCE);
        }
        let report = self.work.execute(plan, gathered, self.tokens.clone(), &options).await?;
        if self.row.phase == Phase::Promoting {
            self.note_opening().await?;
        }
        for branch in report.branches.iter().filter(|branch| branch.result.is_done()) {
            self.done.participating.insert(branch.instance.clone());
        }
        for error in errors_of(&report) {
            self.trouble(error);
        }
        Ok(report)
    }

    /// Why nothing of a plan can be done: it is not sound, or what all of it needs is not locked.
    fn unfit(&self, plan: &Plan) -> Option<String> {
        if let Some(flaws) = unsound(plan) {
            return Some(flaws);
        }
        let shared = plan.head.iter().chain(&plan.tail).map(|step| &step.on);
        let unlocked = shared.into_iter().find(|key| !self.tokens.contains_key(key))?;
        Some(self.held.get(unlocked).cloned().unwrap_or_else(|| format!("{unlocked} is not locked")))
    }

    /// Branches that need a server we have no lock on.
    fn withheld(&self, plan: &Plan) -> BTreeMap<InstanceKey, String> {
        let mut withheld = BTreeMap::new();
        for branch in &plan.branches {
            let changed = branch.steps.iter().chain(&branch.restore).map(|step| &step.on);
            if let Some(key) = changed.chain(&branch.locks).find(|key| !self.tokens.contains_key(key)) {
                let reason = self.held.get(key).cloned().unwrap_or_else(|| format!("{key} is not locked"));
                withheld.insert(branch.instance.clone(), reason);
            }
        }
        withheld
    }

    /// Something did not work; the recovery may.
    fn trouble(&mut self, error: String) {
        if !self.done.errors.contains(&error) {
            self.journal.note(Line::Error, error.clone());
            self.done.errors.push(error);
        }
    }

    /// A person asked for the end. (A worker that must stop leaves the recovery to another.)
    async fn is_cancelled(&self) -> Result<bool, JobError> {
        if !self.work.attempt.cancelled.is_cancelled() {
            return Ok(false);
        }
        if self.work.is_only_stopping().await? {
            return Err(JobError::retry("this worker stops; another goes on"));
        }
        Ok(true)
    }
}

/// What did not work, one text per branch.
pub(crate) fn errors_of(report: &Report) -> Vec<String> {
    let head = match &report.ending {
        Ending::HeadFailed(error) => Some(error.clone()),
        Ending::Ended | Ending::Cancelled | Ending::Fenced(_) | Ending::LedgerAway(_) => None,
    };
    let branches = report.branches.iter().filter_map(|branch| branch.result.error());
    head.into_iter().chain(branches).chain(report.tail_errors.iter().cloned()).collect()
}

/// Everything was done.
fn is_done(report: &Report) -> bool {
    report.ending == Ending::Ended && report.branches.iter().all(|branch| branch.result.is_done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_a_wire_format() {
        let job = Recover::new(7);
        assert_eq!(serde_json::to_string(&job).unwrap(), r#"{"recovery":7,"only_finish":false}"#);
        assert_eq!(serde_json::from_str::<Recover>(r#"{"recovery":7}"#).unwrap(), job);
        assert_eq!(job.unique_key().unwrap(), "recover:7");
    }
}
