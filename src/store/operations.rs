//! Operations: what was asked, planned and done on managed servers, and how far it came.
//!
//! ```text
//!   create ─▶ waiting ──begin_run──▶ running (run 1) ──worker dies──▶ begin_run: running (run 2, locks taken over) ─▶ ...
//!                │                      │ finish (this very run): locks end, audit entry, outcome
//!                └─ cancel_waiting      └──▶ done │ failed │ refused │ cancelled
//! ```
//! Fencing: [`begin_run`] raises the number of the run and replaces the locks' tokens in one transaction. Every later
//! write names the run ([`Run`]) or the tokens, in the transaction in which it writes; a worker that was taken for dead
//! finds that nothing it says counts any more. A step may begin only if all locks are in force ([`begin_step`]); its row
//! says until when something may be sent, and the next run waits for that moment ([`pending`]).

mod read;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use domain::plan::{Baseline, Plan, Request, Step};
use serde::Serialize;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{Connection, MySqlExecutor, Row};

use crate::Error;
use crate::audit::{self, Entry};
use crate::maintenance::{self, Claim, FencingToken};
use crate::sql::{check_key, cut, interval};

pub use read::{Filter, StepRow, by_job, list, read, steps};

/// Widths of columns.
const NAME_CHARS: usize = 255;
const CLUSTER_CHARS: usize = 300;
const ERROR_CHARS: usize = 16_000;
/// Tries of a transaction that the server ends because of a conflict with the operation's other branches.
const TRIES: u32 = 10;

/// Runs a transaction again when the server ended it because of a conflict.
macro_rules! patiently {
    ($transaction:expr) => {{
        let mut tries = 1;
        loop {
            match $transaction.await {
                Err(error) if Error::is_conflict(&error) && tries < TRIES => tries += 1,
                other => break other,
            }
        }
    }};
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    Running,
    Done,
    Failed,
    Refused,
    Cancelled,
}

impl State {
    pub const ALL: [State; 6] =
        [State::Waiting, State::Running, State::Done, State::Failed, State::Refused, State::Cancelled];

    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Refused => "refused",
            State::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Nothing more will happen.
    pub const fn has_ended(self) -> bool {
        !matches!(self, State::Waiting | State::Running)
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub id: u64,
    /// 0: none.
    pub job_id: u64,
    pub word: String,
    pub instance: InstanceKey,
    pub cluster_name: String,
    pub request: Request,
    pub dry_run: bool,
    pub actor: String,
    pub state: State,
    pub run: u32,
    pub executor: String,
    /// Of the run that first changed something.
    pub plan: Option<Plan>,
    /// Of the latest run that took over from another.
    pub resumed_plan: Option<Plan>,
    pub baseline: Option<Baseline>,
    pub outcome: Option<serde_json::Value>,
    pub error: String,
    pub created_at: DbMicros,
    pub started_at: Option<DbMicros>,
    pub finished_at: Option<DbMicros>,
    /// Time of this reading.
    pub now: DbMicros,
}

/// An operation asked for.
#[derive(Debug, Clone, Copy)]
pub struct NewOperation<'a> {
    pub request: &'a Request,
    /// Plan only.
    pub dry_run: bool,
    pub cluster_name: &'a str,
    /// `user@host`, user of the API.
    pub actor: &'a str,
}

/// One worker's hold on an operation: void when another begins a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub operation: u64,
    pub number: u32,
}

/// Answer to [`begin_run`].
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// There is no such operation.
    Unknown,
    /// It has ended before.
    Ended(Box<Operation>),
    /// It is this worker's now.
    Run {
        run: Run,
        /// As it was before.
        operation: Box<Operation>,
        /// The locks taken over from the run before; empty for a first run.
        tokens: BTreeMap<InstanceKey, FencingToken>,
    },
}

/// A step about to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewStep<'a> {
    /// `head`, `branch`, `restore`, `tail`.
    pub part: &'a str,
    pub branch: u32,
    pub sequence: u32,
    pub step: &'a Step,
    /// Of the server that the step changes.
    pub token: FencingToken,
    pub worker: &'a str,
}

/// How an operation ends.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    pub state: State,
    /// For the one who asked.
    pub outcome: &'a serde_json::Value,
    pub error: &'a str,
    /// For the audit.
    pub message: &'a str,
}

