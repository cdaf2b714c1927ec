//! Switching semi-synchronous replication.

use super::World;
use crate::instance::InstanceKey;
use crate::plan::{Plan, Refusal, Request, Rule};

fn not_built(request: &Request, instance: &InstanceKey) -> Refusal {
    Refusal::new(Rule::NotBuilt, instance, format!("{} is not built yet", request.word()), "wait for a later version")
}

pub(super) fn switch(
    request: &Request,
    instance: &InstanceKey,
    _side: crate::plan::SemiSyncSide,
    _enabled: bool,
    _world: &World<'_>,
) -> Result<Plan, Refusal> {
    Err(not_built(request, instance))
}
