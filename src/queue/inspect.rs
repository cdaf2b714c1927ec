//! Looking into the queue, and an operator's two levers: retry and cancel.

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{Connection, MySql, QueryBuilder, Row};

use crate::Error;
use crate::moves::{Note, Source, delete, make_ready, record_outcomes};
use crate::sql::{maybe_text, text};

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Claimed,
    Ready,
    Scheduled,
    Failed,
}

impl State {
    pub const ALL: [State; 4] = [State::Claimed, State::Ready, State::Scheduled, State::Failed];

    /// The word people use.
    pub const fn name(self) -> &'static str {
        match self {
            State::Claimed => "running",
            State::Ready => "waiting",
            State::Scheduled => "scheduled",
            State::Failed => "failed",
        }
    }

    pub fn parse(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    const fn table(self) -> &'static str {
        match self {
            State::Claimed => "job_claimed",
            State::Ready => "job_ready",
            State::Scheduled => "job_scheduled",
            State::Failed => "job_failed",
        }
    }

    /// `worker, error`, and the time since when it is in this state.
    const fn columns(self) -> &'static str {
        match self {
            State::Claimed => "worker AS worker, NULL AS error, cancel_requested AS cancel_requested, claimed_at",
            State::Ready => "worker_hint AS worker, NULL AS error, 0 AS cancel_requested, ready_at",
            State::Scheduled => "worker_hint AS worker, last_error AS error, 0 AS cancel_requested, run_at",
            State::Failed => "NULL AS worker, error AS error, 0 AS cancel_requested, failed_at",
        }
    }
}

/// One job as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    pub id: u64,
    pub kind: String,
    pub state: State,
    pub lane: String,
    pub priority: u16,
    pub unique_key: Option<String>,
    pub payload: String,
    /// Runs that failed so far.
    pub attempts: u32,
    pub max_attempts: u32,
    pub rescues: u32,
    /// Equal submissions that joined it.
    pub merges: u32,
    pub submitted_by: String,
    /// Since it was enqueued.
    pub age_seconds: f64,
    /// Since it is in this state; negative for a scheduled job: until it becomes ready.
    pub state_seconds: f64,
    /// Who runs it, or should.
    pub worker: Option<String>,
    pub error: Option<String>,
    pub cancel_requested: bool,
}

/// Which jobs to list. The default lists all states.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub state: Option<State>,
    pub kind: Option<String>,
    /// The whole stored lane, `queue/datacenter`.
    pub lane: Option<String>,
}

/// Lists at most `limit` jobs: running first, oldest first within a state; the failed ones youngest first.
pub async fn list(conn: &mut MySqlConnection, filter: &Filter, limit: u32) -> Result<Vec<JobView>, Error> {
    let mut jobs = Vec::new();
    for state in State::ALL.into_iter().filter(|state| filter.state.is_none_or(|wanted| wanted == *state)) {
        let left = limit.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        let mut query = select(state);
        query.push(" WHERE 1 = 1");
        if let Some(kind) = &filter.kind {
            query.push(" AND kind = ").push_bind(kind.as_str());
        }
        if let Some(lane) = &filter.lane {
            query.push(" AND lane = ").push_bind(lane.as_str());
        }
        query.push(if state == State::Failed {
            " ORDER BY failed_at DESC, id DESC LIMIT "
        } else {
            " ORDER BY id LIMIT "
        });
        query.push_bind(left);
        let rows = query.build().fetch_all(&mut *conn).await.map_err(Error::backend("list jobs"))?;
        for row in &rows {
            jobs.push(view(row, state).map_err(Error::backend("read a job"))?);
        }
    }
    Ok(jobs)
}

/// One job that waits, runs or is parked. `None`: it has ended (see [`crate::await_outcome`]) or never existed.
pub async fn show(conn: &mut MySqlConnection, id: u64) -> Result<Option<JobView>, Error> {
    for state in State::ALL {
        let mut query = select(state);
        query.push(" WHERE id = ").push_bind(id);
        let row = query.build().fetch_optional(&mut *conn).await.map_err(Error::backend("look for a job"))?;
        if let Some(row) = row {
            return view(&row, state).map(Some).map_err(Error::backend("read a job"));
        }
    }
    Ok(None)
}

/// Puts a parked job back to ready, with all its attempts.
pub async fn retry(conn: &mut MySqlConnection, id: u64) -> Result<(), Error> {
    let found = retry_parked(conn, id).await.map_err(Error::backend("retry a failed job"))?;
    if found { Ok(()) } else { Err(Error::NotPossible { id, problem: "is not among the failed jobs" }) }
}

async fn retry_parked(conn: &mut MySqlConnection, id: u64) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let held: Option<u64> = sqlx::query_scalar("SELECT id FROM job_failed WHERE id = ? FOR UPDATE")
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
    if held.is_some() {
        // Those who await it now wait for the new attempt.
        sqlx::query("DELETE FROM job_outcome WHERE id = ?").bind(id).execute(&mut *tx).await?;
        make_ready(&mut tx, Source::Failed, &[id]).await?;
    }
    tx.commit().await?;
    Ok(held.is_some())
}

/// What [`cancel`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It was waiting and will not run.
    Removed,
    /// It is running; its worker is told at its next heartbeat, and the job stops at its next safe point.
    Requested,
}

