//! Moves by GTID.

use super::World;
use crate::instance::InstanceKey;
use crate::plan::{Plan, Refusal, Request, Rule};

fn not_built(request: &Request, instance: &InstanceKey) -> Refusal {
    Refusal::new(Rule::NotBuilt, instance, format!("{} is not built yet", request.word()), "wait for a later version")
}

pub(super) fn one(
    request: &Request,
    instance: &InstanceKey,
    _below: &InstanceKey,
    _world: &World<'_>,
) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn replicas(
    request: &Request,
    instance: &InstanceKey,
    _below: &InstanceKey,
    _pattern: &str,
    _world: &World<'_>,
) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}
