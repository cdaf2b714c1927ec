//! Putting back what a lost worker left behind: threads that are to run, and do not, start again.

use std::collections::BTreeMap;

use domain::instance::{InstanceKey, ServerFacts};
use domain::plan::{Action, Baseline, Branch, Condition, Method, Plan, Step, Threads, running_threads};
use queue::JobError;
use tokio_util::sync::CancellationToken;

use super::conclusion::End;
use crate::acting::{Tokens, Work, gather, look_again, options};

/// Limit of a start that puts back what a lost worker stopped.
const START_SECONDS: u32 = 10;

impl Work<'_> {
    /// Ends a resumed operation that cannot, or need not, go on: threads that a lost worker stopped run again.
    pub(super) async fn put_back(
        &self,
        first: &Plan,
        tokens: Tokens,
        baseline: &Baseline,
        because: End,
    ) -> Result<End, JobError> {
        // All is as asked: threads that were to be stopped stay so.
        let wanted = if because.is_already_so() { intended(first, baseline) } else { baseline.clone() };
        let errors = self.start_stopped(tokens, &wanted).await?;
        Ok(End::Resumed { first: Box::new(first.clone()), because: Box::new(because), errors })
    }

    /// Starts threads that are to run and do not; says what could not be started.
    pub(super) async fn start_stopped(&self, mut tokens: Tokens, wanted: &Baseline) -> Result<Vec<String>, JobError> {
        let gathered = gather(self).await?;
        let mut branches = Vec::new();
        let mut errors = Vec::new();
        for (key, wanted) in wanted {
            let Some(step) = gathered.instances.get(key).and_then(|one| start_again(key, &one.facts, *wanted)) else {
                continue;
            };
            if !tokens.contains_key(key) {
                match self.lock(std::slice::from_ref(key), &mut tokens).await? {
                    Ok(()) => {}
                    Err(held) => {
                        errors.push(format!("{key} was not started again: {held}"));
                        continue;
                    }
                }
            }
            branches.push(Branch {
                instance: key.clone(),
                new_source: None,
                locks: vec![key.clone()],
                steps: vec![step],
                restore: Vec::new(),
            });
        }
        if !branches.is_empty() {
            let plan = Plan {
                request: self.operation.request.clone(),
                method: Method::InPlace,
                because: "starts again what a lost worker had stopped".to_owned(),
                warnings: Vec::new(),
                locks: Vec::new(),
                head: Vec::new(),
                branches,
                tail: Vec::new(),
                left_out: Vec::new(),
                answers_for: None,
            };
            let baseline = self.operation.baseline.clone().unwrap_or_default();
            self.still_ours(store::operations::save_plan(&self.ctx.pool, self.run, &plan, &baseline).await)?;
            // Putting back is not cancelled: the wish to stop is one reason for it.
            let options = options(&gathered, CancellationToken::new(), BTreeMap::new());
            let report = self.execute(&plan, &gathered, tokens, &options).await?;
            look_again(self, &plan.servers()).await;
            errors.extend(report.branches.iter().filter_map(|branch| branch.result.error()));
        }
        Ok(errors)
    }
}

/// The threads that were to run when the first plan had been carried out as a whole.
pub(super) fn intended(first: &Plan, baseline: &Baseline) -> Baseline {
    let mut wanted = baseline.clone();
    for step in first.steps() {
        let Some(running) = wanted.get_mut(&step.on) else { continue };
        let set = |running: &mut Threads, threads: Threads, to: bool| {
            running.io = if threads.io { to } else { running.io };
            running.sql = if threads.sql { to } else { running.sql };
        };
        match &step.action {
            Action::Stop { threads } => set(running, *threads, false),
            Action::Start { threads } => set(running, *threads, true),
            _ => {}
        }
    }
    wanted
}

/// The step that starts those threads that ran before and do not run now.
fn start_again(key: &InstanceKey, facts: &ServerFacts, wanted: Threads) -> Option<Step> {
    if !facts.is_replica() {
        return None;
    }
    let now = running_threads(facts);
    let threads = Threads { io: wanted.io && !now.io, sql: wanted.sql && !now.sql };
    (threads != Threads::NONE)
        .then(|| Step::new(key, Action::Start { threads }, START_SECONDS).then(Condition::Replicating { threads }))
}
