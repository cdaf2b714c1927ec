//! Errors, as in RFC 9457.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, for programs (`type`, `status`) and for people (`title`, `detail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem; stable, safe to match on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words, always the same for one kind.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// This very case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The path of the request it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl Problem {
    /// The media type of a problem.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem of a kind; `kind` is the last part of its type, such as `not-found`.
    pub fn new(status: u16, kind: &str, title: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:orchestrator:problem:{kind}"),
            title: title.into(),
            status,
            detail: None,
            instance: None,
        }
    }

    /// With what happened in this case. The text goes to the client: no secret may be in it.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// With the path of the request.
    #[must_use]
    pub fn at(self, path: impl Into<String>) -> Self {
        Self { instance: Some(path.into()), ..self }
    }
}
