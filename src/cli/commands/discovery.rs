//! Making servers known, and forgetting them.

use anyhow::bail;
use domain::instance::InstanceKey;
use serde_json::json;
use service::actions::{discovery, instances, names};
use std::time::Duration;

use super::{each, operations};
use crate::answer::Answer;
use crate::arguments::parse_duration;
use crate::catalogue::{self, Command, Run};
use crate::session::Session;

const SECTION: &str = "Instance management";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        SECTION,
        "discover",
        discover,
        "Look at an instance now, and know it from now on",
        "Asks a worker to look at the instance of -i (this host without -i) and waits for the answer. Prints host:port as\n\
         the server names itself. Its source and replicas are discovered in turn. Fails at once when no worker lives."
    ),
    each!(
        SECTION,
        "async-discover",
        async_discover,
        "Ask for an instance to be looked at, without waiting",
        "Queues the discovery of the instance of -i and prints its host:port at once."
    ),
    each!(
        SECTION,
        "submit",
        submit,
        "Queue a command and print the job's number at once",
        "submit discover [-i LIST] [--jitter 600s]\n\
         submit OPERATION [-i LIST] [flags of the operation] [--jitter 600s]\n\n\
         Queues one job per instance of -i (this host without -i) and prints their numbers. With --jitter each starts at a\n\
         random moment within that time, so that a fleet whose crontabs fire at one minute does not come all at once. A job\n\
         that waits already for the same instance is joined, not doubled; operations are never joined. No worker need be\n\
         alive: whichever comes carries it out."
    ),
    each!(
        SECTION,
        "forget",
        forget,
        "Forget an instance",
        "Removes the instance of -i from the backend. Its rediscovery is suppressed for three poll intervals. The name is\n\
         taken as it is, without resolving it: it may not resolve any more."
    ),
    each!(
        SECTION,
        "forget-cluster",
        forget_cluster,
        "Forget all instances of a cluster",
        "Removes every instance of the cluster of --alias, or of the instance in -i, from the backend. Prints nothing."
    ),
];

/// Resolved, but never completed: what is discovered need not be known.
async fn target(session: &Session<'_>) -> anyhow::Result<InstanceKey> {
    Ok(names::resolved(&session.scope, session.typed()?).await?)
}

async fn discover(session: &Session<'_>) -> anyhow::Result<Answer> {
    let found = discovery::discover(&session.scope, &target(session).await?).await?;
    Ok(Answer::key(&found.key))
}

async fn async_discover(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = target(session).await?;
    discovery::submit(&session.scope, &key, Duration::ZERO).await?;
    Ok(Answer::key(&key))
}

async fn submit(session: &Session<'_>) -> anyhow::Result<Answer> {
    let what = match session.base.words.as_slice() {
        [what] => catalogue::current_name(what),
        [] => bail!("say what to submit: orchestrator submit discover [-i LIST] [--jitter 600s]"),
        [_, extra, ..] => bail!("submit takes one command, and instances with -i; {extra:?} is too much"),
    };
    match catalogue::find(what).map(|command| command.run) {
        Some(Run::Operation(_)) => return operations::submit(session, what).await,
        Some(_) if what == "discover" => {}
        Some(Run::Later) => bail!("not built yet: {what}"),
        Some(_) => bail!("{what} cannot be submitted: only discover and operations on servers can"),
        None => bail!("Unknown command: {what:?}; only discover and operations on servers can be submitted"),
    }
    let jitter = match session.flags().get("jitter") {
        Some(text) => parse_duration(text).map_err(anyhow::Error::msg)?,
        None => Duration::ZERO,
    };
    let enqueued = discovery::submit(&session.scope, &target(session).await?, jitter).await?;
    Ok(Answer::line_as(enqueued.id(), json!({ "job": enqueued.id(), "new": enqueued.is_new() })))
}

async fn forget(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.raw_instance().await?;
    instances::forget(&session.scope, &key).await?;
    Ok(Answer::key(&key))
}

async fn forget_cluster(session: &Session<'_>) -> anyhow::Result<Answer> {
    if session.flags().text("alias").is_empty() && session.named().is_none() {
        bail!("name the cluster to forget with --alias or -i");
    }
    let cluster = session.cluster().await?;
    let (cluster, forgotten) = instances::forget_cluster(&session.scope, &cluster).await?;
    Ok(Answer { text: String::new(), json: json!({ "cluster": cluster, "forgotten": forgotten }) })
}
