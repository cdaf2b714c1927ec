//! Following an operation that takes longer than a request may: the service has answered with its number, and it goes on.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use api::v2::{Operation, OperationState, StepState};

use crate::api::{Api, Sends};
use crate::problem::Problem;
use crate::reply::Reply;

/// Pause between two questions: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The number of an operation that goes on, from the words of the service, which may have said first who it is.
pub(crate) fn pending(problem: &Problem) -> Option<u64> {
    let Problem::Refused { message, .. } = problem else { return None };
    let (before, _) = message.split_once(" has not ended")?;
    let (_, number) = before.rsplit_once("operation ")?;
    number.parse().ok()
}

/// Waits until the operation has ended, at most so long, and tells `say` of each step as it begins and ends. Then the request
/// is sent once more, with the number of the operation: the service answers as it would have if there had been no limit.
/// `asked`: the answer that the service gave first, for when time is over.
pub(crate) fn follow(
    api: &Api,
    operation: u64,
    (sends, path): (Sends, &str),
    wait: Option<Duration>,
    asked: Problem,
    say: &mut dyn FnMut(&str),
) -> Result<Reply, Problem> {
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
            OperationState::Done | OperationState::Failed | OperationState::Refused | OperationState::Cancelled => {
                for failed in &now.failed {
                    say(&format!("operation {operation}: {}: {}", failed.instance, failed.error));
                }
                return api.call(sends, &again(path, operation));
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

/// The path that waits for this operation.
fn again(path: &str, operation: u64) -> String {
    let sign = if path.contains('?') { '&' } else { '?' };
    format!("{path}{sign}operation={operation}")
}
