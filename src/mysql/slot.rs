//! What we keep between probes of a server: a warm connection, what we learned slowly, and whether it demands TLS.
//!
//! A slot is locked for the whole probe, so two probes of one server never run at once; the second waits for the first,
//! which has a deadline. Between probes a watcher ([`crate::watch`]) may hold it, and gives it back the moment somebody
//! wants to talk.
//!
//! Budget: a connection above it is closed when its probe ends, and the next probe connects anew. Closing the newest
//! and not the least recently used is deliberate: fleets are polled in circles, where the least recently used is exactly
//! the next one needed. Connections that nobody has used for a while (the server was handed to another worker) are closed
//! by [`Slots::idle_for`].

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::instance::InstanceKey;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::learn::Learned;
use crate::wire::Connection;

/// How long a farewell may take: it is a courtesy.
const FAREWELL: Duration = Duration::from_millis(100);

/// Longer than the longest usual pause between two tries of a dead server (`DeadInstancePollSecondsMax`, 300 s).
const FORGET: Duration = Duration::from_secs(900);

/// All slots.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Mutex<HashMap<InstanceKey, Arc<Place>>>,
    open: Arc<AtomicUsize>,
}

/// Where one server's slot is kept, and how one gets at it. Those who wait get it in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Place {
    slot: tokio::sync::Mutex<Slot>,
    /// Somebody waits who is no watcher.
    wanted: Notify,
}

/// One server's.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) connection: Option<Warm>,
    pub(crate) learned: Option<Learned>,
    /// Until when we remember that the server demands TLS.
    pub(crate) demands_tls_until: Option<Instant>,
    /// The last failed login already was looked into.
    pub(crate) is_silent: bool,
    pub(crate) last_used: Option<Instant>,
}

/// An open connection; counted until dropped.
#[derive(Debug)]
pub(crate) struct Warm {
    pub(crate) connection: Connection,
    /// Which version of the settings it was opened under.
    pub(crate) settings_version: u64,
    pub(crate) used_at: Instant,
    _counted: Counted,
}

#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    /// The slot of a server.
    pub(crate) fn get(&self, key: &InstanceKey) -> Arc<Place> {
        let mut slots = self.lock();
        if let Some(place) = slots.get(key) {
            return Arc::clone(place);
        }
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    /// The slot of a server, if it has one.
    pub(crate) fn find(&self, key: &InstanceKey) -> Option<Arc<Place>> {
        self.lock().get(key).map(Arc::clone)
    }

    /// Forgets a server; a probe of it that runs now keeps what it uses until it ends.
    pub(crate) fn forget(&self, key: &InstanceKey) {
        self.lock().remove(key);
    }

    /// Connections open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a new connection in.
    pub(crate) fn admit(&self, connection: Connection, settings_version: u64) -> Warm {
        self.open.fetch_add(1, Ordering::Relaxed);
        Warm { connection, settings_version, used_at: Instant::now(), _counted: Counted(Arc::clone(&self.open)) }
    }

    /// Takes out the connections that were not used for this long, and forgets servers that were not probed for
    /// [`FORGET`]. What is known of a server outlives its connection: a dead one is tried ever more seldom.
    pub(crate) fn idle_for(&self, limit: Duration) -> Vec<Warm> {
        let mut closed = Vec::new();
        self.lock().retain(|_, place| {
            // Whoever holds the slot is using it.
            let Ok(mut slot) = place.slot.try_lock() else { return true };
            let idle = slot.last_used.map_or(Duration::MAX, |at| at.elapsed());
            if idle >= limit {
                closed.extend(slot.connection.take());
                // A connection to be opened anew learns anew: it may be another server by then.
                slot.learned = None;
            }
            idle < limit.max(FORGET)
        });
        closed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceKey, Arc<Place>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The slot, for who wants to talk to the server: a watcher gives it back.
    pub(crate) async fn lock(&self) -> tokio::sync::MutexGuard<'_, Slot> {
        let mut locking = pin!(self.slot.lock());
        poll_fn(|context| {
            let locked = locking.as_mut().poll(context);
            if locked.is_pending() {
                // Only now, when we stand in the queue: a watcher woken before could come back before us.
                self.wanted.notify_one();
            }
            locked
        })
        .await
    }

    /// The slot, for a watcher: to be given back when [`Self::is_wanted`] returns.
    pub(crate) async fn watch(&self) -> tokio::sync::MutexGuard<'_, Slot> {
        self.slot.lock().await
    }

    /// Returns when somebody wants to talk; now and then without reason.
    pub(crate) async fn is_wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Warm {
    /// Until the next probe.
    pub(crate) fn rest(&mut self) {
        self.used_at = Instant::now();
    }

    /// Says goodbye, so that the server does not count an aborted connection.
    pub(crate) async fn close(self) {
        let Self { connection, _counted, .. } = self;
        // A server that does not listen to goodbyes gets none.
        let _ = timeout(FAREWELL, connection.close()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_per_server_is_small() {
        // There is one per instance; what its texts need comes on top.
        assert!(size_of::<Place>() <= 704, "{} bytes", size_of::<Place>());
    }
}
