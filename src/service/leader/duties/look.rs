//! Looks at what the backend has for the leader: which instances changed, whether the queue needs a hand, which workers
//! live. One statement, whatever there is; the other duties work from what it brought.
//!
//! Idempotent: it only reads.

use std::time::Duration;

use crate::leader::{Duty, DutyError, Leading};

/// Bounds how late the leader learns anything from workers of other processes; those of its own ring. The path from a dead
/// primary to a new one has 150 ms for this on average, and each look costs the backend one statement.
const EVERY: Duration = Duration::from_millis(200);
/// After a ring: what several clusters learn at once is read together, and rings without end cost no more than this allows.
const GATHER: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Look;

impl Duty for Look {
    const NAME: &'static str = "look";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn woken(&mut self, leading: &Leading) {
        leading.handles.bells.news.rung().await;
        tokio::time::sleep(GATHER).await;
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let handles = &leading.handles;
        let upkeep = leading.inventory.lock().await.refresh(&handles.pool, &handles.clock).await?;
        leading.upkeep.send_replace(upkeep);
        Ok(())
    }
}
