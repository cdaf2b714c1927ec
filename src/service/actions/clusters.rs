//! Clusters: choosing one by what people call it, their names, aliases, domains and primaries.

use api::legacy::ClusterInfo;
use domain::instance::{Instance, InstanceKey};
use domain::search;

use super::{Error, Record, Scope, instances, names};

/// What the command line gives to choose a cluster by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// A cluster name or alias; empty: not given.
    pub alias: &'a str,
    /// An instance of it; empty: not given.
    pub instance: &'a str,
    /// An instance to fall back to when neither is given: this host.
    pub fallback: &'a str,
}

/// The cluster meant: by name or alias, else by an instance of it.
pub async fn choose(scope: &Scope, choice: Choice<'_>) -> Result<String, Error> {
    if !choice.alias.is_empty() {
        match by_alias(scope, choice.alias).await {
            Err(Error::NotFound(_)) if !choice.instance.is_empty() => {}
            answer => return answer,
        }
    }
    let text = if choice.instance.is_empty() { choice.fallback } else { choice.instance };
    if text.is_empty() {
        return Err(Error::Invalid("no cluster given: name one by alias, or by an instance of it".to_owned()));
    }
    of_instance_text(scope, text).await
}

/// The cluster a hint means: its name, its alias, or an instance of it, exactly or completed.
pub async fn by_hint(scope: &Scope, hint: &str) -> Result<String, Error> {
    let hint = hint.trim();
    let port = scope.config.settings.topology.default_instance_port;
    match store::instances::find_cluster(&scope.pool, hint, port).await {
        Ok(name) => return Ok(name),
        Err(store::Error::NotFound { .. } | store::Error::Invalid { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match of_instance_text(scope, hint).await {
        Err(Error::Invalid(_) | Error::NotFound(_)) => Err(unknown(hint)),
        other => other,
    }
}

/// The name of the cluster with this alias, or of this name.
pub async fn by_alias(scope: &Scope, alias: &str) -> Result<String, Error> {
    let alias = alias.trim();
    let clusters = store::clusters::read_all(&scope.pool).await?;
    let named = clusters.iter().find(|one| one.name == alias);
    let found = named.or_else(|| clusters.iter().find(|one| one.alias == alias));
    found.map(|one| one.name.clone()).ok_or_else(|| unknown(alias))
}

/// The cluster of an instance given as text.
async fn of_instance_text(scope: &Scope, text: &str) -> Result<String, Error> {
    let key = names::resolved(scope, names::parse(scope, text)?).await?;
    if let Some(instance) = instances::find_exact(scope, &key).await? {
        return Ok(instance.placement.cluster_name);
    }
    let completed = names::complete(scope, key).await?;
    let instance = instances::find_exact(scope, &completed).await?.ok_or_else(|| unknown(text))?;
    Ok(instance.placement.cluster_name)
}

fn unknown(hint: &str) -> Error {
    let shown: String = hint.chars().take(255).collect();
    Error::NotFound(format!("Unable to determine cluster name for hint: {shown}"))
}

/// Names of all clusters, sorted.
pub async fn list(scope: &Scope) -> Result<Vec<String>, Error> {
    Ok(infos(scope).await?.into_iter().map(|info| info.cluster_name).collect())
}

/// All clusters, sorted by name.
pub async fn infos(scope: &Scope) -> Result<Vec<ClusterInfo>, Error> {
    let clusters = store::clusters::read_all(&scope.pool).await?;
    Ok(clusters.into_iter().map(|cluster| info_of(scope, cluster)).collect())
}

/// One cluster by its exact name.
pub async fn info(scope: &Scope, name: &str) -> Result<ClusterInfo, Error> {
    infos(scope).await?.into_iter().find(|info| info.cluster_name == name).ok_or_else(|| unknown(name))
}

fn info_of(scope: &Scope, cluster: store::clusters::ClusterInfo) -> ClusterInfo {
    let patterns = &scope.config.patterns;
    let mut info = ClusterInfo::new(cluster.name, &cluster.alias, cluster.domain, cluster.instances);
    info.has_automated_master_recovery = patterns.recover_masters.matches(&info.cluster_name, &info.cluster_alias);
    info.has_automated_intermediate_master_recovery =
        patterns.recover_intermediate_masters.matches(&info.cluster_name, &info.cluster_alias);
    info
}

/// The primary of a cluster: depth 0 or co-primary, writable preferred. `No masters found for <cluster>` is a text that
/// clients match.
pub async fn primary(scope: &Scope, name: &str) -> Result<Instance, Error> {
    let members = instances::of_cluster(scope, name).await?;
    search::cluster_primary(&members).cloned().ok_or_else(|| Error::NotFound(format!("No masters found for {name}")))
}

/// The writable primaries, one per cluster, by cluster name.
pub async fn primaries(scope: &Scope) -> Result<Vec<Instance>, Error> {
    let instances = instances::all(scope).await?;
    Ok(search::writable_primaries(&instances).into_iter().cloned().collect())
}

/// Replicas to watch while a large schema change runs.
pub async fn osc_replicas(scope: &Scope, name: &str) -> Result<Vec<Instance>, Error> {
    let members = instances::of_cluster(scope, name).await?;
    let ignored = &scope.config.patterns.osc_ignore;
    let is_ignored = |key: &InstanceKey| ignored.matches(&key.hostname, key.port);
    Ok(search::osc_replicas(&members, is_ignored).into_iter().cloned().collect())
}

/// Replicas on which a triggerless schema change can run, fewest replicas first.
pub async fn ghost_replicas(scope: &Scope, name: &str) -> Result<Vec<Instance>, Error> {
    let members = instances::of_cluster(scope, name).await?;
    Ok(search::ghost_replicas(&members).into_iter().cloned().collect())
}

/// Largest lag among the replicas of [`osc_replicas`], in seconds.
pub async fn heuristic_lag(scope: &Scope, name: &str) -> Result<i64, Error> {
    let replicas = osc_replicas(scope, name).await?;
    search::largest_lag(&replicas).ok_or_else(|| Error::NotFound(format!("No replicas to measure lag on in {name}")))
}

/// The instance recorded for the domain name of a cluster: the primary, which the domain is to point at.
pub async fn domain_instance(scope: &Scope, name: &str) -> Result<InstanceKey, Error> {
    let info = info(scope, name).await?;
    if info.cluster_domain.is_empty() {
        return Err(Error::NotFound(format!("No domain name is known for cluster {name}")));
    }
    Ok(primary(scope, name).await?.key)
}

/// Sets the alias that people chose for a cluster of this exact name; an empty one removes it. It shows after the next
/// placement of its instances.
pub async fn set_alias(scope: &Scope, name: &str, alias: &str) -> Result<(), Error> {
    let alias = alias.trim();
    if alias.chars().any(char::is_control) {
        return Err(Error::Invalid("a cluster alias has no control characters".to_owned()));
    }
    let mut tx = scope.begin().await?;
    store::clusters::set_override(&mut tx, name, alias).await?;
    let message = format!("alias {alias:?}");
    let record = Record { kind: "set-cluster-alias", cluster: name, message: &message, ..Record::default() };
    scope.commit_as(tx, &record).await
}
