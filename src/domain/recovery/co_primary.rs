//! A pair that replicates from each other, one of which died: the other one is there already.

use super::scene::Scene;
use crate::instance::{Instance, InstanceKey};

/// The other of the pair: the source that the failed server had, if that reads from it.
pub fn other<'a>(scene: &Scene<'a>) -> Option<&'a Instance> {
    let failed = scene.world.instances.get(scene.failed)?;
    let key: &InstanceKey = failed.facts.source().filter(|_| failed.facts.is_replica())?;
    let other = scene.world.instances.get(key)?;
    let reads = other.facts.is_replica() && other.facts.source() == Some(scene.failed);
    (reads || scene.world.baseline.contains_key(key)).then_some(other)
}
