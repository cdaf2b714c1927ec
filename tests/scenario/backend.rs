//! The backend as the benchmark sees it: how it is configured, what it counts, and how old its rows are.
//!
//! Looking costs the backend something too. All looking goes over one connection whose statements are counted, and whose
//! server thread is known, so that both can be taken off the figures.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result};
use harness::{Flavor, ROOT, Server};
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, Row};

use crate::proc;

/// Enough for every fleet measured here to stay in memory.
const BUFFER_POOL: &str = "innodb_buffer_pool_size = 536870912";
/// Full durability, which is the default of both flavours; the harness turns it off for tests.
const DURABILITY: &str = "innodb_flush_log_at_trx_commit = 1";
/// With the harness's 16 MB the checkpoints of a small log would be measured.
const LOG: [&str; 2] = ["innodb_log_file_size = 268435456", "innodb_redo_log_capacity = 268435456"];
/// The default of each flavour.
const SYNC_BINLOG: [&str; 2] = ["sync_binlog = 0", "sync_binlog = 1"];
/// Burns a tenth of a second, so that the thread of our connection can be told from all others.
const BURN: &str = "DO BENCHMARK(300000, SHA2('x', 256))";

/// Settings applied while the server runs, before any orchestrator process connects.
pub fn variables(flavor: Flavor, explain: bool, more: &[String]) -> Vec<String> {
    let which = match flavor {
        Flavor::MariaDb => 0,
        Flavor::MySql => 1,
    };
    let mut list: Vec<String> =
        [BUFFER_POOL, DURABILITY, LOG[which], SYNC_BINLOG[which]].iter().map(|&text| text.to_owned()).collect();
    if explain {
        list.extend(["long_query_time = 0", "slow_query_log = ON"].map(str::to_owned));
    }
    list.extend(more.iter().cloned());
    list
}

/// Which row is which server, and when it was last seen, in microseconds of the database's clock.
#[derive(Debug)]
pub struct Sample {
    pub now: i64,
    pub seen: Vec<(u64, i64)>,
}

/// How far discovery is.
#[derive(Debug, Default)]
pub struct Known {
    pub rows: i64,
    pub answered: i64,
    pub clusters: i64,
    pub placed: i64,
}

/// The one connection that looks.
#[derive(Debug)]
pub struct Watcher {
    connection: MySqlConnection,
    pid: u32,
    thread: Option<u32>,
    /// Statements sent so far.
    pub statements: u64,
}

impl Watcher {
    /// Connects to the still idle backend.
    pub async fn start(server: &Server) -> Result<Self> {
        let pid = server.pid().context("the backend is not running")?;
        let options = server.connect_options(ROOT).database("orchestrator");
        let mut connection = MySqlConnection::connect_with(&options).await?;
        let before: HashMap<u32, f64> = proc::threads(pid).into_iter().collect();
        sqlx::raw_sql(BURN).execute(&mut connection).await?;
        let used = |thread: u32, now: f64| now - before.get(&thread).copied().unwrap_or(0.0);
        let thread = proc::threads(pid)
            .into_iter()
            .map(|(thread, now)| (thread, used(thread, now)))
            .max_by(|left, right| left.1.total_cmp(&right.1))
            .filter(|(_, burnt)| *burnt > 10.0)
            .map(|(thread, _)| thread);
        Ok(Self { connection, pid, thread, statements: 0 })
    }

    /// Processor time of the backend so far, less what this connection cost it, in milliseconds.
    pub fn backend_cpu_ms(&self) -> f64 {
        proc::cpu_ms(self.pid) - self.own_cpu_ms()
    }

    /// What this connection cost the backend, in milliseconds.
    pub fn own_cpu_ms(&self) -> f64 {
        self.thread.map_or(0.0, |thread| proc::thread_ms(self.pid, thread))
    }

