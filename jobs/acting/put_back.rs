//! Putting back what was stopped: threads that are to run, and do not, start again.

use std::collections::BTreeMap;

use domain::instance::{InstanceKey, ServerFacts};
use domain::plan::{Action, Baseline, Branch, Condition, Method, Plan, Step, Threads, running_threads};
use queue::JobError;
use tokio_util::sync::CancellationToken;

use super::{Tokens, Work, gather_around, look_again, named, options};

/// Limit of a start that puts back what was stopped.
const START_SECONDS: u32 = 10;

/// When a thread counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It works: the receiver is connected.
    Running,
    /// It tries to: its source may be dead.
    Started,
}

impl Work<'_> {
    /// Starts threads that are to run and do not; says what could not be started.
    pub(crate) async fn start_stopped(
        &self,
        mut tokens: Tokens,
        wanted: &Baseline,
        expected: Expected,
    ) -> Result<Vec<String>, JobError> {
        let gathered = gather_around(self.eyes(), &around(self, wanted), None).await?;
        let mut branches = Vec::new();
        let mut errors = Vec::new();
        for (key, wanted) in wanted {
            let Some(step) =
                gathered.instances.get(key).and_then(|one| start_again(key, &one.facts, *wanted, expected))
            else {
                continue;
            };
            let since = store::operations::changed_since(&self.ctx.pool, self.operation.id, key).await;
            if let Some(other) = since.map_err(JobError::retry)? {
                errors.push(format!("{key} was not started again: operation {other} has changed it since"));
                continue;
            }
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

/// Servers to be looked at: those of the request, and those to be started.
fn around(work: &Work<'_>, wanted: &Baseline) -> Vec<InstanceKey> {
    let mut around = named(work);
    around.extend(wanted.keys().filter(|key| *key != work.operation.request.instance()).cloned());
    around
}

/// The step that starts those threads that ran before and do not run now.
fn start_again(key: &InstanceKey, facts: &ServerFacts, wanted: Threads, expected: Expected) -> Option<Step> {
    if !facts.is_replica() {
        return None;
    }
    let now = running_threads(facts);
    let threads = Threads { io: wanted.io && !now.io, sql: wanted.sql && !now.sql };
    let after = match expected {
        Expected::Running => Condition::Replicating { threads },
        Expected::Started => Condition::Threads { running: now.or(threads) },
    };
    (threads != Threads::NONE).then(|| Step::new(key, Action::Start { threads }, START_SECONDS).then(after))
}
