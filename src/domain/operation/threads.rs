//! Starting and stopping replication threads.

use super::World;
use crate::instance::InstanceKey;
use crate::plan::{Plan, Refusal, Request, Rule};

fn not_built(request: &Request, instance: &InstanceKey) -> Refusal {
    Refusal::new(Rule::NotBuilt, instance, format!("{} is not built yet", request.word()), "wait for a later version")
}

pub(super) fn start(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn stop(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn restart(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn stop_nice(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn start_io(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn stop_io(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn start_sql(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn stop_sql(request: &Request, instance: &InstanceKey, _world: &World<'_>) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}
