//! Changing managed servers: asking for an operation, following it, printing what the original prints.
//!
//! ```text
//!   words ─▶ request ─┬─ --noop ──▶ plan, printed
//!                     ├─ --async ─▶ job's number, printed
//!                     ├─ --local ─▶ carried out by this process ─┐
//!                     └──────────▶ submitted, followed ──────────┴─▶ result on stdout, progress on stderr
//! ```
//! Interrupted, a command stops following; the operation goes on, and the command says how to follow or cancel it.

mod print;
mod record;
mod table;

use anyhow::{anyhow, bail};
use domain::plan::{Detail, Request};
use operations::OperationOutcome;
use serde_json::json;
use service::actions::Error;
use service::actions::operations::{self as asking, Asked, Below, Intent, Local, PATIENCE, PLAN_PATIENCE, Submitted};
use store::operations::StepRow;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Failed};
use crate::arguments::parse_duration;
use crate::catalogue::{self, Command, Run};
use crate::session::{Interrupted, Session};

pub(crate) use print::Prints;
pub(crate) use record::COMMANDS as RECORDS;
pub(crate) use table::{INSTANCE, RELOCATION, REPLICATION};

/// Runs an operation for one instance.
pub(crate) async fn run(session: &Session<'_>, word: &str, prints: Prints) -> anyhow::Result<Answer> {
    let flags = session.flags();
    let request = request(session, word).await?;
    let modes = ["async", "noop", "local"].map(|flag| flags.is_on(flag));
    match modes {
        [true, true, _] | [true, _, true] => bail!("--async goes with neither --noop nor --local"),
        [false, true, _] => plan(session, &request).await,
        [true, false, false] => {
            let submitted = asking::submit(&session.scope, &request, Intent::Do).await.map_err(name_local)?;
            Ok(queued(submitted))
        }
        [false, false, is_local] => {
            let outcome = if is_local {
                locally(session, &request, Intent::Do).await?
            } else {
                by_worker(session, &request, Intent::Do).await?
            };
            conclude(session, &request, &outcome, prints).await
        }
    }
}

/// The number of the job, which is what crontabs keep.
fn queued(submitted: Submitted) -> Answer {
    Answer::line_as(submitted.job, json!({ "job": submitted.job, "operation": submitted.operation }))
}

/// `submit OPERATION ...`.
pub(crate) async fn submit(session: &Session<'_>, word: &str) -> anyhow::Result<Answer> {
    for flag in ["noop", "local"] {
        if session.flags().is_on(flag) {
            bail!(
                "--{flag} goes with the operation itself, not with submit: what is submitted is carried out by a worker"
            );
        }
    }
    let request = request(session, word).await?;
    let jitter = match session.flags().get("jitter") {
        Some(text) => parse_duration(text).map_err(anyhow::Error::msg)?,
        None => std::time::Duration::ZERO,
    };
    Ok(queued(asking::submit_to_queue(&session.scope, &request, jitter).await?))
}

/// `plan OPERATION ...`.
pub(crate) async fn plan_command(session: &Session<'_>) -> anyhow::Result<Answer> {
    let word = match session.base.words.as_slice() {
        [word] => catalogue::current_name(word),
        [] => bail!("say what to plan: orchestrator plan relocate -i INSTANCE -d DESTINATION"),
        [_, extra, ..] => bail!("plan takes one operation, and instances with -i and -d; {extra:?} is too much"),
    };
    match catalogue::find(word).map(|command| command.run) {
        Some(Run::Operation(_)) => plan(session, &request(session, word).await?).await,
        Some(Run::Later) => bail!("not built yet: {word}"),
        Some(_) => bail!("{word} changes no server, so there is nothing to plan"),
        None => bail!("Unknown command: {word:?}; only operations can be planned"),
    }
}

/// The request that the words and flags mean.
pub(crate) async fn request(session: &Session<'_>, word: &str) -> anyhow::Result<Request> {
    let flags = session.flags();
    let instance = session.instance().await?;
    // Unknown names are told before anything else is found wanting.
    asking::known(&session.scope, &instance).await?;
    let given = !flags.text("d").is_empty() || !flags.text("s").is_empty();
    let below = match Below::of(word) {
        Some(Below::Required) => Some(session.destination().await?),
        Some(Below::Optional) if given => Some(session.destination().await?),
        Some(Below::Optional | Below::No) | None => None,
    };
    let asked = Asked {
        word,
        instance,
        below,
        pattern: flags.text("pattern"),
        seconds: flags.text("seconds"),
        until: flags.text("binlog"),
        id: flags.text("process"),
        force: flags.is_on("force"),
    };
    Ok(asking::request(&asked)?)
}

