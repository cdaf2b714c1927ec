//! What is wrong with replication, and what that rests on.

use domain::analysis::{self, Finding, Handler, Reach, Testimony};
use domain::instance::DbMicros;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// What a replica says about its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaWord {
    /// Its receiver runs.
    Hears,
    /// It was turned away by the source, which therefore is alive.
    Refused,
    /// Its receiver does not run.
    Lost,
    /// It was last asked before the source fell silent: no evidence.
    Outdated,
    /// It cannot be asked.
    Unreachable,
    /// Nobody asked it lately.
    Unknown,
}

/// What checks say about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckWord {
    /// The last check brought facts.
    Answers,
    /// The last check failed as only a living server can make it fail.
    Refuses,
    /// The last check failed without a sign of life.
    Silent,
    /// Nobody checked it lately, or it never answered.
    Unknown,
}

/// What is done about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnalysisAction {
    RecoverPrimary,
    RecoverCoPrimary,
    RecoverIntermediateSource,
    RecoverGroupMember,
    MakeWritable,
    SetSemiSync,
    /// A detection is stored and its hooks run.
    Notify,
    Nothing,
}

/// One replica of an analysed instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnalysedReplica {
    /// `host:port`.
    pub key: String,
    pub says: ReplicaWord,
}

/// A warning about how the cluster is built, or about what is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnalysisWarning {
    pub code: String,
    pub description: String,
}

/// What analysis found about one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Analysis {
    /// `host:port`.
    pub instance: String,
    pub cluster_name: String,
    /// Equal to the name where none is known.
    pub cluster_alias: String,
    /// `master`, `co-master`, `group-member` or `intermediate-master`, as in hooks.
    pub instance_type: String,
    /// `NoProblem` where only warnings are given.
    pub code: String,
    pub description: String,
    /// What would be done about it, if every gate agrees.
    pub action: AnalysisAction,
    pub warnings: Vec<AnalysisWarning>,
    pub check: CheckWord,
    /// Since when it gives no sign of life; absent: it gives some, or nothing is known.
    pub silent_since: Option<Timestamp>,
    pub last_error: String,
    pub replicas: Vec<AnalysedReplica>,
    /// What the code rests on, in one sentence.
    pub evidence: String,
    /// It, or everybody it is about, is in downtime: nothing is done by itself.
    pub is_downtimed: bool,
    pub downtime_ends_at: Option<Timestamp>,
}

impl Analysis {
    /// A finding; `cluster_alias` empty where none is known.
    pub fn new(finding: &Finding, cluster_alias: &str, now: DbMicros) -> Self {
        let alias = if cluster_alias.is_empty() { &finding.cluster_name } else { cluster_alias };
        let warning = |code: &analysis::Code| AnalysisWarning {
            code: code.name().to_owned(),
            description: code.description().to_owned(),
        };
        let replicas = finding.replicas.iter().zip(&finding.testimonies);
        Self {
            instance: finding.key.to_string(),
            cluster_name: finding.cluster_name.clone(),
            cluster_alias: alias.to_owned(),
            instance_type: analysis::instance_type(finding).to_owned(),
            code: finding.code.name().to_owned(),
            description: finding.code.description().to_owned(),
            action: finding.code.handler().into(),
            warnings: finding.structure.iter().map(warning).collect(),
            check: finding.reach.into(),
            silent_since: finding.silent_since.map(Timestamp),
            last_error: finding.last_error.clone(),
            replicas: replicas
                .map(|(key, says)| AnalysedReplica { key: key.to_string(), says: (*says).into() })
                .collect(),
            evidence: finding.evidence(now),
            is_downtimed: finding.skippable_due_to_downtime,
            downtime_ends_at: finding.downtime.as_ref().map(|downtime| Timestamp(downtime.ends_at)),
        }
    }
}

impl From<Testimony> for ReplicaWord {
    fn from(testimony: Testimony) -> Self {
        match testimony {
            Testimony::Hears => Self::Hears,
            Testimony::Refused => Self::Refused,
            Testimony::Lost => Self::Lost,
            Testimony::Outdated => Self::Outdated,
            Testimony::Unreachable => Self::Unreachable,
            Testimony::Unknown => Self::Unknown,
        }
    }
}

impl From<Reach> for CheckWord {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Answers => Self::Answers,
            Reach::Refuses => Self::Refuses,
            Reach::Silent => Self::Silent,
            Reach::Unknown => Self::Unknown,
        }
    }
}

impl From<Handler> for AnalysisAction {
    fn from(handler: Handler) -> Self {
        match handler {
            Handler::DeadPrimary => Self::RecoverPrimary,
            Handler::DeadCoPrimary => Self::RecoverCoPrimary,
            Handler::DeadIntermediate => Self::RecoverIntermediateSource,
            Handler::DeadGroupMember => Self::RecoverGroupMember,
            Handler::NonWriteable => Self::MakeWritable,
            Handler::SemiSync => Self::SetSemiSync,
            Handler::NotifyOnly => Self::Notify,
            Handler::Nothing => Self::Nothing,
        }
    }
}
