//! Questions about single servers that need a look at the server itself: a worker looks, or with `--local` this process.

use std::time::Duration;

use anyhow::{Context, bail};
use domain::instance::BinlogCoordinates;
use serde_json::json;
use service::actions::inspections::{self, Eyes};
use service::actions::{operations, replication};

use super::operations::{local, name_local};
use crate::answer::Answer;
use crate::catalogue::{Command, Run};
use crate::session::Session;

const GENERAL: &str = "Replication, general";

pub(crate) const ERRANT: Command = Command {
    name: "which-gtid-errant",
    section: GENERAL,
    summary: "Print the errant GTID set of a replica",
    help: "which-gtid-errant -i INSTANCE [--local]\n\n\
           Looks at the instance and its source now; prints what the instance has executed and its source has not. An empty\n\
           line: there is nothing of that kind.",
    run: Run::Patient(|session| Box::pin(errant(session))),
};

pub(crate) const LOCATE: Command = Command {
    name: "locate-gtid-errant",
    section: "Binary logs",
    summary: "List the binary logs with errant GTIDs",
    help: "locate-gtid-errant -i INSTANCE [--local]\n\n\
           Fails when the instance has no errant GTID, or when a log that held one has been removed.",
    run: Run::Patient(|session| Box::pin(locate(session))),
};

pub(crate) const WAIT: Command = Command {
    name: "master-pos-wait",
    section: GENERAL,
    summary: "Wait until a replica has applied up to a position",
    help: "master-pos-wait -i INSTANCE --binlog FILE:POS [--duration 10m] [--local]\n\n\
           FILE:POS is a place in the log of its source. Fails when it is not reached within the duration, or when the\n\
           instance does not apply. The original waits for ever.",
    run: Run::Patient(|session| Box::pin(wait(session))),
};

pub(crate) const STATEMENTS: Command = Command {
    name: "restart-replica-statements",
    section: GENERAL,
    summary: "Print the statements that restart replication",
    help: "restart-replica-statements -i INSTANCE [--statement SQL] [--local]\n\n\
           Prints the statements that stop what runs of replication, then SQL, then those that start it again. Nothing is\n\
           executed.",
    run: Run::Patient(|session| Box::pin(statements(session))),
};

/// Runs a question with the eyes that the flags choose.
macro_rules! look {
    ($session:expr, |$eyes:ident| $question:expr) => {{
        let here = local($session);
        let $eyes = if $session.flags().is_on("local") { Eyes::Ours(&here) } else { Eyes::Worker };
        tokio::select! {
            answer = $question => answer.map_err(name_local)?,
            code = $session.base.interrupt.wait() => return Err($crate::session::Interrupted {
                code,
                text: "interrupted; nothing was changed".to_owned(),
            }.into()),
        }
    }};
}

async fn errant(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let set = look!(session, |eyes| inspections::errant_gtid(&session.scope, eyes, &key));
    Ok(Answer::line(set.split_whitespace().collect::<String>()))
}

async fn locate(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let logs = look!(session, |eyes| inspections::locate_errant_gtid(&session.scope, eyes, &key));
    Ok(Answer::lines(logs))
}

async fn statements(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let statement = session.flags().text("statement");
    let found = look!(session, |eyes| inspections::restart_statements(&session.scope, eyes, &key, statement));
    Ok(Answer::lines(found))
}

async fn wait(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let place = place(session.base.required("binlog")?)?;
    let limit = session.base.duration()?.max(Duration::from_secs(1));
    operations::known(&session.scope, &key).await?;
    let reached = look!(session, |eyes| inspections::wait_for(&session.scope, eyes, &key, &place, limit));
    if !reached {
        bail!("{key} has not reached {}:{} within {} s", place.file, place.position, limit.as_secs());
    }
    Ok(Answer { json: json!(api::legacy::Key::from(&key)), text: format!("{key}\n") })
}

/// `FILE:POS`.
fn place(text: &str) -> anyhow::Result<BinlogCoordinates> {
    let (file, position) = text.rsplit_once(':').with_context(|| format!("--binlog must be FILE:POS, not {text:?}"))?;
    let position = position.parse().ok().filter(|_| !file.is_empty());
    let position = position.with_context(|| format!("--binlog must be FILE:POS, not {text:?}"))?;
    Ok(BinlogCoordinates { file: file.to_owned(), position })
}

pub(crate) async fn can_replicate_by_gtid(session: &Session<'_>) -> anyhow::Result<Answer> {
    let (own, other) = (session.instance().await?, session.destination().await?);
    let refusal = replication::can_replicate_from_gtid(&session.scope, &own, &other).await?;
    if let Some(reason) = &refusal {
        tracing::info!("{own} cannot replicate from {other}: {reason}");
    }
    Ok(Answer::maybe_key(refusal.is_none().then_some(&other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_a_file_and_a_position() {
        let read = place("mysql-bin.000007:4411").expect("a place");
        assert_eq!((read.file.as_str(), read.position), ("mysql-bin.000007", 4411));
        for text in ["", "bin.000001", ":4", "bin.000001:", "bin.000001:-4", "bin.000001:x"] {
            assert!(place(text).is_err(), "{text:?}");
        }
    }
}
