//! Forgetting the source.

use super::in_place::{Standstill, already, plan, stand_still};
use super::movability::one_channel;
use super::steps::identity;
use super::{World, limit};
use crate::instance::InstanceKey;
use crate::plan::{Action, Condition, Plan, Refusal, Request, Step, Threads};

/// The replica becomes a server of its own, with everything it had received.
pub(super) fn replica(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let instance = world.fresh(instance)?;
    let key = &instance.key;
    let Some(replica) = instance.facts.replica.as_ref().filter(|_| instance.facts.is_replica()) else {
        return Err(already(key, format!("{key} has no source")));
    };
    one_channel(instance, replica)?;
    let Standstill { mut steps, guard } = stand_still(instance, replica, world)?;
    steps.push(
        Step::new(key, Action::ResetReplica, limit::OTHER)
            .when(identity(instance))
            .when(Condition::Threads { running: Threads::NONE })
            .when(guard)
            .then(Condition::NoReplica),
    );
    let mut plan = plan(request, instance, steps, world.wanted_threads(key));
    plan.warnings
        .push(format!("{key} will head a cluster of its own; where it stood below {} is forgotten", replica.source));
    let below = world.replicas_of(key).len();
    if below > 0 {
        plan.warnings.push(format!("its {below} replicas go with it"));
    }
    if !instance.facts.read_only {
        plan.warnings.push(format!("{key} is writable: nothing will tell its writes from those of a primary"));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key};
    use super::*;
    use crate::instance::ThreadState::Stopped;

    const RESET: &str = "b:3306: forget the source and its relay logs";

    #[test]
    fn a_replica_keeps_what_it_received() {
        let request = Request::ResetReplica { instance: key("b") };
        let mut servers = Servers::new();
        let drained = "b:3306: stop receiver; b:3306: wait until everything received is applied; b:3306: stop applier";
        assert_eq!(servers.shown(&request), format!("{drained}; {RESET}"));
        servers.set_threads("b", Stopped, Stopped);
        assert_eq!(servers.shown(&request), RESET);
        servers.facts("b").gtid.executed = String::new();
        assert_eq!(servers.shown(&request), RESET, "the source has it");
        servers.lose("a");
        assert_eq!(servers.shown(&request), "unapplied-relay-log");
        assert_eq!(servers.shown(&Request::ResetReplica { instance: key("a") }), "unreachable");
        assert_eq!(Servers::new().shown(&Request::ResetReplica { instance: key("a") }), "already-so");
    }
}
