//! How long a recovery holds back the next one, and who may end that early.

use std::time::Duration;

use domain::instance::InstanceKey;
use sqlx::mysql::MySqlConnection;
use sqlx::{MySql, QueryBuilder};

use super::Outcome;
use crate::Error;
use crate::detections;
use crate::sql::{cut, interval, json, uint};

/// How long a failed or refused recovery holds back the next automatic one. Nothing was promoted, so nothing can flap: long
/// enough not to try several times a second, short enough not to matter when the trouble becomes recoverable.
pub const FAILURE_BLOCK: Duration = Duration::from_secs(10);

/// Which recoveries are acknowledged; of those only the unacknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    All,
    Id(u64),
    Uid(&'a str),
    /// By the cluster's name and, unless that is empty, by its alias. Releases the cluster's detections, too.
    Cluster {
        name: &'a str,
        alias: &'a str,
    },
    /// By the failed instance. Releases its detections, too.
    Instance(&'a InstanceKey),
    /// By the failed instance, only those that ended: before a person's next try.
    EndedOf(&'a InstanceKey),
}

/// Acknowledges recoveries: who has seen them and what he says, and the end of their active periods. The numbers of those
/// acknowledged. One that is still being carried out is acknowledged, too, but stays open: its worker ends it.
pub async fn acknowledge(
    conn: &mut MySqlConnection,
    which: Which<'_>,
    owner: &str,
    comment: &str,
) -> Result<Vec<u64>, Error> {
    const DOING: &str = "acknowledge recoveries";
    let mut query = QueryBuilder::<MySql>::new("SELECT id FROM recovery WHERE acknowledged_at IS NULL");
    push_which(&mut query, which);
    query.push(" ORDER BY id FOR UPDATE");
    let rows = query.build().fetch_all(&mut *conn).await.map_err(Error::doing(DOING))?;
    let ids: Vec<u64> =
        rows.iter().map(|row| uint(row, "id")).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))?;
    if !ids.is_empty() {
        let mut query = QueryBuilder::<MySql>::new("UPDATE recovery SET acknowledged_at = NOW(6), acknowledged_by = ");
        query.push_bind(cut(owner, 255)).push(", acknowledged_comment = ").push_bind(cut(comment, 16_000));
        query.push(
            ", active_ended_at = IF(open_slot IS NULL, LEAST(active_ended_at, NOW(6)), NULL), \
               active_slot = IF(open_slot IS NULL, NULL, active_slot) \
             WHERE acknowledged_at IS NULL AND id IN (",
        );
        let mut list = query.separated(", ");
        for id in &ids {
            list.push_bind(*id);
        }
        query.push(")");
        query.build().execute(&mut *conn).await.map_err(Error::doing(DOING))?;
    }
    match which {
        Which::Cluster { name, alias } => detections::release_of_cluster(conn, name, alias).await?,
        Which::Instance(key) => detections::release_of_instance(conn, key).await?,
        Which::All | Which::Id(_) | Which::Uid(_) | Which::EndedOf(_) => 0,
    };
    Ok(ids)
}

fn push_which<'a>(query: &mut QueryBuilder<'a, MySql>, which: Which<'a>) {
    match which {
        Which::All => {}
        Which::Id(id) => {
            query.push(" AND id = ").push_bind(id);
        }
        Which::Uid(uid) => {
            query.push(" AND uid = ").push_bind(uid);
        }
        Which::Cluster { name, alias: "" } => {
            query.push(" AND cluster_name = ").push_bind(name);
        }
        Which::Cluster { name, alias } => {
            query.push(" AND (cluster_name = ").push_bind(name);
            query.push(" OR cluster_alias = ").push_bind(alias).push(")");
        }
        Which::Instance(key) | Which::EndedOf(key) => {
            query.push(" AND hostname = ").push_bind(&key.hostname).push(" AND port = ").push_bind(key.port);
        }
    }
    if matches!(which, Which::EndedOf(_)) {
        query.push(" AND open_slot IS NULL");
    }
}

/// Ends the active periods that are over, and those begun longer ago than `block` (`RecoveryPeriodBlockSeconds`, which may
/// have been lowered since). An open one stays. How many ended.
pub async fn end_active_periods(conn: &mut MySqlConnection, block: Duration) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE recovery SET active_slot = NULL, active_ended_at = LEAST(active_ended_at, NOW(6)) \
          WHERE active_slot = 1 AND open_slot IS NULL \
            AND (active_ended_at <= NOW(6) OR started_at + INTERVAL ? MICROSECOND <= NOW(6))",
    )
    .bind(interval(block))
    .execute(conn)
    .await
    .map_err(Error::doing("end active periods of recoveries"))?;
    Ok(done.rows_affected())
}

/// Closes recoveries that are open although their operation has ended, or is gone: nobody carries them out any more. How many.
pub async fn close_orphans(conn: &mut MySqlConnection) -> Result<u64, Error> {
    const DOING: &str = "close recoveries that nobody carries out";
    let error = ["its operation ended without it"];
    // No assignment reads what another writes: with two tables their order is not defined.
    let done = sqlx::query(
        "UPDATE recovery r LEFT JOIN operation o ON o.id = r.operation_id \
            SET r.open_slot = NULL, r.phase = 'closed', r.phase_at = NOW(6), r.ended_at = NOW(6), \
                r.outcome = IF(o.state = 'cancelled', ?, ?), r.errors = ?, \
                r.active_slot = IF(r.acknowledged_at IS NULL AND COALESCE(o.state, '') <> 'cancelled', r.active_slot, NULL), \
                r.active_ended_at = NOW(6) + INTERVAL \
                  IF(r.acknowledged_at IS NULL AND COALESCE(o.state, '') <> 'cancelled', ?, 0) MICROSECOND \
          WHERE r.open_slot = 1 AND (o.id IS NULL OR o.state NOT IN ('waiting', 'running'))",
    )
    .bind(Outcome::Cancelled.name())
    .bind(Outcome::Failed.name())
    .bind(json(DOING, &error)?)
    .bind(interval(FAILURE_BLOCK))
    .execute(conn)
    .await
    .map_err(Error::doing(DOING))?;
    Ok(done.rows_affected())
}
