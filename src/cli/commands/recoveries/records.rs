//! Looking back: recoveries, detections, and what is held back at the moment.

use anyhow::{Context, bail};
use service::actions::recoveries as asking;
use store::detections;
use store::recoveries::Filter;

use super::SECTION;
use crate::answer::{Answer, columns};
use crate::catalogue::Command;
use crate::commands::each;
use crate::commands::queue::age;
use crate::session::Session;

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        SECTION,
        "recoveries",
        list,
        "List recoveries, newest first",
        "recoveries [--alias CLUSTER | -i FAILED] [--page N]\n\n\
         Twenty per page. The cluster is meant by the name it had then, or by its alias."
    ),
    each!(
        SECTION,
        "recovery",
        show,
        "Tell everything about one recovery",
        "recovery NUMBER|UID\n\n\
         What was found and decided, every candidate with its reason, every step and hook with its duration, and how long\n\
         clients could not write. Times of the timeline are seconds since it began."
    ),
    each!(
        SECTION,
        "detections",
        detected,
        "List detected failures, newest first",
        "detections [--alias CLUSTER | -i INSTANCE] [--page N]\n\nTwenty per page."
    ),
    each!(
        SECTION,
        "blocked-recoveries",
        blocked,
        "List recoveries that are held back at the moment",
        "blocked-recoveries [--alias CLUSTER]\n\nexplain tells all gates of a cluster."
    ),
];

/// Which rows are meant: by cluster alias, by cluster name, by instance.
struct Selection {
    alias: Option<String>,
    instance: Option<domain::instance::InstanceKey>,
    page: u32,
}

async fn selection(session: &Session<'_>) -> anyhow::Result<Selection> {
    let flags = session.flags();
    let alias = Some(flags.text("alias")).filter(|alias| !alias.is_empty()).map(str::to_owned);
    let instance = if session.named().is_some() { Some(session.instance().await?) } else { None };
    let page = flags.number("page").map_err(anyhow::Error::msg)?.unwrap_or(0);
    Ok(Selection { alias, instance, page: u32::try_from(page).unwrap_or(u32::MAX) })
}

async fn list(session: &Session<'_>) -> anyhow::Result<Answer> {
    let which = selection(session).await?;
    let filter = Filter { instance: which.instance.as_ref(), page: which.page, ..Filter::default() };
    let found = match &which.alias {
        None => asking::list(&session.scope, &filter).await?,
        Some(name) => asking::of_cluster(&session.scope, name, &filter).await?,
    };
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            let ago = (one.now - one.started_at).max(0) as f64 / 1e6;
            let took = one.ended_at.map(|end| format!("{:.2}s", (end - one.started_at).max(0) as f64 / 1e6));
            let outcome = one.outcome.map_or_else(|| one.phase.name(), |outcome| outcome.name());
            let word = if one.command_hint.is_empty() { one.kind.name() } else { &one.command_hint };
            vec![
                one.id.to_string(),
                outcome.to_owned(),
                age(ago),
                took.unwrap_or_default(),
                one.code.clone(),
                word.to_owned(),
                one.cluster_alias.clone(),
                one.failed.to_string(),
                one.successor.as_ref().filter(|_| one.is_successful).map(ToString::to_string).unwrap_or_default(),
                one.acknowledged.as_ref().map(|seen| seen.by.clone()).unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["ID", "OUTCOME", "AGE", "TOOK", "ANALYSIS", "KIND", "CLUSTER", "FAILED", "SUCCESSOR", "SEEN BY"];
    let shown: Vec<api::v2::Recovery> = found.iter().map(asking::brief).collect();
    Ok(Answer { text: columns(&head, &rows), json: serde_json::to_value(&shown)? })
}

async fn show(session: &Session<'_>) -> anyhow::Result<Answer> {
    let [word] = session.base.words.as_slice() else { bail!("say which: orchestrator recovery NUMBER|UID") };
    let found = match word.parse() {
        Ok(id) => asking::read(&session.scope, id).await?,
        Err(_) => asking::read_uid(&session.scope, word).await.context("a recovery has a number, or a UID")?,
    };
    let shown = asking::full(&session.scope, &found).await?;
    Ok(Answer { text: asking::text(&shown), json: serde_json::to_value(&shown)? })
}

async fn detected(session: &Session<'_>) -> anyhow::Result<Answer> {
    let which = selection(session).await?;
    let filter = detections::Filter { instance: which.instance.as_ref(), page: which.page, ..Default::default() };
    let found = match &which.alias {
        None => asking::detections(&session.scope, &filter).await?,
        Some(name) => asking::detections_of_cluster(&session.scope, name, &filter).await?,
    };
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            vec![
                one.id.to_string(),
                api::clock::rfc3339(Some(one.started_at)),
                one.code.clone(),
                one.key.to_string(),
                one.cluster_alias.clone(),
                if one.is_active { "active" } else { "released" }.to_owned(),
                one.recovery_id.map(|id| id.to_string()).unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["ID", "FOUND", "ANALYSIS", "INSTANCE", "CLUSTER", "STATE", "RECOVERY"];
    let shown: Vec<api::v2::Detection> = found.iter().map(asking::detected).collect();
    Ok(Answer { text: columns(&head, &rows), json: serde_json::to_value(&shown)? })
}

async fn blocked(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cluster = session.cluster_or_all().await?;
    let found = asking::blocked(&session.scope, cluster.as_deref()).await?;
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            vec![
                one.key.to_string(),
                one.code.clone(),
                one.cluster_name.clone(),
                api::clock::rfc3339(Some(one.since)),
                one.blocking.map(|id| id.to_string()).unwrap_or_default(),
                one.reason.clone(),
            ]
        })
        .collect();
    let head = ["INSTANCE", "ANALYSIS", "CLUSTER", "SINCE", "RECOVERY", "REASON"];
    let shown: Vec<api::v2::BlockedRecovery> = found.iter().map(asking::held_back).collect();
    Ok(Answer { text: columns(&head, &rows), json: serde_json::to_value(&shown)? })
}
