//! The first phase: nobody writes to the old primary any more, and nobody receives from it.
//!
//! Only receivers are stopped: relay logs stay, appliers go on. A survivor whose receiver has been seen stopped gets no more,
//! so that who is most advanced can be told.

use std::cmp::Ordering;

use super::scene::Scene;
use crate::instance::{Instance, InstanceKey, ThreadState};
use crate::operation::{movability, steps};
use crate::plan::{
    Action, Branch, Condition, Method, Plan, Refusal, Rule, SemiSyncSide, Step, Threads, received_is_applied,
    running_threads,
};
use crate::version::ServerVersion;

/// Seconds that switching something may take.
const SWITCH_LIMIT: u32 = 10;

/// The old primary closed where it answers, the receivers of all reachable survivors stopped. `None`: all is so already.
/// Survivors that cannot be asked are in `left_out`.
pub fn fence(scene: &Scene<'_>) -> Result<Option<Plan>, Refusal> {
    let failed = scene.failed_record()?;
    let (mut branches, mut warnings, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let closing = close_failed(scene, failed);
    if !closing.is_empty() {
        warnings.push(format!("{} answers: it is closed to writers", failed.key));
        branches.push(branch(&failed.key, closing));
    }
    let replicas = scene.replicas();
    let survivors = replicas.iter().filter(|one| one.facts.source() == Some(scene.failed));
    for one in survivors {
        match stopping(scene, one) {
            Ok(steps) if steps.is_empty() => {}
            Ok(steps) => {
                warnings.push(format!("the receiver of {} stays stopped until it has a new source", one.key));
                branches.push(branch(&one.key, steps));
            }
            Err(refusal) => left_out.push(refusal),
        }
    }
    let because = format!("nothing more comes from {}: what its replicas have can be compared", failed.key);
    Ok(plan_of(scene, branches, because).map(|plan| Plan { warnings, left_out, ..plan }))
}

/// The first part alone: the old primary closed where it answers, so that its replicas can receive the last that it
/// acknowledged before they are stopped. `None`: it does not answer, or is closed.
pub fn close(scene: &Scene<'_>) -> Result<Option<Plan>, Refusal> {
    let failed = scene.failed_record()?;
    let closing = close_failed(scene, failed);
    if closing.is_empty() {
        return Ok(None);
    }
    let because = format!("{} answers: nobody writes to it any more", failed.key);
    Ok(plan_of(scene, vec![branch(&failed.key, closing)], because))
}

/// Replicas that hear the closed old primary and have not received all of its binary log yet.
pub fn still_receiving(scene: &Scene<'_>) -> Vec<InstanceKey> {
    let Ok(failed) = scene.world.fresh(scene.failed) else { return Vec::new() };
    if !failed.facts.read_only {
        return Vec::new();
    }
    let is_behind = |one: &&Instance| {
        let place = one.facts.replica.as_ref().map(|replica| replica.read.compare_in_log(&failed.facts.binlog));
        scene.world.fresh(&one.key).is_ok()
            && one.facts.source() == Some(scene.failed)
            && one.facts.threads().0 == ThreadState::Running
            && place == Some(Some(Ordering::Less))
    };
    scene.replicas().into_iter().filter(is_behind).map(|one| one.key.clone()).collect()
}

/// `None`: nothing is to be done.
fn plan_of(scene: &Scene<'_>, branches: Vec<Branch>, because: String) -> Option<Plan> {
    let mut locks: Vec<InstanceKey> = branches.iter().map(|branch| branch.instance.clone()).collect();
    locks.sort();
    let plan = Plan {
        request: scene.request.clone(),
        method: Method::InPlace,
        because,
        warnings: Vec::new(),
        locks,
        head: Vec::new(),
        branches,
        tail: Vec::new(),
        left_out: Vec::new(),
        answers_for: None,
    };
    (!plan.branches.is_empty()).then_some(plan)
}

fn branch(key: &InstanceKey, steps: Vec<Step>) -> Branch {
    Branch { instance: key.clone(), new_source: None, locks: Vec::new(), steps, restore: Vec::new() }
}

/// Nobody writes to the failed server any more, if it answers. Semi-sync ends afterwards, never before: a commit that waits
/// for its acknowledgement would be acknowledged by nobody.
pub(super) fn close_failed(scene: &Scene<'_>, failed: &Instance) -> Vec<Step> {
    if !scene.failed_answers() {
        return Vec::new();
    }
    let (key, facts) = (&failed.key, &failed.facts);
    let with_super = ServerVersion::parse(&facts.version, &facts.version_comment).has_super_read_only();
    let mut steps = Vec::new();
    if !facts.read_only || (with_super && !facts.super_read_only) {
        steps.push(
            Step::new(key, Action::Seal, SWITCH_LIMIT)
                .when(steps::identity(failed))
                .then(Condition::ReadOnly { read_only: true })
                .then(Condition::Closed),
        );
    }
    if facts.semi_sync.source_enabled {
        let side = SemiSyncSide::Source;
        steps.push(
            Step::new(key, Action::SetSemiSync { side, enabled: false }, SWITCH_LIMIT)
                .when(steps::identity(failed))
                .when(Condition::ReadOnly { read_only: true })
                .then(Condition::SemiSync { side, enabled: false }),
        );
    }
    steps
}

/// Empty: its receiver does not run.
///
/// A MariaDB replica that uses GTIDs throws its relay logs away when a thread starts while none runs. What is in them and
/// not applied would be lost with the start of the applier later: it starts before the receiver stops.
fn stopping(scene: &Scene<'_>, one: &Instance) -> Result<Vec<Step>, Refusal> {
    let key = &one.key;
    let (_, replica) = scene.world.replica(key)?;
    // Which of several channels would be stopped?
    movability::one_channel(one, replica)?;
    if one.facts.is_binlog_server() {
        let reason = format!("{key} is a binlog server");
        return Err(Refusal::new(Rule::NotBuilt, key, reason, "move it by hand"));
    }
    let running = running_threads(&one.facts);
    if !running.io {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    // An applier that an error has stopped would only stop again.
    let idle = !running.sql && !received_is_applied(&one.facts) && replica.last_sql_error.is_empty();
    if replica.using_mariadb_gtid && idle {
        steps.push(steps::started(key, Threads::SQL).when(steps::identity(one)));
    }
    let step = Step::new(key, Action::Stop { threads: Threads::IO }, scene.policy.fence_limit_seconds.max(1))
        .when(steps::identity(one))
        .when(Condition::ReplicatesFrom { source: scene.failed.clone() })
        .then(Condition::Stopped { threads: Threads::IO });
    steps.push(step);
    Ok(steps)
}
