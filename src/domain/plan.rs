//! What is to be done to servers, as data: the closed list of steps, and plans made of them.
//!
//! ```text
//!   request + world ──planner──▶ Plan ──check──▶ accepted ──operations::execute──▶ outcome
//!                        └─────▶ Refusal (rule, reason, remedy)
//! ```
//! A plan has no choice left in it. Where a value can be known only once a server has stopped (the position it stopped
//! at), the plan names the place where it will be read ([`Position::ExecutedBy`]), never a guess. Plans are printed, stored,
//! compared and checked before any server is touched; the same request in the same world gives the same plan.
//!
//! What this is not: how a step is spelt for a server (`mysql`), how it is locked, fenced, applied and recorded
//! (`operations`).
//!
//! How to add one more thing done to a server: a variant of [`Action`], its text here, its statement in `mysql/apply`, its
//! rule in [`check`](fn@check). The compiler lists the places.

mod check;
mod condition;
mod refusal;
mod request;
mod step;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::instance::{InstanceKey, ServerFacts, ThreadState};

pub use check::{Flaw, MAX_EMPTY_TRANSACTIONS, MAX_FLUSHES, check};
pub use condition::holds_part;
pub use condition::{Condition, Unmet};
pub(crate) use condition::{mariadb_received, missing_of_executed, missing_of_received, received_is_applied};
pub use refusal::{Refusal, Rule};
pub use request::Request;
pub use step::{Action, Position, SemiSyncSide, SourceOptions, Step, Threads};
pub use text::Detail;

/// By what means the position in the new source is found. A later one asks more of the servers, or says less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// MySQL GTID: auto-position.
    Gtid,
    /// MariaDB GTID: `slave_pos`.
    MariadbGtid,
    /// Replicas are stopped at one position, which then names one place in both logs.
    Position,
    /// A pair of equal positions that was recorded at an earlier move.
    Equivalence,
    /// The source stays, or is the same server under another name.
    Repoint,
    /// No source changes.
    InPlace,
}

/// A checked list of steps, or of independent lists of steps.
///
/// Order: `head`, then all `branches` (side by side), then `tail`. When a step of `head` fails, no branch begins; `tail` is
/// run in any case: it puts back what `head` suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What was asked for.
    pub request: Request,
    /// By what means.
    pub method: Method,
    /// Why by these means, for people.
    pub because: String,
    /// What the operator should know and what does not prevent the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Servers to be locked for the whole plan: sorted, each once.
    pub locks: Vec<InstanceKey>,
    /// Before all branches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub head: Vec<Step>,
    /// Independent of each other.
    pub branches: Vec<Branch>,
    /// After all branches, whatever became of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<Step>,
    /// Servers that the request names in passing (the replicas of another) and that must be left where they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Refusal>,
    /// The instance to be reported as the result of the operation (the promoted one, the moved one), when it is not the
    /// instance of the first branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_for: Option<InstanceKey>,
}

/// Steps on one server (and on those it needs), one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// The server that this branch is about.
    pub instance: InstanceKey,
    /// Where it will replicate from, if that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_source: Option<InstanceKey>,
    /// Servers to be locked for this branch only: sorted, each once. A branch that cannot have them fails alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<InstanceKey>,
    /// In order. The first that fails ends the branch.
    pub steps: Vec<Step>,
    /// What is done when a step failed: best effort, in order, each tried whatever became of the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore: Vec<Step>,
}

impl Plan {
    /// A plan of one branch that changes no source and needs only its own server's lock.
    pub fn in_place(request: Request, instance: InstanceKey, steps: Vec<Step>) -> Self {
        Self {
            request,
            method: Method::InPlace,
            because: String::new(),
            warnings: Vec::new(),
            locks: vec![instance.clone()],
            head: Vec::new(),
            branches: vec![Branch { instance, new_source: None, locks: Vec::new(), steps, restore: Vec::new() }],
            tail: Vec::new(),
            left_out: Vec::new(),
            answers_for: None,
        }
    }

    /// Every step, in the order of printing: head, branches, tail. Restoring steps are not among them.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.head.iter().chain(self.branches.iter().flat_map(|branch| &branch.steps)).chain(&self.tail)
    }

    /// Every server that a step acts on or reads from: sorted, each once.
    pub fn servers(&self) -> Vec<InstanceKey> {
        let restoring = self.branches.iter().flat_map(|branch| &branch.restore);
        let mut servers: Vec<InstanceKey> =
            self.steps().chain(restoring).flat_map(|step| step.servers().into_iter().cloned()).collect();
        servers.sort();
        servers.dedup();
        servers
    }
}

/// Which replication threads of the servers ran before an operation touched them. Kept with the operation, so that
/// whoever finishes it after a crash knows that a thread it finds stopped was running.
pub type Baseline = BTreeMap<InstanceKey, Threads>;

/// The threads that run according to the facts.
pub fn running_threads(facts: &ServerFacts) -> Threads {
    // A receiver that is connecting was started: it counts.
    let (io, sql) = facts.threads();
    let started = |state| matches!(state, ThreadState::Running | ThreadState::Other);
    Threads { io: started(io), sql: started(sql) }
}
