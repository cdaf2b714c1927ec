//! Changes one server: each [`Action`] in the words that server knows.

mod error;

use std::time::Instant;

use domain::instance::{InstanceKey, ServerFacts};
use domain::plan::Action;

pub use error::ApplyError;

use crate::Connector;

/// One order to one server.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The server.
    pub on: &'a InstanceKey,
    /// What to do; positions are concrete.
    pub action: &'a Action,
    /// What the server said a moment ago: version, present options, state of its threads.
    pub facts: &'a ServerFacts,
    /// Our own clock: no statement is sent after.
    pub until: Instant,
    /// `ReplicationCredentialsQuery`; empty if not configured.
    pub credentials_query: &'a str,
}

/// Carries out one order. Returns when the server has answered, or shortly after `until`.
pub async fn apply(_connector: &Connector, order: Order<'_>) -> Result<(), ApplyError> {
    Err(ApplyError::Unsuitable { key: order.on.clone(), reason: "not written yet".to_owned() })
}
