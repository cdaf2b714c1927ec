//! Reading instances, each with its downtime, promotion rule and virtual name, in one statement.

use domain::instance::{DbMicros, Instance, InstanceKey};
use futures::TryStreamExt;
use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{MySql, MySqlExecutor, QueryBuilder, Row};

use super::row::{self, SELECT};
use crate::Error;
use crate::sql::{containing, maybe_micros, micros, push_keys, stamp, uint};

/// Keys or ids per statement.
const CHUNK: usize = 500;
const READING: &str = "read instances";

/// Instances as of one moment on the database's clock.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub now: DbMicros,
    /// By host, then port.
    pub instances: Vec<Instance>,
}

/// Times of the last checks of one instance: what [`look`] does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckTimes {
    pub id: u64,
    pub last_attempted_at: Option<DbMicros>,
    pub last_checked_at: Option<DbMicros>,
    pub last_seen_at: Option<DbMicros>,
}

/// One instance by its exact name.
pub async fn read(db: impl MySqlExecutor<'_>, key: &InstanceKey) -> Result<Option<Instance>, Error> {
    let statement = format!("{SELECT} WHERE i.hostname = ? AND i.port = ?");
    let found = sqlx::query(&statement).bind(&key.hostname).bind(key.port).fetch_optional(db).await;
    let row = found.map_err(Error::doing(READING))?;
    row.as_ref().map(row::read).transpose().map(|row| row.map(|row| row.instance)).map_err(Error::doing(READING))
}

/// Those of the keys that are known, by host, then port.
pub async fn read_many(pool: &MySqlPool, keys: &[InstanceKey]) -> Result<Vec<Instance>, Error> {
    let mut found = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK) {
        let mut query = QueryBuilder::<MySql>::new(SELECT);
        query.push("WHERE (i.hostname, i.port) IN ");
        push_keys(&mut query, chunk);
        found.extend(collect(pool, query).await?.instances);
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// Those of the ids that exist, with the time their row changed.
pub async fn read_ids(pool: &MySqlPool, ids: &[u64]) -> Result<Vec<(Instance, DbMicros)>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        let mut query = QueryBuilder::<MySql>::new(SELECT);
        query.push("WHERE i.id IN (");
        let mut list = query.separated(", ");
        for id in chunk {
            list.push_bind(*id);
        }
        query.push(")");
        found.extend(collect_dated(pool, query).await?);
    }
    Ok(found)
}

/// The instances of a cluster, by its exact name.
pub async fn read_cluster(db: impl MySqlExecutor<'_>, cluster_name: &str) -> Result<Snapshot, Error> {
    let mut query = QueryBuilder::<MySql>::new(SELECT);
    query.push("WHERE i.cluster_name = ").push_bind(cluster_name).push(" ORDER BY i.hostname, i.port");
    collect(db, query).await
}

/// The instances of these clusters, by host, then port. `now` is 0 when there is none.
pub async fn read_clusters(db: impl MySqlExecutor<'_>, cluster_names: &[String]) -> Result<Snapshot, Error> {
    if cluster_names.is_empty() {
        return Ok(Snapshot::default());
    }
    let mut query = QueryBuilder::<MySql>::new(SELECT);
    query.push("WHERE i.cluster_name IN (");
    let mut list = query.separated(", ");
    for name in cluster_names {
        list.push_bind(name);
    }
    query.push(") ORDER BY i.hostname, i.port");
    collect(db, query).await
}

/// Every instance. `now` is 0 when there is none.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<Snapshot, Error> {
    let mut query = QueryBuilder::<MySql>::new(SELECT);
    query.push("ORDER BY i.hostname, i.port");
    collect(db, query).await
}

/// The instances that replicate directly from this one.
pub async fn read_replicas(db: impl MySqlExecutor<'_>, source: &InstanceKey) -> Result<Snapshot, Error> {
    let mut query = QueryBuilder::<MySql>::new(SELECT);
    query.push("WHERE i.source_hostname = ").push_bind(&source.hostname);
    query.push(" AND i.source_port = ").push_bind(source.port).push(" ORDER BY i.hostname, i.port");
    collect(db, query).await
}

/// A superset of what [`domain::search::matches`] this text, found by the database: filter it again.
pub async fn search_candidates(db: impl MySqlExecutor<'_>, text: &str) -> Result<Snapshot, Error> {
    let text = text.trim();
    // The facts are JSON, where such characters are written otherwise: then everything is a candidate.
    if text.is_empty() || text.chars().any(|c| c == '"' || c == '\\' || c.is_control()) {
        return read_all(db).await;
    }
    let pattern = containing(text);
    let mut query = QueryBuilder::<MySql>::new(SELECT);
    let mut word = "WHERE ";
    for place in ["CONCAT(i.hostname, ':', i.port)", "i.cluster_name", "i.suggested_alias", "i.facts"] {
        query.push(word).push(place).push(" LIKE ").push_bind(pattern.clone()).push(" ESCAPE '|' ");
        word = "OR ";
    }
    query.push("ORDER BY i.hostname, i.port");
    collect(db, query).await
}

