//! Runs `OnFailureDetectionProcesses` for one detection. What that means for a recovery is read from the records of the
//! hooks by the leader: none open and none failed.
//!
//! Safe to run twice: an entry begins at most once per detection, whoever runs it. While one job runs a list, others leave it
//! alone: they cannot tell a hook that takes its time from one whose worker was lost. A lost worker's job is soon given to
//! another, and its claim is gone by then; so what is begun while nobody else has a claim was begun by the lost.

use std::sync::Arc;
use std::time::Duration;

use integrations::hooks::HookFacts;
use queue::{Attempt, Backoff, Filter, Job, JobError, Limits, Queue, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::detections::Detection;
use store::hook_runs::HookOwner;

use crate::Context;
use crate::hooks::{self, Caller, List, Listed, run_list};

/// More failures are not handled at once.
const CLAIMED_AT_MOST: u32 = 10_000;

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
        if self.is_run_by_another(&ctx, attempt.job_id).await? {
            return Ok(json!({ "passed": false, "reason": "another job runs them" }));
        }
        store::hook_runs::mark_unknown_of_detection(&ctx.pool, self.detection).await.map_err(JobError::retry)?;
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

impl DetectionHooks {
    /// Another job of this detection is claimed. (Two that see each other both give up: the leader asks again.)
    async fn is_run_by_another(&self, ctx: &Context, own: u64) -> Result<bool, JobError> {
        let filter = Filter { state: Some(State::Claimed), kind: Some(Self::KIND.to_owned()), lane: None };
        let mut conn = ctx.pool.acquire().await.map_err(JobError::retry)?;
        let claimed = queue::list(&mut conn, &filter, CLAIMED_AT_MOST).await.map_err(JobError::retry)?;
        let key = self.unique_key();
        Ok(claimed.iter().any(|job| job.id != own && job.unique_key == key))
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
