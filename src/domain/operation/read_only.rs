//! Refusing and accepting writes.

use super::in_place::{already, plan};
use super::steps::identity;
use super::{World, limit};
use crate::instance::{Instance, InstanceKey};
use crate::plan::{Action, Condition, Plan, Refusal, Request, Rule, SemiSyncSide, Step, Threads};
use crate::version::ServerVersion;

/// Nobody (with `UseSuperReadOnly`: really nobody) writes to it any more, except replication.
pub(crate) fn refuse_writes(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let instance = world.fresh(instance)?;
    let (key, facts) = (&instance.key, &instance.facts);
    let with_super = with_super(instance, world);
    let mut steps = Vec::new();
    if !facts.read_only || (with_super && !facts.super_read_only) {
        steps.push(switch(instance, true, with_super));
    }
    if facts.semi_sync.priority > 0 && facts.semi_sync.source_plugin.is_some() && facts.semi_sync.source_enabled {
        steps.push(semi_sync_source(key, false));
    }
    if steps.is_empty() {
        return Err(already(key, format!("{key} is read-only already")));
    }
    let mut plan = plan(request, instance, steps, Threads::NONE);
    if !facts.read_only && !facts.is_replica() {
        plan.warnings.push(format!("{key} is a primary: nobody can write to it until set-writeable"));
    }
    if !with_super {
        plan.warnings.push(format!("whoever has the privilege (SUPER, CONNECTION_ADMIN) still writes to {key}"));
    }
    Ok(plan)
}

/// Everybody may write to it: to one server of a cluster at a time.
pub(crate) fn accept_writes(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let instance = world.fresh(instance)?;
    let (key, facts) = (&instance.key, &instance.facts);
    if !facts.read_only {
        return Err(already(key, format!("{key} is writable already")));
    }
    if facts.is_group_secondary(key) {
        return Err(Refusal::new(
            Rule::GroupSecondary,
            key,
            format!("{key} is a secondary of a replication group, which decides who writes"),
            "change the primary of the group: SELECT group_replication_set_as_primary(...)",
        ));
    }
    let other = world.instances.values().find(|other| writes_already(other, instance));
    if let Some(other) = other {
        return Err(writes_twice(instance, other));
    }
    let mut steps = Vec::new();
    if facts.semi_sync.priority > 0 && facts.semi_sync.source_plugin.is_some() && !facts.semi_sync.source_enabled {
        // First: not one commit goes without the acknowledgement that is meant for it.
        steps.push(semi_sync_source(key, true));
    }
    steps.push(switch(instance, false, with_super(instance, world)).when(Condition::ReadOnly { read_only: true }));
    let mut plan = plan(request, instance, steps, Threads::NONE);
    plan.warnings = accept_warnings(instance, world);
    Ok(plan)
}

/// Another server that takes the writes of the cluster: its primary, or the source of `instance`. A replica that somebody
/// left writable is no reason to keep a primary closed; nor is the other of two that replicate from each other on purpose.
fn writes_already(other: &Instance, instance: &Instance) -> bool {
    if other.key == instance.key || other.facts.read_only || other.check.last_seen_at.is_none() {
        return false;
    }
    if is_pair(other, instance) {
        return false;
    }
    let cluster = &instance.placement.cluster_name;
    let same_cluster = !cluster.is_empty() && other.placement.cluster_name == *cluster;
    let is_source = instance.facts.is_replica() && instance.facts.source() == Some(&other.key);
    let is_primary = !other.facts.is_replica() || other.placement.is_co_primary;
    is_source || (same_cluster && is_primary)
}

/// The two replicate from each other.
fn is_pair(one: &Instance, other: &Instance) -> bool {
    let reads = |from: &Instance, to: &Instance| from.facts.is_replica() && from.facts.source() == Some(&to.key);
    reads(one, other) && reads(other, one)
}

fn writes_twice(instance: &Instance, other: &Instance) -> Refusal {
    let (key, other_key) = (&instance.key, &other.key);
    let state = if other.check.is_valid() { "is writable" } else { "was writable when it was last seen" };
    let remedy = if other.check.is_valid() {
        format!(
            "close the other first: set-read-only -i {other_key}; or make {key} independent: reset-replica -i {key}"
        )
    } else {
        format!("if {other_key} is gone: make-master -i {key}; or make {key} independent: reset-replica -i {key}")
    };
    Refusal::new(
        Rule::WouldWriteTwice,
        key,
        format!("{other_key} {state}, and {key} is in its cluster: two primaries would take writes"),
        remedy,
    )
}

fn accept_warnings(instance: &Instance, world: &World<'_>) -> Vec<String> {
    let key = &instance.key;
    let Some(source) = instance.facts.source().filter(|_| instance.facts.is_replica()) else { return Vec::new() };
    let pair = world.instances.get(source).filter(|source| is_pair(source, instance));
    if let Some(other) = pair {
        if other.facts.read_only {
            return Vec::new();
        }
        return vec![format!("{key} and {} replicate from each other: both will take writes", other.key)];
    }
    vec![format!("{key} replicates from {source}, which will not have what is written on {key}")]
}

