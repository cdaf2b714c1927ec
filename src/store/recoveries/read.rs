//! Reading recoveries.

use std::time::Duration;

use domain::instance::InstanceKey;
use sqlx::mysql::MySqlRow;
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use super::{Acknowledgement, Kind, Outcome, Phase, Recovery};
use crate::Error;
use crate::sql::{
    document, flag, interval, key, maybe_micros, maybe_text, maybe_uint, micros, port, text, uint, undecodable,
};

/// Entries per page, as in the original.
pub const PAGE: u32 = 20;

const SELECT: &str = "SELECT id, uid, kind, code, command_hint, hostname, port, cluster_name, cluster_alias, active_slot, \
    detection_id, operation_id, phase, is_forced, suppress_hooks, requested_hostname, requested_port, successor_hostname, \
    successor_port, successor_alias, successor_coordinates, is_successful, outcome, lost, participating, errors, entry, \
    verdicts, choice, outage, actor, node, node_token, started_at, phase_at, ended_at, active_ended_at, acknowledged_at, \
    acknowledged_by, acknowledged_comment, NOW(6) AS db_now FROM recovery ";
const READING: &str = "read recoveries";

/// Which recoveries to list. The default lists all, newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Name of the cluster when it began.
    pub cluster_name: Option<&'a str>,
    pub cluster_alias: Option<&'a str>,
    /// The failed instance.
    pub instance: Option<&'a InstanceKey>,
    /// The instance that took over.
    pub successor: Option<&'a InstanceKey>,
    pub unacknowledged: bool,
    /// Not ended.
    pub open: bool,
    /// In the active period.
    pub active: bool,
    pub ended_within: Option<Duration>,
    /// From 0.
    pub page: u32,
}

/// One recovery.
pub async fn read(db: impl MySqlExecutor<'_>, id: u64) -> Result<Option<Recovery>, Error> {
    let statement = format!("{SELECT} WHERE id = ?");
    let row = sqlx::query(&statement).bind(id).fetch_optional(db).await.map_err(Error::doing(READING))?;
    row.as_ref().map(recovery).transpose().map_err(Error::doing(READING))
}

/// The same by its name for people and hooks.
pub async fn by_uid(db: impl MySqlExecutor<'_>, uid: &str) -> Result<Option<Recovery>, Error> {
    let statement = format!("{SELECT} WHERE uid = ?");
    let row = sqlx::query(&statement).bind(uid).fetch_optional(db).await.map_err(Error::doing(READING))?;
    row.as_ref().map(recovery).transpose().map_err(Error::doing(READING))
}

/// The recovery that an operation carries out.
pub async fn by_operation(db: impl MySqlExecutor<'_>, operation: u64) -> Result<Option<Recovery>, Error> {
    let statement = format!("{SELECT} WHERE operation_id = ? ORDER BY id DESC LIMIT 1");
    let row = sqlx::query(&statement).bind(operation).fetch_optional(db).await.map_err(Error::doing(READING))?;
    row.as_ref().map(recovery).transpose().map_err(Error::doing(READING))
}

