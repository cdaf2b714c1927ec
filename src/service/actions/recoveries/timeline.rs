//! The timeline of a recovery: what was noted, every step on a server, every hook, in the order of time.

use std::fmt::Write as _;

use domain::instance::DbMicros;
use serde_json::Value;
use store::hook_runs::{HookOwner, HookRun};
use store::operations::StepRow;
use store::recoveries::{Event, Recovery};

use crate::actions::{Error, Scope};

/// Longest beginning of a command that a line repeats.
const SHOWN_COMMAND: usize = 200;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) at: DbMicros,
    /// Run of the operation; 0: before the first.
    pub(super) run: u32,
    pub(super) worker: String,
    /// `phase`, `fact`, `plan`, `choice`, `step`, `hook`, `error`, `closed`.
    pub(super) kind: String,
    pub(super) text: String,
    /// Of steps.
    pub(super) instance: Option<String>,
    /// Of steps and hooks: `begun`, `done`, `failed`, ...
    pub(super) state: Option<String>,
    pub(super) seconds: Option<f64>,
    pub(super) error: Option<String>,
    pub(super) data: Option<Value>,
}

impl Line {
    /// The line without its time and kind.
    pub(super) fn message(&self) -> String {
        let mut text = match &self.instance {
            Some(instance) => format!("{instance}: {}", self.text),
            None => self.text.clone(),
        };
        match (self.state.as_deref(), self.seconds) {
            (Some(state), Some(seconds)) => {
                let _ = write!(text, ": {state} in {seconds:.3} s");
            }
            (Some(state), None) => {
                let _ = write!(text, ": {state}");
            }
            (None, _) => {}
        }
        if let Some(error) = &self.error {
            let _ = write!(text, ": {error}");
        }
        text
    }
}

/// All lines of a recovery.
pub(super) async fn read(scope: &Scope, recovery: &Recovery) -> Result<Vec<Line>, Error> {
    let events = store::recoveries::events(&scope.pool, recovery.id).await?;
    let steps = store::operations::steps(&scope.pool, recovery.operation_id).await?;
    let hooks = store::hook_runs::of(&scope.pool, HookOwner::Recovery(recovery.id)).await?;
    // How a hook ended is noted twice: its own record says more, and is there even when the worker died inside.
    let is_repeated = |event: &Event| event.kind == "hook" && event.data.is_some() && !hooks.is_empty();
    let mut lines: Vec<Line> = events.into_iter().filter(|event| !is_repeated(event)).map(of_event).collect();
    lines.extend(steps.into_iter().map(of_step));
    lines.extend(hooks.into_iter().map(of_hook));
    // Stable: what was noted at one moment keeps its order.
    lines.sort_by_key(|line| line.at);
    Ok(lines)
}

fn of_event(event: Event) -> Line {
    Line {
        at: event.at,
        run: event.run,
        worker: event.worker,
        kind: event.kind,
        text: event.text,
        instance: None,
        state: None,
        seconds: None,
        error: None,
        data: event.data,
    }
}

fn of_step(step: StepRow) -> Line {
    let putting_back = if step.part == "restore" { "putting back: " } else { "" };
    let text = step.step.as_ref().map_or_else(|| step.text.clone(), |step| step.action.to_string());
    Line {
        at: step.begun_at,
        run: step.run,
        worker: step.worker,
        kind: "step".to_owned(),
        text: format!("{putting_back}{text}"),
        instance: Some(step.on.to_string()),
        state: Some(step.state),
        seconds: step.ended_at.map(|end| seconds(step.begun_at, end)),
        error: (!step.error.is_empty()).then_some(step.error),
        data: None,
    }
}

fn of_hook(hook: HookRun) -> Line {
    let command: String = hook.command.chars().take(SHOWN_COMMAND).collect();
    Line {
        at: hook.begun_at,
        run: hook.run,
        worker: hook.worker,
        kind: "hook".to_owned(),
        text: format!("{} {}: {command}", hook.list, hook.index + 1),
        instance: None,
        state: Some(hook.state.name().to_owned()),
        seconds: hook.ended_at.map(|end| seconds(hook.begun_at, end)),
        error: hook.exit_code.filter(|code| *code != 0).map(|code| format!("exit code {code}")),
        data: (!hook.output.is_empty()).then(|| serde_json::json!({ "output": hook.output })),
    }
}

pub(super) fn seconds(from: DbMicros, to: DbMicros) -> f64 {
    to.saturating_sub(from).max(0) as f64 / 1e6
}
