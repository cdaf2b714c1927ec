//! The timeline of a recovery: facts, choices, phases, hooks, troubles, in the order in which they were noted.

use domain::instance::DbMicros;
use serde_json::Value;
use sqlx::MySqlExecutor;
use sqlx::mysql::MySqlRow;

use crate::Error;
use crate::sql::{cut, document, json, micros, number, text, uint};

const TEXT_CHARS: usize = 16_000;

/// Something to note.
#[derive(Debug, Clone, Copy)]
pub struct NewEvent<'a> {
    /// Run of the operation; 0: before the first.
    pub run: u32,
    pub worker: &'a str,
    /// What it is: `phase`, `fact`, `choice`, `hook`, `error`, ...
    pub kind: &'a str,
    /// For people.
    pub text: &'a str,
    /// For programs.
    pub data: Option<&'a Value>,
}

/// Something noted.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: u64,
    pub run: u32,
    pub worker: String,
    pub kind: String,
    pub text: String,
    pub data: Option<Value>,
    pub at: DbMicros,
}

/// Notes something. Not fenced: what a worker saw is true whoever carries on.
pub async fn event(db: impl MySqlExecutor<'_>, recovery: u64, new: &NewEvent<'_>) -> Result<(), Error> {
    const DOING: &str = "note an event of a recovery";
    sqlx::query(
        "INSERT INTO recovery_event (recovery_id, run, worker, kind, text, data, noted_at) VALUES (?, ?, ?, ?, ?, ?, NOW(6))",
    )
    .bind(recovery)
    .bind(new.run)
    .bind(cut(new.worker, 255))
    .bind(cut(new.kind, 32))
    .bind(cut(new.text, TEXT_CHARS))
    .bind(new.data.map(|data| json(DOING, data)).transpose()?)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(Error::doing(DOING))
}

/// What was noted of a recovery, oldest first.
pub async fn events(db: impl MySqlExecutor<'_>, recovery: u64) -> Result<Vec<Event>, Error> {
    const DOING: &str = "read the events of a recovery";
    let rows = sqlx::query(
        "SELECT id, run, worker, kind, text, data, noted_at FROM recovery_event WHERE recovery_id = ? ORDER BY id",
    )
    .bind(recovery)
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

fn read(row: &MySqlRow) -> sqlx::Result<Event> {
    Ok(Event {
        id: uint(row, "id")?,
        run: number(row, "run")?,
        worker: text(row, "worker")?,
        kind: text(row, "kind")?,
        text: text(row, "text")?,
        data: document(row, "data")?,
        at: micros(row, "noted_at")?,
    })
}
