//! The phase that ends the outage: the chosen one gets all data, forgets its source, and is opened for writes.
//!
//! ```text
//!   [old primary closed, if it answers] [catch up from the most advanced] drain ▶ stop ▶ forget the source ▶ semi-sync ▶ open
//! ```
//! One list of steps (the plan's head): the first that fails ends it, and a plan made of the world as it is then goes on.

mod catch_up;
mod semi_sync;
mod unfinished;

use super::candidate::{Required, required};
use super::fence::close_failed;
use super::scene::{Choice, Scene};
use crate::instance::{Instance, InstanceKey, ReplicaFacts};
use crate::operation::{gtid, movability, steps};
use crate::plan::{
    Action, Condition, Method, Plan, Refusal, Rule, Step, Threads, received_is_applied, running_threads,
};
use crate::version::ServerVersion;

/// Seconds for what only switches something.
const SWITCH_LIMIT: u32 = 10;

/// Catch up, drain, forget the source, semi-sync, open. `None`: it is the primary already.
///
/// A plan that ends with [`Action::Drain`] is the first part: what comes next depends on what is seen then; plan again.
///
/// A refusal means that this choice cannot be promoted any more: choose again.
pub fn promote(scene: &Scene<'_>, choice: &Choice) -> Result<Option<Plan>, Refusal> {
    let world = scene.world;
    let failed = scene.failed_record()?;
    let one = world.fresh(&choice.successor)?;
    let key = &one.key;
    nobody_else_writes(scene, one)?;
    let mut steps = close_failed(scene, failed);
    let mut warnings = choice.warnings.clone();
    let mut method = Method::InPlace;
    let required = required(scene, key)?;
    if one.facts.is_replica() {
        let (_, replica) = world.replica(key)?;
        movability::one_channel(one, replica)?;
        let mut at = State { now: running_threads(&one.facts), drained: received_is_applied(&one.facts) };
        let mut caught_up = false;
        if let Some(from) = &choice.catch_up_from
            && catch_up::is_needed(one, world.fresh(from)?)
        {
            method = catch_up::steps(scene, one, replica, world.fresh(from)?, &mut steps)?;
            warnings.push(format!("{from}: its receiver stays stopped until it has a new source"));
            (at, caught_up) = (State { now: Threads::BOTH, drained: true }, true);
        } else if !scene.force {
            holds_all(one, &required)?;
        }
        told_without_gtid(one, &mut warnings);
        let applied = stand_applied(scene, one, replica, &mut at, caught_up, &mut steps);
        let source = if applied && !caught_up && unfinished::may_remain(one, replica) {
            warnings.push(format!("{key}: its receiver stays stopped; the rest is planned when all is applied"));
            return Ok(Some(plan(scene, choice, one, method, steps, warnings)));
        } else if let Some(other) = unfinished::remedy(scene, one, at.now) {
            warnings.push(unfinished::told(one, other));
            unfinished::steps(one, replica, other, &mut steps);
            &other.key
        } else {
            choice.catch_up_from.as_ref().filter(|_| caught_up).unwrap_or(&replica.source)
        };
        if at.now.sql {
            let mut step = steps::stop(key, Threads::SQL, Threads::SQL);
            loosen(&mut step);
            steps.push(step.then(Condition::Stopped { threads: Threads::BOTH }));
        }
        if scene.policy.apply_promotion {
            steps.push(forget(one, source, &required));
        }
    }
    if scene.policy.apply_promotion {
        warnings.extend(semi_sync::steps(scene, choice, one, &mut steps));
        if one.facts.read_only {
            steps.push(open(scene, one, &required));
        }
    } else {
        warnings
            .push(format!("{key} stays read-only, its replication stopped (ApplyMySQLPromotionAfterMasterFailover)"));
    }
    if steps.is_empty() {
        return Ok(None);
    }
    Ok(Some(plan(scene, choice, one, method, steps, warnings)))
}

