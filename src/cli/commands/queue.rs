//! Looking into the job queue.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use queue::{Cancelled, Filter, JobView, State};
use serde_json::{Value, json};
use service::actions::jobs;

use super::each;
use crate::answer::{Answer, columns};
use crate::catalogue::Command;
use crate::session::Session;

/// Rows of a listing unless told otherwise: what a person reads.
const DEFAULT_LIMIT: u64 = 100;
/// Longest error text in a listing; `show` prints all of it.
const SHOWN_ERROR: usize = 80;

pub(crate) const COMMANDS: &[Command] = &[each!(
    "Queue",
    "jobs",
    jobs_command,
    "Look into the job queue: jobs list|show|retry|cancel|lanes",
    "jobs list [--state S] [--kind K] [--lane L] [--limit N]   jobs that run, wait, are scheduled, or failed\n\
     jobs show ID        all that is known of one\n\
     jobs retry ID       put a failed one back\n\
     jobs cancel ID      remove a waiting one, or ask a running one to stop\n\
     jobs lanes          how full each lane is\n\n\
     States: running, waiting, scheduled, failed. Jobs that ended well leave no trace but for their outcome."
)];

async fn jobs_command(session: &Session<'_>) -> anyhow::Result<Answer> {
    match session.base.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => list(session).await,
        ["lanes"] => lanes(session).await,
        ["show", id] => show(&jobs::show(&session.scope, number(id)?).await?),
        ["retry", id] => {
            let id = number(id)?;
            jobs::retry(&session.scope, id).await?;
            Ok(Answer::line_as(format!("job {id} is waiting again"), json!({ "id": id, "state": "waiting" })))
        }
        ["cancel", id] => {
            let id = number(id)?;
            let (text, state) = match jobs::cancel(&session.scope, id).await? {
                Cancelled::Removed => ("is cancelled", "cancelled"),
                Cancelled::Requested => ("runs; its worker is asked to stop it", "cancel requested"),
            };
            Ok(Answer::line_as(format!("job {id} {text}"), json!({ "id": id, "state": state })))
        }
        _ => bail!("say which: orchestrator jobs list | show ID | retry ID | cancel ID | lanes"),
    }
}

fn number(text: &str) -> anyhow::Result<u64> {
    text.parse().with_context(|| format!("a job has a number, not {text:?}"))
}

async fn list(session: &Session<'_>) -> anyhow::Result<Answer> {
    let flags = session.flags();
    let state = match flags.get("state") {
        None => None,
        // The API's word.
        Some("ready") => Some(State::Ready),
        Some(word) => Some(
            State::parse(word)
                .with_context(|| format!("unknown state {word:?}: use running, waiting, scheduled or failed"))?,
        ),
    };
    let filter =
        Filter { state, kind: flags.get("kind").map(str::to_owned), lane: flags.get("lane").map(str::to_owned) };
    let limit = flags.number("limit").map_err(anyhow::Error::msg)?.unwrap_or(DEFAULT_LIMIT);
    let found = jobs::list(&session.scope, &filter, u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let head = ["ID", "STATE", "KIND", "LANE", "AGE", "TRIES", "WORKER", "KEY", "ERROR"];
    let json = found.iter().map(document).collect();
    Ok(Answer { text: columns(&head, &rows), json: Value::Array(json) })
}

fn row(job: &JobView) -> Vec<String> {
    let error = job.error.as_deref().unwrap_or_default();
    vec![
        job.id.to_string(),
        if job.cancel_requested { "stopping".to_owned() } else { job.state.name().to_owned() },
        job.kind.clone(),
        job.lane.clone(),
        age(job.age_seconds),
        format!("{}/{}", job.attempts, job.max_attempts),
        job.worker.as_deref().map(|worker| worker.chars().take(12).collect()).unwrap_or_default(),
        job.unique_key.clone().unwrap_or_default(),
        error.chars().take(SHOWN_ERROR).map(|c| if c.is_control() { ' ' } else { c }).collect(),
    ]
}

fn document(job: &JobView) -> Value {
    json!({
        "id": job.id,
        "state": job.state.name(),
        "kind": job.kind,
        "lane": job.lane,
        "priority": job.priority,
        "unique_key": job.unique_key,
        // What cannot be read as JSON is shown as it is: looking at it is what one came for.
        "payload": serde_json::from_str(&job.payload).unwrap_or_else(|_| Value::String(job.payload.clone())),
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "rescues": job.rescues,
        "merges": job.merges,
        "submitted_by": job.submitted_by,
        "age_seconds": job.age_seconds,
        "state_seconds": job.state_seconds,
        "worker": job.worker,
        "error": job.error,
        "cancel_requested": job.cancel_requested,
    })
}

fn show(job: &JobView) -> anyhow::Result<Answer> {
    let json = document(job);
    let mut text = String::new();
    for (name, value) in json.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => continue,
            Value::String(value) => value.clone(),
            other => other.to_string(),
        };
        let _ = writeln!(text, "{name:<17} {value}");
    }
    Ok(Answer { text, json })
}

async fn lanes(session: &Session<'_>) -> anyhow::Result<Answer> {
    let lanes = jobs::lanes(&session.scope).await?;
    let rows: Vec<Vec<String>> = lanes
        .iter()
        .map(|lane| {
            let counts = [lane.ready, lane.claimed, lane.scheduled, lane.failed].map(|count| count.to_string());
            [vec![lane.lane.clone()], counts.to_vec(), vec![age(lane.oldest_seconds)]].concat()
        })
        .collect();
    let json = lanes
        .iter()
        .map(|lane| {
            json!({
                "lane": lane.lane,
                "waiting": lane.ready,
                "running": lane.claimed,
                "scheduled": lane.scheduled,
                "failed": lane.failed,
                "oldest_seconds": lane.oldest_seconds,
            })
        })
        .collect();
    Ok(Answer { text: columns(&["LANE", "WAITING", "RUNNING", "SCHEDULED", "FAILED", "OLDEST"], &rows), json })
}

/// An age in the unit a person would choose.
pub(crate) fn age(seconds: f64) -> String {
    match seconds.max(0.0) {
        seconds if seconds < 10.0 => format!("{seconds:.1}s"),
        seconds if seconds < 600.0 => format!("{seconds:.0}s"),
        seconds if seconds < 36_000.0 => format!("{:.0}m", seconds / 60.0),
        seconds if seconds < 864_000.0 => format!("{:.0}h", seconds / 3_600.0),
        seconds => format!("{:.0}d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_have_a_fitting_unit() {
        for (seconds, text) in
            [(-1.0, "0.0s"), (1.25, "1.2s"), (90.0, "90s"), (900.0, "15m"), (90_000.0, "25h"), (1e6, "12d")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
