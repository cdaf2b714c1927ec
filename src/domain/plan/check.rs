//! Is this plan sane? The last look before servers are touched, independent of the planner that made the plan.
//!
//! Every row of [`RULES`] is a safety invariant, told about plans. A flaw is a bug of ours: the plan is refused, and
//! nothing has happened yet.
//!
//! What order means here: branches run side by side, so what one branch does proves nothing for another. Rules about
//! order therefore look at *lanes*: the head, then one branch, then the tail.

mod lane;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Action, Branch, Condition, Plan, Request, SourceOptions, Step, Threads};
use crate::gtid::mysql;
use crate::instance::InstanceKey;

/// The longest that one way through a plan may take, limits added up. A day: replicas delayed for longer than that do not
/// get drained by anyone who waits for an answer.
const MAX_PLAN_SECONDS: u64 = 86_400;

/// The longest limit of a step that only sends statements and looks. Waiting steps may take longer.
const MAX_STATEMENT_SECONDS: u32 = 120;

/// Empty transactions that one step commits at most: each is a transaction of its own on the primary and on every replica.
pub const MAX_EMPTY_TRANSACTIONS: usize = 10_000;

/// Binary logs begun by one step at most. More of them at once is a slip of the finger in a file name.
pub const MAX_FLUSHES: u32 = 1_000;

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw(pub String);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One invariant: everything that breaks it.
type Rule = fn(&Plan) -> Vec<String>;

const RULES: &[Rule] = &[
    locks_are_in_order,
    servers_changed_are_locked,
    branches_are_apart,
    lane::sources_change_safely,
    lane::positions_stand_still,
    lane::stopped_threads_start_again,
    lane::changed_servers_are_identified,
    no_loop_is_formed,
    branches_do_what_they_say,
    options_agree,
    failures_are_restored,
    restoring_only_starts,
    one_server_is_opened_for_writes,
    lane::successors_hold_everything,
    binary_logs_are_reset_with_care,
    effects_are_verified,
    limits_are_bounded,
    arguments_are_sane,
];

/// Refuses plans that could lose data, form a loop, open a second writable primary, leave replication stopped, act on
/// servers not locked, or take for ever.
pub fn check(plan: &Plan) -> Result<(), Vec<Flaw>> {
    let flaws: BTreeSet<Flaw> = RULES.iter().flat_map(|rule| rule(plan)).map(Flaw).collect();
    if flaws.is_empty() { Ok(()) } else { Err(flaws.into_iter().collect()) }
}

/// Sorted, each once (an order common to all plans cannot deadlock), and no server under two locks of one plan.
fn locks_are_in_order(plan: &Plan) -> Vec<String> {
    let lists = std::iter::once(&plan.locks).chain(plan.branches.iter().map(|branch| &branch.locks));
    let mut flaws = Vec::new();
    let mut seen = BTreeSet::new();
    for list in lists {
        if !list.is_sorted_by(|a, b| a < b) {
            flaws.push("a list of locks is not sorted, or names a server twice".to_owned());
        }
        for key in list {
            if !seen.insert(key) {
                flaws.push(format!("{key} is locked twice"));
            }
        }
    }
    flaws
}

fn servers_changed_are_locked(plan: &Plan) -> Vec<String> {
    let unlocked = |steps: &[Step], also: &[InstanceKey]| -> Vec<String> {
        let free = steps.iter().filter(|step| !plan.locks.contains(&step.on) && !also.contains(&step.on));
        free.map(|step| format!("{} is changed without a lock", step.on)).collect()
    };
    let mut flaws = unlocked(&plan.head, &[]);
    for branch in &plan.branches {
        flaws.extend(unlocked(&branch.steps, &branch.locks));
        flaws.extend(unlocked(&branch.restore, &branch.locks));
    }
    flaws.extend(unlocked(&plan.tail, &[]));
    flaws
}

/// Branches run side by side: no server may be changed by two of them.
fn branches_are_apart(plan: &Plan) -> Vec<String> {
    let mut owner: BTreeMap<&InstanceKey, usize> = BTreeMap::new();
    let mut flaws = Vec::new();
    for (number, branch) in plan.branches.iter().enumerate() {
        for step in branch.steps.iter().chain(&branch.restore) {
            if *owner.entry(&step.on).or_insert(number) != number {
                flaws.push(format!("{} is changed by two branches", step.on));
            }
        }
    }
    flaws
}

