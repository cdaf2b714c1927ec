//! Rotating and purging binary logs.

use super::World;
use crate::instance::InstanceKey;
use crate::plan::{Plan, Refusal, Request, Rule};

fn not_built(request: &Request, instance: &InstanceKey) -> Refusal {
    Refusal::new(Rule::NotBuilt, instance, format!("{} is not built yet", request.word()), "wait for a later version")
}

pub(super) fn flush(
    request: &Request,
    instance: &InstanceKey,
    _until: &str,
    _world: &World<'_>,
) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}

pub(super) fn purge(
    request: &Request,
    instance: &InstanceKey,
    _until: &str,
    _force: bool,
    _world: &World<'_>,
) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}
