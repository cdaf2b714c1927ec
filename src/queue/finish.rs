//! Writing down how claimed jobs ended, many at a time. Only the holder of the claim token changes anything.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, MySql, QueryBuilder, Row};

use crate::moves::{
    CARRIED, Counts, Note, Source, delete, make_ready, park, qualified, record_merge, record_merges, record_outcomes,
};
use crate::sql::{bind_ids, cut_error, micros};

/// How one claim ends.
#[derive(Debug, Clone)]
pub(crate) struct Finish {
    pub(crate) id: u64,
    pub(crate) claim_token: u64,
    pub(crate) verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody waits for the result.
    Done,
    /// Done, with its output as JSON.
    DoneWith(String),
    Cancelled,
    Retry {
        delay: Duration,
        error: String,
    },
    Park {
        error: String,
    },
    /// Back to ready, as if never claimed.
    Release,
}

/// Writes a batch; returns how many of them were no longer ours and changed nothing.
pub(crate) async fn write(conn: &mut MySqlConnection, batch: &[Finish]) -> sqlx::Result<u64> {
    let (plain, rest): (Vec<&Finish>, Vec<&Finish>) = batch.iter().partition(|finish| finish.verdict == Verdict::Done);
    let mut fenced = 0;
    if !plain.is_empty() {
        let mut delete = QueryBuilder::<MySql>::new("DELETE FROM job_claimed WHERE id IN (");
        bind_ids(&mut delete, &plain.iter().map(|finish| finish.id).collect::<Vec<_>>());
        // By primary key, and then exactly this claim of it.
        delete.push(") AND CASE id");
        // Padded like the ids, so that few distinct statements exist.
        for finish in plain.iter().chain(plain.last().into_iter().cycle()).take(plain.len().next_power_of_two()) {
            delete.push(" WHEN ").push_bind(finish.id).push(" THEN claim_token = ").push_bind(finish.claim_token);
        }
        delete.push(" END");
        fenced += plain.len() as u64 - delete.build().execute(&mut *conn).await?.rows_affected();
    }
    if !rest.is_empty() {
        let mut tx = conn.begin().await?;
        fenced += write_with_rows(&mut tx, &rest).await?;
        tx.commit().await?;
    }
    Ok(fenced)
}

async fn write_with_rows(conn: &mut MySqlConnection, batch: &[&Finish]) -> sqlx::Result<u64> {
    let held = lock_held(conn, batch).await?;
    let (mut ended, mut done, mut cancelled, mut failed, mut released) = (vec![], vec![], vec![], vec![], vec![]);
    for finish in &held {
        match &finish.verdict {
            Verdict::Done => {}
            Verdict::DoneWith(output) => done.push((finish.id, Some(output.as_str()))),
            Verdict::Cancelled => cancelled.push((finish.id, None)),
            Verdict::Park { error } => failed.push((finish.id, cut_error(error))),
            Verdict::Retry { delay, error } => retry(conn, finish.id, *delay, &cut_error(error)).await?,
            Verdict::Release => {
                released.push(finish.id);
                continue;
            }
        }
        ended.push(finish.id);
    }
    record_outcomes(conn, "job_claimed", "done", Note::Output, &done).await?;
    record_outcomes(conn, "job_claimed", "cancelled", Note::Error, &cancelled).await?;
    let failures: Vec<(u64, &str)> = failed.iter().map(|(id, error)| (*id, error.as_str())).collect();
    park(conn, &failures, Counts::Attempt).await?;
    make_ready(conn, Source::Released, &released).await?;
    delete(conn, "job_claimed", &ended).await?;
    Ok((batch.len() - held.len()) as u64)
}

/// Locks the claims of the batch that are still ours.
async fn lock_held<'a>(conn: &mut MySqlConnection, batch: &[&'a Finish]) -> sqlx::Result<Vec<&'a Finish>> {
    let mut query = QueryBuilder::<MySql>::new("SELECT id, claim_token FROM job_claimed WHERE id IN (");
    bind_ids(&mut query, &batch.iter().map(|finish| finish.id).collect::<Vec<_>>());
    query.push(") FOR UPDATE");
    let mut held = Vec::with_capacity(batch.len());
    for row in query.build().fetch_all(conn).await? {
        let (id, claim_token): (u64, u64) = (row.try_get("id")?, row.try_get("claim_token")?);
        // The first word on a claim counts.
        held.extend(batch.iter().find(|finish| finish.id == id && finish.claim_token == claim_token));
    }
    Ok(held)
}

/// Schedules another attempt, unless an equal job waits: then that one is the next attempt.
async fn retry(conn: &mut MySqlConnection, id: u64, delay: Duration, error: &str) -> sqlx::Result<()> {
    let equal: Option<u64> = sqlx::query_scalar(
        "SELECT w.id FROM job_claimed s JOIN job_ready w ON w.unique_key = s.unique_key WHERE s.id = ?",
    )
    .bind(id)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(target) = equal {
        let joined = sqlx::query(
            "UPDATE job_ready w JOIN job_claimed s ON s.id = ? SET w.merges = w.merges + s.merges + 1, \
             w.wants_outcome = w.wants_outcome OR s.wants_outcome WHERE w.id = ?",
        )
        .bind(id)
        .bind(target)
        .execute(&mut *conn)
        .await?;
        // It may have been claimed since we looked: then we wait on our own.
        if joined.rows_affected() > 0 {
            return record_merge(conn, "job_claimed", id, target).await;
        }
    }
    let mut insert = QueryBuilder::<MySql>::new("INSERT INTO job_scheduled (");
    insert.push(CARRIED).push(", attempts, rescues, run_at, last_error) SELECT ").push(qualified());
    insert.push(", s.attempts + 1, s.rescues, NOW(6) + INTERVAL ").push_bind(micros(delay)).push(" MICROSECOND, ");
    insert.push_bind(error.to_owned()).push(" FROM job_claimed s WHERE s.id = ").push_bind(id);
    insert.push(
        " ON DUPLICATE KEY UPDATE job_scheduled.merges = job_scheduled.merges + s.merges + 1, \
         job_scheduled.wants_outcome = job_scheduled.wants_outcome OR s.wants_outcome",
    );
    if insert.build().execute(&mut *conn).await?.rows_affected() != 1 {
        record_merges(conn, "job_claimed", "job_scheduled", &[id]).await?;
    }
    Ok(())
}
