//! A connection of one's own to the backend, made anew when it breaks.
//!
//! Heartbeats, claims and finishes do not borrow from the pool: jobs may exhaust it, and a heartbeat that waits for a job is how a
//! healthy worker would be taken for dead.

use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnection;
use sqlx::{ConnectOptions, MySqlPool};

use crate::error::is_conflict;
use crate::sql::{IDLE_LIMIT, session_setup};

pub(crate) struct Link {
    pool: MySqlPool,
    conn: Option<MySqlConnection>,
    used_at: Instant,
}

impl Link {
    /// The address and account are the pool's, read again at each connect: the pool's owner may move to another backend.
    pub(crate) fn new(pool: MySqlPool) -> Self {
        Self { pool, conn: None, used_at: Instant::now() }
    }

    /// Runs `work` on the connection within `limit`, connecting first if needed. After an error other than a conflict the
    /// connection is dropped: it may be broken.
    pub(crate) async fn run<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let attempt = async {
            let mut conn = match self.conn.take().filter(|_| self.used_at.elapsed() < IDLE_LIMIT) {
                Some(conn) => conn,
                None => {
                    let mut conn = self.pool.connect_options().connect().await?;
                    session_setup(&mut conn).await?;
                    conn
                }
            };
            let result = work(&mut conn).await;
            Ok((conn, result))
        };
        match tokio::time::timeout(limit, attempt).await {
            Ok(Ok((conn, result))) => {
                // A conflict has ended the transaction and nothing else.
                if result.as_ref().err().is_none_or(is_conflict) {
                    self.conn = Some(conn);
                    self.used_at = Instant::now();
                }
                result
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(sqlx::Error::Io(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no answer from the backend within {} ms", limit.as_millis()),
            ))),
        }
    }
}
