//! Giving up before a successor was opened: what was stopped starts again, a primary that we closed is opened again.

use domain::instance::Instance;
use domain::operation::World;
use domain::plan::{Action, Request, Rule, SemiSyncSide};
use queue::JobError;

use super::Recovering;
use crate::acting::Expected;

impl Recovering<'_> {
    /// Undoes what can be undone. What cannot be is told.
    pub(super) async fn put_back(&mut self) -> Result<(), JobError> {
        let baseline = self.baseline();
        if !baseline.is_empty() {
            // Their source may be dead: started is all that can be asked.
            let errors = self.work.start_stopped(self.tokens.clone(), &baseline, Expected::Started).await?;
            for error in errors {
                self.trouble(error);
            }
        }
        if self.closed_by_us().await? {
            self.open_again().await?;
        }
        Ok(())
    }

    /// A step of this recovery closed the failed server, or may have.
    async fn closed_by_us(&self) -> Result<bool, JobError> {
        let steps = store::operations::steps(&self.work.ctx.pool, self.work.operation.id).await;
        let closes = |action: &Action| {
            matches!(action, Action::Close | Action::Seal | Action::SetReadOnly { read_only: true, .. })
        };
        let steps = steps.map_err(JobError::retry)?;
        Ok(steps
            .iter()
            .any(|row| row.on == self.row.failed && row.step.as_ref().is_some_and(|step| closes(&step.action))))
    }

    async fn open_again(&mut self) -> Result<(), JobError> {
        let gathered = self.look().await?;
        let answers = gathered.instances.get(&self.row.failed).is_some_and(|one| one.check.is_valid());
        if !answers {
            self.trouble(format!("{} may have been left read-only: it does not answer", self.row.failed));
            return Ok(());
        }
        // Nobody else may take writes: a successor that may have been opened, and does not say what it is now, may. One whose
        // opening was not begun is what it was before.
        let successor = self.row.successor.as_ref().and_then(|key| gathered.instances.get(key));
        let is_closed = |one: &Instance| one.check.is_valid() && one.facts.read_only;
        if self.opening_begun && !successor.is_some_and(is_closed) {
            self.trouble(format!("{} stays read-only: its successor takes writes, or may", self.row.failed));
            return Ok(());
        }
        let request = Request::SetWriteable { instance: self.row.failed.clone() };
        let planned = self.ask(&gathered, |scene| {
            let world = World { baseline: scene.world.baseline, ..*scene.world };
            domain::operation::plan(&request, &world)
        });
        match planned {
            Ok(plan) => {
                if !self.tokens.contains_key(&self.row.failed) {
                    self.lock().await?;
                }
                self.execute(&plan, &gathered).await?;
            }
            Err(refusal) if refusal.rule == Rule::AlreadySo => {}
            Err(refusal) => self.trouble(format!("{} stays read-only: {refusal}", self.row.failed)),
        }
        self.wait_for_acknowledgements_again().await
    }

    /// Fencing switches the source side of semi-sync off, lest a closed primary waits for acknowledgements for ever.
    async fn wait_for_acknowledgements_again(&mut self) -> Result<(), JobError> {
        let gathered = self.look().await?;
        let instance = self.row.failed.clone();
        let now = gathered.instances.get(&instance).is_some_and(|one| one.facts.semi_sync.source_enabled);
        if now || !self.had_semi_sync(&gathered) {
            return Ok(());
        }
        let request = Request::SetSemiSync { instance, side: SemiSyncSide::Source, enabled: true };
        match self.ask(&gathered, |scene| domain::operation::plan(&request, scene.world)) {
            Ok(plan) => {
                self.execute(&plan, &gathered).await?;
            }
            Err(refusal) if refusal.rule == Rule::AlreadySo => {}
            Err(refusal) => {
                self.trouble(format!("{} does not wait for semi-sync any more: {refusal}", self.row.failed));
            }
        }
        Ok(())
    }
}