/// Prints what would be done.
async fn plan(session: &Session<'_>, request: &Request) -> anyhow::Result<Answer> {
    let outcome = if session.flags().is_on("local") {
        locally(session, request, Intent::Plan).await?
    } else {
        by_worker(session, request, Intent::Plan).await?
    };
    let Some(plan) = &outcome.plan else {
        let json = serde_json::to_value(&outcome)?;
        return match asking::check(request, &outcome) {
            Err(error) => Err(Failed::with(Answer { text: String::new(), json }, error.to_string())),
            Ok(()) => Ok(Answer { text: format!("nothing to be done: {}\n", outcome.error), json }),
        };
    };
    let detail = if session.flags().is_on("verbose") { Detail::Conditions } else { Detail::Steps };
    Ok(Answer { text: plan.to_text(detail), json: serde_json::to_value(plan)? })
}

/// The best candidate for promotion among the replicas of an instance: what a regrouping would choose now.
pub(crate) async fn candidate(session: &Session<'_>) -> anyhow::Result<Answer> {
    let of = session.instance().await?;
    let request = Request::RegroupReplicas { of: of.clone(), gtid_only: false };
    let outcome = if session.flags().is_on("local") {
        locally(session, &request, Intent::Plan).await?
    } else {
        by_worker(session, &request, Intent::Plan).await?
    };
    match outcome.plan.as_ref().and_then(|plan| plan.answers_for.as_ref()) {
        Some(chosen) => Ok(Answer::key(chosen)),
        None => {
            asking::check(&request, &outcome)?;
            bail!("{of} has no replica that could be promoted")
        }
    }
}

/// A worker does it, we follow.
async fn by_worker(session: &Session<'_>, request: &Request, intent: Intent) -> anyhow::Result<OperationOutcome> {
    let submitted = asking::submit(&session.scope, request, intent).await.map_err(name_local)?;
    follow(session, request, submitted, intent).await
}

async fn follow(
    session: &Session<'_>,
    request: &Request,
    submitted: Submitted,
    intent: Intent,
) -> anyhow::Result<OperationOutcome> {
    let patience = match intent {
        Intent::Do => PATIENCE,
        Intent::Plan => PLAN_PATIENCE,
    };
    let id = submitted.operation;
    if intent == Intent::Do {
        session.say(format!("operation {id} (job {}): {request}", submitted.job));
    }
    let following = asking::follow(&session.scope, submitted, patience, |step| session.say(progress(step)));
    tokio::select! {
        ended = following => ended.map_err(name_local),
        code = session.base.interrupt.wait() => Err(Interrupted {
            code,
            text: format!(
                "operation {id} goes on without this command. Follow it: orchestrator operations show {id}; \
                 end it: orchestrator operations cancel {id}"
            ),
        }
        .into()),
    }
}

/// This process does it.
async fn locally(session: &Session<'_>, request: &Request, intent: Intent) -> anyhow::Result<OperationOutcome> {
    let local = local(session);
    let begun = |id: u64| {
        if intent == Intent::Do {
            session.say(format!("operation {id} (in this process): {request}"));
        }
    };
    let work = asking::run_local(&session.scope, &local, request, intent, begun, |step| session.say(progress(step)));
    interruptible(session, &local, work).await
}

/// A first interruption stops the work at the next safe point, a second one at once.
async fn interruptible(
    session: &Session<'_>,
    local: &Local,
    work: impl Future<Output = Result<OperationOutcome, Error>>,
) -> anyhow::Result<OperationOutcome> {
    let mut work = Box::pin(work);
    let code = tokio::select! {
        ended = &mut work => return Ok(ended?),
        code = session.base.interrupt.wait() => code,
    };
    local.cancelled.cancel();
    session
        .say("stopping before the next step; what was stopped is started again. Once more: leave at once".to_owned());
    tokio::select! {
        ended = &mut work => {
            let outcome = ended?;
            if outcome.state == "cancelled" {
                let text = format!("operation {} is cancelled: {}", outcome.operation, outcome.error);
                return Err(Interrupted { code, text }.into());
            }
            Ok(outcome)
        }
        code = session.base.interrupt.wait() => Err(Interrupted {
            code,
            text: "left in the middle of an operation: orchestrator operations list --state running shows it, \
                   orchestrator operations resume N takes it up again"
                .to_owned(),
        }
        .into()),
    }
}

/// Who works here, for the records.
pub(crate) fn local(session: &Session<'_>) -> Local {
    Local {
        name: format!("{}, process {}", session.scope.actor, std::process::id()),
        cancelled: CancellationToken::new(),
    }
}

