//! Values that may be absent, as pairs of value and validity.

use serde::{Deserialize, Deserializer, Serialize};

/// An integer that may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NullInt {
    pub int64: i64,
    pub valid: bool,
}

/// A flag that may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NullBool {
    pub bool: bool,
    pub valid: bool,
}

impl From<Option<i64>> for NullInt {
    fn from(value: Option<i64>) -> Self {
        Self { int64: value.unwrap_or(0), valid: value.is_some() }
    }
}

impl From<NullInt> for Option<i64> {
    fn from(value: NullInt) -> Self {
        value.valid.then_some(value.int64)
    }
}

impl From<Option<bool>> for NullBool {
    fn from(value: Option<bool>) -> Self {
        Self { bool: value.unwrap_or(false), valid: value.is_some() }
    }
}

impl From<NullBool> for Option<bool> {
    fn from(value: NullBool) -> Self {
        value.valid.then_some(value.bool)
    }
}

/// Reads `null` as the default: some servers answer it for an empty list.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
