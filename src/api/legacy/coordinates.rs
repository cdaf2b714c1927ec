//! Places in binary and relay logs.

use domain::instance::BinlogCoordinates;
use serde::{Deserialize, Serialize};

use super::Key;

const BINARY_LOG: u8 = 0;
const RELAY_LOG: u8 = 1;

/// A place in a log; `Type` is 0 for a binary log and 1 for a relay log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Coordinates {
    pub log_file: String,
    pub log_pos: u64,
    #[serde(rename = "Type")]
    pub log_type: u8,
}

impl Coordinates {
    /// A place in a binary log.
    pub fn binary(at: &BinlogCoordinates) -> Self {
        Self { log_file: at.file.clone(), log_pos: at.position, log_type: BINARY_LOG }
    }

    /// A place in a relay log.
    pub fn relay(at: &BinlogCoordinates) -> Self {
        Self { log_file: at.file.clone(), log_pos: at.position, log_type: RELAY_LOG }
    }
}

/// A place in the log of a certain instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InstanceBinlogCoordinates {
    pub key: Key,
    pub coordinates: Coordinates,
}
