//! How an operation ended, for those who asked for it: kept with the operation, read by the command line and the API.

use domain::instance::InstanceKey;
use domain::plan::{Method, Plan, Refusal};
use serde::{Deserialize, Serialize};

/// How an operation ended. A wire format: fields are added with a default, never renamed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationOutcome {
    /// Number of the operation.
    pub operation: u64,
    /// Command word.
    pub word: String,
    /// `done`, `failed`, `refused`, `cancelled`.
    pub state: String,
    /// The server to be reported: the moved, the promoted, the one asked about.
    pub instance: InstanceKey,
    /// Its source now, as far as the operation set it.
    pub new_source: Option<InstanceKey>,
    /// By what means.
    pub method: Option<Method>,
    /// Why by these.
    pub because: String,
    /// Servers for which everything was done.
    pub done: Vec<Moved>,
    /// Servers for which it was not.
    pub errors: Vec<InstanceError>,
    /// Servers that the request included and that were left where they are.
    pub left_out: Vec<Refusal>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Why nothing was done.
    pub refusal: Option<Refusal>,
    /// Why it failed or was refused, in one line.
    pub error: String,
    /// The plan, when only that was asked for.
    pub plan: Option<Plan>,
    /// From taking up to the end, all runs together.
    pub duration_seconds: f64,
    /// Times a worker took it up.
    pub runs: u32,
}

/// A server for which everything was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The server.
    pub instance: InstanceKey,
    /// Where it replicates from now, if that was to change.
    #[serde(default)]
    pub new_source: Option<InstanceKey>,
}

/// A server for which it was not done, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceError {
    /// The server.
    pub instance: InstanceKey,
    /// Why, for people.
    pub error: String,
}
