//! Workers' signs of life, and who serves which lane.
//!
//! A worker with datacenters serves their lanes and the default lane; one without serves all. A datacenter to which no live
//! worker is dedicated is served by everyone, those without datacenters notwithstanding: late probes are worse than distant ones.
//! Each worker decides that for itself from the heartbeats it read last, so a take-over needs no coordination, and two
//! workers of different opinion for a moment do no harm.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::mysql::MySqlConnection;

use crate::sql::{micros, text};
use crate::{DbClock, Error};

/// Time between two heartbeats: two statements per worker every two seconds are nothing, and three of them are a short outage.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// Silent for three heartbeats: dead. Two can be lost to a backend fail-over's reconnect.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);
/// A worker trusts its claims only that long after it asked for its last successful heartbeat: two heartbeats and half of the
/// third. The rest of [`DEAD_AFTER`] is for its jobs to notice and stop before others begin.
pub const TRUST_WINDOW: Duration = Duration::from_secs(5);

/// A worker that was heard lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveWorker {
    pub token: String,
    pub name: String,
    /// Stored names (see [`crate::datacenter_name`]); empty: all.
    pub datacenters: Vec<String>,
    pub concurrency: u64,
    pub running: u64,
    /// Silence when this was read.
    pub silent_for: Duration,
}

/// The workers heard within [`DEAD_AFTER`] that take jobs, by token.
pub async fn live_workers(conn: &mut MySqlConnection) -> Result<Vec<LiveWorker>, Error> {
    let (workers, _, _) = read(conn, "").await.map_err(Error::backend("read the live workers"))?;
    Ok(workers)
}

/// In place of its datacenters, of a worker that drains: it claims no more, so its lanes are others' from now on. No
/// datacenter is stored under such a name.
const DRAINING: &str = " draining";

/// Does the worker take new jobs?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Working,
    Draining,
}

/// Who a worker is, as its row says it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) token: String,
    pub(crate) name: String,
    pub(crate) datacenters: Vec<String>,
    pub(crate) concurrency: u32,
}

/// What one heartbeat brought back.
#[derive(Debug)]
pub(crate) struct Beat {
    pub(crate) live: Vec<LiveWorker>,
    /// What the database says we hold.
    pub(crate) claims: Vec<Held>,
}

/// One row of `job_claimed`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Id and claim token.
    pub(crate) claim: (u64, u64),
    pub(crate) cancel_requested: bool,
}

/// Says "alive" and looks around: two statements. Registers the worker if it is unknown or was forgotten.
pub(crate) async fn beat(
    conn: &mut MySqlConnection,
    me: &Identity,
    running: u32,
    mood: Mood,
    clock: &DbClock,
) -> sqlx::Result<Beat> {
    let lanes = match mood {
        Mood::Working => serde_json::to_string(&me.datacenters),
        Mood::Draining => serde_json::to_string(&[DRAINING]),
    };
    let lanes = lanes.map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "INSERT INTO queue_worker (token, name, lanes, concurrency, running, started_at, heartbeat_at) \
         VALUES (?, ?, ?, ?, ?, NOW(6), NOW(6)) \
         ON DUPLICATE KEY UPDATE heartbeat_at = NOW(6), running = VALUES(running), lanes = VALUES(lanes)",
    )
    .bind(&me.token)
    .bind(&me.name)
    .bind(lanes)
    .bind(me.concurrency)
    .bind(running)
    .execute(&mut *conn)
    .await?;
    let asked_at = Instant::now();
    let (live, claims, now) = read(conn, &me.token).await?;
    if let Some(now) = now {
        clock.observe(asked_at, Instant::now(), now);
    }
    Ok(Beat { live, claims })
}

/// Says goodbye, so that others take over this worker's lanes at once. Its jobs must be finished or released before.
pub(crate) async fn leave(conn: &mut MySqlConnection, token: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM queue_worker WHERE token = ?").bind(token).execute(conn).await.map(|_| ())
}

type Read = (Vec<LiveWorker>, Vec<Held>, Option<i64>);

