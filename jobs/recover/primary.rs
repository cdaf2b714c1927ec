//! A dead primary, or a primary that a person declares dead: fence, choose, promote, repoint.

use domain::instance::DbMicros;
use domain::plan::{Action, Plan, Refusal};
use domain::recovery::{Choice, choose, close, fence, promote, repoint, still_receiving};
use operations::BranchResult;
use queue::JobError;
use store::recoveries::Phase;

use super::close::Outage;
use super::commits::{FirstCommit, LastCommit};
use super::{End, Line, Recovering, is_done};
use crate::acting::Gathered;
use crate::hooks::List;

/// Choices made before it counts as failed: a successor may die while it is promoted.
const ROUNDS: usize = 3;
/// Looks with fencing in between before it goes on with what could be fenced.
const FENCES: usize = 2;
/// Plans for one successor: one until all is applied, one for the rest, and one more.
const PROMOTION_PARTS: usize = 3;
/// How long replicas may take to receive the last of a primary that lives and was closed.
const RECEIVING: std::time::Duration = std::time::Duration::from_secs(1);
/// Between looks at how far they are.
const BETWEEN_LOOKS: std::time::Duration = std::time::Duration::from_millis(20);
/// Plans for the survivors: the second for what the first could not do.
const REPOINTS: usize = 2;
/// A hook that took longer than this has made our facts stale.
const STALE_AFTER: std::time::Duration = std::time::Duration::from_millis(200);

