//! Looks at servers, shared by those who wait for one.
//!
//! Branches of one plan ask about the same servers all the time: their new source, the primary. A server answers one question
//! after the other, so that twenty who ask at once would wait for twenty answers. What was read after one has asked answers one's
//! question, whoever it was read for: at most two looks are waited for, the one under way and the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use domain::instance::InstanceKey;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The last answer of a server, and when it was asked for.
type Last<T> = Option<(Instant, T)>;

/// What servers answered last.
#[derive(Debug)]
pub(crate) struct Looks<T> {
    servers: StdMutex<HashMap<InstanceKey, Arc<Mutex<Last<T>>>>>,
}

impl<T> Default for Looks<T> {
    fn default() -> Self {
        Self { servers: StdMutex::default() }
    }
}

impl<T: Clone> Looks<T> {
    /// What `read` gives, or what it gave to somebody else if that began later than this call.
    pub(crate) async fn ask<F: Future<Output = T>>(&self, key: &InstanceKey, read: impl FnOnce() -> F) -> T {
        let asked = Instant::now();
        let last = self.servers.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone();
        let mut last = last.lock().await;
        if let Some((began, answer)) = last.as_ref()
            && *began > asked
        {
            return answer.clone();
        }
        let began = Instant::now();
        let answer = read().await;
        *last = Some((began, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_share_the_next_look_and_nobody_gets_an_older_one() {
        let (looks, key, count) = (Looks::default(), InstanceKey::new("db", 3306), AtomicU32::new(0));
        let ask = async || {
            let read = || async {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
                number
            };
            looks.ask(&key, read).await
        };
        // One after the other: each its own.
        assert_eq!((ask().await, ask().await), (1, 2));
        let late = async || {
            tokio::time::sleep(Duration::from_millis(5)).await;
            ask().await
        };
        let (first, rest) = tokio::join!(ask(), futures::future::join_all((0..20).map(|_| late())));
        assert_eq!(first, 3);
        assert_eq!(rest, [4; 20], "began before they asked, or each for itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_is_given_up_holds_up_nobody() {
        let (looks, key) = (Looks::default(), InstanceKey::new("db", 3306));
        let never = looks.ask(&key, std::future::pending);
        assert!(tokio::time::timeout(Duration::from_secs(1), never).await.is_err());
        assert_eq!(looks.ask(&key, || std::future::ready(7)).await, 7);
    }
}