/// Follows who would replicate from whom, in the order of printing, as far as the plan itself tells.
fn no_loop_is_formed(plan: &Plan) -> Vec<String> {
    let mut source_of: BTreeMap<&InstanceKey, &InstanceKey> = BTreeMap::new();
    // Two that replicate from each other are what was asked for.
    let pair_allowed = matches!(plan.request, Request::MakeCoMaster { .. });
    let mut flaws = Vec::new();
    for step in plan.steps() {
        for condition in &step.before {
            if let Condition::ReplicatesFrom { source } = condition {
                source_of.insert(&step.on, source);
            }
        }
        if matches!(step.action, Action::ResetReplica) {
            source_of.remove(&step.on);
        }
        let Action::ChangeSource { to, .. } = &step.action else { continue };
        if *to == step.on {
            flaws.push(format!("{to} would replicate from itself"));
            continue;
        }
        source_of.insert(&step.on, to);
        let ring = ring_length(&source_of, &step.on);
        if ring > 0 && !(pair_allowed && ring == 2) {
            flaws.push(format!("{} would replicate from {to}, which is below it: a loop", step.on));
        }
    }
    flaws
}

/// How many servers are in the ring that `start` is in; 0: it is in none.
fn ring_length(source_of: &BTreeMap<&InstanceKey, &InstanceKey>, start: &InstanceKey) -> usize {
    let mut at = start;
    for length in 1..=source_of.len() {
        match source_of.get(at) {
            Some(next) if *next == start => return length,
            Some(next) => at = next,
            None => return 0,
        }
    }
    0
}

/// A branch that announces a new source for its instance leads there.
fn branches_do_what_they_say(plan: &Plan) -> Vec<String> {
    let mut flaws = Vec::new();
    for branch in &plan.branches {
        let last =
            branch.steps.iter().rev().filter(|step| step.on == branch.instance).find_map(|step| match &step.action {
                Action::ChangeSource { to, .. } => Some(to),
                _ => None,
            });
        if let (Some(announced), Some(real)) = (&branch.new_source, last)
            && announced != real
        {
            flaws.push(format!("{} is announced below {announced} and would be below {real}", branch.instance));
        }
        if branch.new_source.is_none() && last.is_some() {
            flaws.push(format!("{} changes its source and its branch does not say so", branch.instance));
        }
    }
    flaws
}

/// Options are stated again at every change of source; two changes of one server state the same, or one loses some.
fn options_agree(plan: &Plan) -> Vec<String> {
    let mut stated: BTreeMap<&InstanceKey, &SourceOptions> = BTreeMap::new();
    let mut flaws = Vec::new();
    for step in plan.steps() {
        let (Action::ChangeSource { options, .. } | Action::RenameSource { options, .. }) = &step.action else {
            continue;
        };
        if *stated.entry(&step.on).or_insert(options) != options {
            flaws.push(format!("two changes of the source of {} state different options", step.on));
        }
    }
    flaws
}

/// A branch that stops threads and means to start them again starts them when it fails in between, too: but for receivers
/// of a failed source, which nobody is to hear again.
fn failures_are_restored(plan: &Plan) -> Vec<String> {
    let mut flaws = Vec::new();
    let fenced = if matches!(plan.request, Request::Recover { .. }) { Threads::IO } else { Threads::NONE };
    for branch in &plan.branches {
        for server in branch.steps.iter().map(|step| &step.on).collect::<BTreeSet<_>>() {
            let promised = stopped_then_started(branch, server);
            let restored = started(branch.restore.iter().filter(|step| step.on == *server));
            if promised.without(restored).without(fenced) != Threads::NONE {
                flaws.push(format!("{server}: {promised} would stay stopped when a step fails"));
            }
        }
    }
    flaws
}

fn stopped_then_started(branch: &Branch, server: &InstanceKey) -> Threads {
    let (mut stopped, mut both) = (Threads::NONE, Threads::NONE);
    for step in branch.steps.iter().filter(|step| step.on == *server) {
        match step.action {
            Action::Stop { threads } => stopped = stopped.or(threads),
            Action::Start { threads } => both = both.or(threads.and(stopped)),
            _ => {}
        }
    }
    both
}

fn started<'a>(steps: impl Iterator<Item = &'a Step>) -> Threads {
    steps.fold(Threads::NONE, |all, step| match step.action {
        Action::Start { threads } => all.or(threads),
        _ => all,
    })
}

/// Restoring is best effort, each step tried whatever became of the others: nothing there may depend on an order.
fn restoring_only_starts(plan: &Plan) -> Vec<String> {
    let restoring = plan.branches.iter().flat_map(|branch| &branch.restore);
    let other = restoring.filter(|step| !matches!(step.action, Action::Start { .. }));
    other.map(|step| format!("restoring does more than start threads: {step}")).collect()
}

