//! Lists of steps: one after the other, and what is put back when one fails.

use domain::plan::{Action, Branch, Step};

use crate::fleet::Fleet;
use crate::lanes::Room;
use crate::ledger::{Ledger, LedgerError, Part, Place};
use crate::report::BranchResult;
use crate::step::{self, Means, StepError};

/// How a list of steps ended.
#[derive(Debug)]
pub(crate) enum Listed {
    Done,
    /// Everything stops.
    Stop(LedgerError),
    Failed {
        error: String,
        /// An order was, or may have been, sent to a server.
        touched: bool,
        cancelled: bool,
    },
}

/// Does the steps in order; the first that fails ends the list. Stops before the next step when cancelled.
pub(crate) async fn in_order<F: Fleet, L: Ledger>(
    means: Means<'_, F, L>,
    part: Part,
    steps: &[Step],
    mut room: Option<&mut Room<'_>>,
) -> Listed {
    for (sequence, step) in steps.iter().enumerate() {
        let so_far = sequence > 0;
        if let Some(room) = &mut room {
            room.before(step, sequence + 1 == steps.len()).await;
        }
        if means.cancelled.is_cancelled() {
            return Listed::Failed { error: "cancelled".to_owned(), touched: so_far, cancelled: true };
        }
        let (error, touched) = match step::run(means, Place { part, sequence }, step, true).await {
            Ok(()) => continue,
            Err(StepError::Ledger(error)) => return Listed::Stop(error),
            Err(StepError::Before(error)) => (error, so_far),
            Err(StepError::After(error)) => (error, true),
        };
        tracing::warn!(instance.key = %step.on, part = part.name(), sequence, error, "a step failed");
        return Listed::Failed { error, touched, cancelled: means.cancelled.is_cancelled() };
    }
    Listed::Done
}

/// Tries every step, whatever becomes of the one before; says what failed.
pub(crate) async fn each<F: Fleet, L: Ledger>(
    means: Means<'_, F, L>,
    part: Part,
    steps: &[Step],
) -> Result<Vec<String>, LedgerError> {
    let mut errors = Vec::new();
    for (sequence, step) in steps.iter().enumerate() {
        match step::run(means, Place { part, sequence }, step, false).await {
            Ok(()) => {}
            Err(StepError::Ledger(error)) => return Err(error),
            Err(StepError::Before(error) | StepError::After(error)) => {
                tracing::warn!(instance.key = %step.on, part = part.name(), sequence, error, "cannot put back");
                let remedy = match step.action {
                    Action::Start { .. } => format!("; once it answers: start-replica -i {}", step.on),
                    _ => String::new(),
                };
                errors.push(format!("{error}{remedy}"));
            }
        }
    }
    Ok(errors)
}

/// One branch as a whole.
#[derive(Debug)]
pub(crate) struct Branched {
    pub(crate) result: BranchResult,
    pub(crate) stop: Option<LedgerError>,
    pub(crate) touched: bool,
    pub(crate) cancelled: bool,
}

impl Branched {
    pub(crate) fn not_begun(reason: impl Into<String>) -> Self {
        Self { result: BranchResult::NotBegun(reason.into()), stop: None, touched: false, cancelled: false }
    }
}

/// Does one branch, and puts back what it touched when it fails.
pub(crate) async fn run<F: Fleet, L: Ledger>(
    means: Means<'_, F, L>,
    index: usize,
    branch: &Branch,
    mut room: Room<'_>,
) -> Branched {
    match in_order(means, Part::Branch(index), &branch.steps, Some(&mut room)).await {
        Listed::Done => {
            Branched { result: BranchResult::Done, stop: None, touched: !branch.steps.is_empty(), cancelled: false }
        }
        Listed::Stop(error) => Branched {
            result: BranchResult::Failed { error: error.to_string(), restore_errors: Vec::new() },
            stop: Some(error),
            touched: true,
            cancelled: false,
        },
        Listed::Failed { error, touched: false, cancelled } => {
            Branched { result: BranchResult::NotBegun(error), stop: None, touched: false, cancelled }
        }
        Listed::Failed { error, touched: true, cancelled } => {
            let (restore_errors, stop) = match each(means, Part::Restore(index), &branch.restore).await {
                Ok(errors) => (errors, None),
                Err(stop) => (vec![stop.to_string()], Some(stop)),
            };
            Branched { result: BranchResult::Failed { error, restore_errors }, stop, touched: true, cancelled }
        }
    }
}
