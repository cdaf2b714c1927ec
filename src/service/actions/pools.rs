//! Pools: named groups of instances within clusters, submitted from outside.

use std::collections::{BTreeMap, BTreeSet};

use domain::instance::{Instance, InstanceKey};
use domain::search;
use store::pools::{Names, Pooled};

use super::{Error, Record, Scope, instances, names};

/// Replaces the members of a pool by those of a comma separated list; an empty list empties it.
pub async fn submit(scope: &Scope, pool: &str, list: &str) -> Result<Vec<InstanceKey>, Error> {
    let pool = pool.trim();
    if pool.is_empty() {
        return Err(Error::Invalid("no pool given".to_owned()));
    }
    let mut members = BTreeSet::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        members.insert(names::parse(scope, text)?);
    }
    let members: Vec<InstanceKey> = members.into_iter().collect();
    let is_fuzzy = scope.config.settings.classification.support_fuzzy_pool_hostnames;
    let matching = if is_fuzzy { Names::Fuzzy } else { Names::Exact };
    let stored = store::pools::replace(&scope.pool, pool, &members, matching).await?;
    let message = format!("pool {pool}: {} instances", stored.len());
    let mut conn = scope.connection().await?;
    scope.record(&mut conn, &Record { kind: "submit-pool-instances", message: &message, ..Record::default() }).await?;
    Ok(stored.into_iter().collect())
}

/// All memberships of known instances, by cluster, pool and key.
pub async fn all(scope: &Scope) -> Result<Vec<Pooled>, Error> {
    Ok(store::pools::pooled(&scope.pool, None).await?)
}

/// Members per pool within a cluster of this exact name, of one pool or of all.
pub async fn of_cluster(
    scope: &Scope,
    cluster_name: &str,
    pool: Option<&str>,
) -> Result<BTreeMap<String, Vec<InstanceKey>>, Error> {
    let mut pools: BTreeMap<String, Vec<InstanceKey>> = BTreeMap::new();
    for one in store::pools::pooled(&scope.pool, Some(cluster_name)).await? {
        if pool.is_none_or(|wanted| one.pool == wanted) {
            pools.entry(one.pool).or_default().push(one.key);
        }
    }
    Ok(pools)
}

/// Pooled instances of a cluster that answer and are no binlog servers, sorted by key.
pub async fn usable_instances(scope: &Scope, cluster_name: &str, pool: Option<&str>) -> Result<Vec<Instance>, Error> {
    let pooled: BTreeSet<InstanceKey> = of_cluster(scope, cluster_name, pool).await?.into_values().flatten().collect();
    let mut members = instances::of_cluster(scope, cluster_name).await?;
    members.retain(|one| pooled.contains(&one.key) && one.check.is_valid() && !one.facts.is_binlog_server());
    Ok(members)
}

/// Largest lag among [`usable_instances`], in seconds.
pub async fn lag(scope: &Scope, cluster_name: &str, pool: Option<&str>) -> Result<i64, Error> {
    let members = usable_instances(scope, cluster_name, pool).await?;
    search::largest_lag(&members)
        .ok_or_else(|| Error::NotFound(format!("No pooled instances to measure lag on in {cluster_name}")))
}