    /// All numeric counters of the backend.
    pub async fn counters(&mut self) -> Result<BTreeMap<String, f64>> {
        self.statements += 1;
        let rows = sqlx::query("SHOW GLOBAL STATUS").fetch_all(&mut self.connection).await?;
        let mut counters = BTreeMap::new();
        for row in rows {
            let value: String = row.try_get_unchecked(1)?;
            if let Ok(value) = value.parse() {
                counters.insert(row.try_get_unchecked::<String, _>(0)?, value);
            }
        }
        Ok(counters)
    }

    pub async fn known(&mut self) -> Result<Known> {
        self.statements += 1;
        let row = sqlx::query(
            "SELECT COUNT(*), COUNT(last_seen_at), COUNT(DISTINCT NULLIF(cluster_name, '')), \
             CAST(COALESCE(SUM(cluster_name <> ''), 0) AS SIGNED) FROM instance",
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok(Known {
            rows: row.try_get(0)?,
            answered: row.try_get(1)?,
            clusters: row.try_get(2)?,
            placed: row.try_get(3)?,
        })
    }

    /// Row numbers by address.
    pub async fn ids(&mut self) -> Result<HashMap<String, u64>> {
        self.statements += 1;
        let rows = sqlx::query("SELECT id, hostname, port FROM instance").fetch_all(&mut self.connection).await?;
        rows.iter()
            .map(|row| {
                let host: String = row.try_get_unchecked(1)?;
                let port: u16 = row.try_get(2)?;
                Ok((format!("{host}:{port}"), row.try_get(0)?))
            })
            .collect()
    }

    /// Failed checks in a row, summed over all instances.
    pub async fn failures(&mut self) -> Result<i64> {
        self.statements += 1;
        let sum = sqlx::query_scalar("SELECT CAST(COALESCE(SUM(failures), 0) AS SIGNED) FROM instance");
        Ok(sum.fetch_one(&mut self.connection).await?)
    }

    /// When every instance was last seen. Reads the whole table, which is in memory.
    pub async fn sample(&mut self) -> Result<Sample> {
        self.statements += 1;
        let rows = sqlx::query(
            "SELECT id, TIMESTAMPDIFF(MICROSECOND, '2000-01-01', last_seen_at), \
             TIMESTAMPDIFF(MICROSECOND, '2000-01-01', UTC_TIMESTAMP(6)) FROM instance",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let mut sample = Sample { now: 0, seen: Vec::with_capacity(rows.len()) };
        for row in &rows {
            sample.now = row.try_get(2)?;
            if let Some(seen) = row.try_get::<Option<i64>, _>(1)? {
                sample.seen.push((row.try_get(0)?, seen));
            }
        }
        Ok(sample)
    }

    /// Where the log of all statements is, and its length so far.
    pub async fn statement_log(&mut self) -> Result<(std::path::PathBuf, u64)> {
        self.statements += 1;
        let row = sqlx::query("SELECT @@datadir, @@slow_query_log_file").fetch_one(&mut self.connection).await?;
        let dir: String = row.try_get_unchecked(0)?;
        let file: String = row.try_get_unchecked(1)?;
        let path = std::path::Path::new(&dir).join(file);
        let length = std::fs::metadata(&path).with_context(|| format!("no log at {}", path.display()))?.len();
        Ok((path, length))
    }
}

/// Pause between two looks at how far discovery is.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_flavours_take_the_settings_and_our_thread_is_found() {
        for flavor in Flavor::ALL {
            let server = Server::start(flavor).await.unwrap();
            for variable in variables(flavor, true, &[]) {
                server.execute(&format!("SET GLOBAL {variable}")).await.unwrap();
            }
            server.execute("CREATE DATABASE orchestrator").await.unwrap();
            let mut watcher = Watcher::start(&server).await.unwrap();
            assert!(watcher.own_cpu_ms() > 10.0, "{flavor}");
            let first = watcher.counters().await.unwrap()["Questions"];
            let second = watcher.counters().await.unwrap()["Questions"];
            assert!((second - first - 1.0).abs() < 0.5, "{flavor}: {first} then {second}");
            let (path, length) = watcher.statement_log().await.unwrap();
            assert!(length > 0, "{flavor}: {}", path.display());
        }
    }
}