/// Writes down what is asked for; enqueue its job in the same transaction, then [`set_job`].
pub async fn create(conn: &mut MySqlConnection, new: &NewOperation<'_>) -> Result<u64, Error> {
    const DOING: &str = "create an operation";
    let instance = new.request.instance();
    check_key(DOING, instance)?;
    let done = sqlx::query(
        "INSERT INTO operation (word, hostname, port, cluster_name, request, dry_run, actor, state, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', NOW(6))",
    )
    .bind(new.request.word())
    .bind(&instance.hostname)
    .bind(instance.port)
    .bind(cut(new.cluster_name, CLUSTER_CHARS))
    .bind(json(DOING, new.request)?)
    .bind(new.dry_run)
    .bind(cut(new.actor, NAME_CHARS))
    .execute(conn)
    .await
    .map_err(Error::doing(DOING))?;
    Ok(done.last_insert_id())
}

/// Writes down which job carries it out.
pub async fn set_job(conn: &mut MySqlConnection, operation: u64, job_id: u64) -> Result<(), Error> {
    let done = sqlx::query("UPDATE operation SET job_id = ? WHERE id = ?").bind(job_id).bind(operation).execute(conn);
    done.await.map(|_| ()).map_err(Error::doing("note the job of an operation"))
}

/// Ends an operation that nobody took up; false if somebody did, or it has ended.
pub async fn cancel_waiting(conn: &mut MySqlConnection, operation: u64) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE operation SET state = 'cancelled', finished_at = NOW(6), error = 'cancelled before it began' \
          WHERE id = ? AND state = 'waiting'",
    )
    .bind(operation)
    .execute(conn)
    .await
    .map_err(Error::doing("cancel an operation"))?;
    Ok(done.rows_affected() == 1)
}

/// Takes up an operation: a new run, and new tokens for the locks that the run before left behind.
pub async fn begin_run(pool: &MySqlPool, operation: u64, claim: Claim<'_>) -> Result<Begun, Error> {
    const DOING: &str = "take up an operation";
    let mut conn = pool.acquire().await.map_err(Error::doing(DOING))?;
    patiently!(try_run(&mut conn, operation, claim))
}

async fn try_run(conn: &mut MySqlConnection, operation: u64, claim: Claim<'_>) -> Result<Begun, Error> {
    const DOING: &str = "take up an operation";
    let mut tx = conn.begin().await.map_err(Error::doing(DOING))?;
    let raised = sqlx::query(
            "UPDATE operation SET run = run + 1, executor = ?, state = 'running', started_at = COALESCE(started_at, NOW(6)) \
              WHERE id = ? AND state IN ('waiting', 'running')",
        )
        .bind(cut(claim.holder_node, NAME_CHARS))
        .bind(operation)
        .execute(&mut *tx)
        .await
        .map_err(Error::doing(DOING))?;
    let Some(found) = read(&mut *tx, operation).await? else { return Ok(Begun::Unknown) };
    if raised.rows_affected() == 0 {
        return Ok(Begun::Ended(Box::new(found)));
    }
    let tokens = maintenance::take_over(&mut tx, operation, claim).await?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    let run = Run { operation, number: found.run };
    Ok(Begun::Run { run, operation: Box::new(found), tokens })
}

