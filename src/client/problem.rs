//! Why a command failed.

/// One variant per thing that can be done about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// It was asked in a way that makes no sense: ask otherwise.
    #[error("{0}")]
    Usage(String),
    /// The service understood, and refused or failed.
    #[error("{message}")]
    Refused {
        message: String,
        /// What it said besides, as JSON; `None` for nothing.
        details: Option<String>,
        /// All that it said.
        body: String,
    },
    /// There is no answer, or none that makes sense: look at the service, or at what is between.
    #[error("{0}")]
    Unanswered(String),
}

impl Problem {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// A value that a command needs was not given.
    pub(crate) fn missing(what: &str) -> Self {
        Self::Usage(format!("{what} must be provided"))
    }
}
