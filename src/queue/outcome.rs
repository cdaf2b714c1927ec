//! Awaiting how a job ended.

use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnection;
use sqlx::{MySqlPool, Row};

use crate::Error;
use crate::sql::{maybe_text, text};

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done(serde_json::Value),
    Failed(String),
    Cancelled,
}

/// The answer to waiting.
#[derive(Debug, Clone, PartialEq)]
pub enum Awaited {
    Ended(Outcome),
    /// Still waiting or running when the time was up.
    Pending,
    /// No trace of it: never existed, trimmed by age, or succeeded without [`crate::NewJob::wants_outcome`].
    Unknown,
}

/// First and longest pause between two looks: people wait at the other end, and a look costs one statement.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Merges followed before giving up: a chain is as long as the number of times the job was absorbed, one or two in practice.
const MAX_MERGES: u32 = 100;

/// Waits until the job, or the one it was merged into, has ended. A backend outage is waited out too, within `timeout`.
pub async fn await_outcome(pool: &MySqlPool, id: u64, timeout: Duration) -> Result<Awaited, Error> {
    let deadline = Instant::now() + timeout;
    let (mut id, mut pause, mut merges) = (id, FIRST_PAUSE, 0);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let look = async {
            let mut conn = pool.acquire().await?;
            look(&mut conn, id).await
        };
        let Ok(looked) = tokio::time::timeout(left.max(FIRST_PAUSE), look).await else {
            return Ok(Awaited::Pending);
        };
        match looked {
            Ok(Look::Ended(outcome)) => return Ok(Awaited::Ended(outcome)),
            Ok(Look::Merged(into)) if merges < MAX_MERGES => {
                (id, merges) = (into, merges + 1);
                continue;
            }
            Ok(Look::Merged(_) | Look::Nowhere) => return Ok(Awaited::Unknown),
            Ok(Look::Alive) if left.is_zero() => return Ok(Awaited::Pending),
            Ok(Look::Alive) => {}
            Err(cause) if left.is_zero() => return Err(Error::Backend { doing: "await a job's outcome", cause }),
            Err(error) => tracing::debug!(job.id = id, %error, "cannot look for the job's outcome now"),
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// The outcome row of a job, if there is one; merges are followed once per call of [`await_outcome`].
enum Look {
    Ended(Outcome),
    Merged(u64),
    Alive,
    Nowhere,
}

async fn look(conn: &mut MySqlConnection, id: u64) -> sqlx::Result<Look> {
    let row = sqlx::query("SELECT outcome, error, output, merged_into FROM job_outcome WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut *conn)
        .await?;
    if let Some(row) = row {
        return Ok(match text(&row, "outcome")?.as_str() {
            "done" => {
                let output = maybe_text(&row, "output")?.unwrap_or_default();
                Look::Ended(Outcome::Done(serde_json::from_str(&output).unwrap_or(serde_json::Value::Null)))
            }
            "cancelled" => Look::Ended(Outcome::Cancelled),
            "merged" => row.try_get::<Option<u64>, _>("merged_into")?.map_or(Look::Nowhere, Look::Merged),
            _ => Look::Ended(Outcome::Failed(maybe_text(&row, "error")?.unwrap_or_default())),
        });
    }
    // One statement sees one moment, so a job on its way from table to table is seen in one of them. The outcome is part of
    // it: the job may have ended since the statement above.
    let found: i64 = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM job_ready WHERE id = ?) OR EXISTS (SELECT 1 FROM job_scheduled WHERE id = ?) \
             OR EXISTS (SELECT 1 FROM job_claimed WHERE id = ?) OR EXISTS (SELECT 1 FROM job_outcome WHERE id = ?)",
    )
    .bind(id)
    .bind(id)
    .bind(id)
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(if found == 0 { Look::Nowhere } else { Look::Alive })
}
