//! What an operation that people ask for would do: pure planners from (request, world) to a [`Plan`] or a [`Refusal`].
//!
//! ```text
//!   Request ─┐
//!   World   ─┴─▶ plan ──▶ Plan     head, branches, tail: shown, checked, stored, executed by others
//!                   └───▶ Refusal  rule, fact, remedy
//! ```
//! The world holds what every server concerned said a moment ago. Planners are total: they never panic, whatever the facts.
//!
//! # Half-done worlds
//! An operation whose process died is planned again by the next worker, from fresh facts and with the stored
//! [`Baseline`]: a server with an entry there was touched already, and the entry says which of its threads ran before.
//! Planners therefore plan what is *left*: only the start of a replica that was moved already, nothing at all
//! ([`Rule::AlreadySo`]) where all is as asked.
//!
//! # Threads
//! A thread that ran before runs afterwards, verified; one that was stopped stays stopped. [`World::wanted_threads`] knows.
//!
//! How to add one more operation: a variant of [`Request`], an arm of [`plan`], a function in one file of `operation/`.

pub mod compatibility;

mod binary_logs;
mod credentials;
mod delay;
pub(crate) mod detach;
mod errant;
#[cfg(test)]
mod examples;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod gtid;
pub(crate) mod in_place;
mod kill;
#[cfg(test)]
pub(crate) mod model;
pub(crate) mod movability;
mod position;
pub(crate) mod read_only;
pub mod receivers;
#[cfg(test)]
mod refusals;
pub(crate) mod regroup;
pub(crate) mod relocate;
pub(crate) mod repoint;
mod reset;
mod roles;
pub(crate) mod semi_sync;
mod skip;
pub(crate) mod steps;
mod threads;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::instance::{BinlogCoordinates, DbMicros, Instance, InstanceKey, ReplicaFacts};
use crate::plan::{Baseline, Plan, Refusal, Request, Rule, Threads, running_threads};

/// Seconds a step of each kind may take, waiting included.
pub(crate) mod limit {
    /// Stopping the receiver.
    pub(crate) const STOP: u32 = 10;
    /// Stopping the applier. It ends its transaction first; and where several workers apply and the rest of a transaction
    /// has not been received, MySQL's waits up to 60 s for it (`SLAVE_WAIT_GROUP_DONE` in its `sql/rpl_replica.cc`).
    /// Giving up earlier would leave the replica stopped: it stops a little later in any case.
    pub(crate) const STOP_APPLIER: u32 = 75;
    /// Stopping these threads.
    pub(crate) const fn stop(threads: crate::plan::Threads) -> u32 {
        if threads.sql { STOP_APPLIER } else { STOP }
    }
    /// Starting threads, until they are seen running.
    pub(crate) const START: u32 = 10;
    /// Changing the source.
    pub(crate) const CHANGE_SOURCE: u32 = 10;
    /// Catching up with a server that has just stopped.
    pub(crate) const RUN_UNTIL: u32 = 60;
    /// Whatever only switches something.
    pub(crate) const OTHER: u32 = 10;
}

/// Everything a planner may look at.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// All instances of the clusters concerned.
    pub instances: &'a BTreeMap<InstanceKey, Instance>,
    /// Threads that ran before this operation touched the server; empty for one that has not begun.
    pub baseline: &'a Baseline,
    /// The plan of the run that this one takes up again, if it does: what "its source's source" meant then.
    pub earlier: Option<&'a Plan>,
    /// Pairs of positions recorded at earlier moves.
    pub equivalences: &'a [Equivalence],
    /// The settings that decide.
    pub policy: &'a Policy,
    /// Now, on the database's clock.
    pub now: DbMicros,
}

/// A place in the binary log of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// Whose log.
    pub server: InstanceKey,
    /// Where in it.
    pub at: BinlogCoordinates,
}

/// Two places that have the same transactions before them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivalence {
    pub one: LogPlace,
    pub other: LogPlace,
}

