//! Reading operations and their steps.

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use domain::plan::{Baseline, Step};
use sqlx::mysql::MySqlRow;
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use super::{BaselineRow, Operation, State};
use crate::Error;
use crate::sql::{document, flag, interval, key, maybe_micros, maybe_text, micros, number, text, uint, undecodable};

const SELECT: &str = "SELECT id, job_id, word, hostname, port, cluster_name, request, dry_run, actor, state, run, executor, \
    plan, resumed_plan, baseline, outcome, error, created_at, started_at, finished_at, NOW(6) AS db_now FROM operation ";
const READING: &str = "read operations";

/// Which operations to list. The default lists all, newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter<'a> {
    pub cluster_name: Option<&'a str>,
    pub state: Option<State>,
    /// Only those before this one: for pages.
    pub before: Option<u64>,
    /// 0: a hundred.
    pub limit: u32,
}

/// One step as written down.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    pub id: u64,
    pub run: u32,
    pub part: String,
    pub branch: u32,
    pub sequence: u32,
    pub on: InstanceKey,
    /// `None`: written by a release that knows more steps.
    pub step: Option<Step>,
    pub text: String,
    /// `begun`, `done`, `failed`.
    pub state: String,
    pub token: u64,
    pub worker: String,
    pub begun_at: DbMicros,
    pub deadline_at: DbMicros,
    pub ended_at: Option<DbMicros>,
    pub error: String,
}

/// An operation that was asked for a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    pub id: u64,
    pub instance: InstanceKey,
    pub has_ended: bool,
}

/// Operations of this word that were asked for within this time, newest first.
pub async fn recent(db: impl MySqlExecutor<'_>, word: &str, within: Duration) -> Result<Vec<Recent>, Error> {
    const DOING: &str = "read recent operations";
    // The newest of all, by their numbers: the table may be long. Asked at every look while something is wrong, so without
    // their plans.
    let sql = "SELECT id, hostname, port, state \
               FROM (SELECT id, hostname, port, state, word, created_at FROM operation ORDER BY id DESC LIMIT 500) newest \
               WHERE word = ? AND created_at > NOW(6) - INTERVAL ? MICROSECOND ORDER BY id DESC";
    let rows = sqlx::query(sql).bind(word).bind(interval(within)).fetch_all(db).await.map_err(Error::doing(DOING))?;
    rows.iter().map(|row| recent_of(row).map_err(Error::doing(DOING))).collect()
}

fn recent_of(row: &MySqlRow) -> Result<Recent, sqlx::Error> {
    let state: String = text(row, "state")?;
    Ok(Recent {
        id: uint(row, "id")?,
        instance: key(row)?,
        has_ended: State::parse(&state).is_none_or(State::has_ended),
    })
}

/// One operation.
pub async fn read(db: impl MySqlExecutor<'_>, id: u64) -> Result<Option<Operation>, Error> {
    one(db, "WHERE id = ?", id).await
}

/// The operation that a job carries out.
pub async fn by_job(db: impl MySqlExecutor<'_>, job_id: u64) -> Result<Option<Operation>, Error> {
    one(db, "WHERE job_id = ? ORDER BY id DESC LIMIT 1", job_id).await
}

/// Operations, newest first.
pub async fn list(db: impl MySqlExecutor<'_>, filter: &Filter<'_>) -> Result<Vec<Operation>, Error> {
    const USUAL: u32 = 100;
    let mut query = QueryBuilder::<MySql>::new(SELECT);
    query.push("WHERE 1 = 1");
    if let Some(cluster) = filter.cluster_name {
        query.push(" AND cluster_name = ").push_bind(cluster);
    }
    if let Some(state) = filter.state {
        query.push(" AND state = ").push_bind(state.name());
    }
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before);
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(if filter.limit == 0 { USUAL } else { filter.limit });
    let rows = query.build().fetch_all(db).await.map_err(Error::doing(READING))?;
    rows.iter().map(operation).collect::<sqlx::Result<_>>().map_err(Error::doing(READING))
}

/// The steps of an operation, in the order of beginning.
pub async fn steps(db: impl MySqlExecutor<'_>, operation: u64) -> Result<Vec<StepRow>, Error> {
    const DOING: &str = "read the steps of an operation";
    let rows = sqlx::query(
        "SELECT id, run, part, branch, sequence, hostname, port, step, text, state, token, worker, begun_at, deadline_at, \
                ended_at, error FROM operation_step WHERE operation_id = ? ORDER BY id",
    )
    .bind(operation)
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(step).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

async fn one(db: impl MySqlExecutor<'_>, condition: &str, id: u64) -> Result<Option<Operation>, Error> {
    let statement = format!("{SELECT}{condition}");
    let row = sqlx::query(&statement).bind(id).fetch_optional(db).await.map_err(Error::doing(READING))?;
    row.as_ref().map(operation).transpose().map_err(Error::doing(READING))
}

fn operation(row: &MySqlRow) -> sqlx::Result<Operation> {
    let state = text(row, "state")?;
    let request = text(row, "request")?;
    Ok(Operation {
        id: uint(row, "id")?,
        job_id: uint(row, "job_id")?,
        word: text(row, "word")?,
        instance: key(row)?,
        cluster_name: text(row, "cluster_name")?,
        request: serde_json::from_str(&request).map_err(|error| undecodable("request", error))?,
        dry_run: flag(row, "dry_run")?,
        actor: text(row, "actor")?,
        state: State::parse(&state).ok_or_else(|| undecodable("state", state))?,
        run: number(row, "run")?,
        executor: text(row, "executor")?,
        plan: document(row, "plan")?,
        resumed_plan: document(row, "resumed_plan")?,
        baseline: document::<BaselineRow>(row, "baseline")?.map(|row| row.0.into_iter().collect::<Baseline>()),
        outcome: document(row, "outcome")?,
        error: maybe_text(row, "error")?.unwrap_or_default(),
        created_at: micros(row, "created_at")?,
        started_at: maybe_micros(row, "started_at")?,
        finished_at: maybe_micros(row, "finished_at")?,
        now: micros(row, "db_now")?,
    })
}

fn step(row: &MySqlRow) -> sqlx::Result<StepRow> {
    Ok(StepRow {
        id: uint(row, "id")?,
        run: number(row, "run")?,
        part: text(row, "part")?,
        branch: number(row, "branch")?,
        sequence: number(row, "sequence")?,
        on: key(row)?,
        step: serde_json::from_str(&text(row, "step")?).ok(),
        text: text(row, "text")?,
        state: text(row, "state")?,
        token: uint(row, "token")?,
        worker: text(row, "worker")?,
        begun_at: micros(row, "begun_at")?,
        deadline_at: micros(row, "deadline_at")?,
        ended_at: maybe_micros(row, "ended_at")?,
        error: maybe_text(row, "error")?.unwrap_or_default(),
    })
}
