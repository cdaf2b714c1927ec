//! After writes are open: the survivors go below the new primary.

use super::scene::{Choice, Scene};
use crate::plan::{Plan, Refusal, Rule};

/// A branch for each follower; those that cannot follow are in `left_out`, with the reason: they are lost. `None`: all are there.
pub fn repoint(scene: &Scene<'_>, _choice: &Choice) -> Result<Option<Plan>, Refusal> {
    Err(Refusal::new(Rule::NotBuilt, scene.failed, "repointing is not built yet", "wait for it"))
}