/// The settings that decide what is planned and what is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `LowerReplicaVersionAllowed`.
    pub lower_replica_version_allowed: bool,
    /// `VerifyReplicationFilters`.
    pub verify_replication_filters: bool,
    /// `ReasonableMaintenanceReplicationLagSeconds`.
    pub reasonable_maintenance_lag_seconds: u64,
    /// `UseSuperReadOnly`.
    pub use_super_read_only: bool,
    /// Facts older than this do not decide anything.
    pub stale_after_seconds: u32,
    /// How long a replica may take to apply what it has received.
    pub drain_limit_seconds: u32,
    /// How many branches of a plan run side by side.
    pub max_parallel: u32,
    /// At most so many empty transactions are injected by one operation.
    pub max_injected: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lower_replica_version_allowed: false,
            verify_replication_filters: false,
            reasonable_maintenance_lag_seconds: 20,
            use_super_read_only: false,
            stale_after_seconds: 30,
            drain_limit_seconds: 60,
            max_parallel: 5,
            max_injected: 1000,
        }
    }
}

/// What this request would do in this world, or why it is not done.
pub fn plan(request: &Request, world: &World<'_>) -> Result<Plan, Refusal> {
    let mut plan = by_request(request, world)?;
    if stops_others(request) {
        position::leftovers(&mut plan, world);
    }
    Ok(plan)
}

/// Operations that stop servers meanwhile besides those they are about: an earlier run may have left one stopped.
fn stops_others(request: &Request) -> bool {
    matches!(
        request,
        Request::Relocate { .. }
            | Request::RelocateReplicas { .. }
            | Request::MoveUp { .. }
            | Request::MoveUpReplicas { .. }
            | Request::MoveBelow { .. }
            | Request::TakeMaster { .. }
            | Request::TakeSiblings { .. }
            | Request::MakeLocalMaster { .. }
    )
}

fn by_request(request: &Request, world: &World<'_>) -> Result<Plan, Refusal> {
    match request {
        Request::Relocate { instance, below } => relocate::one(request, instance, below, world),
        Request::RelocateReplicas { of, below, pattern } => relocate::replicas(request, of, below, pattern, world),
        Request::MoveUp { instance } => position::up(request, instance, world),
        Request::MoveUpReplicas { of, pattern } => position::up_replicas(request, of, pattern, world),
        Request::MoveBelow { instance, below } => position::below(request, instance, below, world),
        Request::MoveEquivalent { instance, below } => position::equivalent(request, instance, below, world),
        Request::MoveGtid { instance, below } => gtid::one(request, instance, below, world),
        Request::MoveReplicasGtid { of, below, pattern } => gtid::replicas(request, of, below, pattern, world),
        Request::Repoint { instance, below } => repoint::one(request, instance, below.as_ref(), world),
        Request::RepointReplicas { of, below, pattern } => {
            repoint::replicas(request, of, below.as_ref(), pattern, world)
        }
        Request::TakeMaster { instance } => roles::take_master(request, instance, world),
        Request::TakeSiblings { instance } => roles::take_siblings(request, instance, world),
        Request::MakeCoMaster { instance } => roles::make_co_master(request, instance, world),
        Request::MakeMaster { instance } => roles::make_master(request, instance, world),
        Request::MakeLocalMaster { instance } => roles::make_local_master(request, instance, world),
        Request::RegroupReplicas { of, gtid_only: _ } => regroup::replicas(request, of, world),
        Request::RestartReceivers { of } => receivers::all(request, of, world),
        Request::ResetReplica { instance } => reset::replica(request, instance, world),
        Request::DetachReplica { instance } => detach::detach(request, instance, world),
        Request::ReattachReplica { instance } => detach::reattach(request, instance, world),
        Request::ChangeCredentials { instance } => credentials::renew(request, instance, world),
        Request::SkipQuery { instance } => skip::query(request, instance, world),
        Request::StartReplica { instance } => threads::start(request, instance, world),
        Request::StopReplica { instance } => threads::stop(request, instance, world),
        Request::RestartReplica { instance } => threads::restart(request, instance, world),
        Request::StopReplicaNice { instance } => threads::stop_nice(request, instance, world),
        Request::StartReplicaIo { instance } => threads::start_io(request, instance, world),
        Request::StopReplicaIo { instance } => threads::stop_io(request, instance, world),
        Request::StartReplicaSql { instance } => threads::start_sql(request, instance, world),
        Request::StopReplicaSql { instance } => threads::stop_sql(request, instance, world),
        Request::DelayReplication { instance, seconds } => delay::set(request, instance, *seconds, world),
        Request::SetReadOnly { instance } => read_only::refuse_writes(request, instance, world),
        Request::SetWriteable { instance } => read_only::accept_writes(request, instance, world),
        Request::FlushBinaryLogs { instance, until } => binary_logs::flush(request, instance, until, world),
        Request::PurgeBinaryLogs { instance, until, force } => {
            binary_logs::purge(request, instance, until, *force, world)
        }
        Request::KillQuery { instance, id } => kill::query(request, instance, *id, world),
        Request::EnableGtid { instance } => repoint::enable_gtid(request, instance, world),
        Request::DisableGtid { instance } => repoint::disable_gtid(request, instance, world),
        Request::GtidErrantResetMaster { instance } => errant::reset_master(request, instance, world),
        Request::GtidErrantInjectEmpty { instance } => errant::inject_empty(request, instance, world),
        Request::SetSemiSync { instance, side, enabled } => {
            semi_sync::switch(request, instance, *side, *enabled, world)
        }
        Request::Recover { failed, recovery } => Err(Refusal::new(
            Rule::BadArgument,
            failed,
            format!("recovery {recovery} is carried out by the recovery engine, in phases; it has no plan as a whole"),
            format!("see what it does: recovery {recovery}"),
        )),
    }
}

