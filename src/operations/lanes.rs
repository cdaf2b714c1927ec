//! How many branches are under way at once.
//!
//! ```text
//!   waiting ──▶ changing: stop, drain, change (at most N) ──▶ connecting: start, see it run (at most N) ──▶ done
//! ```
//! The limit spares the servers that replicas are taken from and brought to: a new source has at most N replicas at a time
//! that connect, look for their place in its log and ask for what they lack. Seeing a replica run is mostly waiting for it,
//! and need not keep the next one from being stopped; but that one does not start before there is room.

use domain::plan::{Action, Step};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Two lanes, each with room for so many branches.
#[derive(Debug)]
pub(crate) struct Lanes {
    changing: Semaphore,
    connecting: Semaphore,
}

/// A branch's place in one of the lanes, until dropped.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    lanes: &'a Lanes,
    /// Nobody closes the semaphores: `None` would only mean that a branch does not count.
    permit: Option<SemaphorePermit<'a>>,
}

impl Lanes {
    pub(crate) fn new(room: usize) -> Self {
        let room = room.clamp(1, Semaphore::MAX_PERMITS);
        Self { changing: Semaphore::new(room), connecting: Semaphore::new(room) }
    }

    /// Waits for room in the first lane.
    pub(crate) async fn enter(&self) -> Room<'_> {
        Room { lanes: self, permit: self.changing.acquire().await.ok() }
    }
}

impl Room<'_> {
    /// Waits for room in the second lane when this is the step that connects the replica for good, the last of its branch.
    /// Until then its place in the first is kept: what has been stopped does not pile up.
    pub(crate) async fn before(&mut self, step: &Step, is_last: bool) {
        if is_last && matches!(step.action, Action::Start { threads } if threads.io) {
            self.permit = self.lanes.connecting.acquire().await.ok();
        }
    }
}
