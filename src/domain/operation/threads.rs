//! Starting and stopping replication threads.

use super::World;
use super::in_place::{already, plan, stop as stopping};
use super::steps::{drain, identity, started as starting};
use crate::instance::{Instance, InstanceKey, ReplicaFacts};
use crate::plan::{
    Action, Condition, Plan, Refusal, Request, Rule, SemiSyncSide, Step, Threads, received_is_applied, running_threads,
};

/// Both threads.
pub(super) fn start(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    start_some(request, instance, Threads::BOTH, world)
}

/// The receiver.
pub(super) fn start_io(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    start_some(request, instance, Threads::IO, world)
}

/// The applier.
pub(super) fn start_sql(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    start_some(request, instance, Threads::SQL, world)
}

/// Both threads.
pub(super) fn stop(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    stop_some(request, instance, Threads::BOTH, world)
}

/// The receiver.
pub(super) fn stop_io(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    stop_some(request, instance, Threads::IO, world)
}

/// The applier.
pub(super) fn stop_sql(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    stop_some(request, instance, Threads::SQL, world)
}

/// Both threads run afterwards, whatever ran before.
pub(super) fn restart(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, replica) = world.replica(instance)?;
    not_detached(instance, replica)?;
    let running = running_threads(&instance.facts);
    let mut steps = Vec::new();
    if running != Threads::NONE {
        steps.push(stopping(instance, running, running));
    }
    steps.extend(before_receiving(instance));
    steps.push(starting(&instance.key, Threads::BOTH));
    let mut plan = plan(request, instance, steps, Threads::BOTH);
    plan.warnings = warnings(instance, replica);
    Ok(plan)
}

/// The receiver stops first, then the applier when there is nothing left to apply.
pub(super) fn stop_nice(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, replica) = world.replica(instance)?;
    let key = &instance.key;
    let running = running_threads(&instance.facts);
    let applied = received_is_applied(&instance.facts);
    if running == Threads::NONE && applied {
        return Err(already(key, format!("both threads of {key} are stopped, and everything received is applied")));
    }
    if running.io || !applied {
        can_drain(instance, replica, running, world)?;
    }
    let mut steps = Vec::new();
    if running.io {
        steps.push(stopping(instance, Threads::IO, running));
    }
    if running.io || !applied {
        if !running.sql {
            steps.push(starting(key, Threads::SQL));
        }
        steps.push(drain(key, world));
    }
    if running.sql || !steps.is_empty() {
        steps.push(stopping(instance, Threads::SQL, Threads::SQL));
    }
    let mut plan = plan(request, instance, steps, world.wanted_threads(key));
    plan.warnings = warnings(instance, replica);
    if !running.sql && !applied {
        plan.warnings.push(format!("the applier of {key} is stopped: it is started to apply what was received"));
    }
    Ok(plan)
}

fn can_drain(instance: &Instance, replica: &ReplicaFacts, running: Threads, world: &World<'_>) -> Result<(), Refusal> {
    let key = &instance.key;
    if !running.sql && !replica.last_sql_error.is_empty() {
        return Err(Refusal::new(
            Rule::UnappliedRelayLog,
            key,
            format!("the applier of {key} has stopped and cannot finish: {}", replica.last_sql_error),
            "repair what stopped it, or stop it as it is: stop-replica",
        ));
    }
    if replica.sql_delay >= u64::from(world.policy.drain_limit_seconds) {
        return Err(Refusal::new(
            Rule::Delayed,
            key,
            format!(
                "{key} is delayed by {} s, and would be waited for {} s at most",
                replica.sql_delay, world.policy.drain_limit_seconds
            ),
            "end the delay first (delay-replication with 0 seconds), or stop it as it is: stop-replica",
        ));
    }
    Ok(())
}

fn start_some(request: &Request, instance: &InstanceKey, threads: Threads, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, replica) = world.replica(instance)?;
    let key = &instance.key;
    if threads.io {
        not_detached(instance, replica)?;
    }
    let running = running_threads(&instance.facts);
    let missing = threads.without(running);
    if missing == Threads::NONE {
        return Err(already(key, started_already(instance, replica, threads)));
    }
    let mut steps = if missing.io { before_receiving(instance) } else { Vec::new() };
    steps.push(starting(key, missing).when(identity(instance)));
    let mut plan = plan(request, instance, steps, Threads::NONE);
    plan.warnings = warnings(instance, replica);
    Ok(plan)
}

