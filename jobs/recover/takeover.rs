//! A planned takeover: the primary lives and hands over. Nobody may write from its closing to the opening of the other, so
//! nothing but that lies in between; until the other is open everything can be taken back.

use domain::plan::{Action, Plan, Refusal};
use domain::recovery::takeover::{Reopen, Variant, demote, designate, is_switched, prepare, rollback, switch};
use domain::recovery::{Choice, Scene};
use queue::JobError;
use store::recoveries::Phase;

use super::close::Outage;
use super::{End, Line, Recovering, errors_of, is_done};
use crate::acting::Gathered;
use crate::hooks::List;

/// Tries to take everything back: the second for what the first could not do.
const ROLLBACKS: usize = 2;
/// The word whose old primary replicates afterwards.
const AUTO: &str = "graceful-master-takeover-auto";

/// Beside the choice, as seen before anything was done: the primary took no writes.
const WAS_CLOSED: &str = "primary_was_closed";

type Planner = fn(&Scene<'_>, &Choice) -> Result<Option<Plan>, Refusal>;

impl Recovering<'_> {
    pub(super) async fn takeover(&mut self) -> Result<End, JobError> {
        let variant = if self.row.command_hint == AUTO { Variant::Auto } else { Variant::Plain };
        let gathered = self.look().await?;
        let choice = match self.designated(&gathered, variant).await? {
            Ok(choice) => choice,
            Err(end) => return Ok(end),
        };
        if self.row.phase < Phase::Repointing {
            if let Err(end) = self.hand_over(&choice, gathered).await? {
                self.take_back(&choice).await?;
                return Ok(end);
            }
            self.note_pause(&choice).await?;
        }
        for (key, reason) in &choice.lost {
            self.done.lost.insert(key.clone(), reason.clone());
        }
        if self.row.phase <= Phase::Repointing {
            self.phase(Phase::Repointing).await?;
            self.demote(&choice, variant).await?;
        }
        self.publish(&choice).await?;
        self.hooks(List::PostGracefulTakeover).await?.ok();
        Ok(End::Recovered)
    }

    async fn designated(&mut self, gathered: &Gathered, variant: Variant) -> Result<Result<Choice, End>, JobError> {
        if let Some(choice) = self.choice() {
            return Ok(Ok(choice));
        }
        self.phase(Phase::Choosing).await?;
        match self.ask(gathered, |scene| designate(scene, variant)) {
            Ok(choice) => {
                // The record that was there when it was asked for may be from the middle of an earlier takeover.
                let closed = gathered.instances.get(&self.row.failed).is_some_and(|one| one.facts.read_only);
                self.keep_choice_with(&choice, &[(WAS_CLOSED, closed)]).await?;
                Ok(Ok(choice))
            }
            Err(refusal) => {
                self.journal.note_with(Line::Choice, format!("nobody can take over: {refusal}"), &refusal);
                Ok(Err(End::Refused(refusal.to_string())))
            }
        }
    }

    /// Up to the opening of the designated. `Err`: it is not open, everything is to be taken back.
    async fn hand_over(&mut self, choice: &Choice, mut gathered: Gathered) -> Result<Result<(), End>, JobError> {
        if self.ask(&gathered, |scene| is_switched(scene, choice)) {
            return Ok(Ok(()));
        }
        if self.row.phase < Phase::Promoting {
            self.phase(Phase::Fencing).await?;
        }
        if let Err(end) = self.carry_out_one(prepare, choice, &gathered).await? {
            return Ok(Err(end));
        }
        // Both lists before the pause: a hook that takes its time must not cost writes.
        for list in [List::PreGracefulTakeover, List::PreFailover] {
            if let Err(reason) = self.hooks(list).await? {
                return Ok(Err(End::Refused(reason)));
            }
        }
        if self.is_cancelled().await? {
            return Ok(Err(End::Cancelled));
        }
        gathered = self.look().await?;
        self.phase(Phase::Promoting).await?;
        let switched = self.carry_out_one(switch, choice, &gathered).await?;
        if let Err(end) = switched {
            gathered = self.look().await?;
            return Ok(if self.ask(&gathered, |scene| is_switched(scene, choice)) { Ok(()) } else { Err(end) });
        }
        Ok(Ok(()))
    }

    /// Plans and carries out one part. `Err`: refused, or not all of it was done.
    async fn carry_out_one(
        &mut self,
        planner: Planner,
        choice: &Choice,
        gathered: &Gathered,
    ) -> Result<Result<(), End>, JobError> {
        match self.ask(gathered, |scene| planner(scene, choice)) {
            Ok(None) => Ok(Ok(())),
            Ok(Some(plan)) => {
                let report = self.execute(&plan, gathered).await?;
                Ok(if is_done(&report) { Ok(()) } else { Err(End::Failed(errors_of(&report).join("; "))) })
            }
            Err(refusal) => {
                self.journal.note_with(Line::Fact, format!("refused: {refusal}"), &refusal);
                Ok(Err(End::Refused(refusal.to_string())))
            }
        }
    }

    /// The old primary writable and everything replicating from it as before.
    pub(super) async fn take_back(&mut self, choice: &Choice) -> Result<(), JobError> {
        let known = self.row.choice.as_ref().and_then(|choice| choice.get(WAS_CLOSED)?.as_bool());
        let was_closed = known.unwrap_or_default();
        let reopen = if was_closed { Reopen::No } else { Reopen::Yes };
        for _ in 0..ROLLBACKS {
            let gathered = self.look().await?;
            match self.ask(&gathered, |scene| rollback(scene, choice, reopen)) {
                Ok(None) => return Ok(()),
                Ok(Some(plan)) => {
                    let report = self.execute(&plan, &gathered).await?;
                    if is_done(&report) {
                        self.journal
                            .note(Line::Fact, format!("taken back: {} is the primary as before", self.row.failed));
                        return Ok(());
                    }
                }
                Err(refusal) => {
                    self.trouble(format!("not taken back: {refusal}"));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn demote(&mut self, choice: &Choice, variant: Variant) -> Result<(), JobError> {
        let gathered = self.look().await?;
        match self.ask(&gathered, |scene| demote(scene, choice, variant)) {
            Ok(None) => {}
            Ok(Some(plan)) => {
                self.execute(&plan, &gathered).await?;
            }
            Err(refusal) => self.trouble(format!("{} is left read-only and alone: {refusal}", self.row.failed)),
        }
        Ok(())
    }

    /// From the ledger: when the order that closed the old primary was given, and when the other was seen open.
    async fn note_pause(&mut self, choice: &Choice) -> Result<(), JobError> {
        let steps = store::operations::steps(&self.work.ctx.pool, self.work.operation.id).await;
        let steps = steps.map_err(JobError::retry)?;
        let action = |row: &store::operations::StepRow| row.step.as_ref().map(|step| step.action.clone());
        let closed = steps.iter().rfind(|row| row.on == self.row.failed && action(row) == Some(Action::Close));
        let opened = steps.iter().rfind(|row| {
            row.on == choice.successor && matches!(action(row), Some(Action::SetReadOnly { read_only: false, .. }))
        });
        if let (Some(closed), Some(opened)) = (closed, opened) {
            let until = opened.ended_at.unwrap_or_else(|| self.work.ctx.clock.now_micros());
            let pause = Outage::pause(closed.begun_at, until);
            self.journal.note_with(Line::Fact, format!("{} takes writes; {pause}", choice.successor), &pause);
            self.done.outage = Some(pause);
        }
        self.done.participating.insert(choice.successor.clone());
        Ok(())
    }
}
