//! Detaching and reattaching replicas.

use super::World;
use crate::instance::InstanceKey;
use crate::plan::{Plan, Refusal, Request, Rule};

fn not_built(request: &Request, instance: &InstanceKey) -> Refusal {
    Refusal::new(Rule::NotBuilt, instance, format!("{} is not built yet", request.word()), "wait for a later version")
}

pub(super) fn detach(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn reattach(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}
