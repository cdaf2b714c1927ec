//! The port to the record of steps and to the locks under which they are done.

use std::future::Future;

use domain::instance::{BinlogCoordinates, InstanceKey};
use domain::plan::Step;
use tokio::time::Instant;

/// Where a step stands in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which part.
    pub part: Part,
    /// Its number in that part, from 0.
    pub sequence: usize,
}

/// Part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Before all branches.
    Head,
    /// This branch.
    Branch(usize),
    /// What a failed branch puts back.
    Restore(usize),
    /// After all branches.
    Tail,
}

impl Part {
    /// As stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Branch(_) => "branch",
            Self::Restore(_) => "restore",
            Self::Tail => "tail",
        }
    }

    /// Number of the branch; 0 for the parts that have none.
    pub fn branch(self) -> usize {
        match self {
            Self::Branch(branch) | Self::Restore(branch) => branch,
            Self::Head | Self::Tail => 0,
        }
    }
}

/// Number of a step that was allowed to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u64);

/// Leave to do one step.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// To be given back with the result.
    pub id: StepId,
    /// On our own clock, counted from before the ledger was asked: nothing may be sent to the server after.
    pub until: Instant,
}

/// Why a step may not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The operation, or a lock of it, is not ours any more: stop, touch nothing.
    #[error("the operation is not ours any more: {0}")]
    Fenced(String),
    /// The ledger cannot be asked: stop, touch nothing; whoever comes next looks afresh.
    #[error("cannot record steps: {0}")]
    Away(String),
}

/// The record of steps, fenced by the locks of the operation.
pub trait Ledger: Sync {
    /// Records that the step begins, if every lock of the operation is still ours, and keeps them long enough for it.
    fn begin(&self, place: Place, step: &Step) -> impl Future<Output = Result<Grant, LedgerError>> + Send;

    /// Records that the step succeeded.
    fn done(&self, id: StepId) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Records that the step failed.
    fn failed(&self, id: StepId, error: &str) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Records that two places in two binary logs hold the same. A loss is harmless: it is not reported.
    fn equivalent(
        &self,
        one: (&InstanceKey, &BinlogCoordinates),
        other: (&InstanceKey, &BinlogCoordinates),
    ) -> impl Future<Output = ()> + Send;
}