impl<'a> World<'a> {
    /// The record of an instance, however old.
    pub fn known(&self, key: &InstanceKey) -> Result<&'a Instance, Refusal> {
        self.instances.get(key).ok_or_else(|| {
            Refusal::new(
                Rule::UnknownInstance,
                key,
                format!("{key} is not known"),
                format!("discover it first: discover -i {key}"),
            )
        })
    }

    /// The record of an instance that answered its last check, lately.
    pub fn fresh(&self, key: &InstanceKey) -> Result<&'a Instance, Refusal> {
        let instance = self.known(key)?;
        if !instance.check.is_valid() {
            let cause = &instance.check.last_error;
            let cause = if cause.is_empty() { String::new() } else { format!(": {cause}") };
            return Err(Refusal::new(
                Rule::Unreachable,
                key,
                format!("{key} did not answer its last check{cause}"),
                format!("see that it is up and lets us in, then: discover -i {key}"),
            ));
        }
        let age = instance.check.seconds_since_seen(self.now).unwrap_or(i64::MAX);
        if age > i64::from(self.policy.stale_after_seconds) {
            return Err(Refusal::new(
                Rule::StaleFacts,
                key,
                format!("{key} was last seen {age} s ago, the limit is {} s", self.policy.stale_after_seconds),
                format!("look at it again: discover -i {key}"),
            ));
        }
        Ok(instance)
    }

    /// The fresh record of an instance that is a replica.
    pub fn replica(&self, key: &InstanceKey) -> Result<(&'a Instance, &'a ReplicaFacts), Refusal> {
        let instance = self.fresh(key)?;
        match &instance.facts.replica {
            Some(replica) if instance.facts.is_replica() => Ok((instance, replica)),
            _ => Err(Refusal::new(
                Rule::NotAReplica,
                key,
                format!("{key} has no source"),
                "name an instance that replicates; the topology command shows them",
            )),
        }
    }

    /// An earlier run of this operation, ended before its time, may have touched this server.
    pub fn resumed(&self, key: &InstanceKey) -> bool {
        self.baseline.contains_key(key)
    }

    /// The threads that are to run when the operation is over: those that ran before it began.
    pub fn wanted_threads(&self, key: &InstanceKey) -> Threads {
        let now = || self.instances.get(key).map(|instance| running_threads(&instance.facts)).unwrap_or_default();
        self.baseline.get(key).copied().unwrap_or_else(now)
    }

    /// The instances whose source is this one, by key.
    pub fn replicas_of(&self, key: &InstanceKey) -> Vec<&'a Instance> {
        let reads_from = |one: &&Instance| one.facts.is_replica() && one.facts.source() == Some(key);
        self.instances.values().filter(reads_from).collect()
    }
}