/// Started is not the same as working: a receiver that cannot connect is worth a word.
fn started_already(instance: &Instance, replica: &ReplicaFacts, threads: Threads) -> String {
    let error = if threads.io { replica.last_io_error.as_str() } else { "" };
    let text = format!("{threads} of {} started already", instance.key);
    if error.is_empty() { text } else { format!("{text}; the receiver says: {error}") }
}

fn stop_some(request: &Request, instance: &InstanceKey, threads: Threads, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, replica) = world.replica(instance)?;
    let key = &instance.key;
    let running = running_threads(&instance.facts);
    let stopped = threads.and(running);
    if stopped == Threads::NONE {
        return Err(already(key, format!("{threads} of {key} stopped already")));
    }
    let mut plan = plan(request, instance, vec![stopping(instance, stopped, running)], Threads::NONE);
    plan.warnings = warnings(instance, replica);
    // https://mariadb.com/kb/en/gtid/: a receiver started while the applier is stopped begins anew at gtid_slave_pos.
    if replica.using_mariadb_gtid && !received_is_applied(&instance.facts) && (running == stopped) {
        plan.warnings.push(format!(
            "{key} has unapplied relay logs, which MariaDB drops when both threads start again: {} must still have them",
            replica.source
        ));
    }
    Ok(plan)
}

/// A replica does not wait for acknowledgements, and acknowledges if semi-sync is meant for it.
fn before_receiving(instance: &Instance) -> Vec<Step> {
    let semi_sync = &instance.facts.semi_sync;
    if semi_sync.priority == 0 {
        return Vec::new();
    }
    let switch = |side, enabled| {
        Step::new(&instance.key, Action::SetSemiSync { side, enabled }, super::limit::OTHER)
            .then(Condition::SemiSync { side, enabled })
    };
    let mut steps = Vec::new();
    if semi_sync.source_enabled && semi_sync.source_plugin.is_some() {
        steps.push(switch(SemiSyncSide::Source, false));
    }
    let wanted = instance.promotion_rule != crate::promotion::PromotionRule::MustNot;
    if semi_sync.replica_plugin.is_some() && semi_sync.replica_enabled != wanted {
        steps.push(switch(SemiSyncSide::Replica, wanted));
    }
    steps
}

fn not_detached(instance: &Instance, replica: &ReplicaFacts) -> Result<(), Refusal> {
    if !replica.source.is_detached() {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::Detached,
        &instance.key,
        format!("{} is detached: its source is {}", instance.key, replica.source),
        format!("reattach it: reattach-replica-master-host -i {}", instance.key),
    ))
}