/// What there is to do for one who keeps a copy of all instances, in one statement.
#[derive(Debug, Clone)]
pub struct Look {
    /// Time of this look.
    pub now: DbMicros,
    pub upkeep: queue::Upkeep,
    /// Ids and versions of the rows that changed after the time given, read from an index alone.
    pub changed: Vec<(u64, DbMicros)>,
}

/// Looks for changed rows, and at the queue on the way. Commits become visible in another order than their
/// `changed_at`: go back a few seconds behind the last look.
pub async fn look(db: impl MySqlExecutor<'_>, since: DbMicros) -> Result<Look, Error> {
    const DOING: &str = "look for changed instances";
    // The casts give both halves the same types: MariaDB makes decimals and texts of anything else.
    let statement = format!(
        "SELECT CAST(NULL AS UNSIGNED) AS id, CAST(NOW(6) AS DATETIME(6)) AS at, {} \
         UNION ALL \
         SELECT id, changed_at, 0, 0, NULL FROM instance FORCE INDEX (instance_changed) WHERE changed_at > ?",
        queue::UPKEEP_COLUMNS
    );
    let mut rows = sqlx::query(&statement).bind(stamp(since)).fetch(db);
    let mut look = Look { now: 0, upkeep: queue::Upkeep::default(), changed: Vec::new() };
    while let Some(row) = rows.try_next().await.map_err(Error::doing(DOING))? {
        let at = micros(&row, "at").map_err(Error::doing(DOING))?;
        match row.try_get_unchecked::<Option<u64>, _>("id").map_err(Error::doing(DOING))? {
            Some(id) => look.changed.push((id, at)),
            None => {
                look.now = at;
                look.upkeep = queue::Upkeep::read(&row).map_err(Error::doing(DOING))?;
            }
        }
    }
    Ok(look)
}

/// Every row's id and version: to find what a reader of [`look`] missed, and what was deleted.
pub async fn index(db: impl MySqlExecutor<'_>) -> Result<Vec<(u64, DbMicros)>, Error> {
    const DOING: &str = "read the index of instances";
    let rows = sqlx::query("SELECT id, changed_at FROM instance ORDER BY id").fetch_all(db).await;
    let read = |row: &MySqlRow| Ok((uint(row, "id")?, micros(row, "changed_at")?));
    rows.and_then(|rows| rows.iter().map(read).collect()).map_err(Error::doing(DOING))
}

/// When each instance was last checked and seen.
pub async fn check_times(db: impl MySqlExecutor<'_>) -> Result<Vec<CheckTimes>, Error> {
    const DOING: &str = "read the times of checks";
    let rows = sqlx::query("SELECT id, last_attempted_at, last_checked_at, last_seen_at FROM instance ORDER BY id")
        .fetch_all(db)
        .await;
    let read = |row: &MySqlRow| {
        Ok(CheckTimes {
            id: uint(row, "id")?,
            last_attempted_at: maybe_micros(row, "last_attempted_at")?,
            last_checked_at: maybe_micros(row, "last_checked_at")?,
            last_seen_at: maybe_micros(row, "last_seen_at")?,
        })
    };
    rows.and_then(|rows| rows.iter().map(read).collect()).map_err(Error::doing(DOING))
}

/// Row by row, so that only one raw row is held besides the result.
async fn collect(db: impl MySqlExecutor<'_>, mut query: QueryBuilder<'_, MySql>) -> Result<Snapshot, Error> {
    let mut snapshot = Snapshot::default();
    let mut rows = query.build().fetch(db);
    while let Some(row) = rows.try_next().await.map_err(Error::doing(READING))? {
        let row = row::read(&row).map_err(Error::doing(READING))?;
        snapshot.now = row.now;
        snapshot.instances.push(row.instance);
    }
    Ok(snapshot)
}

async fn collect_dated(
    db: impl MySqlExecutor<'_>,
    mut query: QueryBuilder<'_, MySql>,
) -> Result<Vec<(Instance, DbMicros)>, Error> {
    let mut found = Vec::new();
    let mut rows = query.build().fetch(db);
    while let Some(row) = rows.try_next().await.map_err(Error::doing(READING))? {
        let row = row::read(&row).map_err(Error::doing(READING))?;
        found.push((row.instance, row.changed_at));
    }
    Ok(found)
}
