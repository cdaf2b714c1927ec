//! What its operators, or a topology manager, have made of a server: from whom it replicates and with which threads, whether
//! it takes writes, how much of its cluster's history it has.
//!
//! A cluster has one history: numbered transactions, committed by one server after the other. A server has them up to some
//! number, so nothing diverges here; what a real server would have for itself alone is left to real servers.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Instead of the number of a server.
const NOBODY: usize = usize::MAX;
const ELSEWHERE: usize = usize::MAX - 1;

/// Something that is on or off, and can be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Switch {
    /// The receiver was started.
    Receiver = 1,
    /// The applier was started.
    Applier = 2,
    ReadOnly = 4,
    SuperReadOnly = 8,
    SemiSyncSource = 16,
    SemiSyncReplica = 32,
}

/// From whom a server replicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Follows {
    Nobody,
    /// By its number in the fleet.
    Server(usize),
    /// A name and port that no server of the cluster has: a detached replica's.
    Elsewhere(String, u16),
}

/// See the module. Small, because there are ten thousand.
#[derive(Debug)]
pub(crate) struct Role {
    source: AtomicUsize,
    elsewhere: Mutex<Option<Box<(String, u16)>>>,
    switches: AtomicU8,
    /// Milliseconds after the start of the fleet at which it began to take writes.
    pub(crate) opened_at_ms: AtomicU64,
    /// Milliseconds after the start of the fleet at which its receiver was started.
    pub(crate) receives_since_ms: AtomicU64,
    /// Transactions of the cluster's history that this server has.
    pub(crate) executed: AtomicU64,
    /// MariaDB: of those, the ones it had replicated when it forgot its source.
    pub(crate) replicated: AtomicU64,
}

impl Role {
    /// A server as the fleet starts: a primary that takes writes, or a replica that runs and does not.
    pub(crate) fn new(source: Option<usize>, semi_sync: bool, executed: u64) -> Self {
        let on = |switches: &[Switch]| switches.iter().fold(0, |all, switch| all | *switch as u8);
        let mut switches = match source {
            None => 0,
            Some(_) => on(&[Switch::Receiver, Switch::Applier, Switch::ReadOnly, Switch::SuperReadOnly]),
        };
        if semi_sync {
            switches |= on(&[if source.is_none() { Switch::SemiSyncSource } else { Switch::SemiSyncReplica }]);
        }
        Self {
            source: AtomicUsize::new(source.unwrap_or(NOBODY)),
            elsewhere: Mutex::default(),
            switches: AtomicU8::new(switches),
            opened_at_ms: AtomicU64::new(0),
            receives_since_ms: AtomicU64::new(0),
            executed: AtomicU64::new(executed),
            replicated: AtomicU64::new(0),
        }
    }

    pub(crate) fn is(&self, switch: Switch) -> bool {
        self.switches.load(Ordering::Acquire) & switch as u8 != 0
    }

    pub(crate) fn set(&self, switch: Switch, on: bool) {
        if on {
            self.switches.fetch_or(switch as u8, Ordering::AcqRel);
        } else {
            self.switches.fetch_and(!(switch as u8), Ordering::AcqRel);
        }
    }

    /// Is this what clients may write to?
    pub(crate) fn takes_writes(&self) -> bool {
        !self.is_replica() && !self.is(Switch::ReadOnly)
    }

    pub(crate) fn follows(&self) -> Follows {
        match self.source.load(Ordering::Acquire) {
            NOBODY => Follows::Nobody,
            ELSEWHERE => {
                let name = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
                name.as_deref().map_or(Follows::Nobody, |(host, port)| Follows::Elsewhere(host.clone(), *port))
            }
            source => Follows::Server(source),
        }
    }

    /// The number of its source, where that is a server of the fleet.
    pub(crate) fn source(&self) -> Option<usize> {
        Some(self.source.load(Ordering::Acquire)).filter(|source| *source < ELSEWHERE)
    }

    pub(crate) fn is_replica(&self) -> bool {
        self.source.load(Ordering::Acquire) != NOBODY
    }

    pub(crate) fn follow(&self, whom: Follows) {
        let mut name = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        let (source, elsewhere) = match whom {
            Follows::Nobody => (NOBODY, None),
            Follows::Server(index) => (index, None),
            Follows::Elsewhere(host, port) => (ELSEWHERE, Some(Box::new((host, port)))),
        };
        *name = elsewhere;
        self.source.store(source, Ordering::Release);
    }
}

/// Who committed which transactions of a cluster.
#[derive(Debug)]
pub(crate) struct History {
    /// A server, and how many there were before its first one; in the order in which they took writes.
    reigns: Vec<(usize, u64)>,
    total: u64,
}

impl History {
    pub(crate) fn new(primary: usize, total: u64) -> Self {
        Self { reigns: vec![(primary, 0)], total }
    }

    /// Adds transactions; gives how many there are now.
    pub(crate) fn commit(&mut self, server: usize, count: u64) -> u64 {
        if count > 0 && self.reigns.last().is_none_or(|(last, _)| *last != server) {
            self.reigns.push((server, self.total));
        }
        self.total += count;
        self.total
    }

    /// How many of the first so many transactions each server committed, ordered by server; and who committed the last.
    pub(crate) fn of_first(&self, executed: u64) -> (std::collections::BTreeMap<usize, u64>, usize) {
        let ends = self.reigns.iter().skip(1).map(|(_, before)| *before).chain([self.total]);
        let mut counts = std::collections::BTreeMap::new();
        let mut last = self.reigns.first().map_or(0, |(server, _)| *server);
        for ((server, before), end) in self.reigns.iter().zip(ends) {
            if *before < executed {
                *counts.entry(*server).or_default() += end.min(executed) - before;
                last = *server;
            }
        }
        (counts, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_knows_who_committed_what() {
        let mut history = History::new(0, 10);
        assert_eq!(history.commit(2, 3), 13);
        assert_eq!(history.commit(2, 1), 14);
        assert_eq!(history.commit(0, 1), 15);
        assert_eq!(history.of_first(12), ([(0, 10), (2, 2)].into(), 2));
        assert_eq!(history.of_first(15), ([(0, 11), (2, 4)].into(), 0));
        assert_eq!(history.of_first(10), ([(0, 10)].into(), 0));
    }

    #[test]
    fn a_detached_replica_remembers_the_name() {
        let role = Role::new(Some(7), false, 1);
        assert_eq!(role.source(), Some(7));
        role.follow(Follows::Elsewhere("//db1".to_owned(), 3306));
        assert_eq!((role.source(), role.is_replica()), (None, true));
        assert_eq!(role.follows(), Follows::Elsewhere("//db1".to_owned(), 3306));
        role.follow(Follows::Nobody);
        assert!(!role.is_replica());
    }
}
