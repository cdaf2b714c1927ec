//! A new user and password for a replica, from where the operator keeps them.
//!
//! Only while both threads are stopped, as in the original: a receiver that runs would not use them, and the operator would
//! think that it does. A change of options while both are stopped discards relay logs, so everything received is applied, or
//! is on the source still.

use super::in_place::{plan, stand_still};
use super::movability::one_channel;
use super::steps::identity;
use super::{World, limit};
use crate::instance::InstanceKey;
use crate::plan::{
    Action, Condition, Plan, Refusal, Request, Rule, Step, Threads, received_is_applied, running_threads,
};

pub(super) fn renew(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, replica) = world.replica(instance)?;
    let key = &instance.key;
    one_channel(instance, replica)?;
    if running_threads(&instance.facts) != Threads::NONE {
        return Err(Refusal::new(
            Rule::Replicating,
            key,
            format!("{key} replicates: its receiver would go on with the user and password that it has"),
            format!("stop it first: stop-replica -i {key}"),
        ));
    }
    if !instance.facts.replication_credentials_available {
        return Err(Refusal::new(
            Rule::NoCredentials,
            key,
            format!("the user and password that {key} is to have cannot be read anywhere"),
            "set ReplicationCredentialsQuery, or grant SELECT ON mysql.slave_master_info",
        ));
    }
    let guard = if received_is_applied(&instance.facts) {
        Condition::Drained
    } else if replica.auto_position {
        return Err(Refusal::new(
            Rule::UnappliedRelayLog,
            key,
            format!("{key} has received transactions that it has not applied, and its relay logs would be removed"),
            format!("let its applier finish first: start-replica-sql-thread -i {key}, then stop-replica -i {key}"),
        ));
    } else {
        stand_still(instance, replica, world)?.guard
    };
    let step = Step::new(key, Action::CopyCredentials { from: key.clone() }, limit::OTHER)
        .when(identity(instance))
        .when(Condition::Threads { running: Threads::NONE })
        .when(guard);
    let mut plan = plan(request, instance, vec![step], Threads::NONE);
    plan.warnings.push(format!("{key} stays stopped: start-replica -i {key} shows whether its source lets it in"));
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key};
    use super::*;
    use crate::instance::ThreadState::Stopped;

    fn request() -> Request {
        Request::ChangeCredentials { instance: key("b") }
    }

    const TAKE: &str = "b:3306: take the replication user and password of b:3306";

    #[test]
    fn a_stopped_replica_gets_them() {
        for mut servers in [Servers::new(), Servers::mariadb()] {
            servers.facts("b").replication_credentials_available = true;
            assert_eq!(servers.shown(&request()), "replicating");
            servers.set_threads("b", Stopped, Stopped);
            assert_eq!(servers.shown(&request()), TAKE);
            // Again, by a worker that took over.
            servers.baseline.insert(key("b"), Threads::NONE);
            assert_eq!(servers.shown(&request()), TAKE);
            servers.facts("b").replication_credentials_available = false;
            assert_eq!(servers.shown(&request()), "no-credentials");
            assert_eq!(servers.shown(&Request::ChangeCredentials { instance: key("a") }), "not-a-replica");
        }
    }

    #[test]
    fn nothing_received_is_lost_by_it() {
        let mut servers = Servers::new();
        servers.facts("b").replication_credentials_available = true;
        servers.set_threads("b", Stopped, Stopped);
        servers.facts("b").gtid.executed = String::new();
        assert_eq!(servers.shown(&request()), "unapplied-relay-log");
        let mut servers = Servers::mariadb();
        servers.facts("b").replication_credentials_available = true;
        servers.set_threads("b", Stopped, Stopped);
        servers.facts("b").gtid.mariadb_slave_pos = "0-1-5".to_owned();
        assert_eq!(servers.shown(&request()), TAKE, "its source has it still");
        servers.lose("a");
        assert_eq!(servers.shown(&request()), "unapplied-relay-log");
    }
}