fn plan(
    scene: &Scene<'_>,
    choice: &Choice,
    one: &Instance,
    method: Method,
    steps: Vec<Step>,
    warnings: Vec<String>,
) -> Plan {
    let mut locks: Vec<InstanceKey> = steps.iter().map(|step| step.on.clone()).collect();
    locks.sort();
    locks.dedup();
    Plan {
        request: scene.request.clone(),
        method,
        because: choice.because.clone(),
        warnings,
        locks,
        head: steps,
        branches: Vec::new(),
        tail: Vec::new(),
        left_out: Vec::new(),
        answers_for: Some(one.key.clone()),
    }
}

/// How the successor stands when a step begins.
#[derive(Debug, Clone, Copy)]
struct State {
    now: Threads,
    drained: bool,
}

/// A primary that somebody made meanwhile takes the writes of the cluster: another would be a second one.
fn nobody_else_writes(scene: &Scene<'_>, one: &Instance) -> Result<(), Refusal> {
    let cluster = [&scene.failed_record()?.placement.cluster_name, &one.placement.cluster_name];
    let writes = |other: &&Instance| {
        other.key != one.key
            && other.key != *scene.failed
            && !other.facts.read_only
            && !other.facts.is_replica()
            && scene.world.fresh(&other.key).is_ok()
            && !other.placement.cluster_name.is_empty()
            && cluster.contains(&&other.placement.cluster_name)
    };
    let Some(other) = scene.world.instances.values().find(writes).filter(|_| !scene.force) else { return Ok(()) };
    Err(Refusal::new(
        Rule::WouldWriteTwice,
        &one.key,
        format!("{} is a primary of this cluster and takes writes", other.key),
        format!(
            "close it first (set-read-only -i {0}), or make it the primary of the others: regroup below {0}",
            other.key
        ),
    ))
}

/// Nobody reachable has received what the successor has not.
fn holds_all(one: &Instance, required: &Required) -> Result<(), Refusal> {
    let missing = required.missing_in(one);
    if missing.is_empty() {
        return Ok(());
    }
    let reason = format!("{} lacks what other replicas have received: {missing}", one.key);
    Err(Refusal::new(Rule::NotMostAdvanced, &one.key, reason, "choose again"))
}

/// Receiver stopped, everything received applied. Tells whether that was waited for.
fn stand_applied(
    scene: &Scene<'_>,
    one: &Instance,
    replica: &ReplicaFacts,
    at: &mut State,
    caught_up: bool,
    steps: &mut Vec<Step>,
) -> bool {
    let key = &one.key;
    let mut now = at.now;
    if !at.drained && replica.sql_delay > 0 && !caught_up {
        end_delay(one, &mut now, steps);
    }
    if now.io {
        now.io = false;
        steps.push(steps::stop(key, Threads::IO, Threads::BOTH).then(Condition::Stopped { threads: Threads::IO }));
        steps.last_mut().into_iter().for_each(loosen);
    }
    if !at.drained {
        if !now.sql {
            steps.push(applier_started(one, replica, now));
            now.sql = true;
        }
        let limit = scene.policy.drain_limit_seconds.max(1);
        let drain = Step::new(key, Action::Drain, limit).when(Condition::Stopped { threads: Threads::IO });
        steps.push(drain.then(Condition::Drained));
    }
    at.now = now;
    !at.drained
}

/// What the operator should know of a MariaDB replica whose relay logs were kept.
fn told_without_gtid(one: &Instance, warnings: &mut Vec<String>) {
    let gtid = one.facts.replica.as_ref().is_some_and(|replica| replica.using_mariadb_gtid);
    if gtid && running_threads(&one.facts) == Threads::NONE && !received_is_applied(&one.facts) {
        warnings.push(format!(
            "{} is turned to file and position: with GTID it would throw away relay logs that are not applied",
            one.key
        ));
    }
}

