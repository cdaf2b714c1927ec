//! Operations: what was asked, planned and done on managed servers, and how far it came.
//!
//! ```text
//!   create ─▶ waiting ──begin_run──▶ running (run 1) ──worker dies──▶ begin_run: running (run 2, locks taken over) ─▶ ...
//!                │                      │ finish (this very run): locks end, audit entry, outcome
//!                └─ cancel_waiting      └──▶ done │ failed │ refused │ cancelled
//! ```
//! Fencing: [`begin_run`] raises the number of the run and replaces the locks' tokens in one transaction. Every later
//! write names the run ([`Run`]) or the tokens, in the transaction in which it writes; a worker that was taken for dead
//! finds that nothing it says counts any more. A step may begin only if all locks are in force ([`begin_step`], [`keep_locks`]); its row
//! says until when something may be sent, and the next run waits for that moment ([`pending`]).

mod read;
mod runs;
mod steps;

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use domain::plan::{Baseline, Plan, Request};
use serde::Serialize;
use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::sql::{check_key, cut, json, trim_with_parts};

pub use read::{Filter, Recent, StepRow, by_job, list, read, recent, steps};
pub(crate) use runs::finish_in;
pub use runs::{Begun, Finish, Run, begin_run, finish, is_ours, release, save_plan};
pub use steps::{NewStep, begin_step, changed_since, close_steps, end_step, keep_locks, pending, pending_of_others};

/// Widths of columns.
const NAME_CHARS: usize = 255;
const CLUSTER_CHARS: usize = 300;
const ERROR_CHARS: usize = 16_000;
/// Tries of a transaction that the server ends because of a conflict with the operation's other branches.
const TRIES: u32 = 10;

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

/// Deletes operations that ended longer ago than this, with their steps; how many there were.
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    const STEPS: &str = "DELETE FROM operation_step WHERE operation_id IN (SELECT id FROM (SELECT id FROM operation \
         WHERE finished_at < NOW(6) - INTERVAL ? MICROSECOND ORDER BY finished_at, id LIMIT ?) old)";
    const OPERATIONS: &str =
        "DELETE FROM operation WHERE finished_at < NOW(6) - INTERVAL ? MICROSECOND ORDER BY finished_at, id LIMIT ?";
    trim_with_parts(conn, [STEPS, OPERATIONS], older_than).await.map_err(Error::doing("trim operations"))
}

/// Runs a transaction, and runs it again when the server ended it because of a conflict.
pub(crate) async fn patiently<T, F>(transaction: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tries = 1;
    loop {
        match transaction().await {
            Err(error) if error.is_conflict() && tries < TRIES => tries += 1,
            other => return other,
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
