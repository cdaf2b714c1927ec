//! Putting back what a lost worker left behind: threads that are to run, and do not, start again.

use domain::plan::{Action, Baseline, Plan, Request, Threads};
use queue::JobError;

use super::conclusion::End;
use crate::acting::{Expected, Tokens, Work};

impl Work<'_> {
    /// Ends a resumed operation that cannot, or need not, go on: threads that a lost worker stopped run again.
    pub(super) async fn put_back(
        &self,
        first: &Plan,
        tokens: Tokens,
        baseline: &Baseline,
        because: End,
    ) -> Result<End, JobError> {
        // All is as asked: threads that were to be stopped stay so.
        let wanted = if because.is_already_so() { intended(first, baseline) } else { baseline.clone() };
        let errors = if self.has_lost_its_gtids().await? {
            vec![format!("{} was not started: it would fetch everything anew", self.operation.instance)]
        } else {
            self.start_stopped(tokens, &wanted, Expected::Running).await?
        };
        Ok(End::Resumed { first: Box::new(first.clone()), because: Box::new(because), errors })
    }
}

impl Work<'_> {
    /// A lost worker has reset the binary logs, and not declared what was executed. Started now, the replica would not know that
    /// it has all that its source sends.
    async fn has_lost_its_gtids(&self) -> Result<bool, JobError> {
        let Request::GtidErrantResetMaster { instance } = &self.operation.request else { return Ok(false) };
        let known = store::instances::read_many(&self.ctx.pool, std::slice::from_ref(instance)).await;
        let known = known.map_err(JobError::retry)?;
        Ok(known.first().is_none_or(|one| one.facts.gtid.executed.is_empty()))
    }
}

/// The threads that were to run when the first plan had been carried out as a whole.
pub(super) fn intended(first: &Plan, baseline: &Baseline) -> Baseline {
    let mut wanted = baseline.clone();
    for step in first.steps() {
        let Some(running) = wanted.get_mut(&step.on) else { continue };
        let set = |running: &mut Threads, threads: Threads, to: bool| {
            running.io = if threads.io { to } else { running.io };
            running.sql = if threads.sql { to } else { running.sql };
        };
        match &step.action {
            Action::Stop { threads } => set(running, *threads, false),
            Action::Start { threads } => set(running, *threads, true),
            _ => {}
        }
    }
    wanted
}
