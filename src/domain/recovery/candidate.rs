//! Who becomes the primary: data as a filter, then preference; everybody judged, with the reason.

use super::scene::{Choice, Scene};
use crate::plan::{Refusal, Rule};

/// Chooses among the survivors as they are: their receivers must have been stopped ([`fence`](super::fence())).
pub fn choose(scene: &Scene<'_>) -> Result<Choice, Refusal> {
    preview(scene)
}

/// The same, asking nothing of receivers: what would be chosen if the primary died now.
pub fn preview(scene: &Scene<'_>) -> Result<Choice, Refusal> {
    Err(Refusal::new(Rule::NotBuilt, scene.failed, "choosing is not built yet", "wait for it"))
}
