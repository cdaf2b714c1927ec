//! Hooks that were begun, and how they ended. At most once: the row is written before the process starts, and its place in
//! its list is unique per detection or recovery.
//!
//! ```text
//!   begin ─▶ begun ──end──▶ done │ failed │ timed_out │ detached (told to run on its own)
//!              └─ the worker died inside: unknown; never begun again. A late end is still taken down: it is the truth.
//! ```
//! Hooks of recoveries are begun under the run of the recovery's operation: who was taken for dead begins none.

use std::time::Duration;

use domain::instance::DbMicros;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{MySqlExecutor, Row};

use crate::Error;
use crate::error::is_duplicate;
use crate::operations::Run;
use crate::sql::{cut, delete_older, maybe_micros, maybe_text, micros, number, text, uint};

const COMMAND_CHARS: usize = 16_000;
/// The caller keeps beginning and end of a long output; this is what the column is spared in any case.
const OUTPUT_CHARS: usize = 1_000_000;
const WORKER_CHARS: usize = 255;

/// What a hook runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookOwner {
    Detection(u64),
    Recovery(u64),
}

impl HookOwner {
    const fn parts(self) -> (&'static str, u64) {
        match self {
            Self::Detection(id) => ("detection", id),
            Self::Recovery(id) => ("recovery", id),
        }
    }
}

/// How a run of a hook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookState {
    Begun,
    /// Exit code 0.
    Done,
    /// Another exit code, or it could not be started.
    Failed,
    TimedOut,
    /// Its worker died inside.
    Unknown,
    /// Runs on its own; nobody waits for it.
    Detached,
}

impl HookState {
    pub const ALL: [Self; 6] = [Self::Begun, Self::Done, Self::Failed, Self::TimedOut, Self::Unknown, Self::Detached];

    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Unknown => "unknown",
            Self::Detached => "detached",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A hook about to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewHookRun<'a> {
    pub owner: HookOwner,
    /// Configuration key of its list.
    pub list: &'a str,
    /// Place in that list, from 0.
    pub index: u32,
    /// As configured.
    pub command: &'a str,
    pub worker: &'a str,
    /// Of the recovery's operation; `None` for detections.
    pub run: Option<Run>,
}

/// A hook that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRun {
    pub id: u64,
    pub list: String,
    pub index: u32,
    /// Run of the operation; 0 for detections.
    pub run: u32,
    pub command: String,
    pub worker: String,
    pub state: HookState,
    pub exit_code: Option<i32>,
    pub output: String,
    pub begun_at: DbMicros,
    pub ended_at: Option<DbMicros>,
}

/// Answer to [`begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookBegin {
    /// Start the process now, then [`end`] this number.
    Begun(u64),
    /// It was begun before: do not start it.
    Already(Box<HookRun>),
    /// The recovery is no longer this run's: stop.
    NotOurs,
}

/// Writes down that a hook begins, unless it was begun before.
pub async fn begin(conn: &mut MySqlConnection, new: &NewHookRun<'_>) -> Result<HookBegin, Error> {
    const DOING: &str = "begin a hook";
    let (kind, id) = new.owner.parts();
    let run = new.run.map_or(0, |run| run.number);
    let statement = match new.run {
        None => {
            "INSERT INTO hook_run (owner_kind, owner_id, list, list_index, run, command, worker, state, begun_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, 'begun', NOW(6))"
        }
        // A locking read: another run cannot begin between the look and the write.
        Some(_) => {
            "INSERT INTO hook_run (owner_kind, owner_id, list, list_index, run, command, worker, state, begun_at) \
             SELECT ?, ?, ?, ?, ?, ?, ?, 'begun', NOW(6) FROM operation \
              WHERE id = ? AND run = ? AND state = 'running' FOR UPDATE"
        }
    };
    let mut query = sqlx::query(statement)
        .bind(kind)
        .bind(id)
        .bind(cut(new.list, 64))
        .bind(new.index)
        .bind(run)
        .bind(cut(new.command, COMMAND_CHARS))
        .bind(cut(new.worker, WORKER_CHARS));
    if let Some(run) = new.run {
        query = query.bind(run.operation).bind(run.number);
    }
    match query.execute(&mut *conn).await {
        Ok(done) if done.rows_affected() == 0 => Ok(HookBegin::NotOurs),
        Ok(done) => Ok(HookBegin::Begun(done.last_insert_id())),
        Err(cause) if is_duplicate(&cause) => {
            let begun = of(conn, new.owner).await?;
            let found = begun.into_iter().find(|one| one.list == cut(new.list, 64) && one.index == new.index);
            found.map(|one| HookBegin::Already(Box::new(one))).ok_or_else(|| Error::classify(DOING, cause))
        }
        Err(cause) => Err(Error::classify(DOING, cause)),
    }
}

