//! Clusters: names, aliases, primaries.

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
        "clusters",
        all,
        "List all clusters by name",
        "Prints the name of every cluster, host:port of its primary, one per line."
    ),
    each!(
        SECTION,
        "clusters-alias",
        aliases,
        "List all clusters with their aliases",
        "Prints name, tab, alias of every cluster. The alias is the name where none is set."
    ),
    each!(
        SECTION,
        "all-clusters-masters",
        primaries,
        "List the writable primary of each cluster",
        "Prints host:port of the writable primary of each cluster, by cluster name."
    ),
    each!(
        SECTION,
        "which-cluster",
        name,
        "Print the name of a cluster",
        "Prints the name of the cluster of --alias, or of the instance in -i (this host without either)."
    ),
    each!(SECTION, "which-cluster-alias", alias, "Print the alias of a cluster"),
    each!(
        SECTION,
        "which-cluster-domain",
        domain,
        "Print the domain name of a cluster",
        "Prints the domain name that leads to the cluster's primary; an empty line where none is known."
    ),
    each!(
        SECTION,
        "which-heuristic-domain-instance",
        domain_instance,
        "Print the instance recorded for the domain name of a cluster"
    ),
    each!(
        SECTION,
        "which-cluster-master",
        primary,
        "Print the primary of a cluster",
        "Prints host:port of the head of the cluster: depth 0 or a co-primary, a writable one before a read-only one."
    ),
    each!(
        SECTION,
        "set-cluster-alias",
        set_alias,
        "Give a cluster an alias by hand",
        "set-cluster-alias -i INSTANCE --alias ALIAS\n\n\
         Sets the alias of the cluster of -i (this host without -i); it wins over every detected alias. An empty --alias\n\
         removes it. Prints the cluster's name."
    ),
    each!(
        SECTION,
        "dominant-dc",
        dominant_dc,
        "Print the datacenter with most primaries",
        "Prints the datacenter in which most of the writable primaries are; an empty line where none is known."
    ),
];

async fn all(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::joined(clusters::list(&session.scope).await?))
}

async fn aliases(session: &Session<'_>) -> anyhow::Result<Answer> {
    let infos = clusters::infos(&session.scope).await?;
    Answer::rows(&infos, |info| format!("{}\t{}", info.cluster_name, info.cluster_alias))
}

async fn primaries(session: &Session<'_>) -> anyhow::Result<Answer> {
    Answer::instances(&clusters::primaries(&session.scope).await?, &session.scope.view().await?)
}

async fn name(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::line(session.cluster().await?))
}

async fn alias(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::line(clusters::info(&session.scope, &session.cluster().await?).await?.cluster_alias))
}

async fn domain(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::line(clusters::info(&session.scope, &session.cluster().await?).await?.cluster_domain))
}

async fn domain_instance(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::key(&clusters::domain_instance(&session.scope, &session.cluster().await?).await?))
}

async fn primary(session: &Session<'_>) -> anyhow::Result<Answer> {
    let primary = clusters::primary(&session.scope, &session.cluster().await?).await?;
    Answer::instance(&primary, &session.scope.view().await?)
}

/// `--alias` is the new alias here, so the cluster is named by an instance of it.
async fn set_alias(session: &Session<'_>) -> anyhow::Result<Answer> {
    let Some(alias) = session.flags().get("alias") else {
        anyhow::bail!("--alias is required; an empty one removes the alias")
    };
    let cluster = clusters::by_hint(&session.scope, &session.typed()?.to_string()).await?;
    clusters::set_alias(&session.scope, &cluster, alias).await?;
    Ok(Answer::line_as(&cluster, json!({ "cluster": cluster, "alias": alias })))
}

async fn dominant_dc(session: &Session<'_>) -> anyhow::Result<Answer> {
    let primaries = clusters::primaries(&session.scope).await?;
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for primary in &primaries {
        *counts.entry(&primary.facts.data_center).or_default() += 1;
    }
    // Of equally many the first by name, whatever the order of primaries.
    let dominant = counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or("", |(name, _)| name);
    Ok(Answer::line(dominant))
}
