//! The frame around most replies.

use serde::{Deserialize, Serialize};

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Code {
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "ERROR")]
    Error,
}

/// `{"Code": ..., "Message": ..., "Details": ...}`; all three are always there.
///
/// Generic over its details, because going through a JSON map would lose the order of their fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Envelope<T = ()> {
    pub code: Code,
    pub message: String,
    pub details: T,
}

impl<T> Envelope<T> {
    /// Success, with details.
    pub fn ok(message: impl Into<String>, details: T) -> Self {
        Self { code: Code::Ok, message: message.into(), details }
    }

    /// Failure that still carries details, as the health replies do.
    pub fn error_with(message: impl Into<String>, details: T) -> Self {
        Self { code: Code::Error, message: message.into(), details }
    }

    /// True for success.
    pub fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }

    /// The same with a prefix before the message (`PrependMessagesWithOrcIdentity`).
    #[must_use]
    pub fn said_by(self, identity: &str) -> Self {
        if identity.is_empty() {
            return self;
        }
        Self { message: format!("Orchestrator {identity} says: {}", self.message), ..self }
    }
}

impl Envelope<()> {
    /// Success without details (`null`).
    pub fn done(message: impl Into<String>) -> Self {
        Self::ok(message, ())
    }

    /// Failure; details are `null`.
    pub fn error(message: impl Into<String>) -> Self {
        Self::error_with(message, ())
    }
}
