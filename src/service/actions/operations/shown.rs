//! Operations as documents: the same over HTTP and on the command line.

use api::clock::Timestamp;
use api::v2::{
    Operation as Shown, OperationDone, OperationFailure, OperationState, OperationStep, PlanReply, Refusal, StepState,
};
use domain::instance::DbMicros;
use operations::OperationOutcome;
use store::operations::{Operation, State, StepRow};

use super::ending;

/// One of many: without its plan and steps.
pub fn brief(operation: &Operation) -> Shown {
    let outcome = ending::outcome(operation);
    let end = operation.finished_at.unwrap_or(operation.now);
    Shown {
        id: operation.id,
        job: (operation.job_id != 0).then_some(operation.job_id),
        operation: operation.word.clone(),
        instance: operation.instance.to_string(),
        cluster_name: operation.cluster_name.clone(),
        request: operation.request.to_string(),
        plan_only: operation.dry_run,
        actor: operation.actor.clone(),
        state: state(operation.state),
        runs: operation.run,
        executor: text(&operation.executor),
        method: outcome.method.map(|method| method.to_string()),
        because: text(&outcome.because),
        result: operation.state.has_ended().then(|| outcome.instance.to_string()),
        done: outcome
            .done
            .iter()
            .map(|moved| OperationDone {
                instance: moved.instance.to_string(),
                new_source: moved.new_source.as_ref().map(ToString::to_string),
            })
            .collect(),
        failed: outcome
            .errors
            .iter()
            .map(|one| OperationFailure { instance: one.instance.to_string(), error: one.error.clone() })
            .collect(),
        left_out: outcome.left_out.iter().map(refusal).collect(),
        warnings: outcome.warnings.clone(),
        refusal: outcome.refusal.as_ref().map(refusal),
        error: text(&operation.error).or_else(|| text(&outcome.error)),
        created_at: Timestamp(operation.created_at),
        started_at: operation.started_at.map(Timestamp),
        finished_at: operation.finished_at.map(Timestamp),
        duration_seconds: operation.started_at.map(|start| seconds(start, end)),
        plan: None,
        steps: None,
    }
}

/// All that is known of one.
pub fn full(operation: &Operation, steps: &[StepRow]) -> Shown {
    let planned = operation.plan.clone().or_else(|| ending::outcome(operation).plan);
    Shown {
        plan: planned.and_then(|plan| serde_json::to_value(plan).ok()),
        steps: Some(steps.iter().map(step).collect()),
        ..brief(operation)
    }
}

/// What an operation would do.
pub fn planned(outcome: &OperationOutcome) -> PlanReply {
    PlanReply {
        operation: outcome.operation,
        text: outcome.plan.as_ref().map(ToString::to_string),
        plan: outcome.plan.as_ref().and_then(|plan| serde_json::to_value(plan).ok()),
        refusal: outcome.refusal.as_ref().map(refusal),
    }
}

fn refusal(one: &domain::plan::Refusal) -> Refusal {
    Refusal {
        rule: one.rule.word(),
        instance: one.instance.to_string(),
        reason: one.reason.clone(),
        remedy: one.remedy.clone(),
    }
}

fn step(row: &StepRow) -> OperationStep {
    OperationStep {
        run: row.run,
        part: row.part.clone(),
        branch: row.branch,
        sequence: row.sequence,
        instance: row.on.to_string(),
        text: row.step.as_ref().map_or_else(|| row.text.clone(), |step| step.action.to_string()),
        state: match row.state.as_str() {
            "done" => StepState::Done,
            "failed" => StepState::Failed,
            _ => StepState::Begun,
        },
        token: row.token,
        worker: row.worker.clone(),
        begun_at: Timestamp(row.begun_at),
        ended_at: row.ended_at.map(Timestamp),
        duration_seconds: row.ended_at.map(|end| seconds(row.begun_at, end)),
        error: text(&row.error),
    }
}

const fn state(state: State) -> OperationState {
    match state {
        State::Waiting => OperationState::Waiting,
        State::Running => OperationState::Running,
        State::Done => OperationState::Done,
        State::Failed => OperationState::Failed,
        State::Refused => OperationState::Refused,
        State::Cancelled => OperationState::Cancelled,
    }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn seconds(from: DbMicros, to: DbMicros) -> f64 {
    (to - from).max(0) as f64 / 1e6
}
