//! Carries out plans: the only path by which a managed server is ever changed.
//!
//! ```text
//!                 ┌──────────────────────── for each step ────────────────────────┐
//!   Plan ──▶ fence (ledger) ─▶ look, `before` holds? ─▶ send (bounded) ─▶ look until `after` holds ─▶ record
//!                 │no                 │no                    │refused             │limit passed
//!                 ▼                   └──────────┬───────────┴────────────────────┘
//!         stop: not ours any more                ▼
//!         (nothing is restored)      branch ends; its `restore` steps; the tail
//! ```
//! What this is: [`execute`] over two ports, [`Fleet`] (the servers) and [`Ledger`] (the locks and the record of steps),
//! and their production forms [`MySqlFleet`] and [`StoreLedger`]. What it deliberately is not: it decides nothing (plans
//! come from `domain`), takes no locks (the job does, before the first step), and spells no statement (`mysql` does).
//!
//! Invariants:
//! - Nothing is sent to a server unless the ledger has just confirmed that every lock of the operation is still ours, and
//!   then only within [`SEND_WINDOW`] of asking it, on our own monotonic clock. The ledger keeps the same moment on the
//!   database's clock, and whoever takes over waits for it.
//! - An order whose outcome is unknown (no answer in time) is neither repeated nor believed: a fresh look decides.
//! - A lost lock or a lost ledger ends everything at once, restoring included: the next holder looks and decides.
//! - Everything ends: each look, each order, each step has a limit.
//!
//! To add one more thing done to a server: see `domain::plan`; nothing here changes.

mod branch;
mod execute;
mod fleet;
mod lanes;
mod ledger;
mod looks;
mod mysql_fleet;
mod outcome;
mod report;
mod step;
mod store_ledger;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use execute::{Options, execute};
pub use fleet::{Change, Fleet, FleetError};
pub use ledger::{Grant, Ledger, LedgerError, Part, Place, StepId};
pub use mysql_fleet::{MySqlFleet, Resolver};
pub use outcome::{InstanceError, Moved, OperationOutcome};
pub use report::{BranchReport, BranchResult, Ending, Report};
pub use store_ledger::StoreLedger;

/// Longest wait for the answer to the statements of one step.
pub const APPLY_LIMIT: Duration = Duration::from_secs(3);
/// From asking the ledger until nothing may be sent any more: a look at the servers, and the order. Shorter than the
/// time after which a silent worker is taken for dead, so that a take-over need hardly ever wait for it.
pub const SEND_WINDOW: Duration = Duration::from_secs(4);
/// How long a lock outlives the limit of the step that begins under it.
pub const LOCK_MARGIN: Duration = Duration::from_secs(30);