/// Is the operation still this run's? In a transaction it stays so until commit.
pub async fn is_ours(conn: &mut MySqlConnection, run: Run) -> Result<bool, Error> {
    // Found rows are counted, not changed ones: nothing needs to change.
    let done = sqlx::query("UPDATE operation SET run = run WHERE id = ? AND run = ? AND state = 'running'")
        .bind(run.operation)
        .bind(run.number)
        .execute(conn)
        .await
        .map_err(Error::doing("check whose an operation is"))?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the plan and what ran before, before the first step. The first plan and the first baseline stay; a later run's
/// plan goes beside it. False: no longer this run's.
pub async fn save_plan(db: impl MySqlExecutor<'_>, run: Run, plan: &Plan, baseline: &Baseline) -> Result<bool, Error> {
    const DOING: &str = "keep the plan of an operation";
    // Assignments go from left to right: the second reads the plan as the first left it, hence this order.
    let done = sqlx::query(
        "UPDATE operation SET resumed_plan = IF(plan IS NULL, NULL, ?), plan = COALESCE(plan, ?), baseline = ? \
          WHERE id = ? AND run = ? AND state = 'running'",
    )
    .bind(json(DOING, plan)?)
    .bind(json(DOING, plan)?)
    .bind(json(DOING, &BaselineRow::from(baseline))?)
    .bind(run.operation)
    .bind(run.number)
    .execute(db)
    .await
    .map_err(Error::doing(DOING))?;
    Ok(done.rows_affected() == 1)
}

/// Lets a step begin, if all locks are in force: prolongs them to `hold` from now and writes the step down, with the
/// moment after which nothing may be sent. `None`: a lock is lost, nothing was written.
pub async fn begin_step(
    pool: &MySqlPool,
    run: Run,
    fence: &[FencingToken],
    new: &NewStep<'_>,
    hold: Duration,
    send_within: Duration,
) -> Result<Option<u64>, Error> {
    const DOING: &str = "begin a step";
    let mut conn = pool.acquire().await.map_err(Error::doing(DOING))?;
    patiently!(try_step(&mut conn, run, fence, new, hold, send_within))
}

async fn try_step(
    conn: &mut MySqlConnection,
    run: Run,
    fence: &[FencingToken],
    new: &NewStep<'_>,
    hold: Duration,
    send_within: Duration,
) -> Result<Option<u64>, Error> {
    const DOING: &str = "begin a step";
    let mut tx = conn.begin().await.map_err(Error::doing(DOING))?;
    if !maintenance::extend_for(&mut tx, fence, hold).await? {
        return Ok(None);
    }
    let done = sqlx::query(
        "INSERT INTO operation_step (operation_id, run, part, branch, sequence, hostname, port, step, text, state, \
                    token, worker, begun_at, deadline_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'begun', ?, ?, NOW(6), NOW(6) + INTERVAL ? MICROSECOND)",
    )
    .bind(run.operation)
    .bind(run.number)
    .bind(new.part)
    .bind(new.branch)
    .bind(new.sequence)
    .bind(&new.step.on.hostname)
    .bind(new.step.on.port)
    .bind(json(DOING, new.step)?)
    .bind(cut(&new.step.to_string(), ERROR_CHARS))
    .bind(new.token.0)
    .bind(cut(new.worker, NAME_CHARS))
    .bind(interval(send_within))
    .execute(&mut *tx)
    .await
    .map_err(Error::doing(DOING))?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(Some(done.last_insert_id()))
}

/// Writes down how a step ended; `error`: it failed. False: it was closed before, by the run that took over.
pub async fn end_step(db: impl MySqlExecutor<'_>, step: u64, error: Option<&str>) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE operation_step SET state = IF(? IS NULL, 'done', 'failed'), error = ?, ended_at = NOW(6) \
          WHERE id = ? AND state = 'begun'",
    )
    .bind(error.map(|error| cut(error, ERROR_CHARS)))
    .bind(error.map(|error| cut(error, ERROR_CHARS)))
    .bind(step)
    .execute(db)
    .await
    .map_err(Error::doing("end a step"))?;
    Ok(done.rows_affected() == 1)
}

/// How long something of an earlier run may still be sent to a server; zero: no longer.
pub async fn pending(db: impl MySqlExecutor<'_>, run: Run) -> Result<Duration, Error> {
    const DOING: &str = "read the steps of an operation";
    let row = sqlx::query(
        "SELECT CAST(COALESCE(MAX(GREATEST(0, TIMESTAMPDIFF(MICROSECOND, NOW(6), deadline_at))), 0) AS UNSIGNED) AS micros \
           FROM operation_step WHERE operation_id = ? AND run < ? AND state = 'begun'",
    )
    .bind(run.operation)
    .bind(run.number)
    .fetch_one(db)
    .await
    .map_err(Error::doing(DOING))?;
    row.try_get_unchecked::<u64, _>("micros").map(Duration::from_micros).map_err(Error::doing(DOING))
}

/// Closes the steps that earlier runs left open; how many there were. After [`pending`] is zero.
pub async fn close_steps(db: impl MySqlExecutor<'_>, run: Run) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE operation_step SET state = 'failed', ended_at = NOW(6), error = 'its worker was lost; looked at afresh' \
          WHERE operation_id = ? AND run < ? AND state = 'begun'",
    )
    .bind(run.operation)
    .bind(run.number)
    .execute(db)
    .await
    .map_err(Error::doing("close the steps of a lost worker"))?;
    Ok(done.rows_affected())
}

