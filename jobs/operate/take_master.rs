//! `PostTakeMasterProcesses`: hooks after a swap of a replica with its source. At most once: a worker that dies after the end
//! of the operation takes them along.

use domain::instance::InstanceKey;
use domain::plan::{Action, Plan, Request};
use store::operations::State;

use super::conclusion::{End, state_of};
use crate::acting::Work;
use crate::hooks::hook_settings;

/// Who took over from whom, if that is what this end says.
pub(super) fn swapped(work: &Work<'_>, end: &End) -> Option<(InstanceKey, InstanceKey)> {
    let Request::TakeMaster { instance } = &work.operation.request else { return None };
    let plan: &Plan = match end {
        End::Executed { plan, .. } => work.operation.plan.as_ref().unwrap_or(plan),
        End::Resumed { first, .. } => first,
        End::Planned(_) | End::Refused(_) | End::Cancelled | End::Failed(_) => return None,
    };
    let below = |action: &Action| matches!(action, Action::ChangeSource { to, .. } if to == instance);
    let demoted = plan.steps().find(|step| below(&step.action)).map(|step| step.on.clone())?;
    (state_of(end) == State::Done).then(|| (instance.clone(), demoted))
}

/// Runs the list; what fails is logged.
pub(super) async fn tell(work: &Work<'_>, successor: &InstanceKey, demoted: &InstanceKey) {
    let settings = hook_settings(&work.config.settings);
    for command in &work.config.settings.hooks.post_take_master_processes {
        let report = integrations::hooks::run_after_take_master(command, successor, demoted, &settings).await;
        let (end, output) = (&report.end, &report.output);
        if report.succeeded() {
            tracing::info!(operation.id = work.operation.id, "PostTakeMasterProcesses: {command}: {end}");
        } else {
            tracing::warn!(operation.id = work.operation.id, output, "PostTakeMasterProcesses: {command}: {end}");
        }
    }
}
