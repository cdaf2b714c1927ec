//! Plans for people: what was asked, by what means, and a numbered line per step with its server and what is done.
//!
//! The text is for reading only; nothing parses it. Whoever wants data takes the plan's JSON.

use std::fmt;

use super::{Action, Branch, Condition, Method, Plan, Position, Request, SemiSyncSide, Step, Threads};

/// How much a printed plan tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The steps.
    Steps,
    /// The steps, and below each one its limit and what must hold before and after it.
    Conditions,
}

impl Plan {
    /// The plan as lines of text, each ended.
    pub fn to_text(&self, detail: Detail) -> String {
        let mut page = Page { lines: Vec::new(), number: 0, width: self.name_width(), detail };
        page.preface(self);
        page.steps(&self.head, "  ");
        let flat = self.head.is_empty() && self.tail.is_empty() && self.branches.len() == 1;
        for branch in &self.branches {
            page.branch(branch, flat);
        }
        page.steps(&self.tail, "  ");
        page.left_out(self);
        page.lines.join("\n") + "\n"
    }

    /// Server names are padded to one width, so that actions stand below each other.
    fn name_width(&self) -> usize {
        let restoring = self.branches.iter().flat_map(|branch| &branch.restore);
        self.steps().chain(restoring).map(|step| step.on.to_string().len()).max().unwrap_or_default()
    }
}

/// As with [`Detail::Steps`].
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(Detail::Steps))
    }
}

struct Page {
    lines: Vec<String>,
    number: usize,
    width: usize,
    detail: Detail,
}

impl Page {
    fn preface(&mut self, plan: &Plan) {
        self.lines.push(plan.request.to_string());
        self.lines.push(match plan.because.as_str() {
            "" => format!("method: {}", plan.method),
            because => format!("method: {}: {because}", plan.method),
        });
        if let Some(key) = &plan.answers_for {
            self.lines.push(format!("result: {key}"));
        }
        if self.detail == Detail::Conditions {
            let locks: Vec<String> = plan.locks.iter().map(ToString::to_string).collect();
            self.lines.push(format!("locked throughout: {}", list_or_none(&locks)));
        }
        self.lines.extend(plan.warnings.iter().map(|warning| format!("warning: {warning}")));
        self.lines.push("steps:".to_owned());
        if plan.steps().next().is_none() {
            self.lines.push("  none".to_owned());
        }
    }

    fn branch(&mut self, branch: &Branch, flat: bool) {
        let indent = if flat { "  " } else { "      " };
        if !flat {
            self.lines.push(match &branch.new_source {
                Some(source) => format!("  {} below {source}:", branch.instance),
                None => format!("  {}:", branch.instance),
            });
        }
        if self.detail == Detail::Conditions && !branch.locks.is_empty() {
            let locks: Vec<String> = branch.locks.iter().map(ToString::to_string).collect();
            self.lines.push(format!("{indent}locked: {}", locks.join(", ")));
        }
        self.steps(&branch.steps, indent);
        if !branch.restore.is_empty() {
            self.lines.push(format!("{indent}if a step fails:"));
            for step in &branch.restore {
                self.lines.push(format!(
                    "{indent}  - {:width$}  {}",
                    step.on.to_string(),
                    step.action,
                    width = self.width
                ));
            }
        }
    }

    fn steps(&mut self, steps: &[Step], indent: &str) {
        for step in steps {
            self.number += 1;
            let (number, width) = (self.number, self.width);
            self.lines.push(format!("{indent}{number:>2}. {:width$}  {}", step.on.to_string(), step.action));
            if self.detail == Detail::Conditions {
                self.conditions(step, indent);
            }
        }
    }

    fn conditions(&mut self, step: &Step, indent: &str) {
        let told = [("only if", &step.before), ("verified:", &step.after)];
        for (word, conditions) in told {
            self.lines.extend(conditions.iter().map(|condition| format!("{indent}      {word} {condition}")));
        }
        self.lines.push(format!("{indent}      within {} s", step.limit_seconds));
    }

