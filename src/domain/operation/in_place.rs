//! What the operations that change one server in its place have in common.

use super::movability::receives_through;
use super::{World, steps};
use crate::instance::{Instance, InstanceKey, ReplicaFacts};
use crate::plan::{
    Condition, Plan, Refusal, Request, Rule, Step, Threads, missing_of_received, received_is_applied, running_threads,
};

/// Stops `threads` of the replica planned for, whose `running` threads are started.
pub(crate) fn stop(instance: &Instance, threads: Threads, running: Threads) -> Step {
    steps::stop(&instance.key, threads, running).when(steps::identity(instance))
}

/// Puts back what ran before, if anything did.
pub(crate) fn restart(key: &InstanceKey, threads: Threads) -> Vec<Step> {
    if threads == Threads::NONE { Vec::new() } else { vec![steps::started(key, threads)] }
}

/// A plan of one branch that may leave threads stopped when it fails half-way, unless these are started again.
pub(crate) fn plan(request: &Request, instance: &Instance, steps: Vec<Step>, restore: Threads) -> Plan {
    let mut plan = Plan::in_place(request.clone(), instance.key.clone(), steps);
    plan.branches[0].restore = restart(&instance.key, restore);
    plan
}

/// Nothing is to be done. Not a failure: whoever asked has what they asked for.
pub(crate) fn already(instance: &InstanceKey, reason: impl Into<String>) -> Refusal {
    Refusal::new(Rule::AlreadySo, instance, reason, "there is nothing to do")
}

/// Steps that bring both threads of a replica to a stop, and the condition under which its relay logs may go afterwards.
pub(crate) struct Standstill {
    pub(crate) steps: Vec<Step>,
    pub(crate) guard: Condition,
}

/// How to stop a replica so that nothing it received is lost with its relay logs: it applies all of it first, or its
/// source, which answers, has it still.
pub(crate) fn stand_still(
    instance: &Instance,
    replica: &ReplicaFacts,
    world: &World<'_>,
) -> Result<Standstill, Refusal> {
    let key = &instance.key;
    let running = running_threads(&instance.facts);
    let stopping = |threads: Threads, running| {
        let nothing = threads == Threads::NONE;
        if nothing { Vec::new() } else { vec![stop(instance, threads, running)] }
    };
    let applied = received_is_applied(&instance.facts);
    if applied && !running.io {
        return Ok(Standstill { steps: stopping(running, running), guard: Condition::Drained });
    }
    if running.sql && replica.sql_delay == 0 {
        let mut steps = stopping(Threads { io: running.io, sql: false }, running);
        steps.push(steps::drain(key, world));
        steps.extend(stopping(Threads::SQL, Threads::SQL));
        return Ok(Standstill { steps, guard: Condition::Drained });
    }
    let source = &replica.source;
    if let Ok(above) = world.fresh(source)
        && (receives_through(instance, source, world)
            || missing_of_received(&instance.facts, source, &above.facts).is_empty())
    {
        let guard = Condition::ReceivedIsIn { other: source.clone() };
        return Ok(Standstill { steps: stopping(running, running), guard });
    }
    let cause = match (running.sql, replica.last_sql_error.as_str()) {
        (true, _) => format!("it is delayed by {} s", replica.sql_delay),
        (false, "") => "its applier is stopped".to_owned(),
        (false, error) => format!("its applier has stopped: {error}"),
    };
    Err(Refusal::new(
        Rule::UnappliedRelayLog,
        key,
        format!(
            "{key} has received transactions that it has not applied ({cause}), and {source} cannot be asked for them"
        ),
        "let its applier finish first: end the delay, repair what stopped it, start-replica-sql-thread",
    ))
}

#[cfg(test)]
pub(crate) mod fixture {
    //! Worlds of a few servers for tests of single operations.

    use std::collections::BTreeMap;

    use super::super::{Policy, World};
    use crate::instance::{
        BinlogCoordinates, CheckState, GtidFacts, Instance, InstanceKey, Placement, ReplicaFacts, ServerFacts,
        ThreadState,
    };
    use crate::plan::{Baseline, Plan, Refusal, Request, Rule, check};
    use crate::promotion::PromotionRule;

    /// Now, in all tests.
    pub(in crate::operation) const NOW: i64 = 1_000_000_000;

    pub(in crate::operation) fn key(name: &str) -> InstanceKey {
        InstanceKey::new(name, 3306)
    }

    /// The UUID of server `id`.
    pub(in crate::operation) fn uuid(id: u64) -> String {
        format!("00000000-0000-0000-0000-{id:012}")
    }

    /// Servers `a` (primary, writable), `b` and `c` (replicas of `a`), by MySQL GTID, all at one place.
    #[derive(Debug, Clone)]
    pub(in crate::operation) struct Servers {
        pub(in crate::operation) instances: BTreeMap<InstanceKey, Instance>,
        pub(in crate::operation) baseline: Baseline,
        pub(in crate::operation) earlier: Option<Plan>,
        pub(in crate::operation) policy: Policy,
    }