fn switch(instance: &Instance, read_only: bool, with_super: bool) -> Step {
    Step::new(&instance.key, Action::SetReadOnly { read_only, with_super }, limit::OTHER)
        .when(identity(instance))
        .then(Condition::ReadOnly { read_only })
}

fn semi_sync_source(key: &InstanceKey, enabled: bool) -> Step {
    let side = SemiSyncSide::Source;
    Step::new(key, Action::SetSemiSync { side, enabled }, limit::OTHER).then(Condition::SemiSync { side, enabled })
}

/// `super_read_only` is asked for, and the server has it.
fn with_super(instance: &Instance, world: &World<'_>) -> bool {
    let version = ServerVersion::parse(&instance.facts.version, &instance.facts.version_comment);
    world.policy.use_super_read_only && version.flavor.is_mysql_family()
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key};
    use super::*;
    use crate::instance::PluginNaming;

    fn close(name: &str) -> Request {
        Request::SetReadOnly { instance: key(name) }
    }

    fn open(name: &str) -> Request {
        Request::SetWriteable { instance: key(name) }
    }

    #[test]
    fn a_primary_closes_and_opens() {
        let mut servers = Servers::new();
        assert_eq!(servers.shown(&close("a")), "a:3306: set read_only on");
        assert_eq!(servers.shown(&close("b")), "already-so");
        assert_eq!(servers.shown(&open("a")), "already-so");
        servers.facts("a").read_only = true;
        assert_eq!(servers.shown(&open("a")), "a:3306: set read_only off");
        servers.policy.use_super_read_only = true;
        assert_eq!(servers.shown(&open("a")), "a:3306: set read_only and super_read_only off");
        assert_eq!(servers.shown(&close("a")), "a:3306: set read_only and super_read_only on");
        let mut mariadb = Servers::mariadb();
        mariadb.policy.use_super_read_only = true;
        assert_eq!(mariadb.shown(&close("a")), "a:3306: set read_only on");
    }

    #[test]
    fn there_is_one_writable_primary() {
        let mut servers = Servers::new();
        assert_eq!(servers.shown(&open("b")), "would-write-twice");
        // Nobody has heard of it being closed.
        servers.lose("a");
        let refusal = servers.plan(&open("b")).expect_err("a refusal");
        assert!(
            refusal.reason.contains("when it was last seen") && refusal.remedy.contains("make-master"),
            "{refusal}"
        );
        // Below an intermediate source, the primary is still the primary.
        let mut servers = Servers::new();
        servers.add("d", 4, Some("b"));
        assert_eq!(servers.shown(&open("d")), "would-write-twice");
        servers.facts("a").read_only = true;
        assert_eq!(servers.shown(&open("d")), "d:3306: set read_only off");
        assert_eq!(servers.plan(&open("d")).expect("a plan").warnings.len(), 1);
        servers.facts("b").read_only = false;
        assert_eq!(servers.shown(&open("d")), "would-write-twice");
    }

    #[test]
    fn a_sloppy_replica_keeps_no_primary_closed() {
        let mut servers = Servers::new();
        servers.facts("a").read_only = true;
        servers.facts("c").read_only = false;
        assert_eq!(servers.shown(&open("a")), "a:3306: set read_only off");
    }

    #[test]
    fn two_that_replicate_from_each_other_may_both_write_when_told_so() {
        let mut servers = Servers::new();
        let back = servers.facts("b").replica.clone();
        servers.facts("a").replica = back;
        servers.replica("a").source = key("b");
        for name in ["a", "b"] {
            servers.instances.get_mut(&key(name)).expect("known").placement.is_co_primary = true;
        }
        let plan = servers.plan(&open("b")).expect("a plan");
        assert!(plan.warnings[0].contains("both will take writes"));
        // Not so for a third.
        assert_eq!(servers.shown(&open("c")), "would-write-twice");
    }

    #[test]
    fn semi_sync_goes_with_writes() {
        let mut servers = Servers::new();
        let semi_sync = &mut servers.facts("a").semi_sync;
        (semi_sync.priority, semi_sync.source_plugin) = (1, Some(PluginNaming::SourceReplica));
        servers.facts("a").read_only = true;
        let on = "a:3306: switch semi-sync on (source side)";
        assert_eq!(servers.shown(&open("a")), format!("{on}; a:3306: set read_only off"));
        servers.facts("a").semi_sync.source_enabled = true;
        // Half-done: the rest is planned.
        let off = "a:3306: switch semi-sync off (source side)";
        assert_eq!(servers.shown(&open("a")), "a:3306: set read_only off");
        assert_eq!(servers.shown(&close("a")), off);
    }
}
