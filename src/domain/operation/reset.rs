//! Forgetting the source.

use super::World;
use crate::instance::InstanceKey;
use crate::plan::{Plan, Refusal, Request, Rule};

fn not_built(request: &Request, instance: &InstanceKey) -> Refusal {
    Refusal::new(Rule::NotBuilt, instance, format!("{} is not built yet", request.word()), "wait for a later version")
}

pub(super) fn replica(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}