    fn left_out(&mut self, plan: &Plan) {
        if plan.left_out.is_empty() {
            return;
        }
        self.lines.push("left where they are:".to_owned());
        for refusal in &plan.left_out {
            let name = refusal.instance.to_string();
            let name = if refusal.reason.contains(&name) { String::new() } else { format!("{name}: ") };
            self.lines.push(format!("  {name}{} ({})", refusal.reason, refusal.rule.word()));
            self.lines.push(format!("    remedy: {}", refusal.remedy));
        }
    }
}

/// One line: the server and what is done to it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.on, self.action)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gtid => "GTID",
            Self::MariadbGtid => "MariaDB GTID",
            Self::Position => "stop at one position",
            Self::Equivalence => "recorded equivalence of positions",
            Self::Repoint => "repoint",
            Self::InPlace => "in place",
        })
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.io, self.sql) {
            (true, true) => "receiver and applier",
            (true, false) => "receiver",
            (false, true) => "applier",
            (false, false) => "no thread",
        })
    }
}

impl fmt::Display for SemiSyncSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Replica => "replica",
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto-position"),
            Self::MariadbSlavePos => f.write_str("its own slave_pos"),
            Self::MariadbCurrentPos => f.write_str("its own current_pos"),
            Self::At(coordinates) => write!(f, "{coordinates}"),
            Self::ExecutedBy(key) => write!(f, "the position that {key} has applied"),
            Self::EndOf(key) => write!(f, "the end of {key}'s binary log"),
            Self::Unchanged => f.write_str("the present position"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop { threads } => write!(f, "stop {threads}"),
            Self::Start { threads } => write!(f, "start {threads}, see it running"),
            Self::RestartReceiver { patience_seconds } => {
                write!(f, "restart receiver, its first try to connect for {patience_seconds} s")
            }
            Self::ResumeApplier => f.write_str("start applier on the relay logs it has, see it running"),
            Self::Drain => f.write_str("wait until everything received is applied"),
            Self::RunUntil { position } => write!(f, "apply up to {position}, then stop"),
            Self::ChangeSource { to, position, .. } => write!(f, "replicate from {to}, beginning at {position}"),
            Self::RenameSource { to, port, .. } => write!(f, "name the source {to}:{port}, nothing else"),
            Self::ResetReplica => f.write_str("forget the source and its relay logs"),
            Self::CopyCredentials { from } => write!(f, "take the replication user and password of {from}"),
            Self::SetReadOnly { read_only, with_super } => {
                let name = if *with_super { "read_only and super_read_only" } else { "read_only" };
                write!(f, "set {name} {}", if *read_only { "on" } else { "off" })
            }
            Self::Close => f.write_str("refuse the writes of everybody, however privileged"),
            Self::Seal => f.write_str("refuse writes, ending connections whose commits wait for acknowledgements"),
            Self::SetSemiSync { side, enabled } => {
                write!(f, "switch semi-sync {} ({side} side)", if *enabled { "on" } else { "off" })
            }
            Self::SetDelay { seconds } => write!(f, "set the delay to {seconds} s"),
            Self::InjectEmpty { gtids } => match gtids.as_slice() {
                [one] => write!(f, "commit an empty transaction as {one}"),
                many => write!(f, "commit {} empty transactions: {}", many.len(), shortened(many)),
            },
            Self::SkipOne => f.write_str("skip one event group"),
            Self::ResetBinaryLogs { errant } => {
                write!(f, "remove all binary logs and GTIDs, then declare all but {errant} as executed again")
            }
            Self::FlushBinaryLogs { times: 1 } => f.write_str("begin a new binary log"),
            Self::FlushBinaryLogs { times } => write!(f, "begin a new binary log, {times} times"),
            Self::PurgeBinaryLogs { to } => write!(f, "remove the binary logs before {to}"),
            Self::KillQuery { id } => write!(f, "end the statement of connection {id}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { server_id, server_uuid } if server_uuid.is_empty() => {
                write!(f, "it is the server with id {server_id}")
            }
            Self::Server { server_id, server_uuid } => {
                write!(f, "it is the server with id {server_id} and UUID {server_uuid}")
            }
            Self::ReplicatesFrom { source } => write!(f, "it replicates from {source}"),
            Self::NoReplica => f.write_str("it has no source"),
            Self::Threads { running: Threads::BOTH } => f.write_str("both threads are started"),
            Self::Threads { running: Threads::NONE } => f.write_str("both threads are stopped"),
            Self::Threads { running } => write!(f, "only the {running} is started"),
            Self::Stopped { threads } => write!(f, "stopped: {threads}"),
            Self::Replicating { threads } => write!(f, "running: {threads}"),
            Self::Drained => f.write_str("everything received is applied"),
            Self::NothingInPart => f.write_str("no transaction was received in part"),
            Self::ReceivedIsIn { other } => write!(f, "whatever it received is on {other}"),
            Self::ExecutedIsIn { other } => write!(f, "whatever it executed is on {other}"),
            Self::HasAllOf { other } => write!(f, "whatever {other} executed is here"),
            Self::PurgedByIsHere { other } => write!(f, "nothing that {other} has purged is missing"),
            Self::ReadOnly { read_only: true } => f.write_str("it is read-only"),
            Self::ReadOnly { read_only: false } => f.write_str("it is writable"),
            Self::Closed => f.write_str("it takes no writes of anybody"),
            Self::ClosedThere { other } => write!(f, "{other} takes no writes of anybody"),
            Self::SemiSync { side, enabled } => {
                write!(f, "semi-sync is {} ({side} side)", if *enabled { "on" } else { "off" })
            }
            Self::Delay { seconds } => write!(f, "its delay is {seconds} s"),
            Self::Executed { gtids } => write!(f, "its executed GTIDs are {gtids:?}"),
            Self::HasExecuted { gtids } => write!(f, "it has executed {gtids}"),
            Self::HasNotExecuted { gtids } => write!(f, "it has not executed {gtids}"),
            Self::AppliedToEndOf { other } => write!(f, "it has applied {other}'s log to its end"),
            Self::AppliedLike { other } => write!(f, "it has applied their source's log as far as {other}"),
            Self::AppliedAsFarAs { other } => {
                write!(f, "it has applied as much of their source's log as {other}, or more")
            }
            Self::AppliedTo { at } => write!(f, "it has applied its source's log up to {at}"),
            Self::StandsStill { other } => write!(f, "the applier of {other} does not run"),
            Self::UsingGtid { using: true } => f.write_str("it replicates with GTID"),
            Self::UsingGtid { using: false } => f.write_str("it replicates without GTID"),
            Self::NoReplicas => f.write_str("it has no replicas"),
        }
    }
}

