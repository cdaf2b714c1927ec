//! Hooks of a recovery: what they are told, and how the timeline hears of them.

use std::time::Duration;

use integrations::hooks::{HookFacts, Successor};
use queue::JobError;
use store::hook_runs::HookOwner;
use store::recoveries::Kind;
use tokio::time::MissedTickBehavior;

use super::{Line, Recovering};
use crate::acting::LOCK_FOR;
use crate::hooks::{self, Caller, List, Listed};

/// Locks are prolonged this often while a hook runs.
const PROLONG_EVERY: Duration = Duration::from_secs(15);

impl Recovering<'_> {
    /// Runs a list, unless hooks are suppressed. The inner error: a hook stopped what was to come.
    pub(super) async fn hooks(&mut self, list: List) -> Result<Result<(), String>, JobError> {
        if self.row.suppress_hooks || list.commands(&self.work.config.settings).is_empty() {
            return Ok(Ok(()));
        }
        let facts = self.hook_facts(list);
        let caller = Caller {
            pool: &self.work.ctx.pool,
            settings: &self.work.config.settings,
            owner: HookOwner::Recovery(self.row.id),
            run: Some(self.work.run),
            worker: &self.work.attempt.worker,
        };
        let tell = |told: hooks::Told<'_>| {
            let output = told.report.map(|report| serde_json::json!({ "output": report.output }));
            self.journal.note_with(Line::Hook, told.text, &output);
        };
        let running = hooks::run_list(caller, list, &facts, tell);
        let listed = tokio::select! {
            listed = running => listed?,
            error = self.keep_locks() => return Err(error),
        };
        match listed {
            Listed::Passed => Ok(Ok(())),
            Listed::Stopped(reason) => Ok(Err(reason)),
            Listed::NotOurs => self.work.still_ours(Ok(false)).map(Ok),
        }
    }

    /// Prolongs our locks for as long as it is polled; returns when they are lost.
    async fn keep_locks(&self) -> JobError {
        let tokens: Vec<_> = self.tokens.values().copied().collect();
        if tokens.is_empty() {
            return std::future::pending().await;
        }
        let mut tick = tokio::time::interval(PROLONG_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let prolonged = async {
                let mut conn = self.work.ctx.pool.acquire().await.map_err(JobError::retry)?;
                let kept = store::maintenance::extend_for(&mut conn, &tokens, LOCK_FOR).await;
                kept.map_err(JobError::retry)
            };
            match prolonged.await {
                Ok(true) => {}
                Ok(false) => return JobError::give_up("one of its locks was ended or taken over while a hook ran"),
                // Whether they are lost is found out by the next step.
                Err(error) => tracing::warn!(recovery.id = self.row.id, %error, "cannot prolong the locks"),
            }
        }
    }

    fn hook_facts(&self, list: List) -> HookFacts {
        let row = &self.row;
        let known = match (list, row.kind) {
            // Chosen, and not opened.
            (List::PostUnsuccessfulFailover, _) => None,
            // Before a planned takeover the designated one counts as the successor.
            (_, Kind::Takeover) => row.successor.as_ref().or(row.requested_candidate.as_ref()),
            _ => row.successor.as_ref(),
        };
        HookFacts {
            failure_type: row.code.clone(),
            // One word for both forms of a planned takeover.
            command: row.command_hint.trim_end_matches("-auto").to_owned(),
            failed: row.failed.clone(),
            failure_cluster: row.cluster_name.clone(),
            failure_cluster_alias: row.cluster_alias.clone(),
            orchestrator_host: row.node.clone(),
            recovery_uid: if list == List::PreGracefulTakeover { String::new() } else { row.uid.clone() },
            lost_replicas: self.done.lost.keys().cloned().collect(),
            successor: known.map(|key| Successor {
                key: key.clone(),
                binlog_coordinates: Some(row.successor_coordinates.clone()).filter(|text| !text.is_empty()),
                alias: row.successor_alias.clone(),
            }),
            ..hooks::facts_of(&row.entry)
        }
    }
}
