//! What can go wrong with the queue itself (a job's own failure is a [`crate::JobError`]).

/// One variant per thing the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend is away or refused: try again later. [`Error::is_conflict`] tells the ones worth an immediate retry.
    #[error("cannot {doing}")]
    Backend {
        doing: &'static str,
        #[source]
        cause: sqlx::Error,
    },
    /// The job's payload cannot be written as JSON: a bug of the job kind.
    #[error("cannot encode the payload of a {kind} job")]
    Payload {
        kind: &'static str,
        #[source]
        cause: serde_json::Error,
    },
    /// The caller made up a key that does not fit its column.
    #[error("the {what} of a {kind} job is {length} characters long, at most {limit} are allowed")]
    TooLong { what: &'static str, kind: &'static str, length: usize, limit: usize },
    /// No such job, or not in a state where this can be done.
    #[error("job {id} {problem}")]
    NotPossible { id: u64, problem: &'static str },
    /// A bug ended a part of the worker: restart the process.
    #[error("the worker's {task} task stopped: {cause}")]
    Stopped { task: &'static str, cause: String },
}

impl Error {
    pub(crate) fn backend(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
        move |cause| Error::Backend { doing, cause }
    }

    /// A deadlock or lock wait timeout: the transaction is gone and may be tried again at once.
    pub fn is_conflict(&self) -> bool {
        match self {
            Error::Backend { cause, .. } => is_conflict(cause),
            _ => false,
        }
    }

    /// The whole chain in one line, for logs and stored errors.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// See [`Error::is_conflict`].
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    error
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .is_some_and(|error| matches!(error.number(), ER_LOCK_DEADLOCK | ER_LOCK_WAIT_TIMEOUT | ER_CHECKREAD))
}

const ER_LOCK_DEADLOCK: u16 = 1213;
const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
/// MariaDB: "record has changed since last read".
const ER_CHECKREAD: u16 = 1020;

/// An error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
