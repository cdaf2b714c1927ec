//! Rules about order: what must have happened to a server before the next step may.

use std::collections::BTreeMap;

use crate::instance::InstanceKey;
use crate::plan::{Action, Condition, Method, Plan, Position, Request, Step, Threads};

/// What the steps so far prove about a server, whatever state it was in.
#[derive(Debug, Clone, Copy, Default)]
struct Known<'a> {
    /// Threads that are stopped.
    stopped: Threads,
    /// The receiver is started.
    receiving: bool,
    /// Nothing is lost when the relay logs go.
    safe: bool,
    /// Nothing is lost when they go and this server becomes the source.
    safe_in: Option<&'a InstanceKey>,
    /// It is the server that was planned for.
    identified: bool,
}

type Servers<'a> = BTreeMap<&'a InstanceKey, Known<'a>>;

impl<'a> Known<'a> {
    /// Takes in conditions that were found to hold. What threads do comes first: only while no more is received does
    /// "all is applied" stay true.
    fn take_in(&mut self, conditions: &'a [Condition]) {
        for condition in conditions {
            match condition {
                Condition::Threads { running } => {
                    self.stopped = Threads::BOTH.without(*running);
                    self.receiving = running.io;
                    if running.io {
                        (self.safe, self.safe_in) = (false, None);
                    }
                }
                Condition::Stopped { threads } => {
                    self.stopped = self.stopped.or(*threads);
                    self.receiving &= !threads.io;
                }
                Condition::NoReplica => self.stopped = Threads::BOTH,
                Condition::Server { .. } => self.identified = true,
                _ => {}
            }
        }
        for condition in conditions.iter().filter(|_| self.stopped.io) {
            match condition {
                // Stopped at a place that another server's log names: what comes after it is fetched again from there.
                Condition::Drained
                | Condition::NoReplica
                | Condition::AppliedToEndOf { .. }
                | Condition::AppliedLike { .. }
                | Condition::AppliedTo { .. } => self.safe = true,
                Condition::ReceivedIsIn { other } => self.safe_in = Some(other),
                _ => {}
            }
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Stop { threads } => {
                self.stopped = self.stopped.or(*threads);
                self.receiving &= !threads.io;
            }
            Action::Start { threads } => {
                self.receiving |= threads.io;
                self.stopped = self.stopped.without(*threads);
                if threads.io {
                    (self.safe, self.safe_in) = (false, None);
                }
            }
            Action::RestartReceiver { .. } => {
                self.receiving = true;
                self.stopped.io = false;
                (self.safe, self.safe_in) = (false, None);
            }
            Action::ResumeApplier => self.stopped = self.stopped.without(Threads::SQL),
            Action::Drain => self.safe = self.stopped.io,
            Action::RunUntil { .. } => self.stopped.sql = true,
            // Nothing is left that could be lost.
            Action::ChangeSource { .. } | Action::RenameSource { .. } | Action::ResetReplica => self.safe = true,
            _ => {}
        }
    }
}

/// Walks every lane; `judge` sees each step with what is known right before it (its own `before` included).
fn walk<'p>(plan: &'p Plan, mut judge: impl FnMut(&'p Step, &Servers<'p>)) {
    for lane in lanes(plan) {
        let mut servers = Servers::new();
        for step in lane {
            servers.entry(&step.on).or_default().take_in(&step.before);
            judge(step, &servers);
            let known = servers.entry(&step.on).or_default();
            known.act(&step.action);
            known.take_in(&step.after);
        }
    }
}

fn lanes(plan: &Plan) -> Vec<Vec<&Step>> {
    let mut all: Vec<Vec<&Step>> =
        plan.branches.iter().map(|branch| plan.head.iter().chain(&branch.steps).chain(&plan.tail).collect()).collect();
    if all.is_empty() {
        all.push(plan.head.iter().chain(&plan.tail).collect());
    }
    all
}

