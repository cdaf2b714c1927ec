//! `PostTakeMasterProcesses`: hooks after a swap of a replica with its source. At most once: a worker that dies after the end
//! of the operation takes them along.

use domain::instance::InstanceKey;
use domain::plan::{Action, Plan, Request};
use store::audit::Entry;
use store::operations::State;

use super::conclusion::{End, state_of};
use crate::acting::Work;
use crate::hooks::hook_settings;

const AUDIT_TYPE: &str = "post-take-master";
/// Of the output in the audit: an entry is a line that people read.
const LONGEST_OUTPUT: usize = 1_000;

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

/// Runs the list, and keeps in the audit what became of each entry. A failing one stops nothing.
pub(super) async fn tell(work: &Work<'_>, successor: &InstanceKey, demoted: &InstanceKey) {
    let settings = hook_settings(&work.config.settings);
    for (index, command) in work.config.settings.hooks.post_take_master_processes.iter().enumerate() {
        let report = integrations::hooks::run_after_take_master(command, successor, demoted, &settings).await;
        let text = format!(
            "operation {}: PostTakeMasterProcesses[{index}] {} after {:.1} s: {}",
            work.operation.id,
            report.end,
            report.took.as_secs_f64(),
            report.command
        );
        if report.succeeded() {
            tracing::info!(operation.id = work.operation.id, "{text}");
        } else {
            tracing::warn!(operation.id = work.operation.id, output = report.output, "{text}");
        }
        let message = match end_of(&report.output) {
            "" => text,
            output => format!("{text}; output: {output}"),
        };
        if let Err(error) = record(work, successor, &message).await {
            tracing::warn!(operation.id = work.operation.id, %error, "no audit entry of a hook");
        }
    }
}

/// What a script says last is why it failed.
fn end_of(output: &str) -> &str {
    let output = output.trim();
    let from = output.len().saturating_sub(LONGEST_OUTPUT);
    let from = (from..output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or_default();
    &output[from..]
}

async fn record(work: &Work<'_>, successor: &InstanceKey, message: &str) -> Result<(), queue::JobError> {
    let mut conn = work.ctx.pool.acquire().await.map_err(queue::JobError::retry)?;
    let entry = Entry::instance(AUDIT_TYPE, successor, &work.operation.actor, message);
    store::audit::write(&mut conn, &entry).await.map_err(queue::JobError::retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_output_the_end_is_kept() {
        assert_eq!(end_of(" said\n"), "said");
        assert_eq!(end_of(""), "");
        let long = format!("{}ü{}", "a".repeat(10), "b".repeat(LONGEST_OUTPUT - 1));
        assert_eq!(end_of(&long), "b".repeat(LONGEST_OUTPUT - 1), "never half a character");
    }
}
