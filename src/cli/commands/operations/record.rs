//! Looking at operations, and steering them.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use api::v2::{Operation, OperationStep, StepState};
use domain::plan::Detail;
use serde_json::json;
use service::actions::{clusters, operations as asking};
use store::operations::{Filter, State};

use super::{follow, interruptible, local, name_local, progress};
use crate::answer::{Answer, columns};
use crate::catalogue::{Command, Run};
use crate::commands::queue::age;
use crate::session::Session;

/// Rows of a listing unless told otherwise: what a person reads.
const DEFAULT_LIMIT: u64 = 50;
/// Longest error text in a listing; `show` prints all of it.
const SHOWN_ERROR: usize = 80;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "operations",
    section: "Operations",
    summary: "Look into operations: operations list|show|cancel|resume",
    help: "operations list [--alias CLUSTER] [--state S] [--limit N]   the newest first\n\
           operations show N       request, plan, every step with its time, and how it ended\n\
           operations cancel N     end it: at once if it waits, else before its next step\n\
           operations resume N     take up one whose process was lost; with --local by this process\n\n\
           States: waiting, running, done, failed, refused, cancelled.",
    run: Run::Patient(|session| Box::pin(operations(session))),
}];

async fn operations(session: &Session<'_>) -> anyhow::Result<Answer> {
    match session.base.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => list(session).await,
        ["show", id] => show(session, number(id)?).await,
        ["cancel", id] => {
            let id = number(id)?;
            let (text, state) = match asking::cancel(&session.scope, id).await? {
                State::Cancelled => ("is cancelled", "cancelled"),
                _ => ("runs; it is asked to stop before its next step", "cancel requested"),
            };
            Ok(Answer::line_as(format!("operation {id} {text}"), json!({ "operation": id, "state": state })))
        }
        ["resume", id] => resume(session, number(id)?).await,
        _ => bail!("say which: orchestrator operations list | show N | cancel N | resume N"),
    }
}

fn number(text: &str) -> anyhow::Result<u64> {
    text.parse().ok().with_context(|| format!("an operation has a number, not {text:?}"))
}

