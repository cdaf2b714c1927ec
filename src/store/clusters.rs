//! What is known about clusters as a whole: aliases in use, aliases set by people, domains, and who belongs.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use domain::instance::Instance;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::sql::{check_width, cut, delete_older, text, uint};

/// Reason of the downtime that recovery puts on servers it left behind: they do not speak for a cluster.
pub const LOST_IN_RECOVERY: &str = "lost-in-recovery";
const ROWS_PER_STATEMENT: usize = 200;
/// Widths of columns.
const CLUSTER_CHARS: usize = 300;
const NAME_CHARS: usize = 255;

/// A cluster in lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    pub name: String,
    /// Equals the name if there is none.
    pub alias: String,
    /// Empty if none is known.
    pub domain: String,
    pub instances: u64,
}

/// All clusters, by name.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<Vec<ClusterInfo>, Error> {
    const DOING: &str = "read clusters";
    let rows = sqlx::query(
        "SELECT i.cluster_name, i.instances, COALESCE(NULLIF(o.alias, ''), a.alias, i.cluster_name) AS alias, \
                COALESCE(d.domain, '') AS domain \
           FROM (SELECT cluster_name, COUNT(*) AS instances FROM instance WHERE cluster_name <> '' GROUP BY cluster_name) i \
           LEFT JOIN cluster_alias a ON a.cluster_name = i.cluster_name \
           LEFT JOIN cluster_alias_override o ON o.cluster_name = i.cluster_name \
           LEFT JOIN cluster_domain d ON d.cluster_name = i.cluster_name \
          ORDER BY i.cluster_name",
    )
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    let read = |row| {
        Ok(ClusterInfo {
            name: text(row, "cluster_name")?,
            alias: text(row, "alias")?,
            domain: text(row, "domain")?,
            instances: uint(row, "instances")?,
        })
    };
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// The alias each cluster goes by, chosen from what its instances suggest, by cluster name.
///
/// An alias stands for one cluster and a cluster has one alias. Where suggestions disagree the best instance is heard:
/// one whose last check was good, then a writable one, then the one with most replicas. Instances lost in a recovery are
/// not heard. A cluster nobody suggests anything for goes by its name.
pub fn choose_aliases<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Vec<(String, String)> {
    let mut placed: Vec<&Instance> =
        instances.into_iter().filter(|one| !one.placement.cluster_name.is_empty()).collect();
    // Best first; the key makes the choice the same everywhere.
    placed.sort_by_key(|one| {
        (!one.check.is_valid(), one.facts.read_only, std::cmp::Reverse(one.facts.replicas.len()), one.key.clone())
    });
    let mut by_cluster: HashMap<&str, &str> = HashMap::new();
    let mut by_alias: HashMap<&str, &str> = HashMap::new();
    let heard = placed.iter().filter(|one| {
        let lost = one.downtime.as_ref().is_some_and(|downtime| downtime.reason == LOST_IN_RECOVERY);
        !lost && !one.placement.suggested_cluster_alias.is_empty()
    });
    for one in heard {
        let (cluster, alias) = (one.placement.cluster_name.as_str(), one.placement.suggested_cluster_alias.as_str());
        if !by_cluster.contains_key(cluster) && !by_alias.contains_key(alias) {
            by_cluster.insert(cluster, alias);
            by_alias.insert(alias, cluster);
        }
    }
    let mut names: Vec<&str> = placed.iter().map(|one| one.placement.cluster_name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let alias_of = |name: &str| -> String { by_cluster.get(name).copied().unwrap_or(name).to_owned() };
    names
        .into_iter()
        .map(|name| (name.to_owned(), alias_of(name)))
        .filter(|(name, alias)| {
            // A cluster named like another's alias would be two answers to one question.
            alias != name || by_alias.get(alias.as_str()).is_none_or(|owner| owner == name)
        })
        .collect()
}

/// Confirms these aliases. Another cluster's claim on one of them, and another alias of one of these clusters, go.
pub async fn register_aliases(conn: &mut MySqlConnection, aliases: &[(String, String)]) -> Result<(), Error> {
    for chunk in aliases.chunks(ROWS_PER_STATEMENT) {
        // REPLACE deletes every row that collides in either unique key.
        let mut query = QueryBuilder::<MySql>::new("REPLACE INTO cluster_alias (cluster_name, alias, registered_at) ");
        query.push_values(chunk, |mut row, (cluster, alias)| {
            row.push_bind(cut(cluster, CLUSTER_CHARS)).push_bind(cut(alias, NAME_CHARS)).push("NOW(6)");
        });
        query.build().execute(&mut *conn).await.map_err(Error::doing("register cluster aliases"))?;
    }
    Ok(())
}

/// Sets the alias people want, over all that servers suggest; an empty one takes it back.
pub async fn set_override(conn: &mut MySqlConnection, cluster_name: &str, alias: &str) -> Result<(), Error> {
    const DOING: &str = "set a cluster alias";
    check_width(DOING, "the cluster name", cluster_name, CLUSTER_CHARS)?;
    check_width(DOING, "the alias", alias, NAME_CHARS)?;
    let query = if alias.is_empty() {
        sqlx::query("DELETE FROM cluster_alias_override WHERE cluster_name = ?").bind(cluster_name)
    } else {
        sqlx::query(
            "INSERT INTO cluster_alias_override (cluster_name, alias) VALUES (?, ?) \
             ON DUPLICATE KEY UPDATE alias = VALUES(alias)",
        )
        .bind(cluster_name)
        .bind(alias)
    };
    query.execute(conn).await.map(|_| ()).map_err(Error::doing(DOING))
}

/// Aliases set by people, by cluster name.
pub async fn overrides(db: impl MySqlExecutor<'_>) -> Result<HashMap<String, String>, Error> {
    const DOING: &str = "read cluster aliases set by people";
    let rows = sqlx::query("SELECT cluster_name, alias FROM cluster_alias_override WHERE alias <> ''")
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    let read = |row| Ok((text(row, "cluster_name")?, text(row, "alias")?));
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// The alias that each of these clusters goes by, by cluster name; missing where that is its name.
pub async fn aliases_of(pool: &MySqlPool, cluster_names: &[String]) -> Result<HashMap<String, String>, Error> {
    const DOING: &str = "read cluster aliases";
    if cluster_names.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = QueryBuilder::<MySql>::new("SELECT cluster_name, alias FROM cluster_alias WHERE cluster_name IN (");
    let mut list = query.separated(", ");
    for name in cluster_names {
        list.push_bind(name);
    }
    query.push(")");
    let rows = query.build().fetch_all(pool).await.map_err(Error::doing(DOING))?;
    let read = |row| Ok((text(row, "cluster_name")?, text(row, "alias")?));
    let found: sqlx::Result<HashMap<String, String>> = rows.iter().map(read).collect();
    let mut found = found.map_err(Error::doing(DOING))?;
    let by_people = overrides(pool).await?;
    found.extend(by_people.into_iter().filter(|(name, _)| cluster_names.contains(name)));
    Ok(found)
}

/// Confirms the domains that primaries report, by cluster name.
pub async fn register_domains<S: BuildHasher + Sync>(
    conn: &mut MySqlConnection,
    domains: &HashMap<String, String, S>,
) -> Result<(), Error> {
    let mut sorted: Vec<(&String, &String)> = domains.iter().collect();
    sorted.sort_unstable();
    for chunk in sorted.chunks(ROWS_PER_STATEMENT) {
        let mut query = QueryBuilder::<MySql>::new("INSERT INTO cluster_domain (cluster_name, domain, registered_at) ");
        query.push_values(chunk, |mut row, (cluster, domain)| {
            row.push_bind(cut(cluster, CLUSTER_CHARS)).push_bind(cut(domain, NAME_CHARS)).push("NOW(6)");
        });
        query.push(" ON DUPLICATE KEY UPDATE domain = VALUES(domain), registered_at = VALUES(registered_at)");
        query.build().execute(&mut *conn).await.map_err(Error::doing("register cluster domains"))?;
    }
    Ok(())
}

/// The domain of a cluster.
pub async fn domain(db: impl MySqlExecutor<'_>, cluster_name: &str) -> Result<Option<String>, Error> {
    const DOING: &str = "read a cluster's domain";
    let row = sqlx::query("SELECT domain FROM cluster_domain WHERE cluster_name = ?")
        .bind(cluster_name)
        .fetch_optional(db)
        .await
        .map_err(Error::doing(DOING))?;
    row.map(|row| text(&row, "domain")).transpose().map_err(Error::doing(DOING))
}

/// Drops the aliases, suggested and set by people, and the domain of a cluster that is no more.
pub(crate) async fn forget_names(conn: &mut MySqlConnection, cluster_name: &str) -> Result<(), Error> {
    for statement in [
        "DELETE FROM cluster_alias WHERE cluster_name = ?",
        "DELETE FROM cluster_alias_override WHERE cluster_name = ?",
        "DELETE FROM cluster_domain WHERE cluster_name = ?",
    ] {
        let done = sqlx::query(statement).bind(cluster_name).execute(&mut *conn).await;
        done.map_err(Error::doing("forget the names of a cluster"))?;
    }
    Ok(())
}

/// Drops aliases not confirmed within `lifetime`.
pub async fn expire_aliases(conn: &mut MySqlConnection, lifetime: Duration) -> Result<u64, Error> {
    delete_older(conn, "expire cluster aliases", ("cluster_alias", "registered_at"), lifetime).await
}

/// Drops domains not confirmed within `lifetime`.
pub async fn expire_domains(conn: &mut MySqlConnection, lifetime: Duration) -> Result<u64, Error> {
    delete_older(conn, "expire cluster domains", ("cluster_domain", "registered_at"), lifetime).await
}
