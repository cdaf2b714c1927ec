//! Ending a running statement.

use super::World;
use crate::instance::InstanceKey;
use crate::plan::{Plan, Refusal, Request, Rule};

fn not_built(request: &Request, instance: &InstanceKey) -> Refusal {
    Refusal::new(Rule::NotBuilt, instance, format!("{} is not built yet", request.word()), "wait for a later version")
}

pub(super) fn query(request: &Request, instance: &InstanceKey, _id: u64, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}
