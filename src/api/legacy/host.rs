//! Facts about host names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The cache of resolved names, by the name asked.
pub type ResolveCache = BTreeMap<String, ResolveEntry>;

/// What a name was resolved to, and until when that holds (Unix time in nanoseconds).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResolveEntry {
    pub object: String,
    pub expiration: i64,
}

/// A free attribute of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostAttributes {
    pub hostname: String,
    pub attribute_name: String,
    pub attribute_value: String,
    pub submit_timestamp: String,
    pub expire_timestamp: String,
}
