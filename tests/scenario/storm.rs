//! Many clusters lose their primaries at the same moment: simulated servers, real services, workers and backend.
//!
//! ```text
//!   Storm::start ─▶ strike(how many, how) ─▶ ride_out ─▶ recorded
//! ```
//! The fleet of servers lives in this process, so that the moment in which each successor is opened is known exactly.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::Flavor;
use serde_json::{Value, json};
use simulator::{Death, FleetSpec, Target};
use sqlx::{MySqlPool, Row};

use crate::backend::Watcher;
use crate::fleet::Fleet;
use crate::proc;
use crate::wait;

/// Servers per cluster.
pub const CLUSTER: usize = 4;
/// How long replicas wait for a source that is silent; of one that is closed they know at once. What comes before is theirs, not ours.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// Everything is known, at the least; and for each hundred servers.
const KNOWN_LIMIT: Duration = Duration::from_secs(60);
const KNOWN_LIMIT_PER_HUNDRED: Duration = Duration::from_secs(5);
/// What is not recovered by now is not recovered.
const LIMIT: Duration = Duration::from_secs(90);
/// Between two looks at what the fleet wrote down.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What there is, and what is to happen to it.
#[derive(Debug, Clone)]
pub struct Sky {
    /// Simulated servers, [`CLUSTER`] to a cluster.
    pub servers: usize,
    /// Worker processes; 0: the service's built-in one.
    pub workers: usize,
    /// Flavour of the backend.
    pub backend: Flavor,
    /// Global variables of the backend, set before anything connects.
    pub variables: Vec<String>,
    /// Laid over the fleet's settings.
    pub settings: Value,
}

/// The servers, and who watches over them.
#[derive(Debug)]
pub struct Storm {
    /// The simulated servers.
    pub servers: simulator::Fleet,
    /// Backend, service and workers.
    pub fleet: Fleet,
    pool: MySqlPool,
    watcher: Watcher,
    pids: Vec<u32>,
}

/// The primaries that were struck.
#[derive(Debug)]
pub struct Strike {
    /// Number of the cluster, and its primary.
    pub victims: Vec<(usize, SocketAddrV4)>,
    /// Age of the servers' fleet then.
    pub at: Duration,
    costs: Costs,
}

/// What became of them.
#[derive(Debug)]
pub struct Ridden {
    /// For each victim, in order of time: how long its cluster was without a server that takes writes.
    pub outages: Vec<Duration>,
    /// Until the last recovery was closed: replicas repointed, everything written down.
    pub closed: Duration,
    /// Processor time and statements until then.
    pub costs: Costs,
    /// Clusters that were said to be held back, and why, in the words they were first said.
    pub held_back: std::collections::BTreeMap<String, String>,
}

/// Processor time in milliseconds, and statements of the backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Costs {
    /// Service and workers.
    pub own_ms: f64,
    /// The backend.
    pub backend_ms: f64,
    /// This process: the simulated servers and the looking.
    pub driver_ms: f64,
    /// Statements of the backend.
    pub statements: f64,
}

impl Storm {
    /// Starts all of it and waits until every server is known and has its place.
    pub async fn start(sky: &Sky) -> Result<Self> {
        let servers = simulator::Fleet::new(FleetSpec {
            servers: sky.servers,
            cluster_size: CLUSTER,
            mariadb_share: 0.3,
            semi_sync_share: 0.2,
            replica_net_timeout: PATIENCE,
            ..FleetSpec::default()
        })?;
        let mut settings = json!({
            "DiscoverySeeds": servers.seeds(),
            "RecoverMasterClusterFilters": ["*"],
            // The product's defaults; the fleets of other tests shorten them.
            "InstancePollSeconds": 5,
            "DeadInstancePollSecondsMax": 300,
        });
        if let (Some(settings), Some(over)) = (settings.as_object_mut(), sky.settings.as_object()) {
            settings.extend(over.clone());
        }
        let mut fleet = Fleet::new(sky.backend, settings).await?;
        for variable in &sky.variables {
            fleet.backend.execute(&format!("SET GLOBAL {variable}")).await?;
        }
        let watcher = Watcher::start(&fleet.backend).await?;
        fleet.service("service", if sky.workers == 0 { &[] } else { &["--no-worker"] }).await?;
        let mut pids = vec![fleet.pid("service")?];
        for number in 1..=sky.workers {
            let name = format!("worker{number}");
            fleet.worker(&name, &[]).await?;
            pids.push(fleet.pid(&name)?);
        }
        let pool = fleet.pool().await?;
        let mut storm = Self { servers, fleet, pool, watcher, pids };
        storm.known(sky.servers).await?;
        Ok(storm)
    }

