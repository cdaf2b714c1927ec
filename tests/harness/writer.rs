//! An application that writes all the time and keeps a ledger of what the server acknowledged.
//!
//! A test ends it, waits until replication has caught up, and asks every server: is each acknowledged row there
//! ([`missing_rows`]), are the tables equal ([`table_checksum`])?

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accounts::{APPLICATION, ROOT};
use crate::server::Server;

/// A write that takes longer has failed: whether it was done is unknown, and it is not counted as acknowledged.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// After a failed write or connection.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

const CREATE: &str = "CREATE TABLE IF NOT EXISTS app.ledger (\
     id BIGINT UNSIGNED NOT NULL PRIMARY KEY, written_by VARCHAR(64) NOT NULL, payload VARCHAR(255) NOT NULL) ENGINE = InnoDB";

/// A running writer. Dropping it ends it.
#[derive(Debug)]
pub struct Writer {
    acknowledged: Arc<Mutex<Vec<u64>>>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Writer {
    /// Creates the table on `server` and begins to write there: one row, then a pause. `first` is the number of the first
    /// row: writers that share a table take ranges far apart.
    pub async fn start(server: &Server, first: u64, pause: Duration) -> Result<Writer> {
        server.execute(CREATE).await.context("cannot create the ledger's table")?;
        let options = server.connect_options(APPLICATION);
        let (acknowledged, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let (ledger, stopped, address) = (Arc::clone(&acknowledged), stop.clone(), server.address());
        let task = tokio::spawn(async move {
            let mut connection: Option<MySqlConnection> = None;
            let mut id = first;
            while !stopped.is_cancelled() {
                let wrote = tokio::time::timeout(WRITE_LIMIT, async {
                    let mut open = match connection.take() {
                        Some(open) => open,
                        None => MySqlConnection::connect_with(&options).await?,
                    };
                    sqlx::query("INSERT INTO app.ledger (id, written_by, payload) VALUES (?, ?, REPEAT('x', 100))")
                        .bind(id)
                        .bind(&address)
                        .execute(&mut open)
                        .await?;
                    Ok::<_, sqlx::Error>(open)
                });
                match wrote.await {
                    Ok(Ok(open)) => {
                        connection = Some(open);
                        ledger.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                        tokio::time::sleep(pause).await;
                    }
                    _ => tokio::time::sleep(RETRY_PAUSE).await,
                }
                // Never the same number again: a failed write may have been done nevertheless.
                id += 1;
            }
        });
        Ok(Writer { acknowledged, stop, task: Some(task) })
    }

    /// Rows acknowledged so far.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the writer; gives the rows acknowledged.
    pub async fn finish(mut self) -> Vec<u64> {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // It ends within the limit of one write.
            let _ = task.await;
        }
        self.acknowledged()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
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