/// Opening a server for writes is a plan of its own (or the end of a promotion), for the server that was named.
fn one_server_is_opened_for_writes(plan: &Plan) -> Vec<String> {
    let opens = |step: &&Step| matches!(step.action, Action::SetReadOnly { read_only: false, .. });
    let opened: Vec<&Step> = plan.steps().filter(opens).collect();
    let Some(first) = opened.first() else { return Vec::new() };
    let mut flaws = Vec::new();
    if opened.len() > 1 {
        flaws.push(format!("writes are allowed more than once: {first} is not the only one"));
    }
    let alone = |step: &Step| {
        step.on == first.on && matches!(step.action, Action::SetReadOnly { .. } | Action::SetSemiSync { .. })
    };
    let allowed = match &plan.request {
        Request::SetWriteable { instance } => *instance == first.on && plan.steps().all(alone),
        Request::MakeMaster { instance } => *instance == first.on,
        // Which one is the recovery's to say; how, is not.
        Request::Recover { failed, .. } => {
            flaws.extend(opened_by_a_recovery(plan, first, failed));
            true
        }
        _ => false,
    };
    if !allowed {
        flaws.push(format!("{} is opened for writes by a plan that is about something else", first.on));
    }
    flaws
}

/// A server that takes over applies nothing more, and whatever the same plan closed is closed when it opens; the server
/// that the recovery is about is opened (again) for itself.
fn opened_by_a_recovery(plan: &Plan, opening: &Step, failed: &InstanceKey) -> Vec<String> {
    let mut flaws = Vec::new();
    let stands = opening
        .before
        .iter()
        .any(|condition| matches!(condition, Condition::Threads { running: Threads::NONE } | Condition::NoReplica));
    if opening.on != *failed && !stands {
        flaws.push(format!("{} may still apply what it received when it is opened for writes", opening.on));
    }
    for closed in plan.steps().filter(|step| step.action == Action::Close && step.on != opening.on) {
        if !opening.before.contains(&Condition::ClosedThere { other: closed.on.clone() }) {
            flaws.push(format!("{} may take writes when {} does", closed.on, opening.on));
        }
    }
    flaws
}

/// Removing all binary logs breaks every replica; what was executed is lost if nobody sees to it that it is declared again.
fn binary_logs_are_reset_with_care(plan: &Plan) -> Vec<String> {
    let mut flaws = Vec::new();
    for step in plan.steps() {
        let Action::ResetBinaryLogs { errant } = &step.action else { continue };
        if !step.before.contains(&Condition::NoReplicas) {
            flaws.push(format!("{} loses its binary logs and may have replicas", step.on));
        }
        let looked = step
            .after
            .iter()
            .any(|condition| matches!(condition, Condition::Executed { .. } | Condition::HasExecuted { .. }));
        if !looked || !step.after.contains(&Condition::HasNotExecuted { gtids: errant.clone() }) {
            flaws.push(format!("nobody looks whether {} has its executed GTIDs back, without {errant}", step.on));
        }
    }
    flaws
}

/// A step that was sent has succeeded only when its effect is seen. A drain is nothing but looking.
fn effects_are_verified(plan: &Plan) -> Vec<String> {
    let unseen = plan.steps().filter(|step| !is_verified(step));
    unseen.map(|step| format!("nobody looks whether it worked: {step}")).collect()
}