    async fn known(&mut self, servers: usize) -> Result<()> {
        let limit = KNOWN_LIMIT + KNOWN_LIMIT_PER_HUNDRED * u32::try_from(servers / 100)?;
        let (clusters, servers) = (i64::try_from(servers.div_ceil(CLUSTER))?, i64::try_from(servers)?);
        let begun = Instant::now();
        loop {
            let known = self.watcher.known().await?;
            if (known.answered, known.placed, known.clusters) == (servers, servers, clusters) {
                break;
            }
            if begun.elapsed() > limit {
                bail!("not known within {limit:?}: {known:?}\n{}", self.fleet.log_tail("service"));
            }
            tokio::time::sleep(crate::backend::LOOK_EVERY).await;
        }
        // Everybody was asked a second time: what the discovery left behind is over.
        let now: String = sqlx::query_scalar("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)").fetch_one(&self.pool).await?;
        wait::until("everybody is asked again", limit, || async {
            let old: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM instance WHERE last_seen_at < ?")
                .bind(&now)
                .fetch_one(&self.pool)
                .await?;
            Ok((old == 0).then_some(()))
        })
        .await
    }

    /// The primaries of so many clusters, spread over the fleet, are gone.
    pub async fn strike(&mut self, count: usize, death: &Death) -> Result<Strike> {
        let seeds = self.servers.seeds();
        ensure!((1..=seeds.len()).contains(&count), "{count} of {} clusters", seeds.len());
        let chosen = (0..count).map(|number| number * seeds.len() / count);
        let victims: Vec<(usize, SocketAddrV4)> = chosen.map(|cluster| (cluster, seeds[cluster])).collect();
        let costs = self.costs().await?;
        let at = self.servers.age();
        for (_, primary) in &victims {
            self.servers.kill(Target::Server(*primary.ip()), death)?;
        }
        Ok(Strike { victims, at, costs })
    }

