//! Following an operation that takes longer than a request may: the service has answered with its number, and it goes on.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use api::v2::{Operation, OperationState, StepState};
use domain::instance::InstanceKey;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::print::Printed;
use crate::problem::Problem;
use crate::reply::{Reply, collapsed};

/// Pause between two questions: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const DEFAULT_PORT: u16 = 3306;

/// How a command prints a reply.
pub(crate) type Print = fn(&Reply) -> Printed;

/// The number of an operation that goes on, from the words of the service.
pub(crate) fn pending(problem: &Problem) -> Option<u64> {
    let Problem::Refused { message, .. } = problem else { return None };
    let (number, rest) = message.strip_prefix("operation ")?.split_once(' ')?;
    rest.starts_with("has not ended").then(|| number.parse().ok()).flatten()
}

/// Waits until the operation has ended, at most so long, and tells `say` of each step as it begins and ends. What the
/// command prints then, and the data of that. `asked`: the answer that the service gave first, for when time is over.
pub(crate) fn follow(
    api: &Api,
    operation: u64,
    print: Print,
    wait: Option<Duration>,
    asked: Problem,
    say: &mut dyn FnMut(&str),
) -> Result<(String, String), Problem> {
    let begun = Instant::now();
    let mut told = BTreeMap::new();
    let mut pause = FIRST_PAUSE;
    loop {
        if wait.is_some_and(|wait| begun.elapsed() >= wait) {
            return Err(asked);
        }
        let left = wait.map_or(pause, |wait| wait.saturating_sub(begun.elapsed()));
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
        let reply = api.read(&format!("v2/operations/{operation}")).map_err(|problem| goes_on(operation, &problem))?;
        let now: Operation = reply.as_one()?;
        tell(&now, &mut told, say);
        match now.state {
            OperationState::Waiting | OperationState::Running => {}
            OperationState::Done => return done(api, &now, print, say),
            OperationState::Failed | OperationState::Refused | OperationState::Cancelled => {
                return Err(ended(&now, reply.body));
            }
        }
    }
}

/// The service cannot be asked any more: the operation does not mind.
fn goes_on(operation: u64, problem: &Problem) -> Problem {
    Problem::Unanswered(format!("operation {operation} goes on, but how it is cannot be seen: {problem}"))
}

/// Says which steps began and ended since the question before.
fn tell(now: &Operation, told: &mut BTreeMap<usize, StepState>, say: &mut dyn FnMut(&str)) {
    for (number, step) in now.steps.iter().flatten().enumerate() {
        if told.insert(number, step.state) == Some(step.state) {
            continue;
        }
        let state = match step.state {
            StepState::Begun => "begun",
            StepState::Done => "done",
            StepState::Failed => "failed",
        };
        say(&format!("operation {}: {state}: {}", now.id, step.text));
    }
}

fn ended(now: &Operation, body: String) -> Problem {
    let refused = now.refusal.as_ref().map(|refusal| format!("{} ({})", refusal.reason, refusal.remedy));
    let message = now.error.clone().filter(|error| !error.is_empty()).or(refused);
    let message = message.unwrap_or_else(|| format!("operation {} did not succeed", now.id));
    Problem::Refused { message: collapsed(&message), details: None, body }
}

/// The data that the service gives when it need not be followed: the record of the instance as it is now, or the records
/// of all that were moved. Which of the two, the command knows that prints it.
fn done(api: &Api, now: &Operation, print: Print, say: &mut dyn FnMut(&str)) -> Result<(String, String), Problem> {
    for failed in &now.failed {
        say(&format!("operation {}: {}: {}", now.id, failed.instance, failed.error));
    }
    let one = record(api, now.result.as_deref().unwrap_or(&now.instance))?;
    if let Ok(text) = print(&one) {
        return Ok((text, one.data.get().to_owned()));
    }
    let records: Result<Vec<Box<RawValue>>, Problem> =
        now.done.iter().map(|moved| Ok(record(api, &moved.instance)?.data)).collect();
    let list = serde_json::value::to_raw_value(&records?).map_err(|error| one.unexpected(&error.to_string()))?;
    let all = Reply { message: String::new(), body: list.get().to_owned(), data: list };
    Ok((print(&all)?, all.data.get().to_owned()))
}

fn record(api: &Api, instance: &str) -> Result<Reply, Problem> {
    let key = InstanceKey::parse(instance, DEFAULT_PORT)
        .map_err(|error| Problem::Unanswered(format!("{instance}: {error}")))?;
    let host = percent_encoding::utf8_percent_encode(&key.hostname, percent_encoding::NON_ALPHANUMERIC);
    api.read(&format!("instance/{host}/{}", key.port))
}
