//! What can go wrong, one variant per thing the person can do about it.

/// Why a request was not met.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing: ask for another.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else holds it: ask them, or wait.
    #[error("{what} is held by {holder}: {reason}")]
    Refused {
        /// What is held.
        what: String,
        /// By whom.
        holder: String,
        /// Why.
        reason: String,
    },
    /// It is not in a state where this can be done.
    #[error("{0}")]
    NotPossible(String),
    /// The request makes no sense as it is: correct it.
    #[error("{0}")]
    Invalid(String),
    /// Nobody works: start a worker.
    #[error(
        "no live worker serves lane {lane}: start one with `orchestrator worker`, or `orchestrator http` without --no-worker"
    )]
    NoWorker {
        /// The lane a job would wait in.
        lane: String,
    },
    /// The job ran and failed; the text says why.
    #[error("{text}")]
    JobFailed {
        /// Its number.
        job: u64,
        /// Why.
        text: String,
    },
    /// The job has not ended in time: look at it later.
    #[error("job {job} did not end within {seconds} s; `orchestrator jobs show {job}` tells how it goes")]
    Timeout {
        /// Its number.
        job: u64,
        /// How long we waited.
        seconds: u64,
    },
    /// The operation has not ended in time, and goes on: look at it later.
    #[error(
        "operation {operation} has not ended within {seconds} s and goes on: `orchestrator operations show {operation}` tells \
         how, `orchestrator operations cancel {operation}` ends it"
    )]
    Pending {
        /// Its number.
        operation: u64,
        /// How long we waited.
        seconds: u64,
    },
    /// The backend does not answer now: try again later.
    #[error("{text}")]
    Unavailable {
        /// What could not be done.
        text: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The backend answers in a way that repeating will not change: see the log.
    #[error("{text}")]
    Backend {
        /// What could not be done.
        text: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn unreachable(cause: sqlx::Error) -> Self {
        let text = "the backend database is not available".to_owned();
        let cause = store::Error::Unavailable { doing: "reach the backend", cause };
        Self::Unavailable { text, cause: Box::new(cause) }
    }

    /// A deadlock or lock wait: the transaction is gone and may be tried again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        let Self::Unavailable { cause, .. } = self else { return false };
        cause.downcast_ref::<store::Error>().is_some_and(store::Error::is_conflict)
            || cause.downcast_ref::<queue::Error>().is_some_and(queue::Error::is_conflict)
    }

    pub(crate) fn invalid(cause: impl std::fmt::Display) -> Self {
        Self::Invalid(cause.to_string())
    }

    /// The error and its causes in one line, for logs.
    pub fn chain(&self) -> String {
        crate::chain(self)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let text = error.to_string();
        match error {
            store::Error::NotFound { .. } => Self::NotFound(text),
            store::Error::Refused { what, holder, reason } => Self::Refused { what, holder, reason },
            store::Error::Invalid { .. } => Self::Invalid(text),
            store::Error::NotLeader { .. } => Self::NotPossible(text),
            store::Error::Unavailable { .. } | store::Error::Timeout { .. } | store::Error::NoAddress { .. } => {
                Self::Unavailable { text, cause: Box::new(error) }
            }
            store::Error::UnsupportedVersion { .. }
            | store::Error::Denied { .. }
            | store::Error::Tls { .. }
            | store::Error::Schema(_)
            | store::Error::Unexpected { .. } => Self::Backend { text, cause: Box::new(error) },
        }
    }
}

impl From<queue::Error> for Error {
    fn from(error: queue::Error) -> Self {
        let text = error.to_string();
        match error {
            queue::Error::NotPossible { .. } => Self::NotPossible(text),
            queue::Error::TooLong { .. } => Self::Invalid(text),
            queue::Error::Backend { .. } => Self::Unavailable { text, cause: Box::new(error) },
            queue::Error::Payload { .. } | queue::Error::Stopped { .. } => {
                Self::Backend { text, cause: Box::new(error) }
            }
        }
    }
}
