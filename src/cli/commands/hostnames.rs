//! Host names: what they resolve to, and what replicas should call a host instead.

use anyhow::Context;
use serde_json::{Value, json};
use service::actions::hostnames;

use super::each;
use crate::answer::{Answer, ended};
use crate::catalogue::Command;
use crate::session::Session;

const META: &str = "Meta";
const INSTANCE: &str = "Instance, meta";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        META,
        "resolve",
        resolve,
        "Resolve the name of an instance",
        "Prints the name and port by which the instance in -i is known. Fails when nothing listens there within a second:\n\
         this is the only command that connects to an instance by itself, and it says nothing there."
    ),
    each!(META, "reset-hostname-resolve-cache", reset, "Forget what host names resolve to"),
    each!(
        "Meta, internal",
        "show-resolve-hosts",
        show_resolved,
        "List what host names resolve to",
        "Prints host and resolved host per line."
    ),
    each!(
        "Meta, internal",
        "show-unresolve-hosts",
        show_virtual,
        "List the registered virtual names",
        "Prints host and virtual name per line."
    ),
    each!(
        INSTANCE,
        "register-hostname-unresolve",
        register,
        "Register the name by which replicas should reach a host",
        "register-hostname-unresolve -i INSTANCE --hostname NAME\n\nAn empty --hostname removes the registration."
    ),
    each!(INSTANCE, "deregister-hostname-unresolve", deregister, "Remove the registered virtual name of a host"),
];

async fn resolve(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::key(&hostnames::resolve(&session.scope, session.typed()?).await?))
}

async fn reset(session: &Session<'_>) -> anyhow::Result<Answer> {
    let forgotten = hostnames::reset(&session.scope).await?;
    Ok(Answer::line_as("hostname resolve cache cleared", json!({ "forgotten": forgotten })))
}

async fn show_resolved(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cache = hostnames::cache(&session.scope).await?;
    Ok(pairs(cache.into_iter().map(|(host, entry)| (host, entry.object))))
}

async fn show_virtual(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(pairs(store::hostnames::all_unresolved(&session.scope.pool).await?))
}

fn pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Answer {
    let pairs: Vec<(String, String)> = pairs.into_iter().collect();
    let text = ended(pairs.iter().map(|(host, name)| format!("{host} {name}")));
    let map: serde_json::Map<String, Value> = pairs.into_iter().map(|(host, name)| (host, json!(name))).collect();
    Answer { text, json: map.into() }
}

async fn register(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let name =
        session.flags().get("hostname").context("--hostname is required; an empty one removes the registration")?;
    hostnames::register_unresolve(&session.scope, &key, name).await?;
    Ok(Answer::key(&key))
}

async fn deregister(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    hostnames::deregister_unresolve(&session.scope, &key).await?;
    Ok(Answer::key(&key))
}
