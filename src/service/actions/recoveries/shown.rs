//! Recoveries as documents and as text: the same over HTTP and on the command line.

use std::fmt::Write as _;

use api::clock::Timestamp;
use api::v2::{
    Acknowledgement, BlockedRecovery, Detection as ShownDetection, Recovery as Shown, RecoveryEvent, RecoverySwitch,
};
use domain::recovery::{Choice, Verdict};
use serde_json::Value;
use store::detections::Detection;
use store::recoveries::{Blocked, Recovery};
use store::recovery_switch::Switch;

use super::timeline::{self, Line, seconds};
use crate::actions::{Error, Scope};

/// One of many: without choice, gates and timeline.
pub fn brief(one: &Recovery) -> Shown {
    let end = one.ended_at.unwrap_or(one.now);
    Shown {
        id: one.id,
        uid: one.uid.clone(),
        kind: one.kind.name().to_owned(),
        analysis: one.code.clone(),
        command: some(&one.command_hint),
        failed: one.failed.to_string(),
        cluster_name: one.cluster_name.clone(),
        cluster_alias: one.cluster_alias.clone(),
        detection: one.detection_id,
        operation: one.operation_id,
        phase: one.phase.name().to_owned(),
        outcome: one.outcome.map(|outcome| outcome.name().to_owned()),
        successor: one.successor.as_ref().map(ToString::to_string),
        successor_coordinates: some(&one.successor_coordinates),
        requested_successor: one.requested_candidate.as_ref().map(ToString::to_string),
        is_forced: one.force,
        hooks_suppressed: one.suppress_hooks,
        is_active: one.is_active,
        active_until: one.active_until.map(Timestamp),
        acknowledged: one.acknowledged.as_ref().map(|seen| Acknowledgement {
            at: Timestamp(seen.at),
            by: seen.by.clone(),
            comment: seen.comment.clone(),
        }),
        lost: one.lost.iter().map(ToString::to_string).collect(),
        participating: one.participating.iter().map(ToString::to_string).collect(),
        errors: one.errors.clone(),
        actor: some(&one.actor),
        node: one.node.clone(),
        started_at: Timestamp(one.started_at),
        ended_at: one.ended_at.map(Timestamp),
        duration_seconds: seconds(one.started_at, end),
        outage: one.outage.clone(),
        choice: None,
        gates: None,
        finding: None,
        timeline: None,
    }
}

/// All that is known of one.
pub async fn full(scope: &Scope, one: &Recovery) -> Result<Shown, Error> {
    let lines = timeline::read(scope, one).await?;
    let kept = |value: &Value| (!value.is_null()).then(|| value.clone());
    Ok(Shown {
        choice: one.choice.clone(),
        gates: kept(&one.verdicts),
        finding: kept(&one.entry),
        timeline: Some(lines.into_iter().map(event).collect()),
        ..brief(one)
    })
}

fn event(line: Line) -> RecoveryEvent {
    RecoveryEvent {
        at: Timestamp(line.at),
        run: line.run,
        worker: line.worker,
        kind: line.kind,
        text: line.text,
        instance: line.instance,
        state: line.state,
        duration_seconds: line.seconds,
        error: line.error,
        data: line.data,
    }
}

/// A detection.
pub fn detected(one: &Detection) -> ShownDetection {
    ShownDetection {
        id: one.id,
        instance: one.key.to_string(),
        analysis: one.code.clone(),
        cluster_name: one.cluster_name.clone(),
        cluster_alias: one.cluster_alias.clone(),
        is_actionable: one.is_actionable,
        is_active: one.is_active,
        replicas: one.replicas.iter().map(ToString::to_string).collect(),
        recovery: one.recovery_id,
        node: one.node.clone(),
        started_at: Timestamp(one.started_at),
        released_at: one.released_at.map(Timestamp),
    }
}

/// A recovery that is held back.
pub fn held_back(one: &Blocked) -> BlockedRecovery {
    BlockedRecovery {
        instance: one.key.to_string(),
        analysis: one.code.clone(),
        cluster_name: one.cluster_name.clone(),
        recovery: one.blocking,
        reason: one.reason.clone(),
        since: Timestamp(one.since),
        at: Timestamp(one.blocked_at),
    }
}

/// The switch of automatic recoveries.
pub fn switch(one: &Switch) -> RecoverySwitch {
    RecoverySwitch {
        is_disabled: one.is_disabled,
        actor: some(&one.actor),
        changed_at: (!one.actor.is_empty()).then_some(Timestamp(one.changed_at)),
    }
}

/// One recovery for people: what and why, who was considered, what was done when, how long clients waited.
pub fn text(one: &Shown) -> String {
    let mut text = format!("recovery {}: {} of {}\n", one.id, one.analysis, one.failed);
    header(&mut text, one);
    choice(&mut text, one.choice.as_ref());
    gates(&mut text, one.gates.as_ref());
    events(&mut text, one);
    text
}

