//! Recoveries that open nobody for writes in another's place: a dead intermediate source, a dead group member with replicas, a
//! primary that refuses writes, semi-synchronous replication.
//!
//! Each is planned anew from what the servers say, so whoever resumes asks the same question and gets what is left.

use std::collections::BTreeSet;

use domain::analysis::Code;
use domain::instance::InstanceKey;
use domain::plan::{Action, Plan, Refusal, SemiSyncSide};
use domain::recovery::intermediate::Rescue;
use domain::recovery::semi_sync::Mode;
use domain::recovery::{Scene, group_member, intermediate, semi_sync, writeable};
use operations::BranchResult;
use queue::JobError;
use store::recoveries::{Kind, Phase};

use super::{End, Recovering, errors_of, is_done};
use crate::acting::Gathered;
use crate::hooks::List;

/// Plans for the replicas: the second for what the first could not do.
const ROUNDS: usize = 2;
/// Rounds of switching semi-sync: on, look, off, look, and once more for what changed meanwhile.
const SWITCHES: usize = 5;

/// How long a receiver that was restarted may take to connect.
const CONNECTING: std::time::Duration = std::time::Duration::from_secs(1);
/// Between looks at who has.
const BETWEEN_LOOKS: std::time::Duration = std::time::Duration::from_millis(50);

