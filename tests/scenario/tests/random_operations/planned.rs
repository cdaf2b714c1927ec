//! Was what was done what was printed?

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use domain::instance::InstanceKey;
use domain::plan::{Action, Condition, Plan, Rule, Step};
use operations::OperationOutcome;
use store::operations::StepRow;

/// What was done is what was printed: the same answer, the same plan, and of the plan each step, in its order.
pub(crate) fn as_planned(
    planned: &OperationOutcome,
    outcome: &OperationOutcome,
    stored: Option<&Plan>,
    steps: &[StepRow],
) -> Result<()> {
    let (asked, told) = (planned.refusal.as_ref(), outcome.refusal.as_ref());
    let rules = (asked.map(|refusal| refusal.rule), told.map(|refusal| refusal.rule));
    // Whether what was received is on the new source already changes from moment to moment.
    let of_the_moment = [rules.0, rules.1].contains(&Some(Rule::UnappliedRelayLog));
    ensure!(rules.0 == rules.1 || of_the_moment, "{planned:?}\nbut then {outcome:?}");
    if told.is_some() {
        ensure!(stored.is_none() && steps.is_empty(), "refused, and yet something was done: {steps:?}");
        return Ok(());
    }
    ensure!(outcome.state == "done" && outcome.error.is_empty(), "planned as {:?}\nbut {outcome:?}", planned.plan);
    let stored = stored.context("done without a plan")?;
    if asked.is_none() {
        let Some(printed) = planned.plan.as_ref() else { bail!("no plan: {planned:?}") };
        let behind = behind(printed).chain(behind(stored)).collect();
        ensure!(gist(printed, &behind) == gist(stored, &behind), "printed: {printed:?}\nexecuted: {stored:?}");
    }
    each_step_of(stored, steps)
}

/// Each step of the plan was executed and recorded, once, in its order, and none besides.
fn each_step_of(stored: &Plan, steps: &[StepRow]) -> Result<()> {
    for (part, branch, wanted) in lists(stored) {
        let mut rows: Vec<&StepRow> = steps.iter().filter(|row| row.part == part && row.branch == branch).collect();
        rows.sort_by_key(|row| row.sequence);
        let executed: Vec<&Step> = rows.iter().filter_map(|row| row.step.as_ref()).collect();
        ensure!(executed == wanted.iter().collect::<Vec<_>>(), "{part} {branch}: {rows:?}");
    }
    ensure!(steps.len() == stored.steps().count() && steps.iter().all(|row| row.state == "done"), "{steps:?}");
    Ok(())
}

/// Warnings that come and go while the application writes.
const OF_THE_MOMENT: [&str; 2] = [" is behind ", " has unapplied relay logs"];

/// Servers left out for what they have not applied at this moment; a delayed one may have, at the next.
fn behind(plan: &Plan) -> impl Iterator<Item = InstanceKey> {
    plan.left_out
        .iter()
        .filter(|refusal| refusal.rule == Rule::UnappliedRelayLog)
        .map(|refusal| refusal.instance.clone())
}

/// A plan less what follows from the moment, while the application writes: warnings of who is behind by what, and by which
/// of two means what was received is kept: it is applied first, or was seen to be on the new source already. One of them
/// there must be where there was one. All else is compared: every other step and condition, method, reason, locks.
fn gist(plan: &Plan, behind: &BTreeSet<InstanceKey>) -> Plan {
    let mut gist = plan.clone();
    gist.warnings.retain(|warning| !OF_THE_MOMENT.iter().any(|words| warning.contains(words)));
    if !behind.is_empty() {
        gist.left_out.retain(|refusal| !behind.contains(&refusal.instance));
        gist.branches.retain(|branch| !behind.contains(&branch.instance));
        // It tells whether there are branches.
        gist.because.clear();
    }
    for branch in &mut gist.branches {
        let mut kept = false;
        for condition in branch.steps.iter_mut().flat_map(|step| &mut step.before) {
            if matches!(condition, Condition::Drained | Condition::ReceivedIsIn { .. }) {
                *condition = Condition::Drained;
                kept = true;
            }
        }
        // To drain is the means to that condition; where nothing asks for it, it is what was asked for.
        branch.steps.retain(|step| !kept || step.action != Action::Drain);
    }
    gist
}

fn lists(plan: &Plan) -> Vec<(&'static str, u32, &[Step])> {
    let branches = (0..).zip(&plan.branches).map(|(index, branch)| ("branch", index, branch.steps.as_slice()));
    branches.chain([("head", 0, plan.head.as_slice()), ("tail", 0, plan.tail.as_slice())]).collect()
}
