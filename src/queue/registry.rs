//! Which code runs which kind.

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Attempt, Backoff, Job, JobError};

pub(crate) type JobFuture = Pin<Box<dyn Future<Output = Result<serde_json::Value, JobError>> + Send>>;
type Start<C> = fn(&str, Arc<C>, Attempt) -> Result<JobFuture, serde_json::Error>;

/// How to start one kind, and what to do when it fails.
pub(crate) struct Kind<C> {
    start: Start<C>,
    pub(crate) backoff: Backoff,
}

impl<C> Kind<C> {
    /// Decodes the payload and makes the future; an error means the payload is corrupt.
    pub(crate) fn start(&self, payload: &str, ctx: Arc<C>, attempt: Attempt) -> Result<JobFuture, serde_json::Error> {
        (self.start)(payload, ctx, attempt)
    }
}

/// The kinds a worker can run. A job of any other kind is parked as failed.
pub struct Registry<C> {
    kinds: BTreeMap<&'static str, Kind<C>>,
}

impl<C: Send + Sync + 'static> Registry<C> {
    pub fn new() -> Self {
        Self { kinds: BTreeMap::new() }
    }

    /// Adds a kind.
    ///
    /// # Panics
    /// When two kinds have one name: a bug found by the first start of any worker.
    #[must_use]
    pub fn with<J: Job<Context = C>>(mut self) -> Self {
        let kind = Kind { start: start::<J>, backoff: J::LIMITS.backoff };
        assert!(
            self.kinds.insert(J::KIND, kind).is_none(),
            "two job kinds are called {}, one is {}",
            J::KIND,
            type_name::<J>()
        );
        self
    }

    /// Names of all kinds, sorted.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.kinds.keys().copied()
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Kind<C>> {
        self.kinds.get(kind)
    }
}

impl<C: Send + Sync + 'static> Default for Registry<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for Registry<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}

fn start<J: Job>(payload: &str, ctx: Arc<J::Context>, attempt: Attempt) -> Result<JobFuture, serde_json::Error> {
    let job: J = serde_json::from_str(payload)?;
    Ok(Box::pin(job.run(ctx, attempt)))
}
