//! Says once that something stopped working and once that it works again, instead of once per try.

use std::fmt::Display;
use std::time::Instant;

/// Reporter for one loop.
#[derive(Debug)]
pub(crate) struct Reporter {
    what: &'static str,
    failing_since: Option<Instant>,
}

impl Reporter {
    /// `what` names the loop in the log.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, failing_since: None }
    }

    /// A try worked.
    pub(crate) fn worked(&mut self) {
        if let Some(since) = self.failing_since.take() {
            tracing::info!(outage_seconds = since.elapsed().as_secs(), "{} works again", self.what);
        }
    }

    /// A try failed.
    pub(crate) fn failed(&mut self, error: &dyn Display) {
        if self.failing_since.is_none() {
            self.failing_since = Some(Instant::now());
            tracing::warn!(error = %error, "{} fails; trying on", self.what);
        } else {
            tracing::debug!(error = %error, "{} still fails", self.what);
        }
    }
}
