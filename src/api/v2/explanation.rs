//! Why a cluster would, or would not, be recovered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A cluster as it is, and as it would be without its primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    pub cluster: String,
    /// Equal to the name where none is known.
    pub alias: String,
    /// `host:port`; absent: none is known.
    pub primary: Option<String>,
    /// What is wrong now; empty: nothing.
    pub present: Vec<ExplanationCase>,
    /// What would follow if the primary died this moment; absent: no primary is known.
    pub if_primary_died: Option<ExplanationCase>,
}

/// One failure, seen or supposed, and what every gate says about recovering from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationCase {
    /// `host:port` of the failed server.
    pub instance: String,
    /// Code of the analysis.
    pub analysis: String,
    pub description: String,
    /// What the analysis rests on.
    pub evidence: String,
    /// Every gate is open: a recovery begins by itself.
    pub acts: bool,
    /// In the order in which they are asked.
    pub gates: Vec<GateVerdict>,
    /// Who would be promoted.
    pub successor: Option<String>,
    /// Everybody considered, best first.
    pub candidates: Vec<Candidate>,
}

/// What one gate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateVerdict {
    pub gate: String,
    pub open: bool,
    /// Why, naming the fact.
    pub reason: String,
    /// Configuration key or command that decides; empty: none.
    pub setting: String,
}

/// A server that was considered for promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    pub instance: String,
    /// `chosen`, `eligible`, `rejected`.
    pub verdict: String,
    /// Why chosen, or rejected.
    pub reason: String,
    /// What it was ranked by, in order of importance.
    pub rank: String,
}
