//! Keeps the queue moving: delayed jobs that are due become ready, hints that waited long enough are dropped, jobs of dead
//! workers go to others.
//!
//! Idempotent: each statement changes only rows that are due.

use std::time::Duration;

use crate::leader::{Duty, DutyError, Leading};

/// Bounds how late a delayed job or a dropped hint is; a dead worker is noticed after six seconds anyway.
const EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Rescue;

impl Duty for Rescue {
    const NAME: &'static str = "rescue";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        if !leading.term.may_act() {
            return Ok(());
        }
        // Not fenced: each of these is a compare-and-set on the state of the rows themselves, right whoever runs it.
        let mut conn = leading.handles.pool.acquire().await?;
        queue::promote_due(&mut conn).await?;
        let rescued = queue::rescue(&mut conn).await?;
        if rescued.released + rescued.failed > 0 {
            tracing::warn!(released = rescued.released, failed = rescued.failed, "took jobs back from dead workers");
        }
        Ok(())
    }
}