/// Writes down how a hook ended; false: that was known already.
pub async fn end(
    db: impl MySqlExecutor<'_>,
    id: u64,
    state: HookState,
    exit_code: Option<i32>,
    output: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE hook_run SET state = ?, exit_code = ?, output = ?, ended_at = NOW(6) \
          WHERE id = ? AND state IN ('begun', 'unknown')",
    )
    .bind(state.name())
    .bind(exit_code)
    .bind(cut(output, OUTPUT_CHARS))
    .bind(id)
    .execute(db)
    .await
    .map_err(Error::doing("end a hook"))?;
    Ok(done.rows_affected() == 1)
}

/// Hooks begun for this, in the order of beginning.
pub async fn of(db: impl MySqlExecutor<'_>, owner: HookOwner) -> Result<Vec<HookRun>, Error> {
    const DOING: &str = "read hooks";
    let (kind, id) = owner.parts();
    let rows = sqlx::query(
        "SELECT id, list, list_index, run, command, worker, state, exit_code, output, begun_at, ended_at \
           FROM hook_run WHERE owner_kind = ? AND owner_id = ? ORDER BY id",
    )
    .bind(kind)
    .bind(id)
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(hook_run).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Marks as unknown the hooks of a recovery that earlier runs left begun; how many there were.
pub async fn mark_unknown(db: impl MySqlExecutor<'_>, recovery: u64, run: Run) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE hook_run SET state = 'unknown', ended_at = NOW(6) \
          WHERE owner_kind = 'recovery' AND owner_id = ? AND run < ? AND state = 'begun'",
    )
    .bind(recovery)
    .bind(run.number)
    .execute(db)
    .await
    .map_err(Error::doing("mark the hooks of a lost worker"))?;
    Ok(done.rows_affected())
}

/// The same for a detection whose hooks nobody runs any more.
pub async fn mark_unknown_of_detection(db: impl MySqlExecutor<'_>, detection: u64) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE hook_run SET state = 'unknown', ended_at = NOW(6) \
          WHERE owner_kind = 'detection' AND owner_id = ? AND state = 'begun'",
    )
    .bind(detection)
    .execute(db)
    .await
    .map_err(Error::doing("mark the hooks of a lost worker"))?;
    Ok(done.rows_affected())
}

/// Deletes records of hooks begun longer ago than this.
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    delete_older(conn, "trim records of hooks", ("hook_run", "begun_at"), older_than).await
}

fn hook_run(row: &MySqlRow) -> sqlx::Result<HookRun> {
    let state = text(row, "state")?;
    Ok(HookRun {
        id: uint(row, "id")?,
        list: text(row, "list")?,
        index: number(row, "list_index")?,
        run: number(row, "run")?,
        command: text(row, "command")?,
        worker: text(row, "worker")?,
        // Written by a release that knows more states: nobody here knows how it ended.
        state: HookState::parse(&state).unwrap_or(HookState::Unknown),
        exit_code: row.try_get_unchecked("exit_code")?,
        output: maybe_text(row, "output")?.unwrap_or_default(),
        begun_at: micros(row, "begun_at")?,
        ended_at: maybe_micros(row, "ended_at")?,
    })
}
