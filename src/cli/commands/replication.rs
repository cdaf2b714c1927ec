//! Facts about replication, from what is recorded.

use service::actions::{instances, replication};

use super::each;
use crate::answer::Answer;
use crate::catalogue::Command;
use crate::session::Session;

const SECTION: &str = "Replication information";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        SECTION,
        "can-replicate-from",
        can_replicate_from,
        "Can an instance replicate from another?",
        "can-replicate-from -i INSTANCE -d OTHER\n\n\
         Prints host:port of OTHER when INSTANCE (this host without -i) can replicate from it, nothing when it cannot; the\n\
         reason goes to the log (--verbose). Judged on what is recorded about both; fails when one is not known."
    ),
    each!(
        SECTION,
        "is-replicating",
        is_replicating,
        "Is an instance replicating?",
        "Prints host:port of the instance in -i when both of its replication threads run, else nothing."
    ),
    each!(
        SECTION,
        "is-replication-stopped",
        is_stopped,
        "Is replication stopped on an instance?",
        "Prints host:port of the instance in -i when it is a replica and both of its threads are stopped, else nothing."
    ),
];

async fn can_replicate_from(session: &Session<'_>) -> anyhow::Result<Answer> {
    let (own, other) = (session.instance().await?, session.destination().await?);
    let refusal = replication::can_replicate_from(&session.scope, &own, &other).await?;
    if let Some(reason) = &refusal {
        tracing::info!("{own} cannot replicate from {other}: {reason}");
    }
    Ok(Answer::maybe_key(refusal.is_none().then_some(&other)))
}

async fn is_replicating(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let yes = instances::is_replicating(&session.scope, &key).await?;
    Ok(Answer::maybe_key(yes.then_some(&key)))
}

async fn is_stopped(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let yes = instances::is_replication_stopped(&session.scope, &key).await?;
    Ok(Answer::maybe_key(yes.then_some(&key)))
}
