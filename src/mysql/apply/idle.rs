//! Connections between the orders of one operation: logging in with TLS costs a server more than most orders.
//!
//! Only connections whose session is as any other are kept ([`super::session`] sets the rest at each use). One per server, until
//! the operation ends; one that has rested for long is not used again.
//!
//! Failure cases. *It ended*: seen before it is used, or when its session begins, which changes nothing: another is opened.
//! *The network fell silent*: the beginning takes the order's time, and nothing was sent. *The name leads elsewhere by now*: the
//! look after the order, over a connection of its own, does not find what was ordered, and the step fails.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::instance::InstanceKey;
use futures::future::{FutureExt, join_all};
use tokio::time::timeout;

use crate::wire::Connection;

/// Far less than any server's `wait_timeout`, longer than from one step of a move to the next.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Saying goodbye is polite, nothing more.
const CLOSE_LIMIT: Duration = Duration::from_millis(100);

/// Connections at rest. [`IdleConnections::close`] it at the end: otherwise the servers count aborted connections.
#[derive(Debug, Default)]
pub struct IdleConnections {
    connections: Mutex<HashMap<InstanceKey, (Connection, Instant)>>,
}

impl IdleConnections {
    /// The one to this server, unless it has ended, or rested for too long.
    pub(super) async fn take(&self, key: &InstanceKey) -> Option<Connection> {
        let (connection, since) = self.lock().remove(key)?;
        if since.elapsed() > KEPT_FOR {
            close(connection).await;
            return None;
        }
        let has_ended = connection.disturbed().now_or_never().is_some();
        (!has_ended).then_some(connection)
    }

    /// Keeps it for the next order; one that was there, of another branch, is closed.
    pub(super) async fn put(&self, key: &InstanceKey, connection: Connection) {
        let former = self.lock().insert(key.clone(), (connection, Instant::now()));
        if let Some((former, _)) = former {
            close(former).await;
        }
    }

    /// Says goodbye to all servers.
    pub async fn close(&self) {
        let all: Vec<_> = self.lock().drain().collect();
        join_all(all.into_iter().map(|(_, (connection, _))| close(connection))).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceKey, (Connection, Instant)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits a moment at most.
pub(super) async fn close(connection: Connection) {
    if !connection.is_broken() {
        let _ = timeout(CLOSE_LIMIT, connection.close()).await;
    }
}
