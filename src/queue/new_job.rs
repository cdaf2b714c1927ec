//! A job on its way into the queue: the payload, and what the submitter wants done with it.

use std::time::Duration;

use crate::lane::Lane;
use crate::{Error, Job, Queue};

/// Length of `unique_key` and `submitted_by` in characters.
const MAX_KEY_CHARS: usize = 255;
/// Order within a lane unless the caller says otherwise; lower runs first.
const DEFAULT_PRIORITY: u16 = 100;

/// A job about to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub(crate) kind: &'static str,
    pub(crate) lane: Lane,
    pub(crate) priority: u16,
    pub(crate) unique_key: Option<String>,
    pub(crate) hint: Option<(String, Duration)>,
    pub(crate) payload: String,
    pub(crate) max_attempts: u32,
    pub(crate) timeout_ms: u32,
    pub(crate) wants_outcome: bool,
    pub(crate) submitted_by: String,
    pub(crate) term: Option<u64>,
    pub(crate) delay: Duration,
}

impl NewJob {
    pub fn of<J: Job>(job: &J) -> Result<Self, Error> {
        let payload = serde_json::to_string(job).map_err(|cause| Error::Payload { kind: J::KIND, cause })?;
        let unique_key = job.unique_key().map(stored_key);
        if let Some(length) =
            unique_key.as_ref().map(|key| key.chars().count()).filter(|length| *length > MAX_KEY_CHARS)
        {
            return Err(Error::TooLong { what: "unique key", kind: J::KIND, length, limit: MAX_KEY_CHARS });
        }
        Ok(Self {
            kind: J::KIND,
            lane: Lane::new(J::LIMITS.queue, ""),
            priority: DEFAULT_PRIORITY,
            unique_key,
            hint: None,
            payload,
            max_attempts: J::LIMITS.attempts.max(1),
            timeout_ms: u32::try_from(J::LIMITS.timeout.as_millis()).unwrap_or(u32::MAX),
            wants_outcome: false,
            submitted_by: String::new(),
            term: None,
            delay: Duration::ZERO,
        })
    }

    /// Runs in that datacenter's lane; without one, anywhere.
    #[must_use]
    pub fn datacenter(mut self, datacenter: &str) -> Self {
        self.lane = Lane::new(self.lane.queue, datacenter);
        self
    }

    /// Another queue than the kind's own, e.g. an urgent probe.
    #[must_use]
    pub fn queue(mut self, queue: Queue) -> Self {
        self.lane.queue = queue;
        self
    }

    /// Order within the lane, lower first; 100 unless set.
    #[must_use]
    pub fn priority(mut self, priority: u16) -> Self {
        self.priority = priority;
        self
    }

    /// Becomes ready after that time.
    #[must_use]
    pub fn run_in(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Kept for that worker for `patience` after becoming ready, then anyone's.
    #[must_use]
    pub fn worker_hint(mut self, token: &str, patience: Duration) -> Self {
        self.hint = Some((token.to_owned(), patience));
        self
    }

    /// Who asked for it, for people; cut to 255 characters.
    #[must_use]
    pub fn submitted_by(mut self, who: &str) -> Self {
        self.submitted_by = who.chars().take(MAX_KEY_CHARS).collect();
        self
    }

    /// Somebody will await the result: keep it also when the job succeeds.
    #[must_use]
    pub fn wants_outcome(mut self) -> Self {
        self.wants_outcome = true;
        self
    }

    /// The lease term under which a leader enqueues this.
    #[must_use]
    pub fn term(mut self, term: u64) -> Self {
        self.term = Some(term);
        self
    }

    /// Overrides the unique key of the payload.
    #[must_use]
    pub fn unique_key(mut self, key: &str) -> Self {
        self.unique_key = Some(stored_key(key.chars().take(MAX_KEY_CHARS).collect()));
        self
    }

    pub(crate) fn is_delayed(&self) -> bool {
        !self.delay.is_zero()
    }
}

/// The backend's collation ignores trailing spaces, so we do.
fn stored_key(key: String) -> String {
    key.trim_end_matches(' ').to_owned()
}
