//! The phase that ends the outage: the chosen one gets all data, forgets its source, and is opened for writes.

use super::scene::{Choice, Scene};
use crate::plan::{Plan, Refusal, Rule};

/// Catch up, drain, forget the source, semi-sync, open. `None`: it is the primary already.
pub fn promote(scene: &Scene<'_>, _choice: &Choice) -> Result<Option<Plan>, Refusal> {
    Err(Refusal::new(Rule::NotBuilt, scene.failed, "promoting is not built yet", "wait for it"))
}