impl Recovering<'_> {
    pub(super) async fn primary(&mut self) -> Result<End, JobError> {
        if self.row.phase < Phase::Repointing
            && let Err(end) = self.open_for_writes().await?
        {
            self.put_back().await?;
            return Ok(end);
        }
        let Some(choice) = self.choice() else {
            return Ok(End::Failed("the choice of the successor cannot be read".to_owned()));
        };
        if self.row.phase <= Phase::Repointing {
            self.phase(Phase::Repointing).await?;
            self.repoint(&choice).await?;
        }
        self.publish(&choice).await?;
        Ok(End::Recovered)
    }

    /// Up to the moment at which clients can write again.
    async fn open_for_writes(&mut self) -> Result<Result<(), End>, JobError> {
        let mut gathered = self.look().await?;
        if self.row.phase < Phase::Promoting {
            gathered = match self.confirm(gathered).await? {
                Ok(gathered) => gathered,
                Err(end) => return Ok(Err(end)),
            };
        }
        let mut last = String::new();
        for _ in 0..ROUNDS {
            if self.row.phase < Phase::Promoting && self.is_cancelled().await? {
                return Ok(Err(End::Cancelled));
            }
            gathered = self.fence(gathered).await?;
            if self.done.outage.is_none() && self.last_commit.is_none() {
                self.last_commit = Some(LastCommit::ask(self.work.ctx, &self.row.failed, &gathered));
            }
            let choice = match self.choose(&gathered).await? {
                Ok(choice) => choice,
                Err(refusal) => return Ok(Err(End::Failed(refusal.to_string()))),
            };
            match self.promote(&choice, &gathered).await? {
                Ok(()) => return Ok(Ok(())),
                Err(error) => last = error,
            }
            gathered = self.look().await?;
        }
        Ok(Err(End::Failed(last)))
    }

    /// The failure is still there, and the hooks agree.
    pub(super) async fn confirm(&mut self, mut gathered: Gathered) -> Result<Result<Gathered, End>, JobError> {
        if let Some(reason) = self.no_longer_needed(&gathered).await? {
            return Ok(Err(End::NoLongerNeeded(reason)));
        }
        let began = tokio::time::Instant::now();
        if let Err(reason) = self.hooks(List::PreFailover).await? {
            return Ok(Err(End::Refused(reason)));
        }
        if began.elapsed() > STALE_AFTER {
            gathered = self.look().await?;
            if let Some(reason) = self.no_longer_needed(&gathered).await? {
                return Ok(Err(End::NoLongerNeeded(reason)));
            }
        }
        Ok(Ok(gathered))
    }

    /// Nobody writes to the old primary, nobody receives from it, as far as they answer.
    async fn fence(&mut self, mut gathered: Gathered) -> Result<Gathered, JobError> {
        if self.row.phase < Phase::Promoting {
            self.phase(Phase::Fencing).await?;
        }
        match self.ask(&gathered, close) {
            Ok(Some(plan)) => {
                self.execute(&plan, &gathered).await?;
                gathered = self.look().await?;
            }
            Ok(None) => {}
            Err(refusal) => self.trouble(format!("not closed: {refusal}")),
        }
        gathered = self.let_them_receive(gathered).await?;
        for _ in 0..FENCES {
            match self.ask(&gathered, fence) {
                Ok(Some(plan)) => {
                    self.execute(&plan, &gathered).await?;
                    gathered = self.look().await?;
                }
                Ok(None) => break,
                Err(refusal) => {
                    self.trouble(format!("not fenced: {refusal}"));
                    break;
                }
            }
        }
        Ok(gathered)
    }

    /// What a living primary acknowledged last is on its way when it is closed.
    async fn let_them_receive(&mut self, mut gathered: Gathered) -> Result<Gathered, JobError> {
        let until = tokio::time::Instant::now() + RECEIVING;
        loop {
            let behind = self.ask(&gathered, still_receiving);
            if behind.is_empty() {
                return Ok(gathered);
            }
            if tokio::time::Instant::now() > until {
                let behind: Vec<String> = behind.iter().map(ToString::to_string).collect();
                let text = format!("not waited for any longer: {} receive from {}", behind.join(", "), self.row.failed);
                self.journal.note(Line::Fact, text);
                return Ok(gathered);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            gathered = self.look().await?;
        }
    }

    async fn choose(&mut self, gathered: &Gathered) -> Result<Result<Choice, Refusal>, JobError> {
        if self.row.phase < Phase::Promoting {
            self.phase(Phase::Choosing).await?;
        }
        let choice = match self.ask(gathered, choose) {
            Ok(choice) => choice,
            Err(refusal) => {
                self.journal.note_with(Line::Choice, format!("nobody can be promoted: {refusal}"), &refusal);
                return Ok(Err(refusal));
            }
        };
        self.keep_choice(&choice).await?;
        Ok(Ok(choice))
    }

    /// Stored before anything is done about it: whoever resumes keeps to it.
    pub(super) async fn keep_choice(&mut self, choice: &Choice) -> Result<(), JobError> {
        self.keep_choice_with(choice, &[]).await
    }

    /// The same with facts beside it.
    pub(super) async fn keep_choice_with(&mut self, choice: &Choice, facts: &[(&str, bool)]) -> Result<(), JobError> {
        let mut json = serde_json::to_value(choice).map_err(JobError::give_up)?;
        for (name, fact) in facts {
            json[*name] = (*fact).into();
        }
        let (pool, id) = (&self.work.ctx.pool, self.row.id);
        let kept = store::recoveries::save_choice(pool, self.work.run, id, Some(&choice.successor), &json).await;
        self.work.still_ours(kept)?;
        self.journal.note_with(Line::Choice, format!("{} takes over: {}", choice.successor, choice.because), choice);
        for warning in &choice.warnings {
            self.journal.note(Line::Fact, warning);
        }
        self.row.successor = Some(choice.successor.clone());
        self.row.choice = Some(json);
        Ok(())
    }

    /// `Err`: the successor was not opened, with the reason.
    pub(super) async fn promote(
        &mut self,
        choice: &Choice,
        gathered: &Gathered,
    ) -> Result<Result<(), String>, JobError> {
        let mut looked;
        let mut gathered = gathered;
        for part in 1.. {
            let plan = match self.ask(gathered, |scene| promote(scene, choice)) {
                Ok(plan) => plan,
                Err(refusal) => {
                    self.trouble(format!("{} cannot be promoted: {refusal}", choice.successor));
                    return Ok(Err(refusal.to_string()));
                }
            };
            self.phase(Phase::Promoting).await?;
            let Some(plan) = plan else { break };
            let report = self.execute(&plan, gathered).await?;
            if !is_done(&report) {
                return Ok(Err(format!(
                    "{} could not be promoted: {}",
                    choice.successor,
                    super::errors_of(&report).join("; ")
                )));
            }
            if plan.head.last().is_none_or(|step| step.action != Action::Drain) {
                break;
            }
            if part == PROMOTION_PARTS {
                return Ok(Err(format!("{} receives more while it applies", choice.successor)));
            }
            looked = self.look().await?;
            gathered = &looked;
        }
        if self.work.config.settings.recovery.apply_mysql_promotion_after_master_failover {
            self.writes_are_open(choice, gathered).await;
        } else {
            let text = format!("{} is left as it is: ApplyMySQLPromotionAfterMasterFailover is off", choice.successor);
            self.journal.note(Line::Fact, text);
            self.done.participating.insert(choice.successor.clone());
        }
        Ok(Ok(()))
    }

    /// Right after the last order of the promotion was verified.
    async fn writes_are_open(&mut self, choice: &Choice, gathered: &Gathered) {
        let now = self.work.ctx.clock.now_micros();
        let failed = gathered.instances.get(&self.row.failed);
        if self.done.outage.is_none() {
            let successor = gathered.instances.get(&choice.successor);
            self.first_commit = successor.map(|before| FirstCommit::wait(self.work.ctx, before));
            let mut outage = Outage::of(failed, self.row.started_at, now);
            let last = match self.last_commit.take() {
                Some(asked) => asked.told().await,
                None => None,
            };
            if let Some((at, by)) = last {
                outage.begins_after(at);
                self.journal.note(Line::Fact, format!("{by} received the last commit {}", ago(now - at)));
            }
            self.done.outage = Some(outage);
        }
        let text = match &self.done.outage {
            Some(outage) => format!("{} takes writes; {outage}", choice.successor),
            None => format!("{} takes writes", choice.successor),
        };
        self.journal.note_with(Line::Fact, text, &self.done.outage);
        self.done.participating.insert(choice.successor.clone());
    }

    /// The survivors below the new primary; who cannot follow is lost.
    pub(super) async fn repoint(&mut self, choice: &Choice) -> Result<(), JobError> {
        for (key, reason) in &choice.lost {
            self.done.lost.insert(key.clone(), reason.clone());
        }
        for _ in 0..REPOINTS {
            let gathered = self.look().await?;
            let plan = match self.ask(&gathered, |scene| repoint(scene, choice)) {
                Ok(Some(plan)) => plan,
                Ok(None) => return Ok(()),
                Err(refusal) => {
                    self.trouble(format!("the survivors stay where they are: {refusal}"));
                    return Ok(());
                }
            };
            let report = self.execute(&plan, &gathered).await?;
            self.count_lost(&plan, &report);
            if is_done(&report) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn count_lost(&mut self, plan: &Plan, report: &operations::Report) {
        for refusal in &plan.left_out {
            self.done.lost.insert(refusal.instance.clone(), refusal.to_string());
        }
        for branch in &report.branches {
            match &branch.result {
                BranchResult::Done => self.done.lost.remove(&branch.instance),
                result => self.done.lost.insert(branch.instance.clone(), result.error().unwrap_or_default()),
            };
        }
    }
}

fn ago(micros: DbMicros) -> String {
    format!("{:.3} s before", micros.max(0) as f64 / 1e6)
}
