//! Delaying a replica on purpose.
//!
//! A change of options while both threads are stopped discards relay logs. MySQL takes a delay while the receiver runs, and
//! then keeps them (<https://dev.mysql.com/doc/refman/8.4/en/change-replication-source-to.html>); MariaDB wants both threads
//! stopped (<https://mariadb.com/kb/en/change-master-to/>), so there everything received is applied first, or is on the
//! source still.

use super::in_place::{Standstill, already, plan, restart, stand_still, stop};
use super::movability::one_channel;
use super::steps::identity;
use super::{World, limit};
use crate::instance::{Instance, InstanceKey};
use crate::plan::{Action, Condition, Plan, Refusal, Request, Step, Threads, running_threads};
use crate::version::ServerVersion;

pub(super) fn set(request: &Request, instance: &InstanceKey, seconds: u32, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, replica) = world.replica(instance)?;
    let key = &instance.key;
    one_channel(instance, replica)?;
    let (running, wanted) = (running_threads(&instance.facts), world.wanted_threads(key));
    if replica.sql_delay == u64::from(seconds) {
        let missing = wanted.without(running);
        if missing == Threads::NONE {
            return Err(already(key, format!("{key} is delayed by {seconds} s already")));
        }
        return Ok(plan(request, instance, restart(key, missing), Threads::NONE));
    }
    let change = Step::new(key, Action::SetDelay { seconds }, limit::OTHER)
        .when(identity(instance))
        .then(Condition::Delay { seconds: u64::from(seconds) });
    let (mut steps, change) = if running.io && keeps_relay_logs(instance) {
        let stopping = if running.sql { vec![stop(instance, Threads::SQL, running)] } else { Vec::new() };
        (stopping, change.when(Condition::Threads { running: Threads::IO }))
    } else {
        let Standstill { steps, guard } = stand_still(instance, replica, world)?;
        (steps, change.when(Condition::Threads { running: Threads::NONE }).when(guard))
    };
    steps.push(change);
    // Whatever was stopped here, and whatever an earlier run of this operation had stopped.
    let stopped_since = Threads { io: wanted.io && !(running.io && keeps_relay_logs(instance)), sql: wanted.sql };
    steps.extend(restart(key, stopped_since));
    let mut plan = plan(request, instance, steps, wanted);
    if running.sql && seconds > 0 {
        plan.warnings.push(format!("{key} will show everything {seconds} s late from now on"));
    }
    Ok(plan)
}

/// The server changes a delay while the receiver runs.
fn keeps_relay_logs(instance: &Instance) -> bool {
    ServerVersion::parse(&instance.facts.version, &instance.facts.version_comment).flavor.is_mysql_family()
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key};
    use super::*;
    use crate::instance::ThreadState::{Running, Stopped};

    fn request(seconds: u32) -> Request {
        Request::DelayReplication { instance: key("b"), seconds }
    }

    const SET: &str = "b:3306: set the delay to 60 s";
    const START_SQL: &str = "b:3306: start applier, see it running";

    #[test]
    fn mysql_keeps_receiving() {
        let mut servers = Servers::new();
        assert_eq!(servers.shown(&request(60)), format!("b:3306: stop applier; {SET}; {START_SQL}"));
        servers.set_threads("b", Running, Stopped);
        assert_eq!(servers.shown(&request(60)), SET);
        assert_eq!(servers.shown(&request(0)), "already-so");
        // What a run that died had stopped.
        servers.baseline.insert(key("b"), Threads::BOTH);
        assert_eq!(servers.shown(&request(60)), format!("{SET}; {START_SQL}"));
        assert_eq!(servers.shown(&request(0)), START_SQL);
    }

    #[test]
    fn a_stopped_receiver_keeps_what_it_received() {
        let mut servers = Servers::new();
        servers.set_threads("b", Stopped, Stopped);
        assert_eq!(servers.shown(&request(60)), SET);
        // Behind, but the source has it.
        servers.facts("b").gtid.executed = String::new();
        assert_eq!(servers.shown(&request(60)), SET);
        servers.lose("a");
        assert_eq!(servers.shown(&request(60)), "unapplied-relay-log");
        servers.set_threads("b", Stopped, Running);
        let drained = "b:3306: wait until everything received is applied; b:3306: stop applier";
        assert_eq!(servers.shown(&request(60)), format!("{drained}; {SET}; {START_SQL}"));
    }

    #[test]
    fn mariadb_applies_everything_first() {
        let mut servers = Servers::mariadb();
        let drained = "b:3306: stop receiver; b:3306: wait until everything received is applied; b:3306: stop applier";
        let start = "b:3306: start receiver and applier, see it running";
        assert_eq!(servers.shown(&request(60)), format!("{drained}; {SET}; {start}"));
        servers.replica("b").sql_delay = 3600;
        servers.facts("b").gtid.mariadb_slave_pos = "0-1-5".to_owned();
        assert_eq!(servers.shown(&request(60)), format!("b:3306: stop receiver and applier; {SET}; {start}"));
        // The source was looked at a moment earlier.
        servers.replica("b").mariadb_io_pos = "0-1-11".to_owned();
        assert_eq!(servers.shown(&request(60)), format!("b:3306: stop receiver and applier; {SET}; {start}"));
        servers.lose("a");
        assert_eq!(servers.shown(&request(60)), "unapplied-relay-log");
    }

    #[test]
    fn only_replicas_of_one_source_are_delayed() {
        let mut servers = Servers::new();
        assert_eq!(servers.shown(&Request::DelayReplication { instance: key("a"), seconds: 1 }), "not-a-replica");
        servers.replica("b").other_channels = vec!["x".to_owned()];
        assert_eq!(servers.shown(&request(60)), "several-channels");
    }
}