fn is_verified(step: &Step) -> bool {
    let seen = |wanted: fn(&Action, &Condition) -> bool| step.after.iter().any(|one| wanted(&step.action, one));
    match &step.action {
        Action::Stop { .. } => seen(|action, one| match (action, one) {
            (Action::Stop { threads }, Condition::Threads { running }) => {
                !(threads.io && running.io || threads.sql && running.sql)
            }
            (Action::Stop { threads }, Condition::Stopped { threads: seen }) => threads.without(*seen) == Threads::NONE,
            _ => false,
        }),
        // "Started" where the source cannot be reached: nobody will see that receiver connected.
        Action::Start { .. } => seen(|action, one| match (action, one) {
            (Action::Start { threads }, Condition::Replicating { threads: seen } | Condition::Threads { running: seen }) => {
                seen.io >= threads.io && seen.sql >= threads.sql
            }
            _ => false,
        }),
        Action::RestartReceiver { .. } => {
            seen(|_, one| matches!(one, Condition::Threads { running: Threads { io: true, .. } }))
        }
        Action::ResumeApplier => step.after.contains(&Condition::Replicating { threads: Threads::SQL }),
        Action::Drain => step.after.contains(&Condition::Drained),
        Action::RunUntil { .. } => seen(|_, one| {
            matches!(
                one,
                Condition::AppliedToEndOf { .. }
                    | Condition::AppliedLike { .. }
                    | Condition::AppliedAsFarAs { .. }
                    | Condition::AppliedTo { .. }
            )
        }),
        Action::ChangeSource { to, .. } => step.after.contains(&Condition::ReplicatesFrom { source: to.clone() }),
        Action::RenameSource { to, port, .. } => {
            step.after.contains(&Condition::ReplicatesFrom { source: InstanceKey::new(to, *port) })
        }
        Action::ResetReplica => step.after.contains(&Condition::NoReplica),
        Action::Close | Action::Seal => step.after.contains(&Condition::Closed),
        Action::SetReadOnly { read_only, .. } => step.after.contains(&Condition::ReadOnly { read_only: *read_only }),
        Action::SetSemiSync { side, enabled } => {
            step.after.contains(&Condition::SemiSync { side: *side, enabled: *enabled })
        }
        Action::SetDelay { seconds } => step.after.contains(&Condition::Delay { seconds: u64::from(*seconds) }),
        Action::InjectEmpty { .. } => seen(|_, one| matches!(one, Condition::HasExecuted { .. })),
        // Has a rule of its own.
        Action::ResetBinaryLogs { .. }
        // Nothing in a server's facts tells.
        | Action::CopyCredentials { .. }
        | Action::SkipOne
        | Action::FlushBinaryLogs { .. }
        | Action::PurgeBinaryLogs { .. }
        | Action::KillQuery { .. } => true,
    }
}

fn limits_are_bounded(plan: &Plan) -> Vec<String> {
    let mut flaws = Vec::new();
    let restoring = plan.branches.iter().flat_map(|branch| &branch.restore);
    for step in plan.steps().chain(restoring) {
        let waits = matches!(step.action, Action::Drain | Action::RunUntil { .. });
        if step.limit_seconds == 0 {
            flaws.push(format!("no time limit: {step}"));
        } else if !waits && step.limit_seconds > MAX_STATEMENT_SECONDS {
            flaws.push(format!("a time limit of {} s is too long: {step}", step.limit_seconds));
        }
    }
    let sum = |steps: &[Step]| steps.iter().map(|step| u64::from(step.limit_seconds)).sum::<u64>();
    let longest =
        plan.branches.iter().map(|branch| sum(&branch.steps) + sum(&branch.restore)).max().unwrap_or_default();
    let total = sum(&plan.head) + longest + sum(&plan.tail);
    if total > MAX_PLAN_SECONDS {
        flaws.push(format!("the plan may take {total} s, more than {MAX_PLAN_SECONDS} s"));
    }
    flaws
}

fn arguments_are_sane(plan: &Plan) -> Vec<String> {
    let restoring = plan.branches.iter().flat_map(|branch| &branch.restore);
    let senseless = plan.steps().chain(restoring).filter(|step| match &step.action {
        Action::Stop { threads } | Action::Start { threads } => *threads == Threads::NONE,
        Action::InjectEmpty { gtids } => {
            gtids.is_empty() || gtids.len() > MAX_EMPTY_TRANSACTIONS || !gtids.iter().all(|gtid| is_gtid(gtid))
        }
        Action::FlushBinaryLogs { times } => *times == 0 || *times > MAX_FLUSHES,
        Action::PurgeBinaryLogs { to } => to.is_empty(),
        Action::RenameSource { to, port, .. } => to.is_empty() || *port == 0,
        Action::ChangeSource { to, .. } => !to.is_valid(),
        // Its own are worth taking only where the operator's query tells new ones.
        Action::CopyCredentials { from } => {
            *from == step.on && !matches!(plan.request, Request::ChangeCredentials { .. })
        }
        Action::KillQuery { id } => *id == 0,
        Action::RestartReceiver { patience_seconds } => *patience_seconds == 0,
        Action::ResetBinaryLogs { errant } => mysql::GtidSet::parse(errant).map_or(true, |set| set.is_empty()),
        Action::ResumeApplier
        | Action::Drain
        | Action::RunUntil { .. }
        | Action::ResetReplica
        | Action::SetReadOnly { .. }
        | Action::Close
        | Action::Seal
        | Action::SetSemiSync { .. }
        | Action::SetDelay { .. }
        | Action::SkipOne => false,
    });
    senseless.map(|step| format!("senseless: {step}")).collect()
}

/// One GTID of MySQL. (MariaDB numbers its transactions itself: empty ones cannot be committed under chosen names.)
fn is_gtid(text: &str) -> bool {
    mysql::GtidSet::parse(text).is_ok_and(|set| set.count() == 1)
}

#[cfg(test)]
mod tests;
