//! Removing binary logs, and seeing that they are gone.
//!
//! A server keeps a log that a replica is being sent, or (MariaDB) that it needs for its own recovery until InnoDB has
//! caught up (<https://mariadb.com/kb/en/binlog-checkpoints/>). It says so in a warning at most: the statement succeeds.

use std::time::{Duration, Instant};

use super::error::ApplyError;
use super::session::Session;
use super::sql::Sql;
use super::{Context, words};

/// Between two tries: a checkpoint takes a moment.
const PAUSE: Duration = Duration::from_millis(200);
/// `ER_WARN_PURGE_LOG_IN_USE`.
const IN_USE: u16 = 1867;

/// Removes the logs before `to`; tries again while the server keeps one and there is time.
pub(super) async fn purge(context: &Context<'_>, to: &str) -> Result<(), ApplyError> {
    let sql = words::purge_to(to).map_err(|reason| context.unsuitable(reason))?;
    let mut session = context.open().await?;
    let purged = until_gone(context, &mut session, &sql, to).await;
    session.close().await;
    purged
}

async fn until_gone(context: &Context<'_>, session: &mut Session<'_>, sql: &Sql, to: &str) -> Result<(), ApplyError> {
    loop {
        session.run(sql).await?;
        let Some(first) = oldest(session).await.filter(|first| first != to) else { return Ok(()) };
        if Instant::now() + PAUSE * 2 > context.order.until {
            let reason =
                format!("{first} is still in use: a replica is being sent it, or the server needs it to recover");
            return Err(ApplyError::Refused { key: context.order.on.clone(), number: IN_USE, reason });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// `None`: it cannot be told; the order has been given and was accepted.
async fn oldest(session: &mut Session<'_>) -> Option<String> {
    let rows = session.rows(&words::SHOW_BINARY_LOGS.into()).await.ok()?;
    rows.first()?.at(0).map(std::borrow::Cow::into_owned)
}