fn warnings(instance: &Instance, replica: &ReplicaFacts) -> Vec<String> {
    if replica.other_channels.is_empty() {
        return Vec::new();
    }
    vec![format!("{} has further channels, left as they are: {}", instance.key, replica.other_channels.join(", "))]
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key};
    use super::*;
    use crate::instance::{PluginNaming, ThreadState};

    fn shown(servers: &Servers, request: fn(InstanceKey) -> Request) -> String {
        servers.shown(&request(key("b")))
    }

    fn with(io: ThreadState, sql: ThreadState) -> Servers {
        let mut servers = Servers::new();
        servers.set_threads("b", io, sql);
        servers
    }

    const START: fn(InstanceKey) -> Request = |instance| Request::StartReplica { instance };
    const STOP: fn(InstanceKey) -> Request = |instance| Request::StopReplica { instance };
    const RESTART: fn(InstanceKey) -> Request = |instance| Request::RestartReplica { instance };
    const NICE: fn(InstanceKey) -> Request = |instance| Request::StopReplicaNice { instance };
    const DRAIN: &str = "b:3306: wait until everything received is applied";

    #[test]
    fn only_what_is_stopped_is_started() {
        use ThreadState::{Other, Running, Stopped};
        assert_eq!(shown(&with(Stopped, Stopped), START), "b:3306: start receiver and applier, see it running");
        assert_eq!(shown(&with(Running, Stopped), START), "b:3306: start applier, see it running");
        assert_eq!(shown(&with(Running, Running), START), "already-so");
        assert_eq!(shown(&with(Other, Running), START), "already-so");
        let io = |instance| Request::StartReplicaIo { instance };
        assert_eq!(shown(&with(Stopped, Stopped), io), "b:3306: start receiver, see it running");
        assert_eq!(shown(&with(Running, Stopped), io), "already-so");
        let sql = |instance| Request::StartReplicaSql { instance };
        assert_eq!(shown(&with(Stopped, Stopped), sql), "b:3306: start applier, see it running");
    }

    #[test]
    fn only_what_runs_is_stopped() {
        use ThreadState::{Other, Running, Stopped};
        assert_eq!(shown(&with(Running, Running), STOP), "b:3306: stop receiver and applier");
        assert_eq!(shown(&with(Other, Stopped), STOP), "b:3306: stop receiver");
        assert_eq!(shown(&with(Stopped, Stopped), STOP), "already-so");
        assert_eq!(shown(&with(Running, Running), |i| Request::StopReplicaIo { instance: i }), "b:3306: stop receiver");
        assert_eq!(shown(&with(Running, Running), |i| Request::StopReplicaSql { instance: i }), "b:3306: stop applier");
        assert_eq!(Servers::new().refused(&STOP(key("a"))), Rule::NotAReplica);
        assert_eq!(Servers::new().refused(&STOP(key("x"))), Rule::UnknownInstance);
    }

    #[test]
    fn a_restart_ends_with_both_running() {
        use ThreadState::{Running, Stopped};
        let both = "b:3306: start receiver and applier, see it running";
        assert_eq!(shown(&with(Running, Running), RESTART), format!("b:3306: stop receiver and applier; {both}"));
        assert_eq!(shown(&with(Running, Stopped), RESTART), format!("b:3306: stop receiver; {both}"));
        assert_eq!(shown(&with(Stopped, Stopped), RESTART), both);
    }

    #[test]
    fn a_nice_stop_leaves_nothing_unapplied() {
        use ThreadState::{Running, Stopped};
        let all = format!("b:3306: stop receiver; {DRAIN}; b:3306: stop applier");
        assert_eq!(shown(&with(Running, Running), NICE), all);
        assert_eq!(shown(&with(Stopped, Stopped), NICE), "already-so");
        assert_eq!(shown(&with(Stopped, Running), NICE), "b:3306: stop applier");
        let mut behind = with(Stopped, Stopped);
        behind.facts("b").gtid.executed = String::new();
        let started = format!("b:3306: start applier, see it running; {DRAIN}; b:3306: stop applier");
        assert_eq!(shown(&behind, NICE), started);
        behind.break_applier("b", "duplicate key");
        assert_eq!(shown(&behind, NICE), "unapplied-relay-log");
        let mut delayed = with(Running, Running);
        delayed.replica("b").sql_delay = 3600;
        assert_eq!(shown(&delayed, NICE), "delayed");
    }

    #[test]
    fn detached_replicas_cannot_receive() {
        let mut servers = with(ThreadState::Stopped, ThreadState::Stopped);
        servers.replica("b").source = InstanceKey::new("//a", 3306);
        assert_eq!(shown(&servers, START), "detached");
        assert_eq!(shown(&servers, RESTART), "detached");
        let sql = shown(&servers, |instance| Request::StartReplicaSql { instance });
        assert_eq!(sql, "b:3306: start applier, see it running");
    }

    #[test]
    fn semi_sync_is_set_as_meant_before_receiving() {
        let mut servers = with(ThreadState::Stopped, ThreadState::Stopped);
        let semi_sync = &mut servers.facts("b").semi_sync;
        (semi_sync.source_plugin, semi_sync.replica_plugin) =
            (Some(PluginNaming::SourceReplica), Some(PluginNaming::SourceReplica));
        (semi_sync.source_enabled, semi_sync.priority) = (true, 1);
        let expected = "b:3306: switch semi-sync off (source side); b:3306: switch semi-sync on (replica side); \
                        b:3306: start receiver and applier, see it running";
        assert_eq!(shown(&servers, START), expected);
    }

    #[test]
    fn stopping_mariadb_warns_of_relay_logs_that_a_start_drops() {
        let mut servers = Servers::mariadb();
        servers.facts("b").gtid.mariadb_slave_pos = "0-1-9".to_owned();
        let warned = |request: Request| servers.plan(&request).expect("a plan").warnings.len();
        assert_eq!(warned(STOP(key("b"))), 1);
        assert_eq!(warned(Request::StopReplicaIo { instance: key("b") }), 0);
        assert_eq!(warned(STOP(key("c"))), 0);
    }
}