    impl Servers {
        pub(in crate::operation) fn new() -> Self {
            let mut all = Self {
                instances: BTreeMap::new(),
                baseline: Baseline::new(),
                earlier: None,
                policy: Policy::default(),
            };
            all.add("a", 1, None);
            all.add("b", 2, Some("a"));
            all.add("c", 3, Some("a"));
            all.facts("a").read_only = false;
            all
        }

        pub(in crate::operation) fn add(&mut self, name: &str, id: u64, source: Option<&str>) {
            let instance = Instance {
                id,
                key: key(name),
                lane: String::new(),
                facts: facts(id, source),
                placement: Placement { cluster_name: key("a").to_string(), ..Placement::default() },
                check: CheckState { last_checked_at: Some(NOW), last_seen_at: Some(NOW), ..CheckState::default() },
                downtime: None,
                promotion_rule: PromotionRule::Neutral,
                unresolved_hostname: String::new(),
            };
            if let Some(source) = source
                && let Some(source) = self.instances.get_mut(&key(source))
            {
                source.facts.replicas.insert(key(name));
            }
            self.instances.insert(key(name), instance);
        }

        /// The same servers as MariaDB.
        pub(in crate::operation) fn mariadb() -> Self {
            let mut all = Self::new();
            for instance in all.instances.values_mut() {
                let facts = &mut instance.facts;
                facts.version = "10.11.6-MariaDB".to_owned();
                facts.server_uuid.clear();
                facts.gtid = GtidFacts {
                    mariadb_current_pos: "0-1-10".to_owned(),
                    mariadb_slave_pos: "0-1-10".to_owned(),
                    mariadb_binlog_pos: "0-1-10".to_owned(),
                    ..GtidFacts::default()
                };
                if let Some(replica) = &mut facts.replica {
                    replica.auto_position = false;
                    replica.using_mariadb_gtid = true;
                    replica.retrieved_gtid_set.clear();
                    replica.mariadb_io_pos = "0-1-10".to_owned();
                }
            }
            all
        }

        pub(in crate::operation) fn facts(&mut self, name: &str) -> &mut ServerFacts {
            &mut self.instances.get_mut(&key(name)).expect("a server of the fixture").facts
        }

        pub(in crate::operation) fn replica(&mut self, name: &str) -> &mut ReplicaFacts {
            self.facts(name).replica.as_mut().expect("a replica of the fixture")
        }

        /// Stops the applier with this error.
        pub(in crate::operation) fn break_applier(&mut self, name: &str, error: &str) {
            let replica = self.replica(name);
            (replica.sql_thread, replica.last_sql_error) = (ThreadState::Stopped, error.to_owned());
        }

        pub(in crate::operation) fn set_threads(&mut self, name: &str, io: ThreadState, sql: ThreadState) {
            let replica = self.replica(name);
            (replica.io_thread, replica.sql_thread) = (io, sql);
        }

        /// The last check of this server failed.
        pub(in crate::operation) fn lose(&mut self, name: &str) {
            let check = &mut self.instances.get_mut(&key(name)).expect("a server of the fixture").check;
            check.last_seen_at = Some(NOW - 60_000_000);
        }

        /// The plan; must pass the check.
        pub(in crate::operation) fn plan(&self, request: &Request) -> Result<Plan, Refusal> {
            let world = World {
                instances: &self.instances,
                baseline: &self.baseline,
                earlier: self.earlier.as_ref(),
                equivalences: &[],
                policy: &self.policy,
                now: NOW,
            };
            let planned = super::super::plan(request, &world);
            if let Ok(plan) = &planned {
                assert_eq!(check(plan), Ok(()), "{plan}");
            }
            planned
        }

        /// The steps of the plan, or the word of the rule that refuses it.
        pub(in crate::operation) fn shown(&self, request: &Request) -> String {
            match self.plan(request) {
                Ok(plan) => plan.steps().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                Err(refusal) => {
                    assert!(!refusal.reason.is_empty() && !refusal.remedy.is_empty());
                    refusal.rule.word()
                }
            }
        }

        pub(in crate::operation) fn refused(&self, request: &Request) -> Rule {
            match self.plan(request) {
                Ok(plan) => panic!("not refused:\n{plan}"),
                Err(refusal) => refusal.rule,
            }
        }
    }

    fn facts(id: u64, source: Option<&str>) -> ServerFacts {
        let executed = format!("{}:1-10", uuid(1));
        let at = |position| BinlogCoordinates { file: "bin.000003".to_owned(), position };
        ServerFacts {
            server_id: id,
            server_uuid: uuid(id),
            version: "8.0.36".to_owned(),
            version_comment: "MySQL Community Server".to_owned(),
            read_only: true,
            log_bin: true,
            log_replica_updates: true,
            binlog_format: "ROW".to_owned(),
            binlog: at(1000),
            gtid: GtidFacts { mode: "ON".to_owned(), executed: executed.clone(), ..GtidFacts::default() },
            replica: source.map(|source| ReplicaFacts {
                source: key(source),
                source_uuid: uuid(1),
                io_thread: ThreadState::Running,
                sql_thread: ThreadState::Running,
                read: at(1000),
                exec: at(1000),
                auto_position: true,
                retrieved_gtid_set: executed,
                ..ReplicaFacts::default()
            }),
            ..ServerFacts::default()
        }
    }
}
