//! Pools.

use std::collections::BTreeMap;

use super::Key;

/// `{"pool1": [Key, ...], ...}`, sorted by pool name.
pub type PoolMap = BTreeMap<String, Vec<Key>>;
