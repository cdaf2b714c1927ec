//! Terms of leadership, past and present.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// One term: who led, from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Term {
    pub term: u64,
    /// Token of the node that led.
    pub holder: String,
    /// Its name.
    pub holder_name: String,
    pub acquired_at: Timestamp,
    /// Its last act as leader; known once the term is over.
    pub last_acted_at: Option<Timestamp>,
    /// `null`: it lasts.
    pub ended_at: Option<Timestamp>,
    /// `released`, `expired`, `taken`; empty while it lasts.
    pub end_reason: String,
}
