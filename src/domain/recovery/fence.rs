//! The first phase: nobody writes to the old primary any more, and nobody receives from it.

use super::scene::Scene;
use crate::plan::{Plan, Refusal, Rule};

/// The old primary closed where it answers, the receivers of all reachable survivors stopped. `None`: all is so already.
pub fn fence(scene: &Scene<'_>) -> Result<Option<Plan>, Refusal> {
    Err(Refusal::new(Rule::NotBuilt, scene.failed, "fencing is not built yet", "wait for it"))
}