/// Live workers, the claims of `me`, and the database's clock, in one statement. The casts give both halves of the union
/// the same types: MariaDB makes decimals of anything else.
async fn read(conn: &mut MySqlConnection, me: &str) -> sqlx::Result<Read> {
    let rows = sqlx::query(
        "SELECT token, name, lanes, concurrency, running, TIMESTAMPDIFF(MICROSECOND, heartbeat_at, NOW(6)) AS silent, \
                CAST(NULL AS UNSIGNED) AS job, CAST(NULL AS UNSIGNED) AS claim_token, \
                CAST(NULL AS SIGNED) AS cancel_requested, \
                TIMESTAMPDIFF(MICROSECOND, '1970-01-01', NOW(6)) AS now_micros \
           FROM queue_worker WHERE heartbeat_at >= NOW(6) - INTERVAL ? MICROSECOND \
         UNION ALL \
         SELECT NULL, NULL, NULL, CAST(NULL AS UNSIGNED), CAST(NULL AS UNSIGNED), CAST(NULL AS SIGNED), id, claim_token, \
                cancel_requested, CAST(NULL AS SIGNED) \
           FROM job_claimed WHERE worker = ?",
    )
    .bind(micros(DEAD_AFTER))
    .bind(me)
    .fetch_all(conn)
    .await?;
    let (mut live, mut claims, mut now) = (vec![], vec![], None);
    for row in &rows {
        if let Some(job) = row.try_get::<Option<u64>, _>("job")? {
            let cancel_requested: i64 = row.try_get("cancel_requested")?;
            claims.push(Held { claim: (job, row.try_get("claim_token")?), cancel_requested: cancel_requested != 0 });
            continue;
        }
        now = row.try_get("now_micros")?;
        let silent: i64 = row.try_get("silent")?;
        let Some(datacenters) = datacenters(&text(row, "lanes")?) else { continue };
        live.push(LiveWorker {
            token: text(row, "token")?,
            name: text(row, "name")?,
            datacenters,
            concurrency: row.try_get("concurrency")?,
            running: row.try_get("running")?,
            silent_for: Duration::from_micros(u64::try_from(silent).unwrap_or(0)),
        });
    }
    live.sort_by(|a, b| a.token.cmp(&b.token));
    Ok((live, claims, now))
}

/// The datacenters of a worker as its row says them; `None` if it takes no jobs.
pub(crate) fn datacenters(lanes: &str) -> Option<Vec<String>> {
    // A row of a future release we cannot read counts as a worker without datacenters.
    let datacenters: Vec<String> = serde_json::from_str(lanes).unwrap_or_default();
    (datacenters != [DRAINING]).then_some(datacenters)
}

/// Which lanes to claim from: our own datacenters, and those nobody is dedicated to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serving {
    mine: Vec<String>,
    /// Until when a worker dedicated to that datacenter counts as alive, unless heard again.
    dedicated_until: HashMap<String, Instant>,
}

impl Serving {
    pub(crate) fn new(mine: Vec<String>) -> Self {
        Self { mine, dedicated_until: HashMap::new() }
    }

    /// Takes in the workers read at `read_at`.
    pub(crate) fn update(&mut self, live: &[LiveWorker], read_at: Instant) {
        self.dedicated_until.clear();
        for worker in live {
            let until = read_at + DEAD_AFTER.saturating_sub(worker.silent_for);
            for datacenter in &worker.datacenters {
                let known = self.dedicated_until.entry(datacenter.clone()).or_insert(until);
                *known = until.max(*known);
            }
        }
    }

    pub(crate) fn serves(&self, datacenter: &str, now: Instant) -> bool {
        datacenter.is_empty()
            || self.mine.is_empty()
            || self.mine.iter().any(|mine| mine == datacenter)
            || self.dedicated_until.get(datacenter).is_none_or(|until| *until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(datacenters: &[&str], silent_seconds: u64) -> LiveWorker {
        LiveWorker {
            token: "t".to_owned(),
            name: "n".to_owned(),
            datacenters: datacenters.iter().map(|name| (*name).to_owned()).collect(),
            concurrency: 1,
            running: 0,
            silent_for: Duration::from_secs(silent_seconds),
        }
    }

    #[test]
    fn a_lane_is_left_to_its_own_workers_while_one_lives() {
        let now = Instant::now();
        let mut serving = Serving::new(vec!["dc1".to_owned()]);
        serving.update(&[worker(&["dc1"], 0), worker(&["dc2", "dc3"], 2), worker(&["dc2"], 5), worker(&[], 0)], now);
        assert!(serving.serves("dc1", now) && serving.serves("", now));
        assert!(!serving.serves("dc2", now) && !serving.serves("dc3", now));
        assert!(serving.serves("dc4", now), "nobody is dedicated to it");
        // Not heard again: taken over as soon as they count as dead, without reading once more.
        assert!(!serving.serves("dc2", now + Duration::from_secs(3)));
        assert!(serving.serves("dc2", now + Duration::from_secs(4)));
        // Back: given back.
        serving.update(&[worker(&["dc2"], 0)], now + Duration::from_secs(5));
        assert!(!serving.serves("dc2", now + Duration::from_secs(5)));
    }

    #[test]
    fn a_worker_without_datacenters_serves_all() {
        let mut serving = Serving::new(vec![]);
        serving.update(&[worker(&["dc2"], 0)], Instant::now());
        assert!(serving.serves("dc2", Instant::now()));
    }
}
