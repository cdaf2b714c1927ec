//! The locks of a plan: those it needs as a whole, those of single branches, and whether somebody moves its sources.

use std::collections::{BTreeMap, BTreeSet};

use domain::instance::InstanceKey;
use domain::plan::{Action, Plan, Refusal, Rule};
use queue::JobError;
use store::maintenance::Maintenance;

use super::conclusion::End;
use crate::acting::{Gathered, Tokens, Work};

/// Branches that may not begin, by their instance, with the reason.
type Withheld = BTreeMap<InstanceKey, String>;

/// Locks what the plan needs and has not yet, in the order of keys: what it needs as a whole, or nothing at all; then for
/// each branch what that branch needs, or the branch is withheld.
pub(crate) async fn take(work: &Work<'_>, plan: &Plan, tokens: &mut Tokens) -> Result<Result<Withheld, End>, JobError> {
    if let Err(held) = work.lock(&plan.locks, tokens).await? {
        return Ok(Err(conflict(&work.operation.instance, held)));
    }
    let mut withheld = Withheld::new();
    // Most times nobody holds any of them: one transaction then. If somebody does, it is seen whose branch that is.
    let of_branches: Vec<InstanceKey> = plan.branches.iter().flat_map(|branch| branch.locks.clone()).collect();
    if work.lock(&of_branches, tokens).await?.is_ok() {
        return Ok(Ok(withheld));
    }
    for branch in &plan.branches {
        if let Err(held) = work.lock(&branch.locks, tokens).await? {
            withheld.insert(branch.instance.clone(), held);
        }
    }
    Ok(all_withheld(plan, &withheld).map_or(Ok(withheld), Err))
}

/// Do both plans need the same locks, as wholes and in their branches?
pub(crate) fn same(one: &Plan, other: &Plan) -> bool {
    fn of(plan: &Plan) -> (BTreeSet<&InstanceKey>, BTreeMap<&InstanceKey, BTreeSet<&InstanceKey>>) {
        let branches = plan.branches.iter().map(|branch| (&branch.instance, branch.locks.iter().collect()));
        (plan.locks.iter().collect(), branches.collect())
    }
    of(one) == of(other)
}

/// A server that somebody else is acting on is no source to move below, and one above which another operation moves
/// things could end up below what we move: whoever locks first and looks then sees the other.
pub(crate) async fn sources_are_free(
    work: &Work<'_>,
    plan: &Plan,
    gathered: &Gathered,
    tokens: &Tokens,
    mut withheld: Withheld,
) -> Result<Result<Withheld, End>, JobError> {
    let active = store::maintenance::active(&work.ctx.pool).await.map_err(JobError::retry)?;
    let held: BTreeMap<&InstanceKey, &Maintenance> = active
        .iter()
        .filter(|lock| lock.operation != Some(work.operation.id) && !tokens.contains_key(&lock.key))
        .map(|lock| (&lock.key, lock))
        .collect();
    let shared = plan.head.iter().chain(&plan.tail);
    if let Some(reason) = shared.filter_map(|step| new_source(&step.action)).find_map(|to| taken(to, gathered, &held)) {
        return Ok(Err(conflict(&work.operation.instance, reason)));
    }
    for branch in &plan.branches {
        let mut sources = branch.steps.iter().filter_map(|step| new_source(&step.action));
        if let Some(reason) = sources.find_map(|to| taken(to, gathered, &held)) {
            withheld.insert(branch.instance.clone(), reason);
        }
    }
    Ok(all_withheld(plan, &withheld).map_or(Ok(withheld), Err))
}

/// How a plan ends that nobody carries out: refused as it would be now if others hold the locks that it needs.
pub(crate) async fn planned(work: &Work<'_>, mut plan: Plan, gathered: &Gathered) -> Result<End, JobError> {
    let active = store::maintenance::active(&work.ctx.pool).await.map_err(JobError::retry)?;
    let holder = |keys: &[InstanceKey]| {
        let held = active.iter().find(|lock| keys.contains(&lock.key));
        held.map(|lock| format!("{} is under maintenance by {}: {}", lock.key, lock.owner, lock.reason))
    };
    if let Some(held) = holder(&plan.locks) {
        return Ok(conflict(&work.operation.instance, held));
    }
    let withheld: Withheld =
        plan.branches.iter().filter_map(|one| Some((one.instance.clone(), holder(&one.locks)?))).collect();
    let withheld = match sources_are_free(work, &plan, gathered, &Tokens::new(), withheld).await? {
        Ok(withheld) => withheld,
        Err(end) => return Ok(end),
    };
    plan.warnings.extend(withheld.into_iter().map(|(key, held)| format!("{key} would be left as it is: {held}")));
    Ok(End::Planned(Box::new(plan)))
}

fn new_source(action: &Action) -> Option<&InstanceKey> {
    match action {
        Action::ChangeSource { to, .. } => Some(to),
        _ => None,
    }
}

/// Who prevents that something is moved below `to`.
fn taken(to: &InstanceKey, gathered: &Gathered, held: &BTreeMap<&InstanceKey, &Maintenance>) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut next = Some(to);
    while let Some(key) = next.filter(|key| seen.insert((*key).clone())) {
        // What people hold further up need not concern us; what operations do may change where `to` is.
        if let Some(lock) = held.get(key).filter(|lock| key == to || lock.operation.is_some()) {
            let place = if key == to { String::new() } else { format!(", a source of {to},") };
            return Some(format!("{key}{place} is under maintenance by {}: {}", lock.owner, lock.reason));
        }
        next = gathered.instances.get(key).and_then(|one| one.facts.source());
    }
    None
}

/// When no branch is left and the plan has nothing but branches, all of it is refused.
fn all_withheld(plan: &Plan, withheld: &Withheld) -> Option<End> {
    let nothing_left =
        !plan.branches.is_empty() && plan.branches.iter().all(|one| withheld.contains_key(&one.instance));
    let reasons: BTreeSet<&str> = withheld.values().map(String::as_str).collect();
    nothing_left.then(|| {
        let reason = reasons.into_iter().collect::<Vec<_>>().join("; ");
        conflict(plan.request.instance(), reason)
    })
}

fn conflict(instance: &InstanceKey, reason: String) -> End {
    let remedy = "wait until that has ended, or end it with end-maintenance if its holder is gone";
    End::refused(Refusal::new(Rule::UnderMaintenance, instance, reason, remedy))
}
