//! The name of an instance.

use domain::instance::InstanceKey;
use serde::{Deserialize, Serialize};

/// `{"Hostname": "db1", "Port": 3306}`; empty host and port 0 mean "none".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Key {
    pub hostname: String,
    pub port: u16,
}

impl From<&InstanceKey> for Key {
    fn from(key: &InstanceKey) -> Self {
        Self { hostname: key.hostname.clone(), port: key.port }
    }
}

impl From<&Key> for InstanceKey {
    fn from(key: &Key) -> Self {
        Self::new(key.hostname.clone(), key.port)
    }
}

impl Key {
    /// A list of keys in the order given; sets come sorted by host, then port.
    pub fn list<'a>(keys: impl IntoIterator<Item = &'a InstanceKey>) -> Vec<Self> {
        keys.into_iter().map(Self::from).collect()
    }

    /// The key, or the empty key for "none".
    pub fn or_none(key: Option<&InstanceKey>) -> Self {
        key.map(Self::from).unwrap_or_default()
    }
}
