//! The configuration in force, as `orchestrator config check` shows it. Secrets never get here: whoever fills these
//! types masks them first.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Keys, their values, and what is doubtful about them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigReport {
    /// Files it was read from, in the order of merging.
    pub files: Vec<String>,
    pub keys: Vec<ConfigKey>,
    pub findings: Vec<ConfigFinding>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigKey {
    pub name: String,
    pub section: String,
    /// Type of its value, in words.
    pub kind: String,
    /// Masked where it is a secret.
    #[schema(value_type = Object)]
    pub value: serde_json::Value,
    pub is_default: bool,
    /// `effective`, `not_yet_effective`, `unused`, ...
    pub status: String,
    /// A reload applies it without a restart.
    pub is_live: bool,
    pub meaning: String,
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingLevel {
    /// Nothing starts with it.
    Error,
    Warning,
    Info,
}

/// Something to know about a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigFinding {
    pub level: FindingLevel,
    pub key: String,
    pub message: String,
    /// The known name nearest to a misspelt one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}
