//! Closing a server to everybody, however privileged, before its place is taken.
//!
//! MySQL has `super_read_only` for that. MariaDB up to 11 has nothing of the kind: whoever has `READ_ONLY ADMIN` writes in
//! spite of `read_only` (before 10.11 whoever has `SUPER`), also through a role, and so does an event whose definer has it
//! (tried on 10.11). A read lock held by a connection of ours would end with that connection, and those it kept waiting
//! would write then. So such a server is closed only while none of them is connected, which is looked at before and after:
//! ending their sessions would not do, because who keeps writing comes back.

use std::time::Duration;

use super::error::ApplyError;
use super::session::Session;
use super::sql::Sql;
use super::{Context, words};
use crate::wire::Row;

/// Who connects anew for each row is there at one of these looks, all before the server is closed: they cost writers nothing.
const LOOKS: usize = 12;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(4);
/// As many are named.
const SHOWN: usize = 5;

pub(super) async fn close(context: &Context<'_>) -> Result<(), ApplyError> {
    if !context.dialect.is_mariadb() {
        return context.send(context.dialect.read_only(true, true)).await;
    }
    let mut session = context.open().await?;
    let closed = close_mariadb(context, &mut session).await;
    session.close().await;
    closed
}

async fn close_mariadb(context: &Context<'_>, session: &mut Session<'_>) -> Result<(), ApplyError> {
    nobody_may_write(context, session).await?;
    if !context.order.facts.read_only {
        for _ in 1..LOOKS {
            tokio::time::sleep(PAUSE).await;
            nobody_may_write(context, session).await?;
        }
    }
    for sql in context.dialect.read_only(true, false) {
        session.run(&sql).await?;
    }
    let Err(found) = nobody_may_write(context, session).await else { return Ok(()) };
    // An earlier run may have closed it: that is not ours to take back.
    if !context.order.facts.read_only {
        for sql in context.dialect.read_only(false, false) {
            session.run(&sql).await.map_err(|error| error.with("it stays read-only"))?;
        }
    }
    Err(found)
}

/// Names who could write in spite of `read_only`.
async fn nobody_may_write(context: &Context<'_>, session: &mut Session<'_>) -> Result<(), ApplyError> {
    let rows = match session.rows(&Sql::from(words::PRIVILEGED_WRITERS)).await {
        Ok(rows) => rows,
        Err(ApplyError::Refused { number, reason, .. }) => {
            return Err(context.unsuitable(format!(
                "it cannot be told who may write to it in spite of read_only (error {number}: {reason}); grant PROCESS and \
                 SELECT ON mysql.*"
            )));
        }
        Err(error) => return Err(error),
    };
    if rows.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = rows.iter().take(SHOWN).map(told).collect();
    let more = if rows.len() > SHOWN { ", ..." } else { "" };
    Err(context.unsuitable(format!(
        "it cannot be closed for writes: {}{more} may write in spite of read_only (READ_ONLY ADMIN; before MariaDB 10.11 \
         SUPER, too). Disconnect them or revoke that privilege; events: SET GLOBAL event_scheduler = OFF",
        shown.join(", ")
    )))
}

/// What it is, whose, and its number or name.
fn told(row: &Row) -> String {
    let cell = |index: usize| row.at(index).map(std::borrow::Cow::into_owned).unwrap_or_default();
    format!("{} {} of {}", cell(0), cell(1), cell(2))
}