/// Ends locks that this run turned out not to need; false: no longer this run's.
pub async fn release(pool: &MySqlPool, run: Run) -> Result<bool, Error> {
    const DOING: &str = "release the locks of an operation";
    let mut conn = pool.acquire().await.map_err(Error::doing(DOING))?;
    patiently!(try_release(&mut conn, run))
}

async fn try_release(conn: &mut MySqlConnection, run: Run) -> Result<bool, Error> {
    const DOING: &str = "release the locks of an operation";
    let mut tx = conn.begin().await.map_err(Error::doing(DOING))?;
    if !is_ours(&mut tx, run).await? {
        return Ok(false);
    }
    maintenance::end_for(&mut tx, run.operation).await?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(true)
}

/// Ends the operation: outcome, end of its locks and audit entry, all or nothing. False: no longer this run's.
pub async fn finish(pool: &MySqlPool, run: Run, finish: Finish<'_>) -> Result<bool, Error> {
    const DOING: &str = "end an operation";
    let mut conn = pool.acquire().await.map_err(Error::doing(DOING))?;
    patiently!(try_finish(&mut conn, run, finish))
}

async fn try_finish(conn: &mut MySqlConnection, run: Run, finish: Finish<'_>) -> Result<bool, Error> {
    const DOING: &str = "end an operation";
    let mut tx = conn.begin().await.map_err(Error::doing(DOING))?;
    let done = sqlx::query(
        "UPDATE operation SET state = ?, outcome = ?, error = ?, finished_at = NOW(6) \
              WHERE id = ? AND run = ? AND state = 'running'",
    )
    .bind(finish.state.name())
    .bind(json(DOING, finish.outcome)?)
    .bind(cut(finish.error, ERROR_CHARS))
    .bind(run.operation)
    .bind(run.number)
    .execute(&mut *tx)
    .await
    .map_err(Error::doing(DOING))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    maintenance::end_for(&mut tx, run.operation).await?;
    if let Some(ended) = read(&mut *tx, run.operation).await?
        && !ended.dry_run
    {
        let entry = Entry {
            audit_type: &ended.word,
            instance: Some(&ended.instance),
            cluster_name: &ended.cluster_name,
            actor: &ended.actor,
            message: finish.message,
        };
        audit::write(&mut tx, &entry).await?;
    }
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(true)
}

/// Deletes operations that ended longer ago than this, with their steps; how many there were.
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    const DOING: &str = "trim operations";
    const CHUNK: u32 = 500;
    let mut trimmed = 0;
    loop {
        // Steps first: what is left half-way by a crash is found by the next round.
        sqlx::query(
            "DELETE FROM operation_step WHERE operation_id IN (SELECT id FROM (SELECT id FROM operation \
              WHERE finished_at < NOW(6) - INTERVAL ? MICROSECOND ORDER BY finished_at, id LIMIT ?) old)",
        )
        .bind(interval(older_than))
        .bind(CHUNK)
        .execute(&mut *conn)
        .await
        .map_err(Error::doing(DOING))?;
        let done = sqlx::query(
            "DELETE FROM operation WHERE finished_at < NOW(6) - INTERVAL ? MICROSECOND ORDER BY finished_at, id LIMIT ?",
        )
        .bind(interval(older_than))
        .bind(CHUNK)
        .execute(&mut *conn)
        .await
        .map_err(Error::doing(DOING))?;
        trimmed += done.rows_affected();
        if done.rows_affected() < u64::from(CHUNK) {
            return Ok(trimmed);
        }
    }
}

/// A map with structured keys is no JSON object: stored as a list.
#[derive(Debug, Serialize, serde::Deserialize)]
struct BaselineRow(Vec<(InstanceKey, domain::plan::Threads)>);

impl From<&Baseline> for BaselineRow {
    fn from(baseline: &Baseline) -> Self {
        Self(baseline.iter().map(|(key, threads)| (key.clone(), *threads)).collect())
    }
}

fn json(doing: &'static str, value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Invalid { doing, reason: error.to_string() })
}
