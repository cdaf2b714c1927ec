//! Stopping threads of replication.
//!
//! A MySQL applier that has received part of a transaction waits for the rest when it is told to stop, for up to 60 s
//! ([`domain::plan::holds_part`], [`crate::relay_log`]). Its coordinator is ended instead, before it is told (afterwards it would wait all the same):
//! all workers then stop at once, and give the part up. MySQL leaves this to accounts with `SYSTEM_USER`; without it, one waits.

use std::time::{Duration, Instant};

use domain::instance::ServerFacts;
use domain::plan::{Threads, holds_part, running_threads};
use domain::version::ServerVersion;

use super::error::ApplyError;
use super::session::Session;
use super::sessions::{Listed, list};
use super::sql::Sql;
use super::{Context, words};
use crate::dialect as questions;
use crate::relay_log::IDLE;
use crate::replica_status;

/// More than `replica_checkpoint_period`, 0.3 s by default: so late a server tells what it has executed.
const TOLD_LATE: Duration = Duration::from_millis(500);
/// How long a coordinator may take to read the part that there is.
const READING: Duration = Duration::from_secs(1);
/// How long a coordinator may take to end once it was killed.
const NOTICING: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn stop(context: &Context<'_>, threads: Threads) -> Result<(), ApplyError> {
    let Some(stop) = context.dialect.stop(threads) else { return Ok(()) };
    let facts = context.order.facts;
    let mut session = context.open().await?;
    let stopped = async {
        // Of several channels it is not told whose coordinator is whose: another's must not be ended.
        let one_channel = facts.replica.as_ref().is_some_and(|replica| replica.other_channels.is_empty());
        if threads.sql
            && one_channel
            && running_threads(facts) == Threads::SQL
            && (holds_part(facts) || may_hold_part_by_position(facts))
            && lasts(context, &mut session).await?
        {
            end_coordinator(context, &mut session).await?;
        }
        session.run(&stop).await
    }
    .await;
    session.leave(context.idle).await;
    stopped
}

/// By file and position a part does not show in the facts: what is read is told without it.
fn may_hold_part_by_position(facts: &ServerFacts) -> bool {
    let version = ServerVersion::parse(&facts.version, &facts.version_comment);
    let replica = facts.replica.as_ref().filter(|replica| !replica.auto_position && replica.read == replica.exec);
    version.flavor.is_mysql_family() && replica.is_some()
}

/// The part is no mere delay in what is told.
async fn lasts(context: &Context<'_>, session: &mut Session<'_>) -> Result<bool, ApplyError> {
    let facts = context.order.facts;
    let version = ServerVersion::parse(&facts.version, &facts.version_comment);
    let ask = Sql::from(questions::replica_status(&version));
    let patience = Instant::now() + TOLD_LATE;
    loop {
        let now = replica_status::read(&session.rows(&ask).await?).ok().flatten();
        if now.is_none_or(|now| now.read == now.exec) {
            return Ok(false);
        }
        if Instant::now() >= patience {
            return Ok(true);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn end_coordinator(context: &Context<'_>, session: &mut Session<'_>) -> Result<(), ApplyError> {
    let patience = Instant::now() + READING;
    let id = loop {
        let sessions = list(session).await?;
        let idle: Vec<u64> = sessions.iter().filter(|one| is_idle_coordinator(one)).map(|one| one.id).collect();
        match idle.as_slice() {
            [id] => break *id,
            // On a busy machine it may not have read what there is.
            [] if Instant::now() < patience => tokio::time::sleep(PAUSE).await,
            _ => return Ok(()),
        }
    };
    match session.run(&words::kill(id)).await {
        Err(ApplyError::Refused { .. }) => {
            let key = context.order.on;
            tracing::warn!(
                instance.key = %key,
                "its applier has received part of a transaction and may take 60 s to stop; with GRANT SYSTEM_USER ON *.* \
                 to our account it would be stopped at once"
            );
            Ok(())
        }
        Ok(()) => is_gone(session, id).await,
        failed => failed,
    }
}

/// Waits until the coordinator has noticed: told to stop before, it would wait all the same.
async fn is_gone(session: &mut Session<'_>, id: u64) -> Result<(), ApplyError> {
    let patience = Instant::now() + NOTICING;
    while Instant::now() < patience {
        if !list(session).await?.iter().any(|one| one.id == id) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn is_idle_coordinator(one: &Listed) -> bool {
    one.user == "system user" && one.state.ends_with(IDLE)
}
