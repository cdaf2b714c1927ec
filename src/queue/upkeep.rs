//! One look at all that the keeper of the queue has to do, made to ride along with a look of the keeper's own.

use std::time::Duration;

use serde::Deserialize;
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use crate::LiveWorker;
use crate::sql::maybe_text;
use crate::worker::datacenters;

/// The columns of a select list that [`Upkeep::read`] reads. No binds, no table of the caller's. Workers are live as by
/// [`crate::DEAD_AFTER`].
pub const UPKEEP_COLUMNS: &str = "\
    (EXISTS (SELECT 1 FROM job_scheduled WHERE run_at <= NOW(6)) \
     OR EXISTS (SELECT 1 FROM job_ready WHERE hint_until <= NOW(6))) AS queue_due, \
    (EXISTS (SELECT 1 FROM job_claimed WHERE deadline_at < NOW(6)) \
     OR EXISTS (SELECT 1 FROM job_claimed c LEFT JOIN queue_worker w ON w.token = c.worker \
                 WHERE w.token IS NULL OR w.heartbeat_at < NOW(6) - INTERVAL 6 SECOND)) AS queue_lost, \
    (SELECT JSON_ARRAYAGG(JSON_OBJECT('token', token, 'name', name, 'lanes', lanes, 'concurrency', concurrency, \
                                      'running', running, \
                                      'silent', TIMESTAMPDIFF(MICROSECOND, heartbeat_at, NOW(6)))) \
       FROM queue_worker WHERE heartbeat_at >= NOW(6) - INTERVAL 6 SECOND) AS queue_workers";

/// What there is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Call [`crate::promote_due`].
    pub due: bool,
    /// Call [`crate::rescue`].
    pub lost: bool,
    /// As [`crate::live_workers`].
    pub workers: Vec<LiveWorker>,
}

#[derive(Deserialize)]
struct Worker {
    token: String,
    name: String,
    lanes: String,
    concurrency: u64,
    running: u64,
    silent: i64,
}

impl Upkeep {
    /// Reads a row with [`UPKEEP_COLUMNS`].
    pub fn read(row: &MySqlRow) -> sqlx::Result<Self> {
        let (due, lost): (i64, i64) = (row.try_get_unchecked("queue_due")?, row.try_get_unchecked("queue_lost")?);
        let workers = maybe_text(row, "queue_workers")?.unwrap_or_else(|| "[]".to_owned());
        let workers: Vec<Worker> = serde_json::from_str(&workers)
            .map_err(|error| sqlx::Error::ColumnDecode { index: "queue_workers".to_owned(), source: error.into() })?;
        let mut live: Vec<LiveWorker> = workers.into_iter().filter_map(live_worker).collect();
        live.sort_by(|a, b| a.token.cmp(&b.token));
        Ok(Self { due: due != 0, lost: lost != 0, workers: live })
    }
}

fn live_worker(worker: Worker) -> Option<LiveWorker> {
    Some(LiveWorker {
        datacenters: datacenters(&worker.lanes)?,
        token: worker.token,
        name: worker.name,
        concurrency: worker.concurrency,
        running: worker.running,
        silent_for: Duration::from_micros(u64::try_from(worker.silent).unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEAD_AFTER;

    #[test]
    fn the_columns_take_workers_for_dead_when_everyone_does() {
        let written = format!("INTERVAL {} SECOND", DEAD_AFTER.as_secs());
        assert_eq!(UPKEEP_COLUMNS.matches("INTERVAL").count(), UPKEEP_COLUMNS.matches(&written).count());
    }
}
