//! The port to the managed servers. Two real implementations: [`crate::MySqlFleet`], and the simulated fleet of tests.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Instant;

use domain::instance::{InstanceKey, ServerFacts};
use domain::plan::Action;

/// Managed servers.
pub trait Fleet: Sync {
    /// Reads one server now. Bounded in time by the implementation. Names of other servers in the facts are those by which
    /// we know them.
    fn look(&self, key: &InstanceKey) -> impl Future<Output = Result<ServerFacts, FleetError>> + Send;

    /// Sends one order, and returns when the server answered or `change.until` has passed, whichever is first. Must not
    /// send anything after `change.until`. What it returns is not believed further than [`FleetError`] says: the caller looks.
    fn apply(&self, change: Change<'_>) -> impl Future<Output = Result<(), FleetError>> + Send;
}

/// One order to one server.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The server.
    pub on: &'a InstanceKey,
    /// What to do. Positions are known by now: never `ExecutedBy` or `EndOf`. `Drain` is never sent.
    pub action: &'a Action,
    /// What the servers concerned said a moment ago, `on` among them: dialect, present options.
    pub facts: &'a BTreeMap<InstanceKey, ServerFacts>,
    /// Our own clock: nothing may be sent after.
    pub until: Instant,
}

/// What became of a look or an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// It gave no facts, or could not be connected to: nothing was sent.
    #[error("cannot reach {key}: {reason}")]
    Unreachable { key: InstanceKey, reason: String },
    /// It cannot be told that: nothing was sent.
    #[error("{key}: {reason}")]
    Unsuitable { key: InstanceKey, reason: String },
    /// It answered with an error. Of several statements, those before the refused one may have taken effect.
    #[error("{key} refused: {reason}")]
    Refused { key: InstanceKey, reason: String },
    /// Sent, and not answered: it may have happened, or may still happen.
    #[error("{key} did not answer: {reason}")]
    Unknown { key: InstanceKey, reason: String },
}