fn header(text: &mut String, one: &Shown) {
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<12} {value}");
        }
    };
    let outcome = one.outcome.as_deref().unwrap_or("going on");
    line("outcome", &format!("{outcome}, phase {}, {:.3} s", one.phase, one.duration_seconds));
    line("kind", &one.kind);
    line("command", one.command.as_deref().unwrap_or_default());
    let alias = if one.cluster_alias == one.cluster_name { String::new() } else { format!(" ({})", one.cluster_alias) };
    line("cluster", &format!("{}{alias}", one.cluster_name));
    let by = one.actor.as_deref().unwrap_or("the leader");
    line("begun", &format!("{} by {by}, node {}", moment(one.started_at), one.node));
    line("successor", one.successor.as_deref().unwrap_or_default());
    line("coordinates", one.successor_coordinates.as_deref().unwrap_or_default());
    line("asked for", one.requested_successor.as_deref().unwrap_or_default());
    line("outage", &outage(one.outage.as_ref()));
    line("lost", &one.lost.join(", "));
    line("took part", &one.participating.join(", "));
    for error in &one.errors {
        line("error", error);
    }
    if let Some(seen) = &one.acknowledged {
        line("acknowledged", &format!("{} by {}: {}", moment(seen.at), seen.by, seen.comment));
    }
    if let Some(until) = one.active_until.filter(|_| one.is_active) {
        line("holds back", &format!("automatic recoveries of this cluster until {}", moment(until)));
    }
    line("operation", &one.operation.to_string());
    line("uid", &one.uid);
}

/// How long clients could not write.
fn outage(outage: Option<&Value>) -> String {
    let number = |name: &str| outage.and_then(|outage| outage.get(name)).and_then(Value::as_f64);
    let Some(seconds) = number("seconds") else { return String::new() };
    if outage.and_then(|outage| outage.get("is_write_pause")).and_then(Value::as_bool) == Some(true) {
        return format!("nobody could write for {seconds:.3} s");
    }
    // A last commit older than the last answer says only that clients were idle.
    let last_commit = number("last_commit").filter(|at| number("not_before").is_some_and(|answer| *at >= answer));
    let from = if last_commit.is_some() { "last commit" } else { "first silence" };
    let to = if number("first_commit").is_some() { "first commit" } else { "opening" };
    let longest = number("at_most_seconds").map(|longest| format!(", {longest:.3} s at most")).unwrap_or_default();
    format!("clients could not write for about {seconds:.3} s{longest}, from the {from} to the {to}")
}

fn choice(text: &mut String, choice: Option<&Value>) {
    let Some(choice) = choice.and_then(|choice| serde_json::from_value::<Choice>(choice.clone()).ok()) else { return };
    let _ = writeln!(text, "candidates: {}", choice.because);
    for one in &choice.considered {
        let _ = match &one.verdict {
            Verdict::Chosen => writeln!(text, "  {}  chosen; {}", one.key, one.rank),
            Verdict::Eligible => writeln!(text, "  {}  eligible; {}", one.key, one.rank),
            Verdict::Rejected { rule, reason } => writeln!(text, "  {}  rejected: {reason} ({})", one.key, rule.word()),
        };
    }
    for (key, reason) in &choice.lost {
        let _ = writeln!(text, "  {key}  lost: {reason}");
    }
    for warning in &choice.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
}

fn gates(text: &mut String, gates: Option<&Value>) {
    let Some(Value::Array(gates)) = gates else { return };
    if gates.is_empty() {
        return;
    }
    text.push_str("gates:\n");
    for gate in gates {
        let word = |name: &str| gate.get(name).and_then(Value::as_str).unwrap_or_default();
        let passed = gate.get("passed").and_then(Value::as_bool).unwrap_or_default();
        let mark = if passed { "open  " } else { "closed" };
        let _ = writeln!(text, "  {mark}  {}: {}", word("gate"), word("reason"));
    }
}

fn events(text: &mut String, one: &Shown) {
    let Some(timeline) = one.timeline.as_ref().filter(|timeline| !timeline.is_empty()) else { return };
    text.push_str("timeline:\n");
    let mut run = 1;
    for event in timeline {
        if event.run > run {
            run = event.run;
            let _ = writeln!(text, "  run {run} by {}", event.worker);
        }
        let since = seconds(one.started_at.0, event.at.0);
        let line = Line {
            at: event.at.0,
            run: event.run,
            worker: event.worker.clone(),
            kind: event.kind.clone(),
            text: event.text.clone(),
            instance: event.instance.clone(),
            state: event.state.clone(),
            seconds: event.duration_seconds,
            error: event.error.clone(),
            data: None,
        };
        let _ = writeln!(text, "  {since:>8.3}  {:<7} {}", event.kind, line.message());
        let output = event.data.as_ref().and_then(|data| data.get("output")).and_then(Value::as_str);
        for printed in output.unwrap_or_default().lines() {
            let printed: String = printed.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let _ = writeln!(text, "                    | {printed}");
        }
    }
}

fn moment(at: Timestamp) -> String {
    api::clock::rfc3339(Some(at.0))
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
