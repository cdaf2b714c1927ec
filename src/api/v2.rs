//! The REST API of this product: plain resources in snake_case, from which the OpenAPI document is generated.
//!
//! Fields are only ever added. Times are RFC 3339, durations say their unit, absent values are `null` or left out as
//! the schema says. Errors are [`Problem`]s, lists are [`Page`]s.

mod analysis;
mod cluster;
mod config;
mod explanation;
mod instance;
mod job;
mod lane;
mod node;
mod operation;
mod operator;
mod page;
mod problem;
mod recovery;
mod term;

use utoipa::OpenApi;

pub use analysis::{AnalysedReplica, Analysis, AnalysisAction, AnalysisWarning, CheckWord, ReplicaWord};
pub use cluster::Cluster;
pub use config::{ConfigFinding, ConfigKey, ConfigReport, FindingLevel};
pub use explanation::{Candidate, Explanation, ExplanationCase, GateVerdict};
pub use instance::{Binlog, CheckDetail, Group, Gtid, InstanceDetail, InstanceSummary, Replication, Role, SemiSync};
pub use job::{Job, JobAccepted, JobState};
pub use lane::Lane;
pub use node::{Leader, Node};
pub use operation::{
    Operation, OperationAccepted, OperationDone, OperationFailure, OperationRequest, OperationState, OperationStep,
    PlanReply, Refusal, StepState,
};
pub use operator::{AuditEntry, Downtime, DowntimeRequest, Maintenance, MaintenanceRequest, Pool, Tag};
pub use page::Page;
pub use problem::Problem;
pub use recovery::{
    Acknowledgement, AcknowledgementReply, AcknowledgementRequest, BlockedRecovery, Detection, Recovery,
    RecoveryAccepted, RecoveryEvent, RecoveryRequest, RecoverySwitch,
};
pub use term::Term;

/// Every schema of this API: the service merges it into its document.
#[derive(Debug, OpenApi)]
#[openapi(components(schemas(
    AcknowledgementReply,
    AcknowledgementRequest,
    Analysis,
    AuditEntry,
    Cluster,
    ConfigReport,
    Downtime,
    DowntimeRequest,
    Explanation,
    InstanceDetail,
    InstanceSummary,
    Job,
    JobAccepted,
    Lane,
    Leader,
    Maintenance,
    MaintenanceRequest,
    Node,
    Operation,
    OperationAccepted,
    OperationRequest,
    Page<Analysis>,
    Page<AuditEntry>,
    Page<Cluster>,
    Page<InstanceSummary>,
    Page<Job>,
    Page<BlockedRecovery>,
    Page<Detection>,
    Page<Operation>,
    Page<Recovery>,
    PlanReply,
    Pool,
    Problem,
    RecoveryAccepted,
    RecoveryRequest,
    RecoverySwitch,
    Tag,
)))]
pub struct Schemas;

#[cfg(test)]
mod tests;
