//! Which replicas to watch while a large schema change runs.

use domain::instance::Instance;
use serde_json::json;
use service::actions::clusters;

use super::each;
use crate::answer::Answer;
use crate::catalogue::Command;
use crate::session::Session;

const SECTION: &str = "Information";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        SECTION,
        "which-cluster-osc-replicas",
        osc,
        "List replicas to throttle a schema change by",
        "Prints a few replicas that stand for all of the cluster: per datacenter the two direct replicas with most replicas\n\
         of their own, up to two replicas of each of those, and two of the third level."
    ),
    each!(
        SECTION,
        "which-cluster-osc-running-replicas",
        osc_running,
        "The same, those only that replicate",
        "Like which-cluster-osc-replicas, without replicas that do not run."
    ),
    each!(
        SECTION,
        "which-cluster-gh-ost-replicas",
        ghost,
        "List replicas that a triggerless schema change can use",
        "Prints replicas that write their updates to a binary log in row format, fewest replicas first."
    ),
    each!(
        SECTION,
        "get-cluster-heuristic-lag",
        lag,
        "Print the largest lag among the throttling replicas",
        "Prints, in seconds, the largest lag among the replicas of which-cluster-osc-replicas. Fails when there are none."
    ),
];

async fn chosen(session: &Session<'_>) -> anyhow::Result<Vec<Instance>> {
    Ok(clusters::osc_replicas(&session.scope, &session.cluster().await?).await?)
}

async fn osc(session: &Session<'_>) -> anyhow::Result<Answer> {
    Answer::instances(&chosen(session).await?, &session.scope.view().await?)
}

async fn osc_running(session: &Session<'_>) -> anyhow::Result<Answer> {
    let running: Vec<Instance> =
        chosen(session).await?.into_iter().filter(|one| one.facts.is_replica_running()).collect();
    Answer::instances(&running, &session.scope.view().await?)
}

async fn ghost(session: &Session<'_>) -> anyhow::Result<Answer> {
    let found = clusters::ghost_replicas(&session.scope, &session.cluster().await?).await?;
    Answer::instances(&found, &session.scope.view().await?)
}

async fn lag(session: &Session<'_>) -> anyhow::Result<Answer> {
    let seconds = clusters::heuristic_lag(&session.scope, &session.cluster().await?).await?;
    Ok(Answer::line_as(seconds, json!(seconds)))
}
