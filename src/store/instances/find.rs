//! Finding instances and clusters by what people type.

use std::collections::BTreeSet;

use domain::instance::InstanceKey;
use sqlx::mysql::MySqlPool;
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::sql::{containing, key, maybe_text, push_keys, text};

const KEYS_PER_STATEMENT: usize = 500;

/// The one known instance whose host contains the given text, port equal; else the key as it is. IPv4 addresses are never
/// completed: `10.0.0.1` is no short form of `10.0.0.12`.
pub async fn complete(db: impl MySqlExecutor<'_>, partial: &InstanceKey) -> Result<InstanceKey, Error> {
    const DOING: &str = "complete an instance name";
    if partial.is_ipv4() || partial.hostname.is_empty() {
        return Ok(partial.clone());
    }
    let rows = sqlx::query("SELECT hostname, port FROM instance WHERE port = ? AND hostname LIKE ? ESCAPE '|' LIMIT 2")
        .bind(partial.port)
        .bind(containing(&partial.hostname))
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    match rows.as_slice() {
        [only] => key(only).map_err(Error::doing(DOING)),
        _ => Ok(partial.clone()),
    }
}

/// [`complete`] for each of a list, in order.
pub async fn complete_all(pool: &MySqlPool, partial: &[InstanceKey]) -> Result<Vec<InstanceKey>, Error> {
    let mut completed = Vec::with_capacity(partial.len());
    for one in partial {
        completed.push(complete(pool, one).await?);
    }
    Ok(completed)
}

/// The cluster a hint means: a cluster's name, else an alias, else the cluster of an instance, exact or completed.
/// [`Error::NotFound`] when it means nothing we know.
pub async fn find_cluster(pool: &MySqlPool, hint: &str, default_port: u16) -> Result<String, Error> {
    let hint = hint.trim();
    if hint.is_empty() {
        return Err(Error::not_found("cluster", "(empty hint)"));
    }
    if let Some(name) = by_name_or_alias(pool, hint).await? {
        return Ok(name);
    }
    let unknown = || Error::not_found("cluster", hint);
    let Ok(key) = InstanceKey::parse(hint, default_port) else { return Err(unknown()) };
    match find_cluster_of(pool, &key).await {
        Err(Error::NotFound { .. }) => Err(unknown()),
        other => other,
    }
}

/// The cluster of an instance: exact key first, then its completion.
pub async fn find_cluster_of(pool: &MySqlPool, key: &InstanceKey) -> Result<String, Error> {
    if let Some(name) = cluster_of(pool, key).await? {
        return Ok(name);
    }
    let completed = complete(pool, key).await?;
    if completed != *key
        && let Some(name) = cluster_of(pool, &completed).await?
    {
        return Ok(name);
    }
    Err(Error::not_found("cluster of instance", key))
}

/// Those of the keys that are neither known nor forgotten.
pub async fn unknown_of(pool: &MySqlPool, keys: &[InstanceKey]) -> Result<Vec<InstanceKey>, Error> {
    const DOING: &str = "look for unknown instances";
    let mut unknown: BTreeSet<InstanceKey> = keys.iter().filter(|key| key.is_valid()).cloned().collect();
    for chunk in keys.chunks(KEYS_PER_STATEMENT) {
        let mut query = QueryBuilder::<MySql>::new("SELECT hostname, port FROM instance WHERE (hostname, port) IN ");
        push_keys(&mut query, chunk);
        query.push(" UNION ALL SELECT hostname, port FROM forgotten_instance WHERE forgotten_until > NOW(6)");
        query.push(" AND (hostname, port) IN ");
        push_keys(&mut query, chunk);
        for row in query.build().fetch_all(pool).await.map_err(Error::doing(DOING))? {
            unknown.remove(&key(&row).map_err(Error::doing(DOING))?);
        }
    }
    Ok(unknown.into_iter().collect())
}

async fn by_name_or_alias(db: impl MySqlExecutor<'_>, hint: &str) -> Result<Option<String>, Error> {
    const DOING: &str = "find a cluster by name or alias";
    // An alias in use; one that people set counts before those that servers suggest. An alias may outlive the last
    // instance of its cluster, and then means nothing.
    let row = sqlx::query(
        "SELECT cluster_name, 1 AS preference FROM instance WHERE cluster_name = ? \
         UNION ALL SELECT o.cluster_name, 2 FROM cluster_alias_override o \
                    WHERE o.alias = ? AND EXISTS (SELECT 1 FROM instance i WHERE i.cluster_name = o.cluster_name) \
         UNION ALL SELECT a.cluster_name, 3 FROM cluster_alias a \
                     LEFT JOIN cluster_alias_override o ON o.cluster_name = a.cluster_name \
                    WHERE a.alias = ? AND (o.alias IS NULL OR o.alias = '') \
                      AND EXISTS (SELECT 1 FROM instance i WHERE i.cluster_name = a.cluster_name) \
         ORDER BY preference, cluster_name LIMIT 1",
    )
    .bind(hint)
    .bind(hint)
    .bind(hint)
    .fetch_optional(db)
    .await
    .map_err(Error::doing(DOING))?;
    row.map(|row| text(&row, "cluster_name")).transpose().map_err(Error::doing(DOING))
}

async fn cluster_of(db: impl MySqlExecutor<'_>, key: &InstanceKey) -> Result<Option<String>, Error> {
    const DOING: &str = "find the cluster of an instance";
    let row = sqlx::query("SELECT cluster_name FROM instance WHERE hostname = ? AND port = ?")
        .bind(&key.hostname)
        .bind(key.port)
        .fetch_optional(db)
        .await
        .map_err(Error::doing(DOING))?;
    let name = row.map(|row| maybe_text(&row, "cluster_name")).transpose().map_err(Error::doing(DOING))?.flatten();
    // A known instance that is not placed yet is its own cluster until the leader has looked at it.
    Ok(name.map(|name| if name.is_empty() { key.to_string() } else { name }))
}
