//! What became of a plan.

use domain::instance::InstanceKey;

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended as a whole.
    pub ending: Ending,
    /// One for each branch, in the order of the plan.
    pub branches: Vec<BranchReport>,
    /// What could not be put back by the tail, each for itself.
    pub tail_errors: Vec<String>,
    /// At least one order was sent to a server.
    pub touched: bool,
}

/// How a plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All that was to be done was tried; each branch has its own result.
    Ended,
    /// A step of the head failed: no branch began.
    HeadFailed(String),
    /// Asked to stop: branches that were under way put back what they could.
    Cancelled,
    /// Somebody else has the operation, or one of its locks. Nothing was put back: that is the other's to decide.
    Fenced(String),
    /// The ledger is away. Nothing was put back: whoever resumes decides.
    LedgerAway(String),
}

/// What became of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchReport {
    /// The server it was about.
    pub instance: InstanceKey,
    /// Where it was to replicate from, if that was to change.
    pub new_source: Option<InstanceKey>,
    /// What became of it.
    pub result: BranchResult,
}

/// What became of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchResult {
    /// Every step was done and verified.
    Done,
    /// Nothing was sent to any server, because of this.
    NotBegun(String),
    /// A step failed.
    Failed {
        /// Which, and why.
        error: String,
        /// What could not be put back.
        restore_errors: Vec<String>,
    },
}

impl BranchResult {
    /// Every step was done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Why it is not done, for people.
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Done => None,
            Self::NotBegun(reason) => Some(reason.clone()),
            Self::Failed { error, restore_errors } if restore_errors.is_empty() => Some(error.clone()),
            Self::Failed { error, restore_errors } => {
                Some(format!("{error}; and could not be put back: {}", restore_errors.join("; ")))
            }
        }
    }
}