type Planner = fn(&Scene<'_>) -> Result<Rescue, Refusal>;

impl Recovering<'_> {
    pub(super) async fn single(&mut self) -> Result<End, JobError> {
        let gathered = self.look().await?;
        // Where work was begun, the failure may look different by now.
        if self.row.phase == Phase::Registered {
            let confirmed = match self.row.kind {
                // No hooks before: a locked primary cannot wait.
                Kind::SemiSync => self.no_longer_needed(&gathered).await?.map(End::NoLongerNeeded),
                _ => self.confirm(gathered).await?.err(),
            };
            if let Some(end) = confirmed {
                return Ok(end);
            }
            if self.is_cancelled().await? {
                return Ok(End::Cancelled);
            }
        }
        let end = match self.row.kind {
            Kind::Intermediate => self.rescue(intermediate::plan).await?,
            Kind::GroupMember => self.rescue(group_member::plan).await?,
            Kind::NonWriteable => self.open_primary().await?,
            Kind::SemiSync => self.switch_semi_sync().await?,
            Kind::Primary | Kind::CoPrimary | Kind::Takeover => {
                End::Failed(format!("no part of a recovery of kind {}", self.row.kind.name()))
            }
        };
        if end != End::Recovered {
            self.put_back().await?;
            return Ok(end);
        }
        self.tell(List::PostIntermediateMasterFailover).await?;
        Ok(end)
    }

    /// Replicas below other sources, each by itself.
    async fn rescue(&mut self, planner: Planner) -> Result<End, JobError> {
        let mut moved: BTreeSet<InstanceKey> = BTreeSet::new();
        for _ in 0..ROUNDS {
            let gathered = self.look().await?;
            let rescue = match self.ask(&gathered, planner) {
                Ok(rescue) => rescue,
                Err(refusal) if moved.is_empty() => return Ok(End::Failed(refusal.to_string())),
                Err(refusal) => {
                    self.trouble(refusal.to_string());
                    break;
                }
            };
            if self.row.phase < Phase::Repointing {
                self.phase(Phase::Choosing).await?;
                self.keep_choice(&rescue.choice).await?;
                self.phase(Phase::Repointing).await?;
            }
            self.done.lost = rescue.choice.lost.iter().cloned().collect();
            let Some(plan) = rescue.plan else {
                // A run before has moved them.
                moved.extend(rescue.choice.followers);
                break;
            };
            let report = self.execute(&plan, &gathered).await?;
            for branch in &report.branches {
                match &branch.result {
                    BranchResult::Done => {
                        moved.insert(branch.instance.clone());
                    }
                    result => {
                        self.done.lost.insert(branch.instance.clone(), result.error().unwrap_or_default());
                    }
                }
            }
            if is_done(&report) {
                break;
            }
        }
        self.done.lost.retain(|key, _| !moved.contains(key));
        if moved.is_empty() {
            let reasons: Vec<&str> = self.done.lost.values().map(String::as_str).collect();
            return Ok(End::Failed(format!("no replica got another source: {}", reasons.join("; "))));
        }
        self.done.participating.extend(self.row.successor.clone());
        Ok(End::Recovered)
    }

    /// The primary itself takes writes again.
    async fn open_primary(&mut self) -> Result<End, JobError> {
        let gathered = self.look().await?;
        let former = store::former_primaries::of(&self.work.ctx.pool).await.map_err(JobError::retry)?;
        let former: BTreeSet<InstanceKey> = former.into_iter().map(|one| one.key).collect();
        match self.ask(&gathered, |scene| writeable::plan(scene, &former)) {
            Ok(None) => {}
            Ok(Some(plan)) => {
                self.phase(Phase::Promoting).await?;
                let report = self.execute(&plan, &gathered).await?;
                if !is_done(&report) {
                    return Ok(End::Failed(errors_of(&report).join("; ")));
                }
            }
            Err(refusal) => return Ok(End::Refused(refusal.to_string())),
        }
        self.itself(&gathered);
        Ok(End::Recovered)
    }

    async fn switch_semi_sync(&mut self) -> Result<End, JobError> {
        let exact = self.row.code == Code::MasterWithTooManySemiSyncReplicas.name()
            || self.work.config.settings.detection.enforce_exact_semi_sync_replicas;
        let mode = if exact { Mode::Exact } else { Mode::AtLeast };
        for _ in 0..SWITCHES {
            let gathered = self.look().await?;
            let plan = match self.ask(&gathered, |scene| semi_sync::plan(scene, mode)) {
                Ok(Some(plan)) => plan,
                Ok(None) if self.row.phase < Phase::Promoting => {
                    return Ok(End::Failed("there is nothing to switch on or off".to_owned()));
                }
                Ok(None) => {
                    self.itself(&gathered);
                    return Ok(End::Recovered);
                }
                Err(refusal) => return Ok(End::Refused(refusal.to_string())),
            };
            self.phase(Phase::Promoting).await?;
            let report = self.execute(&plan, &gathered).await?;
            if !is_done(&report) {
                return Ok(End::Failed(errors_of(&report).join("; ")));
            }
            self.wait_for_clients(&plan, &gathered).await?;
        }
        Ok(End::Failed("semi-synchronous replication changes faster than it can be switched".to_owned()))
    }

    /// Who was switched on acknowledges once its receiver has connected again: until then it would look as if one more were
    /// needed.
    async fn wait_for_clients(&mut self, plan: &Plan, before: &Gathered) -> Result<(), JobError> {
        let failed = self.row.failed.clone();
        let clients =
            |gathered: &Gathered| gathered.instances.get(&failed).map_or(0, |one| one.facts.semi_sync.source_clients);
        let mut expected = clients(before);
        for step in plan.steps() {
            match step.action {
                Action::SetSemiSync { side: SemiSyncSide::Replica, enabled: true } => expected += 1,
                Action::SetSemiSync { side: SemiSyncSide::Replica, enabled: false } => {
                    expected = expected.saturating_sub(1);
                }
                _ => {}
            }
        }
        let until = tokio::time::Instant::now() + CONNECTING;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            if clients(&self.look().await?) == expected {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The one that was found in trouble is well again: it counts as its own successor.
    fn itself(&mut self, gathered: &Gathered) {
        let failed = self.row.failed.clone();
        self.note_successor(&failed, gathered);
        self.done.participating.insert(failed.clone());
        self.row.successor = Some(failed);
    }

    async fn tell(&mut self, own: List) -> Result<(), JobError> {
        self.phase(Phase::Publishing).await?;
        self.keep_results().await?;
        let changed: Vec<InstanceKey> = self.done.participating.iter().cloned().collect();
        crate::acting::look_again(&self.work, &changed).await;
        self.end_locks().await?;
        match self.row.kind {
            Kind::Intermediate | Kind::GroupMember => self.tell_hooks(own).await,
            _ => self.hooks(List::PostFailover).await.map(|_| ()),
        }
    }
}
