//! A primary that refuses writes, and nobody else takes them: it is opened.

use std::collections::BTreeSet;

use super::scene::Scene;
use crate::instance::{Instance, InstanceKey};
use crate::operation;
use crate::plan::{Plan, Refusal, Request, Rule};

/// Opens the primary. `former`: servers that we replaced as primaries; they are kept closed on purpose. `None`: it is open.
///
/// Stricter than the operator's `set-writeable`: nobody in the cluster may take writes, not even a replica, or be unknown
/// in that.
pub fn plan(scene: &Scene<'_>, former: &BTreeSet<InstanceKey>) -> Result<Option<Plan>, Refusal> {
    let (world, key) = (scene.world, scene.failed);
    let instance = world.fresh(key)?;
    if !instance.facts.read_only {
        return Ok(None);
    }
    if former.contains(key) {
        return Err(Refusal::new(
            Rule::WouldWriteTwice,
            key,
            format!("{key} was replaced as the primary and is kept read-only since"),
            "see recovery and topology; if it is the primary again by your will: set-writeable",
        ));
    }
    if instance.facts.is_replica() && !instance.placement.is_co_primary {
        return Err(Refusal::new(Rule::IsAReplica, key, format!("{key} is a replica"), "replicas stay read-only"));
    }
    if let Some(other) = world.instances.values().find(|other| other.key != *key && may_take_writes(other)) {
        return Err(Refusal::new(
            Rule::WouldWriteTwice,
            key,
            format!("{} takes writes, or did when it was last seen: {key} stays read-only", other.key),
            format!("close it first: set-read-only -i {}; then set-writeable -i {key}", other.key),
        ));
    }
    let plan = operation::plan(&Request::SetWriteable { instance: key.clone() }, world)?;
    Ok(Some(Plan { request: scene.request.clone(), because: "nobody in the cluster takes writes".to_owned(), ..plan }))
}

/// One that was never seen says nothing.
fn may_take_writes(other: &Instance) -> bool {
    other.check.last_seen_at.is_some() && !other.facts.read_only
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::fixture::lines;
    use crate::recovery::stage::{Stage, sane};

    fn shown(world: &str, former: &[&str]) -> Vec<String> {
        let former = former.iter().map(|name| InstanceKey::new(*name, 3306)).collect();
        match Stage::new(world).with(|scene| plan(scene, &former)) {
            Ok(Some(plan)) => sane(Some(plan)).iter().flat_map(lines).collect(),
            Ok(None) => vec!["nothing".to_owned()],
            Err(refusal) => vec![refusal.rule.word()],
        }
    }

    #[test]
    fn a_closed_primary_is_opened_where_nobody_else_is_open() {
        assert_eq!(shown("a ro\n  b\n  c", &[]), ["a: set read_only off"]);
        assert_eq!(shown("a\n  b", &[]), ["nothing"]);
        assert_eq!(shown("a ro\n  b rw\n  c", &[]), ["would-write-twice"]);
        assert_eq!(shown("a ro\n  b rw dead\n  c", &[]), ["would-write-twice"]);
        assert_eq!(shown("a ro\n  b", &["a"]), ["would-write-twice"]);
        assert_eq!(shown("a ro\n  b", &["b"]), ["a: set read_only off"]);
        assert_eq!(shown("z ro\n  a ro\n    b", &[]), ["is-a-replica"]);
        assert_eq!(shown("a ro from=b\n  b", &[]), ["a: set read_only off"]);
        assert_eq!(shown("a ro from=b\n  b rw", &[]), ["would-write-twice"]);
        assert_eq!(shown("a ro dead\n  b", &[]), ["unreachable"]);
        assert_eq!(shown("a ro secondary=b\n  c", &[]), ["group-secondary"]);
    }
}