/// The command word, the servers, the arguments.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word(), self.instance())?;
        if let Some(below) = self.destination() {
            write!(f, " below {below}")?;
        }
        match self {
            Self::RelocateReplicas { pattern, .. }
            | Self::MoveUpReplicas { pattern, .. }
            | Self::MoveReplicasGtid { pattern, .. }
            | Self::RepointReplicas { pattern, .. }
                if !pattern.is_empty() =>
            {
                write!(f, ", only those that match {pattern:?}")
            }
            Self::DelayReplication { seconds, .. } => write!(f, " by {seconds} s"),
            Self::FlushBinaryLogs { until, .. } if !until.is_empty() => write!(f, " until {until}"),
            Self::PurgeBinaryLogs { until, force, .. } => {
                write!(f, " to {until}{}", if *force { ", whatever its replicas need" } else { "" })
            }
            Self::KillQuery { id, .. } => write!(f, ", connection {id}"),
            Self::Recover { recovery, .. } => write!(f, ", recovery {recovery}"),
            _ => Ok(()),
        }
    }
}

/// GTIDs shown of a long list: enough to recognise it.
const SHOWN_GTIDS: usize = 3;

fn shortened(all: &[String]) -> String {
    let shown = all.iter().take(SHOWN_GTIDS).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN_GTIDS { format!("{shown}, ...") } else { shown }
}

fn list_or_none(all: &[String]) -> String {
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests;