/// A page of [`PAGE`] recoveries, newest first.
pub async fn list(db: impl MySqlExecutor<'_>, filter: &Filter<'_>) -> Result<Vec<Recovery>, Error> {
    let mut query = QueryBuilder::<MySql>::new(SELECT);
    query.push("WHERE 1 = 1");
    if let Some(name) = filter.cluster_name {
        query.push(" AND cluster_name = ").push_bind(name);
    }
    if let Some(alias) = filter.cluster_alias {
        query.push(" AND cluster_alias = ").push_bind(alias);
    }
    if let Some(key) = filter.instance {
        query.push(" AND hostname = ").push_bind(&key.hostname).push(" AND port = ").push_bind(key.port);
    }
    if let Some(key) = filter.successor {
        query.push(" AND is_successful = 1 AND successor_hostname = ").push_bind(&key.hostname);
        query.push(" AND successor_port = ").push_bind(key.port);
    }
    if filter.unacknowledged {
        query.push(" AND acknowledged_at IS NULL");
    }
    if filter.open {
        query.push(" AND open_slot = 1");
    }
    if filter.active {
        query.push(" AND active_slot = 1");
    }
    if let Some(age) = filter.ended_within {
        query.push(" AND ended_at > NOW(6) - INTERVAL ").push_bind(interval(age)).push(" MICROSECOND");
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(PAGE);
    query.push(" OFFSET ").push_bind(u64::from(filter.page) * u64::from(PAGE));
    let rows = query.build().fetch_all(db).await.map_err(Error::doing(READING))?;
    rows.iter().map(recovery).collect::<sqlx::Result<_>>().map_err(Error::doing(READING))
}

/// All that are being carried out, oldest first.
pub async fn open(db: impl MySqlExecutor<'_>) -> Result<Vec<Recovery>, Error> {
    all(db, "WHERE open_slot = 1 ORDER BY id").await
}

/// All in their active period, oldest first: what the gates look at. Call [`super::end_active_periods`] before.
pub async fn active(db: impl MySqlExecutor<'_>) -> Result<Vec<Recovery>, Error> {
    all(db, "WHERE active_slot = 1 ORDER BY id").await
}

async fn all(db: impl MySqlExecutor<'_>, condition: &str) -> Result<Vec<Recovery>, Error> {
    let statement = format!("{SELECT}{condition}");
    let rows = sqlx::query(&statement).fetch_all(db).await.map_err(Error::doing(READING))?;
    rows.iter().map(recovery).collect::<sqlx::Result<_>>().map_err(Error::doing(READING))
}

fn recovery(row: &MySqlRow) -> sqlx::Result<Recovery> {
    let kind = text(row, "kind")?;
    let phase = text(row, "phase")?;
    Ok(Recovery {
        id: uint(row, "id")?,
        uid: text(row, "uid")?,
        kind: Kind::parse(&kind).ok_or_else(|| undecodable("kind", kind))?,
        code: text(row, "code")?,
        command_hint: text(row, "command_hint")?,
        failed: key(row)?,
        cluster_name: text(row, "cluster_name")?,
        cluster_alias: text(row, "cluster_alias")?,
        detection_id: maybe_uint(row, "detection_id")?,
        operation_id: uint(row, "operation_id")?,
        phase: Phase::parse(&phase).ok_or_else(|| undecodable("phase", phase))?,
        force: flag(row, "is_forced")?,
        suppress_hooks: flag(row, "suppress_hooks")?,
        requested_candidate: maybe_key(row, "requested_hostname", "requested_port")?,
        successor: maybe_key(row, "successor_hostname", "successor_port")?,
        successor_alias: text(row, "successor_alias")?,
        successor_coordinates: text(row, "successor_coordinates")?,
        is_successful: flag(row, "is_successful")?,
        outcome: Outcome::parse(&text(row, "outcome")?),
        lost: document(row, "lost")?.unwrap_or_default(),
        participating: document(row, "participating")?.unwrap_or_default(),
        errors: document(row, "errors")?.unwrap_or_default(),
        entry: document(row, "entry")?.unwrap_or_default(),
        verdicts: document(row, "verdicts")?.unwrap_or_default(),
        choice: document(row, "choice")?,
        outage: document(row, "outage")?,
        actor: text(row, "actor")?,
        node: text(row, "node")?,
        node_token: text(row, "node_token")?,
        started_at: micros(row, "started_at")?,
        phase_at: micros(row, "phase_at")?,
        ended_at: maybe_micros(row, "ended_at")?,
        is_active: maybe_uint(row, "active_slot")?.is_some(),
        active_until: maybe_micros(row, "active_ended_at")?,
        acknowledged: acknowledgement(row)?,
        now: micros(row, "db_now")?,
    })
}

fn acknowledgement(row: &MySqlRow) -> sqlx::Result<Option<Acknowledgement>> {
    let Some(at) = maybe_micros(row, "acknowledged_at")? else { return Ok(None) };
    let by = text(row, "acknowledged_by")?;
    let comment = maybe_text(row, "acknowledged_comment")?.unwrap_or_default();
    Ok(Some(Acknowledgement { at, by, comment }))
}

fn maybe_key(row: &MySqlRow, hostname: &str, number: &str) -> sqlx::Result<Option<InstanceKey>> {
    let key = InstanceKey::new(text(row, hostname)?, port(row, number)?);
    Ok((!key.hostname.is_empty()).then_some(key))
}
