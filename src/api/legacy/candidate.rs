//! Registered promotion rules.

use domain::instance::{DbMicros, InstanceKey};
use domain::promotion::PromotionRule;
use serde::{Deserialize, Serialize};

use crate::clock::backend_text;

/// One registered promotion rule and when it expires; empty: never.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CandidateDatabaseInstance {
    pub hostname: String,
    pub port: u16,
    pub promotion_rule: String,
    pub last_suggested_string: String,
    pub promotion_rule_expiry: String,
}

impl CandidateDatabaseInstance {
    /// From its parts.
    pub fn new(key: &InstanceKey, rule: PromotionRule, suggested_at: DbMicros, expires_at: Option<DbMicros>) -> Self {
        Self {
            hostname: key.hostname.clone(),
            port: key.port,
            promotion_rule: rule.name().to_owned(),
            last_suggested_string: backend_text(Some(suggested_at)),
            promotion_rule_expiry: backend_text(expires_at),
        }
    }
}
