//! Operations on managed servers: asking for one, its plan, how it goes and how it ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// What is to be done. Names of instances are `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationRequest {
    /// The command word: `relocate`, `stop-replica`, ...
    pub operation: String,
    /// The instance it is about; for operations on replicas the one whose replicas are meant.
    #[serde(alias = "of")]
    pub instance: String,
    /// The destination, where there is one.
    #[serde(default, alias = "destination", skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
    /// Only replicas whose `host:port` matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// For `delay-replication`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// A binary log, for `flush-binary-logs` and `purge-binary-logs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// A connection, for `kill-query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// For `purge-binary-logs`: whatever replicas need.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// The answer (202) to a request for an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationAccepted {
    /// The operation to watch.
    pub operation: u64,
    /// The job that will carry it out.
    pub job: u64,
    /// Where to watch it.
    pub location: String,
}

impl OperationAccepted {
    pub fn new(operation: u64, job: u64) -> Self {
        Self { operation, job, location: format!("/api/v2/operations/{operation}") }
    }
}

/// "No, because."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// The rule that forbids it: a stable word, such as `errant-gtid`.
    pub rule: String,
    /// The instance it is about, `host:port`.
    pub instance: String,
    /// The fact that decided.
    pub reason: String,
    /// What can be done about it.
    pub remedy: String,
}

/// What an operation would do now, or why it would be refused: one of `plan` and `refusal` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanReply {
    /// Number under which the planning is recorded.
    pub operation: u64,
    /// The plan as a document: `request`, `method`, `because`, `locks`, `head`, `branches` and `tail` with their steps, each
    /// step with `on`, `action`, `before`, `after`, `limit_seconds`. New fields and new actions may be added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub plan: Option<serde_json::Value>,
    /// The plan for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Nobody took it up yet.
    Waiting,
    Running,
    /// As asked; with several servers: for some of them at least, see `failed` and `left_out`.
    Done,
    Failed,
    /// Nothing was done, see `refusal`.
    Refused,
    Cancelled,
}

/// A server for which everything was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationDone {
    /// `host:port`.
    pub instance: String,
    /// Where it replicates from now, if that was to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_source: Option<String>,
}

/// A server for which it was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationFailure {
    /// `host:port`.
    pub instance: String,
    pub error: String,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    pub id: u64,
    /// Its job; absent: a command carries it out by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// The command word.
    pub operation: String,
    /// `host:port`.
    pub instance: String,
    pub cluster_name: String,
    /// What was asked for, in one line.
    pub request: String,
    /// Only a plan was asked for.
    pub plan_only: bool,
    /// Who asked.
    pub actor: String,
    pub state: OperationState,
    /// Times a process took it up.
    pub runs: u32,
    /// The process that did last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// By what means, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Why by these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The instance to be reported: the moved, the promoted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    pub done: Vec<OperationDone>,
    pub failed: Vec<OperationFailure>,
    /// Servers that were meant and were left where they are.
    pub left_out: Vec<Refusal>,
    pub warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// From taking up to the end, or until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// The plan as a document, see `PlanReply`; of one operation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub plan: Option<serde_json::Value>,
    /// Every step ever begun, in order; of one operation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<OperationStep>>,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Begun,
    Done,
    Failed,
}

/// One step of an operation, as it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OperationStep {
    /// Which run of the operation began it, from 1.
    pub run: u32,
    /// `head`, `branch`, `restore`, `tail`.
    pub part: String,
    /// Number of the branch, from 0.
    pub branch: u32,
    /// Place in its part, from 0.
    pub sequence: u32,
    /// `host:port`.
    pub instance: String,
    /// What was done, for people.
    pub text: String,
    pub state: StepState,
    /// Token of the lock under which it was done.
    pub token: u64,
    /// The process that did it.
    pub worker: String,
    pub begun_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
