//! Detections: troubles that were found, each registered once, released when it may be found anew.
//!
//! ```text
//!   register ─▶ active (one per instance and is_actionable) ──▶ released: by age, by acknowledgement, by the recovery
//! ```
//! Whatever the code: a trouble that changes from one actionable code to another is the same incident, one that becomes
//! actionable is a new one.

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use serde_json::Value;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::error::is_duplicate;
use crate::sql::{
    check_key, cut, delete_older, document, flag, interval, json, key, maybe_micros, maybe_uint, micros, text, uint,
};

/// Entries per page, as in the original.
pub const PAGE: u32 = 20;

/// A trouble just found.
#[derive(Debug, Clone, Copy)]
pub struct NewDetection<'a> {
    pub key: &'a InstanceKey,
    /// Analysis code.
    pub code: &'a str,
    pub cluster_name: &'a str,
    pub cluster_alias: &'a str,
    /// There is a recovery for this code.
    pub is_actionable: bool,
    pub replicas: &'a [InstanceKey],
    /// The finding.
    pub entry: &'a Value,
    /// Node that found it, and the token of its process.
    pub node: &'a str,
    pub node_token: &'a str,
}

/// A trouble as written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    pub id: u64,
    pub key: InstanceKey,
    pub code: String,
    pub cluster_name: String,
    pub cluster_alias: String,
    pub is_actionable: bool,
    pub is_active: bool,
    pub replicas: Vec<InstanceKey>,
    pub entry: Value,
    pub node: String,
    pub node_token: String,
    pub started_at: DbMicros,
    pub released_at: Option<DbMicros>,
    /// Newest recovery that it led to.
    pub recovery_id: Option<u64>,
}

/// Which detections to list. The default lists all, newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub id: Option<u64>,
    pub instance: Option<&'a InstanceKey>,
    pub cluster_name: Option<&'a str>,
    pub cluster_alias: Option<&'a str>,
    /// Only those not released.
    pub active: bool,
    /// From 0.
    pub page: u32,
}

/// Registers a trouble. `None`: an active one of this instance and actionability is there, nothing was written.
pub async fn register(conn: &mut MySqlConnection, new: &NewDetection<'_>) -> Result<Option<u64>, Error> {
    const DOING: &str = "register a detection";
    check_key(DOING, new.key)?;
    let done = sqlx::query(
        "INSERT INTO detection (hostname, port, code, cluster_name, cluster_alias, is_actionable, active_slot, replicas, \
                entry, node, node_token, started_at) \
         VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, NOW(6))",
    )
    .bind(&new.key.hostname)
    .bind(new.key.port)
    .bind(cut(new.code, 128))
    .bind(cut(new.cluster_name, 300))
    .bind(cut(new.cluster_alias, 255))
    .bind(new.is_actionable)
    .bind(json(DOING, new.replicas)?)
    .bind(json(DOING, new.entry)?)
    .bind(cut(new.node, 255))
    .bind(cut(new.node_token, 64))
    .execute(conn)
    .await;
    match done {
        Ok(done) => Ok(Some(done.last_insert_id())),
        Err(cause) if is_duplicate(&cause) => Ok(None),
        Err(cause) => Err(Error::classify(DOING, cause)),
    }
}

/// One detection.
pub async fn read(db: impl MySqlExecutor<'_>, id: u64) -> Result<Option<Detection>, Error> {
    Ok(list(db, &Filter { id: Some(id), ..Filter::default() }).await?.into_iter().next())
}

/// A page of [`PAGE`] detections, newest first.
pub async fn list(db: impl MySqlExecutor<'_>, filter: &Filter<'_>) -> Result<Vec<Detection>, Error> {
    const DOING: &str = "read detections";
    let mut query = QueryBuilder::<MySql>::new(
        "SELECT d.id, d.hostname, d.port, d.code, d.cluster_name, d.cluster_alias, d.is_actionable, d.active_slot, \
                d.replicas, d.entry, d.node, d.node_token, d.started_at, d.released_at, \
                (SELECT MAX(r.id) FROM recovery r WHERE r.detection_id = d.id) AS recovery_id \
           FROM detection d WHERE 1 = 1",
    );
    if let Some(id) = filter.id {
        query.push(" AND d.id = ").push_bind(id);
    }
    if let Some(key) = filter.instance {
        query.push(" AND d.hostname = ").push_bind(&key.hostname).push(" AND d.port = ").push_bind(key.port);
    }
    if let Some(name) = filter.cluster_name {
        query.push(" AND d.cluster_name = ").push_bind(name);
    }
    if let Some(alias) = filter.cluster_alias {
        query.push(" AND d.cluster_alias = ").push_bind(alias);
    }
    if filter.active {
        query.push(" AND d.active_slot = 1");
    }
    query.push(" ORDER BY d.id DESC LIMIT ").push_bind(PAGE);
    query.push(" OFFSET ").push_bind(u64::from(filter.page) * u64::from(PAGE));
    let rows = query.build().fetch_all(db).await.map_err(Error::doing(DOING))?;
    rows.iter().map(detection).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Lets the troubles of an instance be found anew; how many were active.
pub async fn release_of_instance(conn: &mut MySqlConnection, key: &InstanceKey) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE detection SET active_slot = NULL, released_at = NOW(6) WHERE hostname = ? AND port = ? AND active_slot = 1",
    )
    .bind(&key.hostname)
    .bind(key.port)
    .execute(conn)
    .await
    .map_err(Error::doing("release the detections of an instance"))?;
    Ok(done.rows_affected())
}

/// The same for a cluster, by its name then, or by its alias then (empty: by name only).
pub async fn release_of_cluster(conn: &mut MySqlConnection, name: &str, alias: &str) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE detection SET active_slot = NULL, released_at = NOW(6) \
          WHERE active_slot = 1 AND (cluster_name = ? OR (cluster_alias = ? AND ? <> ''))",
    )
    .bind(name)
    .bind(alias)
    .bind(alias)
    .execute(conn)
    .await
    .map_err(Error::doing("release the detections of a cluster"))?;
    Ok(done.rows_affected())
}

/// The same for those that began so long ago (`FailureDetectionPeriodBlockMinutes`).
pub async fn release_older(conn: &mut MySqlConnection, age: Duration) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE detection SET active_slot = NULL, released_at = NOW(6) \
          WHERE active_slot = 1 AND started_at < NOW(6) - INTERVAL ? MICROSECOND",
    )
    .bind(interval(age))
    .execute(conn)
    .await
    .map_err(Error::doing("release old detections"))?;
    Ok(done.rows_affected())
}

/// Deletes detections found longer ago than this; the records of their hooks go with [`crate::hook_runs::trim`].
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    delete_older(conn, "trim detections", ("detection", "started_at"), older_than).await
}

fn detection(row: &MySqlRow) -> sqlx::Result<Detection> {
    Ok(Detection {
        id: uint(row, "id")?,
        key: key(row)?,
        code: text(row, "code")?,
        cluster_name: text(row, "cluster_name")?,
        cluster_alias: text(row, "cluster_alias")?,
        is_actionable: flag(row, "is_actionable")?,
        is_active: maybe_uint(row, "active_slot")?.is_some(),
        replicas: document(row, "replicas")?.unwrap_or_default(),
        entry: document(row, "entry")?.unwrap_or_default(),
        node: text(row, "node")?,
        node_token: text(row, "node_token")?,
        started_at: micros(row, "started_at")?,
        released_at: maybe_micros(row, "released_at")?,
        recovery_id: maybe_uint(row, "recovery_id")?,
    })
}
