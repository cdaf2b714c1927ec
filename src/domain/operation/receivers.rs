//! Receivers that are restarted so that they have to connect anew: one that connected long ago notices a frozen or cut off
//! source only when its own patience is over.

use std::collections::BTreeSet;

use super::{World, movability, steps};
use crate::instance::{Instance, InstanceKey};
use crate::plan::{
    Action, Branch, Condition, Method, Plan, Refusal, Request, Rule, Step, Threads, received_is_applied,
    running_threads,
};

/// The word of such an operation: what the original wrote into its audit.
pub const WORD: &str = "emergently-restart-replication-topology-instance";

/// After this time the first try to connect is given up: the least that servers know. (Later tries have the patience that the
/// server is configured with. On MySQL a receiver in the middle of a try takes two seconds to be stopped; between two tries,
/// none.)
pub const PATIENCE_SECONDS: u32 = 1;

/// Of all replicas that seem to hear it.
pub(super) fn all(request: &Request, of: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let keys = world.instances.values().filter(|one| one.facts.source() == Some(of)).map(|one| one.key.clone());
    restart(request, of, &keys.collect(), world)
}

/// Of these replicas, side by side.
pub fn restart(
    request: &Request,
    of: &InstanceKey,
    keys: &BTreeSet<InstanceKey>,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let (mut branches, mut left_out) = (Vec::new(), Vec::new());
    for key in keys {
        match one(of, key, world) {
            Ok(branch) => branches.push(branch),
            Err(refusal) => left_out.push(refusal),
        }
    }
    if branches.is_empty() {
        let none = || {
            Refusal::new(Rule::AlreadySo, of, format!("no replica of {of} seems to hear it"), "nothing is to be done")
        };
        return Err(left_out.pop().unwrap_or_else(none));
    }
    Ok(Plan {
        request: request.clone(),
        method: Method::InPlace,
        because: format!("{of} gives no answer, and who connects anew says whether it is there"),
        warnings: Vec::new(),
        locks: branches.iter().map(|branch| branch.instance.clone()).collect(),
        head: Vec::new(),
        branches,
        tail: Vec::new(),
        left_out,
        answers_for: None,
    })
}

fn one(of: &InstanceKey, key: &InstanceKey, world: &World<'_>) -> Result<Branch, Refusal> {
    let (one, replica) = world.replica(key)?;
    movability::one_channel(one, replica)?;
    let running = running_threads(&one.facts);
    if !running.io {
        let reason = format!("the receiver of {key} does not run");
        return Err(Refusal::new(Rule::AlreadySo, key, reason, "nothing is to be done"));
    }
    keeps_relay_logs(one, running)?;
    let step = Step::new(key, Action::RestartReceiver { patience_seconds: PATIENCE_SECONDS }, super::limit::OTHER)
        .when(steps::identity(one))
        .when(Condition::ReplicatesFrom { source: of.clone() })
        .when(Condition::Replicating { threads: Threads::IO })
        .then(Condition::Threads { running });
    Ok(Branch { instance: key.clone(), new_source: None, locks: Vec::new(), steps: vec![step], restore: Vec::new() })
}

/// A MariaDB replica that uses GTIDs throws its relay logs away when a thread starts while none runs.
fn keeps_relay_logs(one: &Instance, running: Threads) -> Result<(), Refusal> {
    let forgets = one.facts.replica.as_ref().is_some_and(|replica| replica.using_mariadb_gtid) && !running.sql;
    if !forgets || received_is_applied(&one.facts) {
        return Ok(());
    }
    let key = &one.key;
    let reason = format!("{key} would throw away relay logs that it has not applied: its applier is stopped");
    Err(Refusal::new(Rule::UnappliedRelayLog, key, reason, format!("start-replica-sql-thread -i {key}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::fixture::{Fixture, key, lines};
    use crate::plan::check;

    #[test]
    fn those_that_seem_to_hear_it_are_restarted() {
        let request = Request::RestartReceivers { of: key("a") };
        let planned = |world: &str| {
            let fixture = Fixture::new(world);
            let plan = all(&request, &key("a"), &fixture.world())?;
            assert_eq!(check(&plan), Ok(()));
            Ok::<_, Refusal>((lines(&plan), plan.left_out.len()))
        };
        let restarts = |name: &str| format!("{name}: restart receiver, its first try to connect for 1 s");
        let (lines, left_out) = planned("a dead\n  b\n  c sql=no\n  d io=no\n  e channels").expect("a plan");
        assert_eq!((lines, left_out), (vec![restarts("b"), restarts("c")], 2));
        let mariadb = "a mariadb dead\n  b mariadb\n  c mariadb=0-1-90 sql=no io_pos=0-1-100\n  d mariadb sql=no";
        let (lines, left_out) = planned(mariadb).expect("a plan");
        assert_eq!((lines, left_out), (vec![restarts("b"), restarts("d")], 1));
        assert_eq!(planned("a dead\n  b io=no").expect_err("nobody").rule, Rule::AlreadySo);
        assert_eq!(planned("a dead").expect_err("nobody").rule, Rule::AlreadySo);
    }
}
