//! A leader and a worker in one process, against simulated servers: one seed becomes a placed, fresh topology.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use config::Settings;
use domain::instance::InstanceKey;
use harness::Flavor;
use jobs::{Discover, SharedSettings};
use queue::{Awaited, DbClock, NewJob, Outcome};
use service::{Handles, Identity, WorkerOptions};
use simulator::{FleetSpec, Target};
use sqlx::MySqlPool;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SERVERS: usize = 40;
const LIMIT: Duration = Duration::from_secs(60);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < LIMIT {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("not within {LIMIT:?}: {what}")
}

/// One complete deployment in this process.
struct Deployment {
    pool: MySqlPool,
    shutdown: CancellationToken,
    leader: JoinHandle<()>,
    worker: JoinHandle<Result<(), queue::Error>>,
}

impl Deployment {
    async fn start(flavor: Flavor) -> Result<Self> {
        let schema = harness::backend(flavor).await?.schema().await?;
        let pool = schema.pool(12).await?;
        store::schema::migrate(&pool).await?;
        let settings = Settings::from_json(r#"{ "InstancePollSeconds": 1, "DeadInstancePollSecondsMax": 2 }"#)?;
        let handles = Arc::new(Handles {
            pool: pool.clone(),
            clock: Arc::new(DbClock::new()),
            config: SharedSettings::new((*settings.settings).clone()),
            identity: Identity::new("here".to_owned(), "here", "service+worker"),
            leadership: watch::Sender::new(None),
            bells: service::Bells::default(),
        });
        let shutdown = CancellationToken::new();
        let leader = tokio::spawn(service::leader::run(Arc::clone(&handles), shutdown.clone()));
        let options = WorkerOptions { datacenters: Vec::new(), concurrency: 16, descriptor_limit: None };
        let worker = tokio::spawn(service::run_worker(handles, options, shutdown.clone()));
        Ok(Self { pool, shutdown, leader, worker })
    }

    async fn discover(&self, address: SocketAddrV4) -> Result<()> {
        let job = NewJob::of(&Discover::by_person(&key(address)))?.wants_outcome();
        let ids = queue::submit(&self.pool, &[job]).await?;
        let outcome = queue::await_outcome(&self.pool, ids[0].id(), LIMIT).await?;
        assert!(matches!(outcome, Awaited::Ended(Outcome::Done(_))), "{outcome:?}");
        Ok(())
    }

    /// Instances for which this holds.
    async fn count(&self, condition: &str) -> Result<usize> {
        let statement = format!("SELECT COUNT(*) FROM instance WHERE {condition}");
        let found: i64 = sqlx::query_scalar(&statement).fetch_one(&self.pool).await?;
        Ok(usize::try_from(found)?)
    }

    /// Stops everything; nothing of ours is left in the backend.
    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.worker.await??;
        self.leader.await?;
        let statement = "SELECT CAST(holder AS CHAR) FROM lease WHERE name = 'leader'";
        let lease: String = sqlx::query_scalar(statement).fetch_one(&self.pool).await?;
        assert_eq!(lease, "", "a clean shutdown gives the lease back");
        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM job_claimed").fetch_one(&self.pool).await?;
        assert_eq!(left, 0, "a clean shutdown leaves no claim");
        Ok(())
    }
}

fn key(address: SocketAddrV4) -> InstanceKey {
    InstanceKey::new(address.ip().to_string(), address.port())
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_seed_becomes_a_placed_and_fresh_topology(#[case] flavor: Flavor) -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec { servers: SERVERS, cluster_size: SERVERS, ..FleetSpec::default() })?;
    let here = Deployment::start(flavor).await?;
    let seed = servers.seeds()[0];
    here.discover(seed).await?;
    let placed = format!("cluster_name = '{}'", key(seed));
    until("all are known and placed in one cluster", async || Ok(here.count(&placed).await? == SERVERS)).await?;
    assert_eq!(here.count("depth = 0").await?, 1);
    let fresh = "last_seen_at > NOW(6) - INTERVAL 2500000 MICROSECOND";
    until("all are fresh", async || Ok(here.count(fresh).await? == SERVERS)).await?;
    assert_eq!(servers.stats().unknown_statements, 0);

    // a server dies: recorded at once, retried apart, and back when it is
    let dead = servers.addresses()[SERVERS - 1];
    servers.kill(Target::Server(*dead.ip()), &simulator::Death::Blackhole)?;
    until("the dead one is recorded", async || Ok(here.count("failures > 0 AND last_error <> ''").await? == 1)).await?;
    servers.revive(Target::All)?;
    until("it is back", async || Ok(here.count("failures = 0").await? == SERVERS)).await?;
    here.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_nobody_can_reach_is_shown_as_one() -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec { servers: 4, cluster_size: 4, ..FleetSpec::default() })?;
    let primary = servers.seeds()[0];
    servers.kill(Target::Server(*primary.ip()), &simulator::Death::Refuse)?;
    let here = Deployment::start(Flavor::MariaDb).await?;
    here.discover(servers.addresses()[1]).await?;
    let known = format!("hostname = '{}' AND failures > 0 AND facts IS NULL", primary.ip());
    until("the dead primary is known, and known to fail", async || Ok(here.count(&known).await? == 1)).await?;
    let below = format!("cluster_name = '{}' AND depth = 1", key(primary));
    until("its replica hangs below it", async || Ok(here.count(&below).await? == 1)).await?;
    // back again, it brings the rest of its topology
    servers.revive(Target::All)?;
    until("all four are known and well", async || Ok(here.count("failures = 0 AND facts IS NOT NULL").await? == 4))
        .await?;
    here.stop().await
}
