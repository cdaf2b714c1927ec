//! The successor first fetches what it lacks from the survivor that has received most.

use super::{draining, fetches};
use crate::gtid::GtidSet;
use crate::gtid::mariadb::GtidPosition;
use crate::instance::{Instance, InstanceKey, ReplicaFacts};
use crate::operation::gtid::reach;
use crate::operation::{compatibility, steps};
use crate::plan::{Action, Condition, Method, Position, Refusal, Step, Threads, running_threads};
use crate::recovery::scene::Scene;

/// Seconds for a change of source.
const CHANGE_LIMIT: u32 = 10;

/// The other has received what this one has not applied yet.
pub(super) fn is_needed(one: &Instance, from: &Instance) -> bool {
    let executed = if one.facts.server_uuid.is_empty() {
        let read = |text: &str| GtidPosition::parse(text).unwrap_or_default();
        let gtid = &one.facts.gtid;
        GtidSet::from(read(&gtid.mariadb_slave_pos).union(&read(&gtid.mariadb_current_pos)))
    } else {
        GtidSet::parse(&one.facts.gtid.executed).unwrap_or_default()
    };
    !executed.contains(&reach(from).unwrap_or_default())
}

/// ```text
///   the other applies all it has; this one goes below it, and runs until it has all of it
/// ```
/// Relay logs of this one may go: the other has all that is in them.
pub(super) fn steps(
    scene: &Scene<'_>,
    one: &Instance,
    replica: &ReplicaFacts,
    from: &Instance,
    steps: &mut Vec<Step>,
) -> Result<Method, Refusal> {
    let (key, other) = (&one.key, &from.key);
    let method = fetches(one, from, scene)?;
    draining(scene, from, steps);
    let now = running_threads(&one.facts);
    if replica.source == *other {
        let mut now = now;
        if replica.sql_delay > 0 {
            if now != Threads::NONE {
                steps.push(steps::stop(key, now, now).when(steps::identity(one)));
            }
            // Nothing of its relay logs is needed: the other has it.
            let received = Condition::ReceivedIsIn { other: other.clone() };
            steps.push(undelayed(key).when(Condition::Threads { running: Threads::NONE }).when(received));
            now = Threads::NONE;
        }
        let missing = Threads::BOTH.without(now);
        if missing != Threads::NONE {
            steps.push(steps::start_below(key, other, missing).when(steps::identity(one)));
        }
    } else {
        compatibility::can_replicate_by_gtid(one, from, scene.world.policy)?;
        // An applier that goes on gives up what the dead primary had sent in part: told to stop it would wait for the rest.
        let goes_on = method == Method::Gtid && replica.auto_position && now.sql && replica.sql_delay == 0;
        let kept = if goes_on { Threads::SQL } else { Threads::NONE };
        let stopping = now.without(kept);
        if stopping != Threads::NONE {
            steps.push(steps::stop(key, stopping, now).when(steps::identity(one)));
        }
        steps.push(below(one, replica, from, method, kept));
        if replica.sql_delay > 0 {
            steps.push(undelayed(key));
        }
        steps.extend(steps::start_again(key, other, kept, Threads::BOTH, true));
    }
    let wait = Step::new(key, Action::Drain, scene.policy.catch_up_limit_seconds.max(1));
    steps.push(wait.then(Condition::Drained).then(Condition::HasAllOf { other: other.clone() }));
    // People had stopped its applier: so it is left.
    let (ran, runs) = (scene.world.wanted_threads(other).sql, running_threads(&from.facts).sql);
    let started = steps.iter().any(|step| step.on == *other && matches!(step.action, Action::Start { .. }));
    if !ran && (runs || started) {
        let stop = Step::new(other, Action::Stop { threads: Threads::SQL }, crate::operation::limit::STOP_APPLIER);
        steps.push(stop.then(Condition::Stopped { threads: Threads::SQL }));
    }
    Ok(method)
}

fn undelayed(key: &InstanceKey) -> Step {
    Step::new(key, Action::SetDelay { seconds: 0 }, CHANGE_LIMIT).then(Condition::Delay { seconds: 0 })
}

fn below(one: &Instance, replica: &ReplicaFacts, from: &Instance, method: Method, kept: Threads) -> Step {
    let (key, to) = (&one.key, from.key.clone());
    let position = if method == Method::Gtid { Position::Auto } else { Position::MariadbSlavePos };
    let action = Action::ChangeSource { to: to.clone(), position, options: steps::options(replica) };
    let mut step = Step::new(key, action, CHANGE_LIMIT)
        .when(steps::identity(one))
        .when(Condition::ReplicatesFrom { source: replica.source.clone() })
        .when(Condition::Threads { running: kept })
        .when(Condition::ReceivedIsIn { other: to.clone() });
    if method == Method::Gtid {
        step = step.when(Condition::PurgedByIsHere { other: to.clone() });
    } else {
        // A MariaDB replica that asks for what its source does not have is turned away.
        step = step.when(Condition::ExecutedIsIn { other: to.clone() });
    }
    step.then(Condition::ReplicatesFrom { source: to }).then(Condition::Threads { running: kept })
}
