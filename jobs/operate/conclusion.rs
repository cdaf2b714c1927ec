//! How an operation ends: its state, the outcome for the one who asked, the audit entry.

use domain::plan::{Plan, Refusal, Rule};
use operations::{BranchResult, Ending, InstanceError, Moved, OperationOutcome, Report};
use queue::JobError;
use store::operations::{Finish, Operation, State};

use crate::acting::Work;

/// How a run ends.
pub(crate) enum End {
    /// The plan was all that was asked for.
    Planned(Box<Plan>),
    /// A rule forbids it; nothing was changed by this run.
    Refused(Box<Refusal>),
    /// Asked to stop before anything was changed by this run.
    Cancelled,
    /// Something of ours is wrong; nothing was changed by this run.
    Failed(String),
    /// Steps were taken.
    Executed { plan: Box<Plan>, report: Report },
    /// A lost worker's operation that could not, or need not, go on.
    Resumed {
        /// The plan it had begun.
        first: Box<Plan>,
        /// Why it does not go on.
        because: Box<End>,
        /// What could not be put back.
        errors: Vec<String>,
    },
}

impl End {
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }

    /// Whether the plan was refused only because everything is as asked.
    pub(crate) fn is_already_so(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.rule == Rule::AlreadySo)
    }
}

/// How an operation stands after this end.
pub(crate) fn state_of(end: &End) -> State {
    match end {
        End::Planned(_) => State::Done,
        End::Refused(_) => State::Refused,
        End::Cancelled => State::Cancelled,
        End::Executed { report, .. } => state_of_report(report),
        End::Resumed { because, errors, .. } if because.is_already_so() && errors.is_empty() => State::Done,
        End::Resumed { because, .. } if matches!(**because, End::Cancelled) => State::Cancelled,
        End::Failed(_) | End::Resumed { .. } => State::Failed,
    }
}

/// Every branch failed, or the whole: failed. Some did not: done, with errors told.
fn state_of_report(report: &Report) -> State {
    let none_done = !report.branches.is_empty() && !report.branches.iter().any(|one| one.result.is_done());
    match &report.ending {
        Ending::Cancelled => State::Cancelled,
        Ending::Ended if !none_done && report.tail_errors.is_empty() => State::Done,
        Ending::Ended | Ending::HeadFailed(_) | Ending::Fenced(_) | Ending::LedgerAway(_) => State::Failed,
    }
}

/// What the job of an operation that has ended gives back: a failure is a failure of the job, too.
pub(crate) fn answer(ended: &Operation) -> Result<serde_json::Value, JobError> {
    match ended.state {
        State::Failed => Err(JobError::give_up(ended.error.clone())),
        _ => Ok(ended.outcome.clone().unwrap_or_default()),
    }
}

impl Work<'_> {
    /// Writes down how it ended, ends the locks, answers the one who waits.
    pub(crate) async fn conclude(&self, end: End) -> Result<serde_json::Value, JobError> {
        let state = state_of(&end);
        if state == State::Cancelled && self.is_only_stopping().await? {
            // Nobody asked for the operation to end: the next worker goes on with it.
            return Err(JobError::retry("this worker stops; another goes on"));
        }
        let outcome = self.outcome(end, state);
        let value = serde_json::to_value(&outcome).map_err(JobError::give_up)?;
        let message = message(&outcome);
        let finish = Finish { state, outcome: &value, error: &outcome.error, message: &message };
        self.still_ours(store::operations::finish(&self.ctx.pool, self.run, finish).await)?;
        tracing::info!(operation.id = outcome.operation, state = outcome.state, message, "an operation ended");
        if state == State::Failed { Err(JobError::give_up(outcome.error)) } else { Ok(value) }
    }

    /// Ends an operation whose lock was taken away.
    pub(crate) async fn conclude_fenced(&self, reason: String) -> JobError {
        match self.conclude(End::Failed(reason.clone())).await {
            Ok(_) => JobError::give_up(reason),
            Err(error) => error,
        }
    }

    fn outcome(&self, end: End, state: State) -> OperationOutcome {
        let operation = &self.operation;
        let since = operation.started_at.unwrap_or(operation.now);
        let mut outcome = OperationOutcome {
            operation: operation.id,
            word: operation.word.clone(),
            state: state.name().to_owned(),
            instance: operation.instance.clone(),
            duration_seconds: (self.ctx.clock.now_micros() - since).max(0) as f64 / 1e6,
            runs: self.run.number,
            ..OperationOutcome::default()
        };
        tell(end, &mut outcome);
        if let Some(first) = &operation.plan {
            add_earlier(first, &mut outcome);
        }
        outcome.new_source = outcome
            .done
            .iter()
            .find(|moved| moved.instance == outcome.instance)
            .and_then(|moved| moved.new_source.clone());
        outcome
    }
}