/// The applier goes on with the relay logs that are there: nobody may have what is in them.
fn applier_started(one: &Instance, replica: &ReplicaFacts, now: Threads) -> Step {
    let key = &one.key;
    if !replica.using_mariadb_gtid || now != Threads::NONE {
        return steps::started(key, Threads::SQL).when(steps::identity(one));
    }
    Step::new(key, Action::ResumeApplier, SWITCH_LIMIT)
        .when(steps::identity(one))
        .when(Condition::ReplicatesFrom { source: replica.source.clone() })
        .then(Condition::Replicating { threads: Threads::SQL })
}

/// Only what was stopped is looked at: the other thread may stop by itself meanwhile.
fn loosen(step: &mut Step) {
    step.after.retain(|condition| !matches!(condition, Condition::Threads { .. }));
}

/// While the receiver runs the delay can be changed without the loss of relay logs (MySQL).
fn end_delay(one: &Instance, now: &mut Threads, steps: &mut Vec<Step>) {
    let key = &one.key;
    if now.sql {
        let mut step = steps::stop(key, Threads::SQL, Threads::SQL);
        loosen(&mut step);
        steps.push(step.when(steps::identity(one)).then(Condition::Stopped { threads: Threads::SQL }));
    }
    if !now.io {
        steps.push(
            steps::start(key, Threads::IO).when(steps::identity(one)).then(Condition::Threads { running: Threads::IO }),
        );
    }
    steps.push(
        Step::new(key, Action::SetDelay { seconds: 0 }, SWITCH_LIMIT)
            .when(Condition::Threads { running: Threads::IO })
            .then(Condition::Delay { seconds: 0 }),
    );
    *now = Threads::IO;
}

/// It has all that anybody received, and applied it: its source and its relay logs are needed no more.
fn forget(one: &Instance, source: &InstanceKey, required: &Required) -> Step {
    let mut step = Step::new(&one.key, Action::ResetReplica, SWITCH_LIMIT)
        .when(steps::identity(one))
        .when(Condition::ReplicatesFrom { source: source.clone() })
        .when(Condition::Threads { running: Threads::NONE })
        .when(Condition::Drained);
    step.before.extend(required.condition());
    step.then(Condition::NoReplica)
}

fn open(scene: &Scene<'_>, one: &Instance, required: &Required) -> Step {
    let version = ServerVersion::parse(&one.facts.version, &one.facts.version_comment);
    let with_super =
        version.has_super_read_only() && (scene.world.policy.use_super_read_only || one.facts.super_read_only);
    let mut step = Step::new(&one.key, Action::SetReadOnly { read_only: false, with_super }, SWITCH_LIMIT)
        .when(steps::identity(one))
        .when(Condition::NoReplica)
        .when(Condition::ReadOnly { read_only: true });
    // A place in the log of the old source says nothing any more.
    step.before.extend(required.condition().filter(|condition| matches!(condition, Condition::HasExecuted { .. })));
    step.then(Condition::ReadOnly { read_only: false })
}

/// For catching up: the applier of the most advanced works.
fn draining(scene: &Scene<'_>, one: &Instance, steps: &mut Vec<Step>) {
    let (key, now) = (&one.key, running_threads(&one.facts));
    if received_is_applied(&one.facts) {
        return;
    }
    if let Some(replica) = one.facts.replica.as_ref().filter(|_| !now.sql) {
        steps.push(applier_started(one, replica, now).when(Condition::Threads { running: now }));
    }
    let limit = scene.policy.drain_limit_seconds.max(1);
    steps.push(Step::new(key, Action::Drain, limit).then(Condition::Drained));
}

/// The kind of GTID by which `one` can fetch from `from`.
fn fetches(one: &Instance, from: &Instance, scene: &Scene<'_>) -> Result<Method, Refusal> {
    let moving = movability::movable(&one.key, scene.world)?;
    gtid::usable(&moving, from)
}
