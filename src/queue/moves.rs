//! Moving jobs between the tables. Callers hold the row locks and own the transaction.

use sqlx::mysql::MySqlConnection;
use sqlx::{MySql, QueryBuilder, Row};

use crate::sql::bind_ids;

/// The columns a job keeps in every table.
pub(crate) const CARRIED: &str = "id, kind, lane, priority, unique_key, payload, max_attempts, timeout_ms, wants_outcome, \
     merges, submitted_by, submitted_at, enqueued_term";

/// Counts of jobs that were moved to a waiting table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) moved: u64,
    /// Ended as merged, because an equal job waits already.
    pub(crate) merged: u64,
}

/// Where ready jobs come from, and what changes on the way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Scheduled,
    /// Given back unharmed: nothing is counted.
    Released,
    Rescued,
    /// An operator tries a parked job again from the start.
    Failed,
}

impl Source {
    const fn table(self) -> &'static str {
        match self {
            Source::Scheduled => "job_scheduled",
            Source::Released | Source::Rescued => "job_claimed",
            Source::Failed => "job_failed",
        }
    }

    /// Values of `attempts, rescues, worker_hint, hint_until`.
    const fn changes(self) -> &'static str {
        match self {
            Source::Scheduled => "s.attempts, s.rescues, s.worker_hint, s.hint_until",
            Source::Released => "s.attempts, s.rescues, '', NULL",
            Source::Rescued => "s.attempts, s.rescues + 1, '', NULL",
            Source::Failed => "0, 0, '', NULL",
        }
    }
}

/// Moves jobs to `job_ready`. One whose equal waits there ends as merged into that one; its wish for an outcome goes along.
pub(crate) async fn make_ready(conn: &mut MySqlConnection, source: Source, ids: &[u64]) -> sqlx::Result<Moved> {
    if ids.is_empty() {
        return Ok(Moved::default());
    }
    let mut insert = QueryBuilder::<MySql>::new("INSERT INTO job_ready (");
    insert.push(CARRIED).push(", attempts, rescues, worker_hint, hint_until, ready_at) SELECT ");
    insert
        .push(qualified())
        .push(", ")
        .push(source.changes())
        .push(", NOW(6) FROM ")
        .push(source.table())
        .push(" s WHERE s.id IN (");
    bind_ids(&mut insert, ids);
    insert.push(
        ") ORDER BY s.unique_key, s.id ON DUPLICATE KEY UPDATE job_ready.merges = job_ready.merges + s.merges + 1, \
         job_ready.wants_outcome = job_ready.wants_outcome OR s.wants_outcome",
    );
    // A merged row counts twice.
    let affected = insert.build().execute(&mut *conn).await?.rows_affected();
    let count = ids.len() as u64;
    let merged = if affected == count { 0 } else { record_merges(conn, source.table(), "job_ready", ids).await? };
    delete(conn, source.table(), ids).await?;
    Ok(Moved { moved: count - merged, merged })
}

/// Writes the `merged` outcomes of those `ids` whose unique key another job in `waiting` holds.
pub(crate) async fn record_merges(
    conn: &mut MySqlConnection,
    table: &'static str,
    waiting: &'static str,
    ids: &[u64],
) -> sqlx::Result<u64> {
    let mut query = QueryBuilder::<MySql>::new("SELECT s.id AS id, w.id AS target FROM ");
    query
        .push(table)
        .push(" s JOIN ")
        .push(waiting)
        .push(" w ON w.unique_key = s.unique_key WHERE s.id <> w.id AND s.id IN (");
    bind_ids(&mut query, ids);
    query.push(")");
    let rows = query.build().fetch_all(&mut *conn).await?;
    for row in &rows {
        let (id, target): (u64, u64) = (row.try_get("id")?, row.try_get("target")?);
        record_merge(conn, table, id, target).await?;
    }
    Ok(rows.len() as u64)
}

