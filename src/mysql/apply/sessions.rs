//! Who is connected to a server, or works in it as a thread of replication.

use std::borrow::Cow;

use super::error::ApplyError;
use super::session::Session;
use super::sql::Sql;
use super::words;
use crate::wire::Row;

/// A connection, as the server lists it.
pub(super) struct Listed {
    pub(super) id: u64,
    /// `system user`: a thread of replication.
    pub(super) user: String,
    pub(super) command: String,
    pub(super) state: String,
    /// The beginning of what it does, 100 characters.
    pub(super) statement: String,
}

/// All of them.
pub(super) async fn list(session: &mut Session<'_>) -> Result<Vec<Listed>, ApplyError> {
    let rows = session.rows(&Sql::from(words::SHOW_SESSIONS)).await?;
    Ok(rows.iter().filter_map(listed).collect())
}

fn listed(row: &Row) -> Option<Listed> {
    let cell = |index: usize| row.at(index).map(Cow::into_owned).unwrap_or_default();
    let id = cell(0).parse().ok()?;
    Some(Listed { id, user: cell(1), command: cell(4), state: cell(6), statement: cell(7) })
}