/// Cancels a waiting job, or asks a running one to stop.
pub async fn cancel(conn: &mut MySqlConnection, id: u64) -> Result<Cancelled, Error> {
    let done = cancel_anywhere(conn, id).await.map_err(Error::backend("cancel a job"))?;
    done.ok_or(Error::NotPossible { id, problem: "is neither waiting nor running" })
}

async fn cancel_anywhere(conn: &mut MySqlConnection, id: u64) -> sqlx::Result<Option<Cancelled>> {
    let mut tx = conn.begin().await?;
    // In the direction jobs move, each look under lock: a job claimed after the first look is found by the last.
    for (table, lock) in [
        ("job_scheduled", "SELECT id FROM job_scheduled WHERE id = ? FOR UPDATE"),
        ("job_ready", "SELECT id FROM job_ready WHERE id = ? FOR UPDATE"),
    ] {
        if sqlx::query_scalar::<_, u64>(lock).bind(id).fetch_optional(&mut *tx).await?.is_some() {
            record_outcomes(&mut tx, table, "cancelled", Note::Error, &[(id, None)]).await?;
            delete(&mut tx, table, &[id]).await?;
            tx.commit().await?;
            return Ok(Some(Cancelled::Removed));
        }
    }
    let asked = sqlx::query("UPDATE job_claimed SET cancel_requested = 1 WHERE id = ?")
        .bind(id)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    tx.commit().await?;
    Ok((asked > 0).then_some(Cancelled::Requested))
}

/// How full a lane is.
#[derive(Debug, Clone, PartialEq)]
pub struct Depth {
    pub lane: String,
    pub ready: u64,
    /// Age of the oldest ready job since it became ready; 0 when none is.
    pub oldest_seconds: f64,
    pub claimed: u64,
    pub scheduled: u64,
    pub failed: u64,
}

/// Counts per lane, for gauges and for people. Reads all rows: call it at scrape time, not per job.
pub async fn depth(conn: &mut MySqlConnection) -> Result<Vec<Depth>, Error> {
    let rows = sqlx::query(
        "SELECT lane, CAST(SUM(ready) AS SIGNED) AS ready, CAST(SUM(claimed) AS SIGNED) AS claimed, \
                CAST(SUM(scheduled) AS SIGNED) AS scheduled, CAST(SUM(failed) AS SIGNED) AS failed, \
                CAST(MAX(age) AS SIGNED) AS age \
           FROM (SELECT lane, COUNT(*) AS ready, 0 AS claimed, 0 AS scheduled, 0 AS failed, \
                        TIMESTAMPDIFF(MICROSECOND, MIN(ready_at), NOW(6)) AS age FROM job_ready GROUP BY lane \
                 UNION ALL SELECT lane, 0, COUNT(*), 0, 0, 0 FROM job_claimed GROUP BY lane \
                 UNION ALL SELECT lane, 0, 0, COUNT(*), 0, 0 FROM job_scheduled GROUP BY lane \
                 UNION ALL SELECT lane, 0, 0, 0, COUNT(*), 0 FROM job_failed GROUP BY lane) counts \
          GROUP BY lane ORDER BY lane",
    )
    .fetch_all(conn)
    .await
    .map_err(Error::backend("count jobs per lane"))?;
    let count = |row: &MySqlRow, column: &str| -> sqlx::Result<u64> {
        row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or(0))
    };
    rows.iter()
        .map(|row| {
            Ok(Depth {
                lane: text(row, "lane")?,
                ready: count(row, "ready")?,
                oldest_seconds: count(row, "age")? as f64 / 1e6,
                claimed: count(row, "claimed")?,
                scheduled: count(row, "scheduled")?,
                failed: count(row, "failed")?,
            })
        })
        .collect::<sqlx::Result<_>>()
        .map_err(Error::backend("read the counts per lane"))
}

fn select<'a>(state: State) -> QueryBuilder<'a, MySql> {
    let (since, extra) =
        state.columns().rsplit_once(", ").map_or(("submitted_at", ""), |(extra, since)| (since, extra));
    let mut query = QueryBuilder::new(
        "SELECT id, kind, lane, priority, unique_key, payload, attempts, max_attempts, rescues, merges, submitted_by, \
         TIMESTAMPDIFF(MICROSECOND, submitted_at, NOW(6)) AS age, ",
    );
    query
        .push(extra)
        .push(", TIMESTAMPDIFF(MICROSECOND, ")
        .push(since)
        .push(", NOW(6)) AS since FROM ")
        .push(state.table());
    query
}

fn view(row: &MySqlRow, state: State) -> sqlx::Result<JobView> {
    let seconds = |column: &str| row.try_get::<i64, _>(column).map(|micros| micros as f64 / 1e6);
    let cancel_requested: i64 = row.try_get("cancel_requested")?;
    Ok(JobView {
        id: row.try_get("id")?,
        kind: text(row, "kind")?,
        state,
        lane: text(row, "lane")?,
        priority: row.try_get("priority")?,
        unique_key: maybe_text(row, "unique_key")?,
        payload: text(row, "payload")?,
        attempts: row.try_get("attempts")?,
        max_attempts: row.try_get("max_attempts")?,
        rescues: row.try_get("rescues")?,
        merges: row.try_get("merges")?,
        submitted_by: text(row, "submitted_by")?,
        age_seconds: seconds("age")?,
        state_seconds: seconds("since")?,
        worker: maybe_text(row, "worker")?.filter(|worker| !worker.is_empty()),
        error: maybe_text(row, "error")?,
        cancel_requested: cancel_requested != 0,
    })
}
