//! Switching semi-synchronous replication.

use super::in_place::{already, plan, restart, stop};
use super::steps::identity;
use super::{World, limit};
use crate::instance::{Instance, InstanceKey};
use crate::plan::{Action, Condition, Plan, Refusal, Request, Rule, SemiSyncSide, Step, Threads, running_threads};

/// One side. A receiver says at connecting whether it acknowledges: it is restarted if it runs.
pub(crate) fn switch(
    request: &Request,
    instance: &InstanceKey,
    side: SemiSyncSide,
    enabled: bool,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let instance = world.fresh(instance)?;
    let key = &instance.key;
    has_plugin(instance, side)?;
    let facts = &instance.facts.semi_sync;
    let (now, running) = match side {
        SemiSyncSide::Source => (facts.source_enabled, Threads::NONE),
        SemiSyncSide::Replica => (facts.replica_enabled, running_threads(&instance.facts)),
    };
    let receives = side == SemiSyncSide::Replica && world.wanted_threads(key).io;
    let half_done = receives && world.resumed(key);
    if now == enabled && !half_done {
        let word = if enabled { "on" } else { "off" };
        return Err(already(key, format!("semi-sync ({side} side) is {word} on {key} already")));
    }
    let mut steps = Vec::new();
    if now != enabled {
        let change = Step::new(key, Action::SetSemiSync { side, enabled }, limit::OTHER);
        steps.push(change.when(identity(instance)).then(Condition::SemiSync { side, enabled }));
    }
    if running.io {
        steps.push(stop(instance, Threads::IO, running));
    }
    if receives {
        steps.extend(restart(key, Threads::IO));
    }
    let mut plan = plan(request, instance, steps, if receives { Threads::IO } else { Threads::NONE });
    plan.warnings = warnings(instance, side, enabled, world);
    Ok(plan)
}

fn has_plugin(instance: &Instance, side: SemiSyncSide) -> Result<(), Refusal> {
    let facts = &instance.facts.semi_sync;
    let plugin = match side {
        SemiSyncSide::Source => facts.source_plugin,
        SemiSyncSide::Replica => facts.replica_plugin,
    };
    if plugin.is_some() {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::NoPlugin,
        &instance.key,
        format!("{} has no semi-sync plugin for the {side} side", instance.key),
        "install it on the server: INSTALL PLUGIN rpl_semi_sync_... SONAME ...",
    ))
}

/// What a switch does to the commits of the primary.
fn warnings(instance: &Instance, side: SemiSyncSide, enabled: bool, world: &World<'_>) -> Vec<String> {
    let key = &instance.key;
    let own = &instance.facts.semi_sync;
    if side == SemiSyncSide::Source && enabled && own.source_clients < own.wait_for_replica_count.max(1) {
        return vec![format!(
            "{key} has {} semi-sync replicas and waits for {}: a commit may wait {} ms, until it gives up",
            own.source_clients,
            own.wait_for_replica_count.max(1),
            own.source_timeout_ms
        )];
    }
    let source = instance.facts.source().and_then(|source| world.instances.get(source));
    match source.map(|source| (&source.key, &source.facts.semi_sync)) {
        Some((source, above))
            if side == SemiSyncSide::Replica
                && !enabled
                && own.replica_status
                && above.source_enabled
                && above.source_clients <= above.wait_for_replica_count.max(1) =>
        {
            vec![format!("{source} will have too few semi-sync replicas without {key}: its commits may wait")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key};
    use super::*;
    use crate::instance::PluginNaming;
    use crate::instance::ThreadState::{Running, Stopped};

    fn servers() -> Servers {
        let mut servers = Servers::new();
        for name in ["a", "b"] {
            let facts = &mut servers.facts(name).semi_sync;
            facts.source_plugin = Some(PluginNaming::SourceReplica);
            facts.replica_plugin = Some(PluginNaming::SourceReplica);
        }
        servers
    }

    fn request(name: &str, side: SemiSyncSide, enabled: bool) -> Request {
        Request::SetSemiSync { instance: key(name), side, enabled }
    }

    #[test]
    fn the_source_side_is_one_switch() {
        let mut servers = servers();
        let on = request("a", SemiSyncSide::Source, true);
        assert_eq!(servers.shown(&on), "a:3306: switch semi-sync on (source side)");
        assert_eq!(servers.plan(&on).expect("a plan").warnings.len(), 1, "nobody acknowledges");
        servers.facts("a").semi_sync.source_clients = 1;
        assert_eq!(servers.plan(&on).expect("a plan").warnings.len(), 0);
        servers.facts("a").semi_sync.source_enabled = true;
        assert_eq!(servers.shown(&on), "already-so");
        servers.facts("a").semi_sync.source_plugin = None;
        assert_eq!(servers.shown(&request("a", SemiSyncSide::Source, false)), "no-plugin");
    }

    #[test]
    fn the_replica_side_restarts_a_receiver_that_runs() {
        let mut servers = servers();
        let on = request("b", SemiSyncSide::Replica, true);
        let (set, stop, start) = (
            "b:3306: switch semi-sync on (replica side)",
            "b:3306: stop receiver",
            "b:3306: start receiver, see it running",
        );
        assert_eq!(servers.shown(&on), format!("{set}; {stop}; {start}"));
        servers.set_threads("b", Stopped, Running);
        assert_eq!(servers.shown(&on), set);
        // A run that died after stopping the receiver.
        servers.facts("b").semi_sync.replica_enabled = true;
        assert_eq!(servers.shown(&on), "already-so");
        servers.baseline.insert(key("b"), Threads::BOTH);
        assert_eq!(servers.shown(&on), start);
    }
}
