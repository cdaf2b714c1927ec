//! Maintenance: "I am acting on this".

use domain::instance::{DbMicros, InstanceKey};
use serde::{Deserialize, Serialize};

use super::Key;
use crate::clock::backend_text;

/// One maintenance that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Maintenance {
    pub maintenance_id: u64,
    pub key: Key,
    pub begin_timestamp: String,
    pub seconds_elapsed: u64,
    pub is_active: bool,
    pub owner: String,
    pub reason: String,
}

impl Maintenance {
    /// One that is active now.
    pub fn active(id: u64, key: &InstanceKey, owner: &str, reason: &str, begins_at: DbMicros, now: DbMicros) -> Self {
        Self {
            maintenance_id: id,
            key: Key::from(key),
            begin_timestamp: backend_text(Some(begins_at)),
            seconds_elapsed: u64::try_from(now.saturating_sub(begins_at) / 1_000_000).unwrap_or(0),
            is_active: true,
            owner: owner.to_owned(),
            reason: reason.to_owned(),
        }
    }
}
