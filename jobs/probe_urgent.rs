//! Asks the servers of a suspicion at once, and again until it is settled: which of them are gone, and whether the others
//! still hear those.
//!
//! The leader enqueues it when a primary (or an intermediate source) looks dead. Safe to run twice or late, for the reason
//! [`crate::ProbeShard`] is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::instance::InstanceKey;
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};

use crate::{Context, rounds};

/// How long it goes on while the suspicion stays open; the leader asks for another when it still wants to know.
const AT_MOST: Duration = Duration::from_secs(2);

/// A look at all who can tell whether something is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeUrgent {
    /// Which cluster: at most one look per cluster waits.
    pub cluster: String,
    /// The suspect, and its replicas. Those that are known to be below others may be left out.
    pub keys: Vec<InstanceKey>,
}

impl ProbeUrgent {
    /// A look at these servers of a cluster.
    pub fn new(cluster: impl Into<String>, keys: impl IntoIterator<Item = InstanceKey>) -> Self {
        Self { cluster: cluster.into(), keys: keys.into_iter().collect() }
    }
}

impl Job for ProbeUrgent {
    type Context = Context;
    const KIND: &'static str = "probe_urgent";
    // The leader's next look is the retry. Rounds end by themselves after two seconds; the rest is for the backend.
    const LIMITS: Limits =
        Limits { queue: Queue::Urgent, timeout: Duration::from_secs(5), attempts: 1, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        // The queue keeps 255 characters.
        Some(format!("urgent:{}", self.cluster).chars().take(255).collect())
    }

    async fn run(self, ctx: Arc<Context>, attempt: Attempt) -> Result<serde_json::Value, JobError> {
        let keys: BTreeSet<InstanceKey> = self.keys.into_iter().filter(InstanceKey::is_valid).collect();
        let report = tokio::select! {
            report = rounds::ask(&ctx, &keys, AT_MOST) => report,
            () = attempt.cancelled.cancelled() => return Err(JobError::give_up("cancelled; the leader looks again")),
        };
        serde_json::to_value(report?).map_err(JobError::give_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_a_wire_format() {
        let job = ProbeUrgent::new("a:3306", [InstanceKey::new("a", 3306), InstanceKey::new("b", 3307)]);
        let text = r#"{"cluster":"a:3306","keys":[{"hostname":"a","port":3306},{"hostname":"b","port":3307}]}"#;
        assert_eq!(serde_json::to_string(&job).unwrap(), text);
        assert_eq!(serde_json::from_str::<ProbeUrgent>(text).unwrap(), job);
        assert_eq!(job.unique_key().unwrap(), "urgent:a:3306");
        assert!(ProbeUrgent::new("ü".repeat(400), []).unique_key().unwrap().chars().count() <= 255);
    }
}
