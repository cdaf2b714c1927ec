//! What the planners of recoveries look at, made of the settings, the row and a look at the servers.

use std::collections::BTreeSet;

use domain::analysis::{Finding, Sample, analyze};
use domain::instance::{Instance, InstanceKey};
use domain::operation::World;
use domain::plan::Action;
use domain::recovery::Scene;
use queue::JobError;
use store::recoveries::Kind;

use super::Recovering;
use crate::acting::Gathered;
use crate::policies;

impl Recovering<'_> {
    /// Asks a planner.
    pub(super) fn ask<T>(&self, gathered: &Gathered, planner: impl FnOnce(&Scene<'_>) -> T) -> T {
        let baseline = self.baseline();
        let policy = policies::recovery_policy(self.work.config);
        let world = World {
            instances: &gathered.instances,
            baseline: &baseline,
            earlier: self.work.operation.plan.as_ref(),
            equivalences: &gathered.equivalences,
            policy: &gathered.policy,
            now: gathered.now,
        };
        let banned = self.banned(gathered);
        let choice = self.choice();
        planner(&Scene {
            world: &world,
            failed: &self.row.failed,
            requested: self.row.requested_candidate.as_ref(),
            earlier_choice: choice.as_ref(),
            opening_begun: self.opening_begun,
            banned: &banned,
            policy: &policy,
            request: &self.work.operation.request,
            force: self.row.force,
            had_semi_sync: self.had_semi_sync(gathered),
        })
    }

    /// The ledger knows whether the order that opens the chosen one for writes may have been sent.
    pub(super) async fn note_opening(&mut self) -> Result<(), JobError> {
        let Some(choice) = self.choice() else { return Ok(()) };
        let steps = store::operations::steps(&self.work.ctx.pool, self.work.operation.id).await;
        let opens = |action: &Action| matches!(action, Action::SetReadOnly { read_only: false, .. });
        self.opening_begun = steps
            .map_err(JobError::retry)?
            .iter()
            .any(|row| row.on == choice.successor && row.step.as_ref().is_none_or(|step| opens(&step.action)));
        Ok(())
    }

    /// Nobody may be promoted that a filter matches, or that somebody else works on.
    fn banned(&self, gathered: &Gathered) -> BTreeSet<InstanceKey> {
        let mut banned = policies::banned(self.work.config, gathered.instances.keys());
        banned.extend(self.held.keys().cloned());
        banned
    }

    /// Fencing turns it off: what counts is how it was when the failure was found.
    pub(super) fn had_semi_sync(&self, gathered: &Gathered) -> bool {
        let found = self.row.entry.get("SemiSyncMasterEnabled").and_then(serde_json::Value::as_bool);
        let now = || gathered.instances.get(&self.row.failed).is_some_and(|one| one.facts.semi_sync.source_enabled);
        found.unwrap_or_else(now)
    }

    /// Why the failure that this recovery answers is over; `None`: it is not. What people ask for is needed in any case.
    pub(super) async fn no_longer_needed(&self, gathered: &Gathered) -> Result<Option<String>, JobError> {
        if self.row.force || self.row.kind == Kind::Takeover {
            return Ok(None);
        }
        let samples = store::samples::read_all(&self.work.ctx.pool).await.map_err(JobError::retry)?;
        let samples = samples.into_iter().map(|(key, seen)| (key, Sample { at: seen.at, first_seen: seen.first_seen }));
        let members: Vec<&Instance> = gathered.instances.values().collect();
        let policy = policies::analysis_policy(self.work.config);
        let findings = analyze(&members, &samples.collect(), &policy, gathered.now);
        let found = findings.iter().find(|finding| finding.key == self.row.failed);
        Ok(match found {
            Some(finding) if Kind::answering(finding.code.handler()) == Some(self.row.kind) => {
                self.tell_finding(finding);
                None
            }
            Some(finding) => {
                Some(format!("{} is {} by now, not {}", self.row.failed, finding.code.name(), self.row.code))
            }
            None => Some(format!("{} has no problem any more", self.row.failed)),
        })
    }

    fn tell_finding(&self, finding: &Finding) {
        let text = format!("{} is {}: {}", finding.key, finding.code.name(), finding.code.description());
        self.journal.note(super::Line::Fact, text);
    }
}
