//! How many jobs of each queue a worker runs at once.
//!
//! Every queue has slots of its own, so a flood in one can neither fill the worker nor wait behind another's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Queue;

/// Slots per queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    slots: BTreeMap<Queue, usize>,
}

impl Concurrency {
    /// Splits `total` in the usual way: routine probes get most, because there are most of them; what must never wait gets
    /// a share of its own; nothing gets less than one. So a total below the number of queues is exceeded.
    pub fn split(total: usize) -> Self {
        const EIGHTHS: [(Queue, usize); 7] = [
            (Queue::Recovery, 1),
            (Queue::Urgent, 1),
            (Queue::Operations, 1),
            (Queue::Discovery, 1),
            (Queue::Probes, 3),
            (Queue::DeadProbes, 1),
            (Queue::Cleanup, 0),
        ];
        Self { slots: EIGHTHS.into_iter().map(|(queue, share)| (queue, (total * share / 8).max(1))).collect() }
    }

    /// Changes one queue's slots; 0 means this worker leaves that queue to others.
    #[must_use]
    pub fn with(mut self, queue: Queue, slots: usize) -> Self {
        self.slots.insert(queue, slots);
        self
    }

    pub fn of(&self, queue: Queue) -> usize {
        self.slots.get(&queue).copied().unwrap_or(0)
    }

    pub fn total(&self) -> usize {
        self.slots.values().sum()
    }
}

/// Counts the slots in use. Only the claim loop takes, so what it sees as free stays free.
#[derive(Debug)]
pub(crate) struct Slots {
    limits: Concurrency,
    used: BTreeMap<Queue, AtomicUsize>,
}

impl Slots {
    pub(crate) fn new(limits: Concurrency) -> Self {
        Self { limits, used: Queue::ALL.into_iter().map(|queue| (queue, AtomicUsize::new(0))).collect() }
    }

    pub(crate) fn free(&self, queue: Queue) -> usize {
        self.limits.of(queue).saturating_sub(self.used[&queue].load(Ordering::Acquire))
    }

    pub(crate) fn any_free(&self) -> bool {
        Queue::ALL.into_iter().any(|queue| self.free(queue) > 0)
    }

    pub(crate) fn take(&self, queue: Queue) {
        self.used[&queue].fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn give_back(&self, queue: Queue) {
        self.used[&queue].fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn in_use(&self) -> usize {
        self.used.values().map(|used| used.load(Ordering::Acquire)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_at_least_one_slot() {
        for total in [0, 1, 7, 8, 32, 1000] {
            let split = Concurrency::split(total);
            assert!(Queue::ALL.into_iter().all(|queue| split.of(queue) >= 1));
            assert!(split.total() <= total.max(Queue::ALL.len()) + 1, "{total}: {split:?}");
        }
        assert_eq!(Concurrency::split(32).of(Queue::Probes), 12);
    }
}