/// Where nobody works, this process can do it.
pub(crate) fn name_local(error: Error) -> anyhow::Error {
    match error {
        nobody @ Error::NoWorker { .. } => anyhow!("{nobody}; or let this command do it by itself: --local"),
        other => other.into(),
    }
}

/// One line of progress: a step that begins, or one that ended, with its time.
pub(crate) fn progress(step: &StepRow) -> String {
    let what = step.step.as_ref().map_or_else(|| step.text.clone(), ToString::to_string);
    let restoring = if step.part == "restore" { "putting back: " } else { "" };
    let took = step.ended_at.map_or(0.0, |end| (end - step.begun_at).max(0) as f64 / 1e6);
    match step.state.as_str() {
        "done" => format!("  {restoring}{what}: done in {took:.2} s"),
        "failed" => format!("  {restoring}{what}: failed after {took:.2} s: {}", step.error),
        _ => format!("  {restoring}{what} ..."),
    }
}

/// The result: on stdout what the original prints, on stderr what there is to be said about it.
async fn conclude(
    session: &Session<'_>,
    request: &Request,
    outcome: &OperationOutcome,
    prints: Prints,
) -> anyhow::Result<Answer> {
    for warning in &outcome.warnings {
        session.say(format!("warning: {warning}"));
    }
    for trouble in asking::troubles(outcome) {
        // The one server of a simple operation is told by the error that ends the command.
        if prints.tells_many() {
            session.complain(format!("{}: {}", trouble.instance, trouble.error));
        }
    }
    let checked = asking::check(request, outcome);
    match (&outcome.method, &outcome.refusal) {
        (Some(method), None) => {
            let because = if outcome.because.is_empty() { String::new() } else { format!(": {}", outcome.because) };
            session.say(format!(
                "operation {}: {} in {:.2} s, method {method}{because}",
                outcome.operation, outcome.state, outcome.duration_seconds
            ));
        }
        // As asked already. Any other refusal ends the command, and is told then.
        (_, Some(refusal)) if checked.is_ok() => session.say(format!("operation {}: {refusal}", outcome.operation)),
        _ => {}
    }
    let text = match (&checked, prints.tells_many()) {
        (Err(_), false) => String::new(),
        _ => print::text(session, request, outcome, prints).await?,
    };
    let answer = Answer { text, json: serde_json::to_value(outcome)? };
    let problem = match checked {
        Err(error) => Some(error.to_string()),
        Ok(()) => print::problem(request, outcome, prints),
    };
    match problem {
        None => Ok(answer),
        Some(problem) => Err(Failed::with(answer, problem)),
    }
}

/// A row of the table of an operation.
const fn operation(section: &'static str, name: &'static str, prints: Prints, summary: &'static str) -> Command {
    Command { name, section, summary, help: HELP, run: Run::Operation(prints) }
}

/// What all operations have in common; the summary and `docs/commands.md` say what is special.
const HELP: &str = "An operation: planned from a fresh look at the servers, refused with its reason when unsafe, carried out by a worker\n\
    under locks, verified step by step, recorded in the audit.\n\n\
    \x20 -i INSTANCE           the instance; this host without it\n\
    \x20 -d INSTANCE           the destination, where there is one\n\
    \x20 --pattern REGEX       only replicas whose host:port matches, for operations on replicas\n\
    \x20 --noop                print the plan, change nothing\n\
    \x20 --async               print the number of the job and return at once\n\
    \x20 --local               let this process do it, under the same locks: no worker is needed\n\
    \x20 --quiet               no progress on stderr\n\
    \x20 --json                how it ended, as one document\n\n\
    Interrupted, the command stops following with exit status 130, and the operation goes on.";

pub(crate) const PLAN: &[Command] = &[Command {
    name: "plan",
    section: "Operations",
    summary: "Print the steps of an operation without doing them",
    help: "plan OPERATION [-i INSTANCE] [-d INSTANCE] [flags of the operation]\n\n\
           Looks at the servers now and prints what the operation would do, step by step; with --verbose also what must hold\n\
           before and after each step. Changes nothing. Fails with the reason when the operation would be refused.",
    run: Run::Patient(|session| Box::pin(plan_command(session))),
}];

pub(crate) const CANDIDATE: Command = Command {
    name: "get-candidate-replica",
    section: "Classic file:pos relocation",
    summary: "Print the replica best suited for promotion",
    help: "get-candidate-replica -i INSTANCE\n\n\
           The replica of INSTANCE that a regrouping would put above the others now: it has all that any reachable one has.\n\
           Nothing is stopped or changed. Fails when there is none.",
    run: Run::Patient(|session| Box::pin(candidate(session))),
};
