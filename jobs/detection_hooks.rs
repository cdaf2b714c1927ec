//! Runs `OnFailureDetectionProcesses` for one detection. What that means for a recovery is read from the records of the
//! hooks by the leader: none open and none failed.
//!
//! Safe to run twice: an entry begins at most once per detection, whoever runs it.

use std::sync::Arc;
use std::time::Duration;

use integrations::hooks::HookFacts;
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::detections::Detection;
use store::hook_runs::HookOwner;

use crate::Context;
use crate::hooks::{self, Caller, List, Listed, run_list};

/// Hooks of one detection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectionHooks {
    /// Its number in the table of detections.
    pub detection: u64,
}

impl DetectionHooks {
    /// Of this detection.
    pub fn new(detection: u64) -> Self {
        Self { detection }
    }
}

impl Job for DetectionHooks {
    type Context = Context;
    const KIND: &'static str = "detection_hooks";
    // Hooks have a limit of their own. A recovery waits for them.
    const LIMITS: Limits = Limits {
        queue: Queue::Recovery,
        timeout: Duration::from_secs(3_600),
        attempts: 5,
        backoff: Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) },
    };

    fn unique_key(&self) -> Option<String> {
        Some(format!("detection-hooks:{}", self.detection))
    }

    async fn run(self, ctx: Arc<Context>, attempt: Attempt) -> Result<Value, JobError> {
        let found = store::detections::read(&ctx.pool, self.detection).await.map_err(JobError::retry)?;
        let found = found.ok_or_else(|| JobError::give_up(format!("there is no detection {}", self.detection)))?;
        let marked = store::hook_runs::mark_unknown_of_others(&ctx.pool, self.detection, &attempt.worker).await;
        marked.map_err(JobError::retry)?;
        let config = ctx.config.get();
        let caller = Caller {
            pool: &ctx.pool,
            settings: &config.settings,
            owner: HookOwner::Detection(self.detection),
            run: None,
            worker: &attempt.worker,
        };
        let facts = facts(&found);
        let listed = run_list(caller, List::OnFailureDetection, &facts, |told| {
            tracing::info!(detection.id = self.detection, "{}", told.text);
        });
        Ok(match listed.await? {
            Listed::Passed | Listed::NotOurs => json!({ "passed": true }),
            Listed::Stopped(reason) => json!({ "passed": false, "reason": reason }),
        })
    }
}

fn facts(found: &Detection) -> HookFacts {
    HookFacts {
        failure_type: found.code.clone(),
        failed: found.key.clone(),
        failure_cluster: found.cluster_name.clone(),
        failure_cluster_alias: found.cluster_alias.clone(),
        orchestrator_host: found.node.clone(),
        ..hooks::facts_of(&found.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_a_wire_format() {
        let job = DetectionHooks::new(7);
        assert_eq!(serde_json::to_string(&job).unwrap(), r#"{"detection":7}"#);
        assert_eq!(job.unique_key().unwrap(), "detection-hooks:7");
    }
}
