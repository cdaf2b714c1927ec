//! An application that writes all the time and keeps a ledger of what the servers acknowledged.
//!
//! A test ends it, waits until replication has caught up, and asks every server: is each acknowledged row there
//! ([`Writer::lost`], [`missing_rows`]), are the tables equal ([`table_checksum`])? And how long could nobody write
//! ([`Writer::outage`])?
//!
//! One that knows several servers writes to that which takes rows, and keeps a connection to each of the others ready, as
//! pools of applications do. It tries all of them when the one it writes to refuses, or has acknowledged nothing for a moment:
//! so its outage is that of the servers, and not of a client that looks for them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accounts::{APPLICATION, ROOT};
use crate::server::Server;

/// A write that takes longer has failed: whether it was done is unknown, and it is not counted as acknowledged.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// After a failed write or connection, and between two looks at how the others do.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// Nothing acknowledged for so long: the server that took rows may be frozen, the others are tried, too.
const STALL: Duration = Duration::from_millis(200);

const CREATE: &str = "CREATE TABLE IF NOT EXISTS app.ledger (\
     id BIGINT UNSIGNED NOT NULL PRIMARY KEY, written_by VARCHAR(64) NOT NULL, payload VARCHAR(255) NOT NULL) ENGINE = InnoDB";

/// A row that a server has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: u64,
    /// `host:port` of that server.
    pub server: String,
    /// When the application knew.
    pub at: Instant,
}

/// A time in which nothing was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub length: Duration,
    /// The last row before it.
    pub before: Row,
    /// The first one behind it.
    pub after: Row,
}

/// A running writer. Dropping it ends it.
#[derive(Debug)]
pub struct Writer {
    ledger: Arc<Ledger>,
    stop: CancellationToken,
    lanes: JoinSet<()>,
}

/// What all lanes, one to each server, know together.
#[derive(Debug)]
struct Ledger {
    rows: Mutex<Vec<Row>>,
    /// The server that took the last row has refused one since: everybody tries.
    refused: AtomicBool,
    /// Never the same number again: a failed write may have been done nevertheless.
    next: AtomicU64,
}

/// One server.
struct Lane {
    address: String,
    options: MySqlConnectOptions,
    connection: Option<MySqlConnection>,
    ledger: Arc<Ledger>,
}

impl Writer {
    /// Creates the table on `server` and begins to write there: one row, then a pause. `first` is the number of the first
    /// row: writers that share a table take ranges far apart.
    pub async fn start(server: &Server, first: u64, pause: Duration) -> Result<Writer> {
        Self::start_on_any(&[server], first, pause).await
    }

    /// Writes to whichever of the servers takes rows. The first of them does now: there the table is created.
    pub async fn start_on_any(servers: &[&Server], first: u64, pause: Duration) -> Result<Writer> {
        let primary = servers.first().context("a writer needs a server")?;
        primary.execute(CREATE).await.context("cannot create the ledger's table")?;
        let ledger = Arc::new(Ledger {
            rows: Mutex::new(Vec::new()),
            refused: AtomicBool::new(false),
            next: AtomicU64::new(first),
        });
        let mut writer = Writer { ledger, stop: CancellationToken::new(), lanes: JoinSet::new() };
        for server in servers {
            writer.add(server, pause);
        }
        Ok(writer)
    }

    /// Tells a running writer of one more server.
    pub fn add(&mut self, server: &Server, pause: Duration) {
        let options = server.connect_options(APPLICATION).disable_statement_logging();
        let ledger = Arc::clone(&self.ledger);
        let lane = Lane { address: server.address(), options, connection: None, ledger };
        self.lanes.spawn(lane.run(pause, self.stop.clone()));
    }