async fn list(session: &Session<'_>) -> anyhow::Result<Answer> {
    let flags = session.flags();
    let state = match flags.get("state").filter(|word| !word.is_empty()) {
        None => None,
        Some(word) => Some(State::parse(word).with_context(|| {
            let known: Vec<&str> = State::ALL.iter().map(|state| state.name()).collect();
            format!("unknown state {word:?}: use {}", known.join(", "))
        })?),
    };
    let cluster = match (flags.text("alias"), session.named()) {
        ("", None) => None,
        ("", Some(instance)) => Some(clusters::by_hint(&session.scope, instance).await?),
        (alias, _) => Some(clusters::by_hint(&session.scope, alias).await?),
    };
    let limit = flags.number("limit").map_err(anyhow::Error::msg)?.unwrap_or(DEFAULT_LIMIT);
    let filter = Filter {
        cluster_name: cluster.as_deref(),
        state,
        limit: u32::try_from(limit.clamp(1, 1_000)).unwrap_or(1_000),
        ..Filter::default()
    };
    let found = asking::list(&session.scope, &filter).await?;
    let shown: Vec<Operation> = found.iter().map(asking::brief).collect();
    let rows: Vec<Vec<String>> = found
        .iter()
        .zip(&shown)
        .map(|(one, shown)| {
            let ago = (one.now - one.created_at).max(0) as f64 / 1e6;
            let plan = if one.dry_run { "plan " } else { "" };
            vec![
                one.id.to_string(),
                one.state.name().to_owned(),
                age(ago),
                shown.duration_seconds.map(age).unwrap_or_default(),
                format!("{plan}{}", shown.request),
                shown.actor.clone(),
                one_line(shown.error.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    let head = ["ID", "STATE", "AGE", "TOOK", "REQUEST", "BY", "ERROR"];
    Ok(Answer { text: columns(&head, &rows), json: serde_json::to_value(&shown)? })
}

fn one_line(text: &str) -> String {
    text.chars().take(SHOWN_ERROR).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

async fn show(session: &Session<'_>, id: u64) -> anyhow::Result<Answer> {
    let operation = asking::read(&session.scope, id).await?;
    let steps = asking::steps(&session.scope, id).await?;
    let shown = asking::full(&operation, &steps);
    let mut text = format!("operation {id}: {}\n", shown.request);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<10} {value}");
        }
    };
    line("state", operation.state.name());
    line("asked by", &shown.actor);
    line("cluster", &shown.cluster_name);
    line("method", shown.method.as_deref().unwrap_or_default());
    line("because", shown.because.as_deref().unwrap_or_default());
    line("job", &shown.job.map(|job| job.to_string()).unwrap_or_default());
    line("process", shown.executor.as_deref().unwrap_or_default());
    line("took", &shown.duration_seconds.map(|took| format!("{took:.2} s")).unwrap_or_default());
    for warning in &shown.warnings {
        line("warning", warning);
    }
    for refusal in &shown.left_out {
        line("left out", &format!("{}: {} ({}); {}", refusal.instance, refusal.reason, refusal.rule, refusal.remedy));
    }
    line("error", shown.error.as_deref().unwrap_or_default());
    tree(&mut text, shown.steps.as_deref().unwrap_or_default());
    if shown.steps.as_ref().is_none_or(Vec::is_empty)
        && let Some(plan) = operation.plan.clone().or_else(|| asking::outcome(&operation).plan)
    {
        let _ = writeln!(text, "plan:\n{}", plan.to_text(Detail::Steps).trim_end());
    }
    Ok(Answer { text, json: serde_json::to_value(&shown)? })
}

/// Steps below their run and their part.
fn tree(text: &mut String, steps: &[OperationStep]) {
    let runs = steps.last().map_or(0, |step| step.run);
    let mut above = (0, String::new());
    for step in steps {
        let part = match step.part.as_str() {
            "branch" => format!("branch {}", step.branch + 1),
            "restore" => format!("putting back branch {}", step.branch + 1),
            other => other.to_owned(),
        };
        if above.0 != step.run && runs > 1 {
            let _ = writeln!(text, "run {} by {}", step.run, step.worker);
        }
        if above != (step.run, part.clone()) {
            let _ = writeln!(text, "  {part}");
            above = (step.run, part);
        }
        let ending = match step.state {
            StepState::Begun => "begun".to_owned(),
            StepState::Done => format!("done in {:.2} s", step.duration_seconds.unwrap_or_default()),
            StepState::Failed => format!("failed: {}", step.error.as_deref().unwrap_or_default()),
        };
        let at = serde_json::to_value(step.begun_at).ok();
        let at = at.as_ref().and_then(|at| at.as_str()).unwrap_or_default();
        let _ = writeln!(text, "    {at}  {}  {}: {ending}", step.instance, step.text);
    }
}

async fn resume(session: &Session<'_>, id: u64) -> anyhow::Result<Answer> {
    if session.flags().is_on("noop") {
        bail!("--noop: operation {id} is not taken up; orchestrator plan tells what an operation would do");
    }
    let request = asking::read(&session.scope, id).await?.request;
    let outcome = if session.flags().is_on("local") {
        let local = local(session);
        let work = asking::resume_local(&session.scope, &local, id, |step| session.say(progress(step)));
        interruptible(session, &local, work).await?
    } else {
        let submitted = asking::resume(&session.scope, id).await.map_err(name_local)?;
        follow(session, &request, submitted, asking::Intent::Do).await?
    };
    asking::check(&request, &outcome)?;
    let text = format!("operation {id} is {}\n", outcome.state);
    Ok(Answer { text, json: serde_json::to_value(&outcome)? })
}