/// The receiver stopped, the applier too where the server wants it, and nothing received can be lost: before every change of
/// source.
pub(super) fn sources_change_safely(plan: &Plan) -> Vec<String> {
    let mut flaws = Vec::new();
    walk(plan, |step, servers| {
        let known = servers.get(&step.on).copied().unwrap_or_default();
        let (lossless, position) = match &step.action {
            Action::ChangeSource { to, position, .. } => (known.safe || known.safe_in == Some(to), Some(position)),
            Action::RenameSource { position, .. } => (known.safe || known.safe_in.is_some(), Some(position)),
            Action::ResetReplica => (known.safe || known.safe_in.is_some(), None),
            Action::SetDelay { .. } => {
                if !known.stopped.sql {
                    flaws.push(format!("the applier may be running: {step}"));
                }
                // Options changed while both threads are stopped: relay logs go, as with a change of source.
                if !known.receiving && !known.safe && known.safe_in.is_none() {
                    flaws.push(format!("received transactions may be discarded: {step}"));
                }
                return;
            }
            _ => return,
        };
        // With auto-position on already (and the server refuses otherwise) a running applier keeps its relay logs.
        let appliers_too = !matches!(step.action, Action::ChangeSource { position: Position::Auto, .. });
        if !known.stopped.io || (appliers_too && !known.stopped.sql) {
            flaws.push(format!("threads may be running: {step}"));
        }
        // The position applied, stated explicitly, has everything after it sent again.
        let resent = matches!(position, Some(Position::ExecutedBy(key)) if *key == step.on);
        if !lossless && !resent {
            flaws.push(format!("received transactions may be discarded: {step}"));
        }
        if let Action::ChangeSource { to, position: Position::Auto, .. } = &step.action
            && plan.method != Method::Repoint
            && !step.before.contains(&Condition::PurgedByIsHere { other: to.clone() })
        {
            flaws.push(format!("{to} may have purged what {} lacks: {step}", step.on));
        }
    });
    flaws
}

/// A position read from another server names a place only while that server stands still.
pub(super) fn positions_stand_still(plan: &Plan) -> Vec<String> {
    // Whatever the primary writes while its co-primary's log is looked at is its own, and skipped by it.
    if matches!(plan.request, Request::MakeCoMaster { .. }) {
        return Vec::new();
    }
    let mut flaws = Vec::new();
    walk(plan, |step, servers| {
        let (Action::RunUntil { position } | Action::ChangeSource { position, .. }) = &step.action else { return };
        let (Position::ExecutedBy(key) | Position::EndOf(key)) = position else { return };
        let still = servers.get(key).is_some_and(|known| known.stopped.sql)
            || step.before.contains(&Condition::StandsStill { other: key.clone() });
        if !still {
            flaws.push(format!("{key} may move on while its position is read: {step}"));
        }
    });
    flaws
}

/// Threads stopped are started again, unless stopping is what was asked for, or they did not run, or a warning says so.
pub(super) fn stopped_threads_start_again(plan: &Plan) -> Vec<String> {
    let asked = match &plan.request {
        Request::StopReplica { instance }
        | Request::StopReplicaNice { instance }
        | Request::StopReplicaIo { instance }
        | Request::StopReplicaSql { instance }
        | Request::ResetReplica { instance } => Some(instance),
        _ => None,
    };
    let mut flaws = Vec::new();
    for lane in lanes(plan) {
        for (key, threads) in left_stopped(&lane) {
            let told = plan.warnings.iter().any(|text| text.contains(&key.to_string()) && text.contains("stopped"));
            if threads != Threads::NONE && asked != Some(key) && !told {
                flaws.push(format!("{key}: {threads} would stay stopped"));
            }
        }
    }
    flaws
}

