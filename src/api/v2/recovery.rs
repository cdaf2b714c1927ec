//! Recoveries: failures and planned takeovers being handled, why so, and how they ended. Detections. The switch.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// A recovery that a person asks for. Names of instances are `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryRequest {
    /// `recover`, `recover-lite`, `force-master-failover`, `force-master-takeover`, `graceful-master-takeover` or
    /// `graceful-master-takeover-auto`.
    pub command: String,
    /// The failed instance, for `recover` and `recover-lite`; for the others an instance of the cluster, unless `cluster` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The cluster: its name or its alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Who is to take over.
    #[serde(default, alias = "candidate", skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
}

/// The answer (202) to a request for a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryAccepted {
    /// The recovery to watch.
    pub recovery: u64,
    /// The operation that carries it out.
    pub operation: u64,
    /// Its job.
    pub job: u64,
    /// Where to watch it.
    pub location: String,
}

impl RecoveryAccepted {
    pub fn new(recovery: u64, operation: u64, job: u64) -> Self {
        Self { recovery, operation, job, location: format!("/api/v2/recoveries/{recovery}") }
    }
}

/// Somebody has seen a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    pub at: Timestamp,
    pub by: String,
    pub comment: String,
}

/// One recovery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recovery {
    pub id: u64,
    /// Its name in hooks and in the compatibility API.
    pub uid: String,
    /// `primary`, `co-primary`, `intermediate`, `group-member`, `non-writeable`, `semi-sync` or `takeover`.
    pub kind: String,
    /// The analysis code that it answers.
    pub analysis: String,
    /// The command of the person who asked; absent: automatic, or `recover`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The failed instance, or the one that is taken over from.
    pub failed: String,
    /// Name of the cluster when it began.
    pub cluster_name: String,
    pub cluster_alias: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection: Option<u64>,
    /// The operation that carries it out.
    pub operation: u64,
    /// `registered`, `fencing`, `choosing`, `promoting`, `repointing`, `publishing` or `closed`.
    pub phase: String,
    /// `recovered`, `failed`, `refused`, `no_longer_needed` or `cancelled`; absent: it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Who was chosen. It has taken over only if `outcome` is `recovered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// Its binary log coordinates at promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor_coordinates: Option<String>,
    /// Who was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_successor: Option<String>,
    /// Asked for by a person, past the gates.
    pub is_forced: bool,
    pub hooks_suppressed: bool,
    /// In its active period: the next automatic recovery of the cluster is held back.
    pub is_active: bool,
    /// End of that, to come or past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// Servers given up.
    pub lost: Vec<String>,
    /// Servers that took part.
    pub participating: Vec<String>,
    pub errors: Vec<String>,
    /// Who asked; absent: the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The node that opened it.
    pub node: String,
    pub started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Until its end, or until now.
    pub duration_seconds: f64,
    /// How long clients could not write, as far as it can be told: `seconds`, `at_most_seconds`, `is_write_pause`, and the
    /// moments in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub outage: Option<serde_json::Value>,
    /// Who was considered, with the reasons; of one recovery only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub choice: Option<serde_json::Value>,
    /// What every gate said; of one recovery only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub gates: Option<serde_json::Value>,
    /// The finding that it answers, as in `replication-analysis`; of one recovery only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub finding: Option<serde_json::Value>,
    /// Everything that was seen and done, in order; of one recovery only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<RecoveryEvent>>,
}

/// One line of the timeline of a recovery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryEvent {
    pub at: Timestamp,
    /// Which run of the operation, from 1; a second one took over from a lost process.
    pub run: u32,
    /// The process that did it.
    pub worker: String,
    /// `phase`, `fact`, `plan`, `choice`, `step`, `hook`, `error` or `closed`. More may be added.
    pub kind: String,
    pub text: String,
    /// The server of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of steps and hooks: `begun`, `done`, `failed`, `timed_out`, `unknown` or `detached`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// More for programs: of hooks `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<serde_json::Value>,
}

/// Which recoveries somebody has seen: one of `recovery`, `uid`, `cluster`, `instance` and `all`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgementRequest {
    /// What was found. Mandatory.
    pub comment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Name, alias, or an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The failed instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// Recoveries that were acknowledged now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcknowledgementReply {
    pub acknowledged: Vec<u64>,
}

/// A trouble that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Detection {
    pub id: u64,
    pub instance: String,
    pub analysis: String,
    pub cluster_name: String,
    pub cluster_alias: String,
    /// There is a recovery for it.
    pub is_actionable: bool,
    /// The same trouble is not registered again.
    pub is_active: bool,
    /// Replicas it had.
    pub replicas: Vec<String>,
    /// The newest recovery that it led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<u64>,
    /// The node that found it.
    pub node: String,
    pub started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
}

/// A recovery that is held back at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockedRecovery {
    pub instance: String,
    pub analysis: String,
    pub cluster_name: String,
    /// The earlier recovery that holds it back, if that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<u64>,
    /// Gate and setting that say no.
    pub reason: String,
    pub since: Timestamp,
    pub at: Timestamp,
}

/// The switch of automatic recoveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoverySwitch {
    /// Nothing is recovered by itself.
    pub is_disabled: bool,
    /// Who turned it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}
