//! What was done, by whom.

use serde::{Deserialize, Serialize};

use super::Key;

/// One audited act.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Audit {
    pub audit_id: u64,
    /// `YYYY-MM-DD HH:MM:SS`, see [`crate::clock::backend_text`].
    pub audit_timestamp: String,
    pub audit_type: String,
    pub audit_instance_key: Key,
    pub message: String,
}