    /// Numbers of the rows acknowledged so far.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.ledger.rows().iter().map(|row| row.id).collect()
    }

    /// The rows acknowledged so far, in the order of that.
    pub fn rows(&self) -> Vec<Row> {
        self.ledger.rows().clone()
    }

    /// The longest time without an acknowledgement that has ended after `since`. It says nothing of one that goes on.
    pub fn outage(&self, since: Instant) -> Option<Outage> {
        longest_gap(&self.ledger.rows(), since)
    }

    /// Acknowledged rows that a server lacks.
    pub async fn lost(&self, server: &Server) -> Result<Vec<Row>> {
        let missing = missing_rows(server, &self.acknowledged()).await?;
        Ok(self.rows().into_iter().filter(|row| missing.contains(&row.id)).collect())
    }

    /// Ends the writing; the ledger stays.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        // Each ends within the limit of one write.
        while self.lanes.join_next().await.is_some() {}
    }

    /// Ends the writer; gives the rows acknowledged.
    pub async fn finish(mut self) -> Vec<u64> {
        self.stop().await;
        self.acknowledged()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Ledger {
    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledge(&self, id: u64, server: &str) {
        let mut rows = self.rows();
        // The time is taken within the lock: rows are in its order.
        rows.push(Row { id, server: server.to_owned(), at: Instant::now() });
        self.refused.store(false, Ordering::Relaxed);
    }

    fn refused(&self, server: &str) {
        let rows = self.rows();
        if rows.last().is_some_and(|row| row.server == server) {
            self.refused.store(true, Ordering::Relaxed);
        }
    }

    /// Another server takes the rows, as far as anybody knows.
    fn somebody_else_writes(&self, address: &str) -> bool {
        let rows = self.rows();
        let writes = rows.last().is_some_and(|row| row.server != address && row.at.elapsed() < STALL);
        writes && !self.refused.load(Ordering::Relaxed)
    }
}

impl Lane {
    async fn run(mut self, pause: Duration, stopped: CancellationToken) {
        while !stopped.is_cancelled() {
            if self.ledger.somebody_else_writes(&self.address) {
                if self.connection.is_none() {
                    let connecting = MySqlConnection::connect_with(&self.options);
                    self.connection = tokio::time::timeout(WRITE_LIMIT, connecting).await.ok().and_then(Result::ok);
                }
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            let id = self.ledger.next.fetch_add(1, Ordering::Relaxed);
            let wrote = tokio::time::timeout(WRITE_LIMIT, self.write(id)).await;
            if matches!(wrote, Ok(Ok(()))) {
                self.ledger.acknowledge(id, &self.address);
                tokio::time::sleep(pause).await;
            } else {
                self.ledger.refused(&self.address);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn write(&mut self, id: u64) -> Result<(), sqlx::Error> {
        let mut open = match self.connection.take() {
            Some(open) => open,
            None => MySqlConnection::connect_with(&self.options).await?,
        };
        let wrote = sqlx::query("INSERT INTO app.ledger (id, written_by, payload) VALUES (?, ?, REPEAT('x', 100))")
            .bind(id)
            .bind(&self.address)
            .execute(&mut open)
            .await;
        match wrote {
            Ok(_) => {
                self.connection = Some(open);
                Ok(())
            }
            // Refused, as a read-only server does: the connection is as good as before.
            Err(error @ sqlx::Error::Database(_)) => {
                self.connection = Some(open);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

fn longest_gap(rows: &[Row], since: Instant) -> Option<Outage> {
    let gaps = rows.windows(2).filter_map(|pair| match pair {
        [before, after] if after.at > since => {
            Some(Outage { length: after.at - before.at, before: before.clone(), after: after.clone() })
        }
        _ => None,
    });
    gaps.max_by_key(|gap| gap.length)
}

/// Which of these rows a server lacks.
pub async fn missing_rows(server: &Server, acknowledged: &[u64]) -> Result<Vec<u64>> {
    let mut connection = server.connect_root().await?;
    let there: Vec<u64> = sqlx::query_scalar("SELECT id FROM app.ledger").fetch_all(&mut connection).await?;
    let there: std::collections::HashSet<u64> = there.into_iter().collect();
    Ok(acknowledged.iter().copied().filter(|id| !there.contains(id)).collect())
}

/// Number of rows and a checksum over all of them, the same on every server that has the same rows, whatever its flavour.
pub async fn table_checksum(server: &Server) -> Result<(i64, u64)> {
    let mut connection = MySqlConnection::connect_with(&server.connect_options(ROOT)).await?;
    let sum = "SELECT COUNT(*), CAST(COALESCE(BIT_XOR(CRC32(CONCAT_WS('#', id, written_by, payload))), 0) AS UNSIGNED) \
               FROM app.ledger";
    Ok(sqlx::query_as(sum).fetch_one(&mut connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_ends_after_the_moment_asked_for() {
        let begun = Instant::now();
        let row =
            |id: u64, milliseconds| Row { id, server: String::new(), at: begun + Duration::from_millis(milliseconds) };
        let rows = [row(1, 0), row(2, 900), row(3, 1_000), row(4, 1_300), row(5, 1_400)];
        let found = |after: u64| {
            longest_gap(&rows, begun + Duration::from_millis(after))
                .map(|gap| (gap.before.id, gap.after.id, gap.length))
        };
        assert_eq!(found(0), Some((1, 2, Duration::from_millis(900))));
        assert_eq!(found(899), Some((1, 2, Duration::from_millis(900))));
        assert_eq!(found(900), Some((3, 4, Duration::from_millis(300))));
        assert_eq!(found(1_400), None);
        assert_eq!(longest_gap(&rows[..1], begun), None);
    }
}
