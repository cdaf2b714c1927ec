//! Keeps the queue moving: delayed jobs that are due become ready, hints that waited long enough are dropped, jobs of dead
//! workers go to others.
//!
//! Idempotent: each statement changes only rows that are due. Whether any is, duty `look` sees.

use std::time::Duration;

use queue::Upkeep;
use tokio::sync::watch;

use crate::leader::{Duty, DutyError, Leading};

/// How soon after a look it acts.
const EVERY: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    looks: Option<watch::Receiver<Upkeep>>,
}

impl Duty for Rescue {
    const NAME: &'static str = "rescue";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let looks = self.looks.get_or_insert_with(|| leading.upkeep.subscribe());
        // Once per look. One that fails leaves the rows as they are, for the next look to see.
        let (due, lost) = match looks.borrow_and_update() {
            upkeep if upkeep.has_changed() => (upkeep.due, upkeep.lost),
            _ => return Ok(()),
        };
        if !(due || lost) || !leading.term.may_act() {
            return Ok(());
        }
        // Not fenced: each of these is a compare-and-set on the state of the rows themselves, right whoever runs it.
        let mut conn = leading.handles.pool.acquire().await?;
        if due {
            queue::promote_due(&mut conn).await?;
        }
        if lost {
            let rescued = queue::rescue(&mut conn).await?;
            if rescued.released + rescued.failed > 0 {
                tracing::warn!(
                    released = rescued.released,
                    failed = rescued.failed,
                    "took jobs back from dead workers"
                );
            }
        }
        Ok(())
    }
}