/// Writes one `merged` outcome.
pub(crate) async fn record_merge(
    conn: &mut MySqlConnection,
    table: &'static str,
    id: u64,
    target: u64,
) -> sqlx::Result<()> {
    let mut insert = outcome_into();
    insert.push(" SELECT s.id, s.kind, s.lane, 'merged', NULL, NULL, ").push_bind(target);
    insert
        .push(", s.attempts, s.submitted_by, s.submitted_at, NOW(6) FROM ")
        .push(table)
        .push(" s WHERE s.id = ")
        .push_bind(id);
    insert.build().execute(conn).await?;
    Ok(())
}

/// What an outcome row says besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    Error,
    Output,
}

/// Writes outcome rows for jobs in `table`, each with its own text, in one statement.
pub(crate) async fn record_outcomes(
    conn: &mut MySqlConnection,
    table: &'static str,
    outcome: &'static str,
    note: Note,
    rows: &[(u64, Option<&str>)],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut insert = outcome_into();
    insert.push(" SELECT s.id, s.kind, s.lane, ").push_bind(outcome).push(", ");
    if note == Note::Output {
        insert.push("NULL, ");
    }
    insert.push("CASE s.id");
    for (id, text) in rows {
        insert.push(" WHEN ").push_bind(*id).push(" THEN ").push_bind(text.map(str::to_owned));
    }
    insert.push(" END, ");
    if note == Note::Error {
        insert.push("NULL, ");
    }
    insert
        .push("NULL, s.attempts, s.submitted_by, s.submitted_at, NOW(6) FROM ")
        .push(table)
        .push(" s WHERE s.id IN (");
    bind_ids(&mut insert, &rows.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    insert.push(")").build().execute(conn).await?;
    Ok(())
}

/// Parks claimed jobs as failed, with their outcomes; leaves the deletion to the caller.
pub(crate) async fn park(conn: &mut MySqlConnection, failures: &[(u64, &str)], counts: Counts) -> sqlx::Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let mut insert = QueryBuilder::<MySql>::new("REPLACE INTO job_failed (");
    insert.push(CARRIED).push(", attempts, rescues, failed_at, error) SELECT ").push(qualified());
    insert.push(match counts {
        Counts::Attempt => ", s.attempts + 1, s.rescues, NOW(6), CASE s.id",
        Counts::Rescue => ", s.attempts, s.rescues + 1, NOW(6), CASE s.id",
    });
    for (id, error) in failures {
        insert.push(" WHEN ").push_bind(*id).push(" THEN ").push_bind((*error).to_owned());
    }
    insert.push(" END FROM job_claimed s WHERE s.id IN (");
    let ids: Vec<u64> = failures.iter().map(|(id, _)| *id).collect();
    bind_ids(&mut insert, &ids);
    insert.push(")").build().execute(&mut *conn).await?;
    let rows: Vec<_> = failures.iter().map(|(id, error)| (*id, Some(*error))).collect();
    record_outcomes(conn, "job_failed", "failed", Note::Error, &rows).await
}

/// What a parked job's last run counts as.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counts {
    Attempt,
    Rescue,
}

pub(crate) async fn delete(conn: &mut MySqlConnection, table: &'static str, ids: &[u64]) -> sqlx::Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let mut delete = QueryBuilder::<MySql>::new("DELETE FROM ");
    delete.push(table).push(" WHERE id IN (");
    bind_ids(&mut delete, ids);
    delete.push(")");
    Ok(delete.build().execute(conn).await?.rows_affected())
}

/// `REPLACE`: a job retried by hand or finished twice around a lost answer keeps its last word.
fn outcome_into() -> QueryBuilder<'static, MySql> {
    QueryBuilder::new(
        "REPLACE INTO job_outcome (id, kind, lane, outcome, error, output, merged_into, attempts, submitted_by, submitted_at, \
         finished_at)",
    )
}

/// [`CARRIED`], from the table called `s`.
pub(crate) fn qualified() -> String {
    CARRIED.split(", ").map(|column| format!("s.{}", column.trim())).collect::<Vec<_>>().join(", ")
}
