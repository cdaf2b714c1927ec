//! Watches the warm connection of a server between probes, so that its end is noticed when it happens.
//!
//! ```text
//!           rest: the watcher holds the slot, and nobody talks
//!            |  somebody wants the slot      -> gives it back, stands in the queue behind him, rests again
//!            |  the connection ends          -> Closed
//!            |  the server talks of itself   -> Closed (it says that it will end the connection)
//!            |  not used for a while         -> a ping: answered -> rests again; not -> Silent
//! ```
//! What is noticed is no news about the server: idle connections are closed, networks stall. It is a reason for an ordinary
//! probe, which connects anew. A ping waits half as long for its answer as a probe would, and the probe that follows has its
//! own deadline: a stall has to outlast both together before a failure is observed.
//!
//! Failure cases:
//! - *The watcher is dropped in the middle of a ping*: the connection is broken, the next probe connects anew.
//! - *The server was forgotten, or has no warm connection* (above the budget, or the last probe failed): nothing to watch.
//! - *A probe wants to talk during a ping*: it waits for the answer, or for the ping's deadline.

use std::time::Duration;

use domain::instance::InstanceKey;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Prober;

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed {
    /// The server ended the connection, or says that it will.
    Closed,
    /// The server does not answer.
    Silent,
    /// There is no warm connection to watch.
    Nothing,
}

impl Prober {
    /// Watches the warm connection of a server until there is a reason to probe it. `ping`: how long the connection may
    /// rest before the server is asked whether it is there; without, only the end of the connection is noticed.
    /// Costs nothing while nothing happens, and no probe is kept waiting.
    pub async fn watch(&self, key: &InstanceKey, ping: Option<Duration>) -> Noticed {
        let Some(place) = self.slots.find(key) else { return Noticed::Nothing };
        loop {
            let mut slot = place.watch().await;
            let Some(warm) = slot.connection.as_mut() else { return Noticed::Nothing };
            if warm.connection.is_broken() {
                return Noticed::Nothing;
            }
            let due = ping.map(|every| Instant::from_std(warm.used_at + every));
            tokio::select! {
                biased;
                () = place.is_wanted() => {}
                has_ended = warm.connection.disturbed() => {
                    if has_ended {
                        slot.connection = None;
                    }
                    return Noticed::Closed;
                }
                () = until(due) => {
                    let limit = self.current().settings.connect.read_timeout / 2;
                    let answer = timeout(limit, warm.connection.ping()).await;
                    if let Ok(Ok(())) = answer {
                        warm.rest();
                        continue;
                    }
                    slot.connection = None;
                    return if answer.is_ok() { Noticed::Closed } else { Noticed::Silent };
                }
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
