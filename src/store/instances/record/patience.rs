//! Deadlocks with others who record at the same time: how often and how small to try again.

use std::time::Duration;

use crate::Error;

/// Rows per statement.
const CHUNK_ROWS: usize = 100;
/// Tries of a chunk that deadlocks with others, and the longest pause between two: a second in all. InnoDB sacrifices the
/// smaller transaction, so who retries in small parts must outlast the large ones.
const TRIES: u32 = 30;
const LONGEST_PAUSE_MS: u32 = 40;

/// What to do about deadlocks: try again, each time with fewer rows per transaction. Transactions of one row have no order
/// of locks to disagree about.
#[derive(Debug, Default)]
pub(super) struct Patience {
    conflicts: u32,
    smaller: u32,
}

impl Patience {
    pub(super) fn chunk(&self) -> usize {
        (CHUNK_ROWS >> (2 * self.smaller)).max(1)
    }

    pub(super) fn worked(&mut self) {
        self.conflicts = 0;
    }

    /// Waits a little, or gives the error back if it is none of that kind or there were too many.
    pub(super) async fn conflicted(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_conflict() || self.conflicts >= TRIES {
            return Err(error);
        }
        self.conflicts += 1;
        self.smaller = (self.smaller + 1).min(CHUNK_ROWS.ilog2() / 2 + 1);
        tracing::debug!(self.conflicts, "recording collided with another, trying again with fewer rows");
        tokio::time::sleep(Duration::from_millis(u64::from((self.conflicts * 3).min(LONGEST_PAUSE_MS)))).await;
        Ok(())
    }
}