/// Branches of the first plan that an earlier run finished are not in the plan of a later one, because there was
/// nothing left to do: they are done as well.
fn add_earlier(first: &Plan, outcome: &mut OperationOutcome) {
    // By what means and where to is what the first plan says: a later one may only have had threads to start.
    outcome.method = Some(first.method);
    outcome.because.clone_from(&first.because);
    for moved in outcome.done.iter_mut().filter(|moved| moved.new_source.is_none()) {
        let branch = first.branches.iter().find(|branch| branch.instance == moved.instance);
        moved.new_source = branch.and_then(|branch| branch.new_source.clone());
    }
    let all_is_so = outcome.state == State::Done.name();
    for branch in &first.branches {
        let told = outcome.done.iter().any(|one| one.instance == branch.instance)
            || outcome.errors.iter().any(|one| one.instance == branch.instance)
            || outcome.left_out.iter().any(|one| one.instance == branch.instance && one.rule != Rule::AlreadySo);
        if !told && all_is_so {
            outcome.done.push(Moved { instance: branch.instance.clone(), new_source: branch.new_source.clone() });
        }
    }
    outcome.left_out.retain(|one| !outcome.done.iter().any(|moved| moved.instance == one.instance));
}

fn describe(plan: &Plan, outcome: &mut OperationOutcome) {
    outcome.method = Some(plan.method);
    outcome.because.clone_from(&plan.because);
    outcome.warnings.clone_from(&plan.warnings);
    outcome.left_out.clone_from(&plan.left_out);
    if let Some(key) = plan.answers_for.as_ref().or(plan.branches.first().map(|branch| &branch.instance))
        && (plan.answers_for.is_some() || plan.branches.len() == 1)
    {
        outcome.instance.clone_from(key);
    }
}

fn tell(end: End, outcome: &mut OperationOutcome) {
    match end {
        End::Planned(plan) => {
            describe(&plan, outcome);
            outcome.plan = Some(*plan);
        }
        End::Refused(refusal) => {
            outcome.error = refusal.to_string();
            outcome.refusal = Some(*refusal);
        }
        End::Cancelled => "cancelled before anything was changed".clone_into(&mut outcome.error),
        End::Failed(error) => outcome.error = error,
        End::Executed { plan, report } => {
            describe(&plan, outcome);
            tell_report(report, outcome);
        }
        End::Resumed { first, because, errors } => {
            describe(&first, outcome);
            if !because.is_already_so() {
                tell(*because, outcome);
                outcome.error = format!("its worker was lost, and it cannot go on: {}", outcome.error);
            }
            if !errors.is_empty() {
                outcome.error = format!("{} ({})", outcome.error, errors.join("; "));
            }
        }
    }
}

fn tell_report(report: Report, outcome: &mut OperationOutcome) {
    let mut errors = Vec::new();
    match &report.ending {
        Ending::HeadFailed(error) => errors.push(error.clone()),
        Ending::Cancelled => errors.push("cancelled".to_owned()),
        Ending::Ended | Ending::Fenced(_) | Ending::LedgerAway(_) => {}
    }
    let whole_failed = matches!(report.ending, Ending::HeadFailed(_));
    for branch in report.branches {
        match branch.result {
            BranchResult::Done => {
                outcome.done.push(Moved { instance: branch.instance, new_source: branch.new_source });
            }
            result => {
                let error = result.error().unwrap_or_default();
                if !whole_failed && !errors.contains(&error) {
                    errors.push(error.clone());
                }
                outcome.errors.push(InstanceError { instance: branch.instance, error });
            }
        }
    }
    errors.extend(report.tail_errors.into_iter().map(|error| format!("could not be put back: {error}")));
    outcome.error = errors.join("; ");
}

/// The audit entry: what was done to whom, by what means, and how it ended.
fn message(outcome: &OperationOutcome) -> String {
    let mut parts = vec![format!("operation {}: {}", outcome.operation, outcome.state)];
    if let Some(method) = outcome.method {
        parts.push(format!("method: {method}"));
    }
    if !outcome.done.is_empty() {
        let done: Vec<String> = outcome
            .done
            .iter()
            .map(|one| match &one.new_source {
                Some(source) => format!("{} below {source}", one.instance),
                None => one.instance.to_string(),
            })
            .collect();
        parts.push(format!("done: {}", done.join(", ")));
    }
    if !outcome.error.is_empty() {
        parts.push(outcome.error.clone());
    }
    parts.join("; ")
}