/// Threads that a lane stops and does not start again, less those that were seen not to run before.
fn left_stopped<'a>(lane: &[&'a Step]) -> BTreeMap<&'a InstanceKey, Threads> {
    let mut stopped: BTreeMap<&InstanceKey, Threads> = BTreeMap::new();
    let mut ran: BTreeMap<&InstanceKey, Threads> = BTreeMap::new();
    for step in lane {
        if !ran.contains_key(&step.on) {
            let before = step.before.iter().find_map(|condition| match condition {
                Condition::Threads { running } => Some(*running),
                Condition::NoReplica => Some(Threads::NONE),
                _ => None,
            });
            ran.insert(&step.on, before.unwrap_or(Threads::BOTH));
        }
        let (ran, now) = (ran[&step.on], stopped.entry(&step.on).or_insert(Threads::NONE));
        match step.action {
            Action::Stop { threads } => *now = now.or(threads.and(ran)),
            Action::RunUntil { .. } => now.sql |= ran.sql,
            Action::Start { threads } => *now = now.without(threads),
            Action::ResumeApplier => now.sql = false,
            Action::ResetReplica => *now = Threads::NONE,
            _ => {}
        }
    }
    stopped
}

/// A name may lead elsewhere by now: what cannot be undone is done only to the server that was planned for.
pub(super) fn changed_servers_are_identified(plan: &Plan) -> Vec<String> {
    let mut flaws = Vec::new();
    walk(plan, |step, servers| {
        let lasting = match &step.action {
            Action::ChangeSource { .. }
            | Action::RenameSource { .. }
            | Action::ResetReplica
            | Action::ResumeApplier
            | Action::CopyCredentials { .. }
            | Action::SetReadOnly { .. }
            | Action::Close
            | Action::Seal
            | Action::InjectEmpty { .. }
            | Action::SkipOne
            | Action::ResetBinaryLogs { .. }
            | Action::PurgeBinaryLogs { .. } => true,
            Action::Stop { .. }
            | Action::Start { .. }
            | Action::RestartReceiver { .. }
            | Action::Drain
            | Action::RunUntil { .. }
            | Action::SetSemiSync { .. }
            | Action::SetDelay { .. }
            | Action::FlushBinaryLogs { .. }
            | Action::KillQuery { .. } => false,
        };
        if lasting && !servers.get(&step.on).is_some_and(|known| known.identified) {
            flaws.push(format!("it is not made sure that {} is the server planned for: {step}", step.on));
        }
    });
    flaws
}

/// Whoever takes over in a recovery receives nothing more when it is opened, has applied all it received before it forgot where
/// from, and was seen to hold what others have received.
pub(super) fn successors_hold_everything(plan: &Plan) -> Vec<String> {
    let Request::Recover { failed, .. } = &plan.request else { return Vec::new() };
    let opens = |step: &&Step| matches!(step.action, Action::SetReadOnly { read_only: false, .. });
    let Some(opened) = plan.steps().find(opens).map(|step| &step.on).filter(|key| *key != failed) else {
        return Vec::new();
    };
    let mut flaws = Vec::new();
    if plan.answers_for.as_ref() != Some(opened) {
        flaws.push(format!("{opened} is opened for writes, and is not who the plan makes the primary"));
    }
    let forgets = |step: &Step| step.on == *opened && step.action == Action::ResetReplica;
    let compares = |step: &Step| {
        step.on == *opened
            && step.before.iter().any(|condition| {
                matches!(
                    condition,
                    Condition::HasExecuted { .. } | Condition::AppliedTo { .. } | Condition::HasAllOf { .. }
                )
            })
    };
    if plan.steps().any(forgets) && !plan.steps().any(compares) {
        flaws.push(format!("nobody looks whether {opened} has what others have received"));
    }
    let mut opened_already = false;
    walk(plan, |step, servers| {
        let known = servers.get(&step.on).copied().unwrap_or_default();
        if step.on != *opened {
            return;
        }
        match &step.action {
            // Whose relay logs nobody has is told by another rule.
            Action::ResetReplica if !known.safe && known.safe_in.is_some() => {
                flaws.push(format!("what {opened} received may not be applied: {step}"));
            }
            Action::SetReadOnly { read_only: false, .. } => {
                opened_already = true;
                if !known.stopped.io {
                    flaws.push(format!("the receiver may be running: {step}"));
                }
            }
            Action::Start { .. }
            | Action::RestartReceiver { .. }
            | Action::ResumeApplier
            | Action::ChangeSource { .. }
                if opened_already =>
            {
                flaws.push(format!("{opened} would replicate after it was opened: {step}"));
            }
            _ => {}
        }
    });
    flaws
}
