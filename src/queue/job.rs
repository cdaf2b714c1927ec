//! What a job is: its trait, its limits, one attempt at it, and how it fails.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::Queue;
use crate::error::chain;

/// One kind of background work. The value itself is the payload: a wire format of identifiers, not of copied rows.
///
/// A job may run twice, or late, and must do no harm: its module comment says why it does none.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The handles that `run` needs; one type for all kinds of a [`crate::Registry`].
    type Context: Send + Sync + 'static;
    /// Stored in rows, at most 64 ASCII characters: never derived from a type name.
    const KIND: &'static str;
    const LIMITS: Limits;

    /// At most one waiting job has this key (at most 255 characters). `None`: as many as are enqueued.
    fn unique_key(&self) -> Option<String> {
        None
    }

    /// Does the work. `Ok` is kept as the job's output when somebody awaits it.
    fn run(
        self,
        ctx: Arc<Self::Context>,
        attempt: Attempt,
    ) -> impl Future<Output = Result<serde_json::Value, JobError>> + Send;
}

/// The bounds of one kind. Queue, timeout and attempts are frozen into the row when a job is enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub queue: Queue,
    /// Longest run; the future is dropped afterwards and the attempt counts as failed and retryable.
    pub timeout: Duration,
    /// Failed attempts after which the job is parked. 1: never retried. A timeout and a panic are failures worth another attempt.
    pub attempts: u32,
    pub backoff: Backoff,
}

/// Exponential delay between attempts, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// Starts where a restart of a server or a short cut is over, ends where a person has looked.
    pub const DEFAULT: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(300) };

    /// The delay after the `failures`-th failure, counted from 1: doubling, plus up to as much again of jitter, capped.
    pub fn delay(self, failures: u32) -> Duration {
        backon::ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .without_max_times()
            // Without `std`, backon starts every sequence of jitter at the same place.
            .with_jitter_seed(rand::random())
            .with_jitter()
            .build()
            // Far beyond any cap: 2^32 times the first delay.
            .nth(failures.saturating_sub(1).min(32) as usize)
            .unwrap_or(self.longest)
            .min(self.longest.saturating_mul(2))
    }
}

/// One run of a job, as the job sees it.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub job_id: u64,
    /// Counted from 1. Rescues and releases do not count.
    pub number: u32,
    /// Failed attempts allowed; `number == max_attempts` means this is the last one.
    pub max_attempts: u32,
    /// Times the job was taken back from a dead worker before this attempt.
    pub rescues: u32,
    /// Fires when an operator cancels the job, when this worker must stop, and when the worker could not renew its own
    /// heartbeat in time, so that others may be running the job by now. Stop at the next safe point.
    pub cancelled: CancellationToken,
    pub submitted_by: String,
    /// Lease term of the leader that enqueued the job, if one did.
    pub enqueued_term: Option<u64>,
    /// Name of the worker that runs this, for records.
    pub worker: String,
}

impl Attempt {
    /// An attempt outside any queue: for tests of `run` and for tools that run a job in place.
    pub fn detached() -> Self {
        Self {
            job_id: 0,
            number: 1,
            max_attempts: 1,
            rescues: 0,
            cancelled: CancellationToken::new(),
            submitted_by: String::new(),
            enqueued_term: None,
            worker: String::new(),
        }
    }
}

/// Why an attempt failed. The author chooses; nothing retries by accident.
#[derive(Debug)]
pub struct JobError {
    retry: bool,
    text: String,
}

impl JobError {
    /// Worth another attempt, within the kind's limits. Takes errors, `anyhow::Error` and plain text alike.
    pub fn retry(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { retry: true, text: chain(&*error.into()) }
    }

    /// Pointless or dangerous to repeat: parked as failed at once.
    pub fn give_up(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { retry: false, text: chain(&*error.into()) }
    }

    pub fn is_retryable(&self) -> bool {
        self.retry
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for JobError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_jitter_and_stay_under_the_cap() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(2) };
        for (failures, low) in [(1, 100), (2, 200), (3, 400), (6, 2000), (u32::MAX, 2000)] {
            let delay = backoff.delay(failures);
            assert!(delay >= Duration::from_millis(low), "{failures}: {delay:?}");
            assert!(delay <= Duration::from_millis(low * 2), "{failures}: {delay:?}");
        }
        assert!((0..20).map(|_| backoff.delay(3)).collect::<std::collections::HashSet<_>>().len() > 1);
    }

    #[test]
    fn job_errors_carry_their_chain_once() {
        let inner = std::io::Error::other("connection reset");
        let error = JobError::retry(crate::Error::Backend { doing: "read", cause: sqlx::Error::Io(inner) });
        assert!(error.is_retryable());
        assert_eq!(error.to_string().matches("connection reset").count(), 1, "{error}");
        assert!(!JobError::give_up("no").is_retryable());
    }
}
