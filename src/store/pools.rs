//! Pools: named groups of instances, submitted whole by scripts that know who serves what. Membership expires.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::instance::InstanceKey;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{Connection, MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::instances::complete_all;
use crate::sql::{check_key, check_width, delete_older, key, text};

const MEMBERS_PER_STATEMENT: usize = 200;

/// Whether submitted names may be parts of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Exact,
    /// A name that one known instance contains stands for that instance.
    Fuzzy,
}

/// A pooled instance of a known cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooled {
    pub cluster_name: String,
    pub cluster_alias: String,
    pub pool: String,
    pub key: InstanceKey,
}

/// Replaces the members of a pool by these, all or nothing. An empty list empties it. Answers who they are.
pub async fn replace(
    db: &MySqlPool,
    pool: &str,
    members: &[InstanceKey],
    names: Names,
) -> Result<BTreeSet<InstanceKey>, Error> {
    const DOING: &str = "replace the members of a pool";
    check_width(DOING, "the pool's name", pool, 128)?;
    let members: BTreeSet<InstanceKey> = match names {
        Names::Exact => members.iter().cloned().collect(),
        Names::Fuzzy => complete_all(db, members).await?.into_iter().collect(),
    };
    for member in &members {
        check_key(DOING, member)?;
    }
    let mut conn = db.acquire().await.map_err(Error::doing(DOING))?;
    let mut tx = conn.begin().await.map_err(Error::doing(DOING))?;
    sqlx::query("DELETE FROM pool_instance WHERE pool = ?")
        .bind(pool)
        .execute(&mut *tx)
        .await
        .map_err(Error::doing(DOING))?;
    let all: Vec<&InstanceKey> = members.iter().collect();
    for chunk in all.chunks(MEMBERS_PER_STATEMENT) {
        let mut query = QueryBuilder::<MySql>::new("INSERT INTO pool_instance (pool, hostname, port, registered_at) ");
        query.push_values(chunk, |mut row, member| {
            row.push_bind(pool).push_bind(&member.hostname).push_bind(member.port).push("NOW(6)");
        });
        // Two submissions at once: both delete, both insert; the later one renews what the earlier one wrote.
        query.push(" ON DUPLICATE KEY UPDATE registered_at = VALUES(registered_at)");
        query.build().execute(&mut *tx).await.map_err(Error::doing(DOING))?;
    }
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(members)
}

/// Members by pool.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<BTreeMap<String, BTreeSet<InstanceKey>>, Error> {
    const DOING: &str = "read pools";
    let rows = sqlx::query("SELECT pool, hostname, port FROM pool_instance").fetch_all(db).await;
    let mut pools: BTreeMap<String, BTreeSet<InstanceKey>> = BTreeMap::new();
    for row in &rows.map_err(Error::doing(DOING))? {
        let read = || Ok((text(row, "pool")?, key(row)?));
        let (pool, member) = read().map_err(Error::doing(DOING))?;
        pools.entry(pool).or_default().insert(member);
    }
    Ok(pools)
}

/// Pooled instances that are known, of one cluster or of all: by cluster, pool, host and port.
pub async fn pooled(db: impl MySqlExecutor<'_>, cluster_name: Option<&str>) -> Result<Vec<Pooled>, Error> {
    const DOING: &str = "read pooled instances";
    let mut query = QueryBuilder::<MySql>::new(
        "SELECT i.cluster_name, COALESCE(NULLIF(o.alias, ''), a.alias, i.cluster_name) AS cluster_alias, p.pool, \
                p.hostname, p.port \
           FROM pool_instance p \
           JOIN instance i ON i.hostname = p.hostname AND i.port = p.port \
           LEFT JOIN cluster_alias a ON a.cluster_name = i.cluster_name \
           LEFT JOIN cluster_alias_override o ON o.cluster_name = i.cluster_name ",
    );
    if let Some(name) = cluster_name {
        query.push("WHERE i.cluster_name = ").push_bind(name);
    }
    query.push(" ORDER BY i.cluster_name, p.pool, p.hostname, p.port");
    let rows = query.build().fetch_all(db).await.map_err(Error::doing(DOING))?;
    let read = |row| {
        Ok(Pooled {
            cluster_name: text(row, "cluster_name")?,
            cluster_alias: text(row, "cluster_alias")?,
            pool: text(row, "pool")?,
            key: key(row)?,
        })
    };
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Drops members not submitted again within `lifetime`.
pub async fn expire(conn: &mut MySqlConnection, lifetime: Duration) -> Result<u64, Error> {
    delete_older(conn, "expire pools", ("pool_instance", "registered_at"), lifetime).await
}
