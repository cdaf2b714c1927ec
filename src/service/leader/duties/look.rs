//! Looks at what the backend has for the leader: which instances changed, whether the queue needs a hand, which workers
//! live. One statement, whatever there is; the other duties work from what it brought.
//!
//! Idempotent: it only reads.

use std::time::Duration;

use crate::leader::{Duty, DutyError, Leading};

/// Bounds how late the leader learns anything.
const EVERY: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(super) struct Look;

impl Duty for Look {
    const NAME: &'static str = "look";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let handles = &leading.handles;
        let upkeep = leading.inventory.lock().await.refresh(&handles.pool, &handles.clock).await?;
        leading.upkeep.send_replace(upkeep);
        Ok(())
    }
}