    /// Waits until all of them have a successor, and every recovery is closed.
    pub async fn ride_out(&mut self, strike: &Strike) -> Result<Ridden> {
        let begun = Instant::now();
        let mut held_back = std::collections::BTreeMap::new();
        while !self.is_over(strike).await? {
            for row in sqlx::query("SELECT cluster_name, reason FROM recovery_blocked").fetch_all(&self.pool).await? {
                let cluster = row.try_get_unchecked::<String, _>(0)?;
                held_back.entry(cluster).or_insert(row.try_get_unchecked::<String, _>(1)?);
            }
            if begun.elapsed() > LIMIT {
                bail!("not over within {LIMIT:?}\n{}", self.diagnosis(strike).await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let closed = self.servers.age().saturating_sub(strike.at);
        let costs = self.costs().await?.less(&strike.costs);
        let mut outages = Vec::new();
        for (cluster, primary) in &strike.victims {
            match self.servers.writable(*cluster).as_slice() {
                [(successor, opened)] if successor != primary => outages.push(opened.saturating_sub(strike.at)),
                others => bail!("{primary}: {others:?} take writes\n{}", self.diagnosis(strike).await),
            }
        }
        outages.sort();
        Ok(Ridden { outages, closed, costs, held_back })
    }

    async fn is_over(&self, strike: &Strike) -> Result<bool> {
        let open = strike.victims.iter().any(|(cluster, _)| self.servers.writable(*cluster).is_empty());
        if open {
            return Ok(false);
        }
        let closed: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM recovery WHERE ended_at IS NOT NULL")
            .fetch_one(&self.pool)
            .await?;
        Ok(usize::try_from(closed)? >= strike.victims.len())
    }

    /// There is one recovery of each victim, it ended well, its replicas follow; and nobody else was touched.
    pub async fn recorded(&self, strike: &Strike) -> Result<()> {
        let rows = sqlx::query("SELECT CONCAT(hostname, ':', port), outcome FROM recovery ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        let mut recorded = Vec::new();
        for row in &rows {
            recorded.push((row.try_get_unchecked::<String, _>(0)?, row.try_get_unchecked::<String, _>(1)?));
        }
        recorded.sort();
        let mut expected: Vec<(String, String)> =
            strike.victims.iter().map(|(_, primary)| (primary.to_string(), "recovered".to_owned())).collect();
        expected.sort();
        if recorded != expected {
            bail!("recorded: {recorded:?}\n{}", self.diagnosis(strike).await);
        }
        for cluster in 0..self.servers.server_count().div_ceil(CLUSTER) {
            let writable = self.servers.writable(cluster);
            ensure!(writable.len() == 1, "cluster {cluster}: {writable:?} take writes");
            ensure!(
                self.servers.follows(cluster, writable[0].0),
                "cluster {cluster}: not all follow {}",
                writable[0].0
            );
        }
        let unknown = self.servers.stats().unknown;
        ensure!(unknown.is_empty(), "the simulated servers were asked what they do not know: {unknown:?}");
        Ok(())
    }

    /// How many recoveries were open at the same time, at most.
    pub async fn most_at_once(&self) -> Result<i64> {
        let sql = "SELECT COALESCE(MAX(at_once), 0) FROM (SELECT COUNT(*) AS at_once FROM recovery a \
                   JOIN recovery b ON b.started_at <= a.started_at AND (b.ended_at IS NULL OR b.ended_at > a.started_at) \
                   GROUP BY a.id) counted";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }

    /// Where the time of each recovery went: after the blow, seconds at which it was noticed, registered, opened, closed.
    pub async fn timings(&self, strike: &Strike) -> Result<Vec<String>> {
        let ago = self.servers.age().saturating_sub(strike.at);
        let sql = "SELECT CONCAT(r.hostname, ' detected ', COALESCE(TIMESTAMPDIFF(MICROSECOND, ?, d.started_at) / 1e6, -1), ' ', \
                   GROUP_CONCAT(CONCAT(e.kind, ' ', LEFT(e.text, 40), ' ', TIMESTAMPDIFF(MICROSECOND, ?, e.noted_at) / 1e6) ORDER BY e.id SEPARATOR '; '), \
                   ' ended ', COALESCE(TIMESTAMPDIFF(MICROSECOND, ?, r.ended_at) / 1e6, -1)) \
                   FROM recovery r LEFT JOIN detection d ON d.id = r.detection_id LEFT JOIN recovery_event e ON e.recovery_id = r.id \
                   GROUP BY r.id ORDER BY r.id";
        let at: String = sqlx::query_scalar("SELECT CAST(UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND AS CHAR)")
            .bind(u64::try_from(ago.as_micros())?)
            .fetch_one(&self.pool)
            .await?;
        let rows = sqlx::query(sql).bind(&at).bind(&at).bind(&at).fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok(row.try_get_unchecked::<String, _>(0)?)).collect()
    }

    async fn costs(&mut self) -> Result<Costs> {
        let questions = self.watcher.counters().await?.get("Questions").copied().context("no counter of statements")?;
        Ok(Costs {
            own_ms: self.pids.iter().map(|pid| proc::cpu_ms(*pid)).sum(),
            backend_ms: proc::cpu_ms(self.fleet.backend.pid().context("the backend is gone")?),
            driver_ms: proc::cpu_ms(std::process::id()),
            statements: questions,
        })
    }

    /// What the fleet wrote down, for messages of failures.
    pub async fn diagnosis(&self, strike: &Strike) -> String {
        let sql = "SELECT CONCAT(r.id, ' ', r.code, ' of ', r.hostname, ' ', r.phase, ' ', r.outcome, ' ', r.errors) FROM recovery r \
                   UNION ALL SELECT CONCAT(e.recovery_id, ' ', e.noted_at, ' ', e.kind, ': ', e.text) FROM recovery_event e \
                   UNION ALL SELECT CONCAT('blocked: ', b.cluster_name, ' ', b.code, ' ', b.reason) FROM recovery_blocked b \
                   UNION ALL SELECT CONCAT('job ', j.kind, ' ', COALESCE(j.error, '')) FROM job_failed j";
        let lines = match sqlx::query(sql).fetch_all(&self.pool).await {
            Ok(rows) => rows.iter().map(|row| row.try_get_unchecked::<String, _>(0).unwrap_or_default()).collect(),
            Err(error) => vec![format!("cannot read the recoveries: {error}")],
        };
        let without: Vec<_> =
            strike.victims.iter().filter(|(cluster, _)| self.servers.writable(*cluster).is_empty()).collect();
        let unknown = self.servers.stats().unknown;
        format!(
            "without a primary: {without:?}\nunknown: {unknown:?}\n{}\n{}",
            lines.join("\n"),
            self.fleet.log_tail("service")
        )
    }
}

impl Ridden {
    /// Half of the clusters were without a primary for no longer.
    pub fn median(&self) -> Duration {
        self.outages.get(self.outages.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }

    /// No cluster was without a primary for longer.
    pub fn last(&self) -> Duration {
        self.outages.last().copied().unwrap_or_default()
    }
}

impl Costs {
    fn less(self, before: &Self) -> Self {
        Self {
            own_ms: self.own_ms - before.own_ms,
            backend_ms: self.backend_ms - before.backend_ms,
            driver_ms: self.driver_ms - before.driver_ms,
            statements: self.statements - before.statements,
        }
    }
}
