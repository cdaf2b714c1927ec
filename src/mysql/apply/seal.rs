//! Closing a server that was replaced as the primary, whatever it costs its clients.
//!
//! `SET GLOBAL read_only = ON` waits for commits that are under way. Where those wait for semi-sync acknowledgements that
//! nobody will give any more (its replicas have left), it would wait as long as they do, and fail (error 1205; tried on 9.7 and
//! 10.11). Switching semi-sync off lets them end at once, and would tell their clients that rows are safe which nobody else has.
//! So their connections are ended before: a client that is cut off knows that it does not know. Ending them alone is not
//! enough: MySQL goes on waiting for a client that is gone.
//!
//! ```text
//!   closing:  SET read_only ....... waits, lets no further commit begin ................ ─▶ closed
//!   clearing:     who waits? ─▶ KILL each, and those behind ─▶ all killed: semi-sync off ─┘
//! ```

use std::time::Duration;

use domain::plan::SemiSyncSide;

use super::error::ApplyError;
use super::session::Session;
use super::sessions::{Listed, list};
use super::{Context, words};

/// Most servers close at once: nobody need be looked for.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// What the state of a commit that waits begins with, under all names of the other side.
const WAITS: &str = "Waiting for semi-sync ACK";
/// What is said of a statement whose connection was ended.
const ENDED: &str = "Killed";

pub(super) async fn seal(context: &Context<'_>) -> Result<(), ApplyError> {
    let mut session = context.open().await?;
    let closing = async {
        for sql in context.dialect.read_only(true, true) {
            session.run(&sql).await?;
        }
        Ok(())
    };
    let closed = tokio::select! {
        biased;
        closed = closing => closed,
        never = clear(context) => match never {},
    };
    session.close().await;
    closed
}

/// Ends whoever waits, until it is cut short. What cannot be done is not done: the statement that waits says so in the end.
async fn clear(context: &Context<'_>) -> std::convert::Infallible {
    tokio::time::sleep(FIRST_PAUSE).await;
    loop {
        if let Ok(mut session) = context.open().await {
            while let Ok(()) = end_waiting(context, &mut session).await {
                tokio::time::sleep(PAUSE).await;
            }
            session.close().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn end_waiting(context: &Context<'_>, session: &mut Session<'_>) -> Result<(), ApplyError> {
    let sessions = list(session).await?;
    // Until it is seen waiting, further commits may begin.
    let closes = sessions.iter().any(|one| one.statement.starts_with("SET GLOBAL read_only"));
    if !closes || !sessions.iter().any(|one| one.state.starts_with(WAITS)) {
        return Ok(());
    }
    let left: Vec<u64> = sessions.iter().filter(|one| may_be_acknowledged(one)).map(|one| one.id).collect();
    if left.is_empty() {
        // Nobody is told any more how these commits end.
        let naming = context.order.facts.semi_sync.source_plugin.into_iter();
        for sql in naming.map(|naming| words::semi_sync(naming, SemiSyncSide::Source, false)) {
            session.run(&sql).await?;
        }
    }
    for id in left {
        match session.run(&words::kill(id)).await {
            // Gone by itself, or not ours to end (`SYSTEM_USER`): the next look tells.
            Ok(()) | Err(ApplyError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Its commit waits, alone or in a group behind another one, and its client would hear of its success. (Statements that have not
/// come so far are refused once the server is closed.)
fn may_be_acknowledged(one: &Listed) -> bool {
    let in_commit = one.state.starts_with(WAITS) || one.state.to_ascii_lowercase().contains("commit");
    in_commit && one.command != ENDED
}
