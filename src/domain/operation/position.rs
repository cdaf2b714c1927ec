//! Moves by file and position: servers are brought to one place, stand there, and that place is read from both logs.
//!
//! ```text
//!   move-up      M stops applying; I applies M's log to its end; what M has applied is I's place in G's log.
//!   move-below   S stops applying; I and S are brought to one place of M's log; the end of S's log is I's place in it.
//! ```
//! Only appliers are stopped: receivers go on, so that nothing received is lost with them. A replica that uses GTID is
//! moved by GTID instead: a position would turn GTID off behind the operator's back.

mod below;
mod equivalence;
mod resumed;
mod up;

use super::movability::Moving;
use super::{World, gtid, limit, steps};
use crate::instance::{Instance, InstanceKey};
use crate::plan::{Action, Condition, Plan, Position, Refusal, Request, Rule, Step, Threads, running_threads};

pub(super) use below::{below, below_siblings, sibling};
pub(super) use equivalence::{equivalent, equivalent_part};
pub(super) use resumed::{finished, leftovers, local_master_moved, moved_to, tells_how_far, there_already};
pub(super) use up::{middle, up, up_below, up_list, up_part, up_replicas};

/// By GTID, which the replica uses.
fn keeping_gtid(request: &Request, key: &InstanceKey, below: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let mut part = gtid::part(key, below, world)?;
    part.because = format!("{key} uses {}, which a move by file and position would turn off", part.method);
    Ok(steps::single(request, part))
}

/// The applier stands and the receiver runs. The statement to stop is given in any case: it is the proof.
fn applier_stopped(moving: &Moving<'_>) -> Vec<Step> {
    let key = &moving.instance.key;
    let now = running_threads(&moving.instance.facts);
    let mut steps = vec![steps::begins(steps::stop(key, Threads::SQL, now), moving)];
    if !now.io {
        steps.push(steps::started(key, Threads::IO));
    }
    steps
}

/// Runs the applier up to a place. Some servers notice that they are there only when the next event comes, which may be
/// never: it is stopped in any case.
fn run_until(key: &InstanceKey, position: Position, there: Condition) -> [Step; 2] {
    let run = Step::new(key, Action::RunUntil { position }, limit::RUN_UNTIL)
        .when(Condition::Threads { running: Threads::IO })
        .then(there);
    [run, steps::stop(key, Threads::SQL, Threads::BOTH)]
}

/// The rest of a move: the receiver stops, the source changes, both threads run.
fn leaves(
    moving: &Moving<'_>,
    to: &InstanceKey,
    position: Position,
    mut also: Vec<Condition>,
    world: &World<'_>,
) -> Vec<Step> {
    let key = &moving.instance.key;
    let mut before = vec![
        steps::identity(moving.instance),
        Condition::ReplicatesFrom { source: moving.replica.source.clone() },
        Condition::Threads { running: Threads::NONE },
    ];
    before.append(&mut also);
    let action = Action::ChangeSource { to: to.clone(), position, options: steps::options(moving.replica) };
    let mut change = Step::new(key, action, limit::CHANGE_SOURCE)
        .then(Condition::ReplicatesFrom { source: to.clone() })
        .then(Condition::Threads { running: Threads::NONE })
        .then(Condition::UsingGtid { using: false });
    change.before = before;
    let mut steps = vec![steps::stop(key, Threads::IO, Threads::IO), change];
    steps.extend(steps::start_again(key, to, Threads::NONE, world.wanted_threads(key), true));
    steps
}

/// `still` stops applying before all branches, and goes on after them.
fn around(plan: &mut Plan, still: &Moving<'_>, world: &World<'_>) {
    let key = &still.instance.key;
    let now = running_threads(&still.instance.facts);
    plan.locks.push(key.clone());
    plan.head.push(steps::begins(steps::stop(key, Threads::SQL, now), still));
    if world.wanted_threads(key).sql {
        plan.tail.push(steps::start_below(key, &still.replica.source, Threads::SQL));
    }
    plan.locks.sort();
    plan.locks.dedup();
}

/// Its order of applying is that of its source, so that one place tells all it has.
fn keeps_order(still: &Moving<'_>) -> Result<(), Refusal> {
    if still.replica.applies_out_of_order != Some(true) {
        return Ok(());
    }
    let key = &still.instance.key;
    Err(Refusal::new(
        Rule::ParallelApplier,
        key,
        format!("{key} has several applier threads that do not keep the commit order"),
        "turn on replica_preserve_commit_order there, or use GTID: enable-gtid",
    ))
}

fn logs_what_it_applies(still: &Instance, own: &InstanceKey) -> Result<(), Refusal> {
    if still.facts.log_bin && still.facts.log_replica_updates {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::DoesNotRelay,
        own,
        format!("{} does not log what it applies: its log names no place of its source's", still.key),
        "restart it with log_replica_updates (log_slave_updates)",
    ))
}

fn writable_warning(still: &Instance) -> Option<String> {
    (!still.facts.read_only).then(|| {
        format!("{} accepts writes: what is written there directly while it stands still is not counted", still.key)
    })
}
