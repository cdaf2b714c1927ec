//! What can go wrong with the backend, one variant per thing the caller can do about it.

use sqlx::mysql::MySqlDatabaseError;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend is away, overloaded or read-only at the moment: try again later.
    #[error("cannot {doing}: the backend database is not available")]
    Unavailable {
        doing: &'static str,
        #[source]
        cause: sqlx::Error,
    },
    /// No answer in time: try again later.
    #[error("cannot {doing}: no answer from the backend database within {seconds} s")]
    Timeout { doing: &'static str, seconds: u64 },
    /// None of the configured addresses is usable now: try again later.
    #[error("no usable backend database: {}", .tried.join("; "))]
    NoAddress { tried: Vec<String> },
    /// The backend is of a version we do not support: use another.
    #[error("backend database at {address} is version {version}; MySQL 8.0 or MariaDB 10.6 is the oldest supported")]
    UnsupportedVersion { address: String, version: String },
    /// The login or its privileges are wrong: correct the configuration or the grants.
    #[error("cannot {doing}: the backend database denies it to the configured user")]
    Denied {
        doing: &'static str,
        #[source]
        cause: sqlx::Error,
    },
    /// One side does not accept the other's certificate, or a file cannot be used: correct the certificates or the settings.
    #[error("cannot use TLS with the backend database at {address}: {reason}")]
    Tls { address: String, reason: String },
    /// The schema is missing, damaged or of another release: see the text for the remedy.
    #[error("{0}")]
    Schema(String),
    /// There is no such thing.
    #[error("{what} not found: {name}")]
    NotFound { what: &'static str, name: String },
    /// Somebody else holds it.
    #[error("{what} is held by {holder}: {reason}")]
    Refused { what: String, holder: String, reason: String },
    /// The lease is no longer ours: stop acting as the leader.
    #[error("not the leader: term {term} of {holder} is over")]
    NotLeader { holder: String, term: u64 },
    /// A value cannot be stored: correct the input.
    #[error("cannot {doing}: {reason}")]
    Invalid { doing: &'static str, reason: String },
    /// Anything else: a bug of ours, or a backend that behaves unlike any we know.
    #[error("cannot {doing}")]
    Unexpected {
        doing: &'static str,
        #[source]
        cause: sqlx::Error,
    },
}

const ER_DUP_ENTRY: u16 = 1062;
/// Deadlock, lock wait timeout, and MariaDB's "record has changed since last read": the statement may be tried at once.
const CONFLICTS: [u16; 3] = [1213, 1205, 1020];
/// Too many connections, shutdown, host blocked, node not prepared (Galera), `--read-only`, read-only mode, read-only
/// transaction, killed, out of memory or disk, interrupted, group replication plug-in says no.
const AWAY: [u16; 16] =
    [1040, 1053, 1129, 1047, 1290, 1836, 1792, 1317, 1037, 1021, 1205, 3100, 3101, 1203, 1927, 3168];
/// Access denied in its forms.
const DENIED: [u16; 7] = [1044, 1045, 1142, 1143, 1227, 1370, 1698];
/// Unknown database, unknown table, unknown column, wrong column count.
const SCHEMA: [u16; 4] = [1049, 1146, 1054, 1136];
/// Data too long, incorrect string, out of range, incorrect datetime, null in a NOT NULL column, packet too large.
const INVALID: [u16; 7] = [1406, 1366, 1264, 1292, 1048, 1153, 3140];

impl Error {
    /// Turns an error of the driver into ours; `doing` completes "cannot ...".
    pub(crate) fn doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
        move |cause| Self::classify(doing, cause)
    }

    pub(crate) fn classify(doing: &'static str, cause: sqlx::Error) -> Self {
        match number(&cause) {
            Some(code) if CONFLICTS.contains(&code) || AWAY.contains(&code) => Self::Unavailable { doing, cause },
            Some(code) if DENIED.contains(&code) => Self::Denied { doing, cause },
            Some(code) if SCHEMA.contains(&code) => Self::Schema(format!(
                "cannot {doing}: {}; the schema is missing or of another release, run `orchestrator migrate`",
                message(&cause)
            )),
            Some(code) if INVALID.contains(&code) => Self::Invalid { doing, reason: message(&cause) },
            Some(_) => Self::Unexpected { doing, cause },
            None => match cause {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => Self::Unavailable { doing, cause },
                _ => Self::Unexpected { doing, cause },
            },
        }
    }

    /// For callers with deadlines of their own: nothing came back within `limit`.
    pub fn deadline(doing: &'static str, limit: std::time::Duration) -> Self {
        Self::Timeout { doing, seconds: limit.as_secs() }
    }

    /// Waiting and trying again can help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Timeout { .. } | Self::NoAddress { .. })
    }

    /// A deadlock or lock wait: the transaction is gone and may be tried again at once.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Unavailable { cause, .. } if number(cause).is_some_and(|code| CONFLICTS.contains(&code)))
    }

    pub(crate) fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound { what, name: name.to_string() }
    }

    /// The error and its causes in one line, for logs.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and its causes in one line, for logs. Some errors repeat their cause in their own text: it is said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// The server's error number, if the server answered.
pub(crate) fn number(error: &sqlx::Error) -> Option<u16> {
    match error {
        sqlx::Error::Database(error) => error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number),
        _ => None,
    }
}

pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    number(error) == Some(ER_DUP_ENTRY)
}

fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}
