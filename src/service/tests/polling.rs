//! A leader and a worker in one process, against simulated servers: one seed becomes a placed, fresh topology.

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
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const SERVERS: usize = 40;
const LIMIT: Duration = Duration::from_secs(30);

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

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_seed_becomes_a_placed_and_fresh_topology(#[case] flavor: Flavor) -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec { servers: SERVERS, cluster_size: SERVERS, ..FleetSpec::default() })?;
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
    });
    let shutdown = CancellationToken::new();
    let leader = tokio::spawn(service::leader::run(Arc::clone(&handles), shutdown.clone()));
    let options = WorkerOptions { datacenters: Vec::new(), concurrency: 16, descriptor_limit: None };
    let worker = tokio::spawn(service::run_worker(Arc::clone(&handles), options, shutdown.clone()));

    let seed = servers.seeds()[0];
    let key = InstanceKey::new(seed.ip().to_string(), seed.port());
    let ids = queue::submit(&pool, &[NewJob::of(&Discover::by_person(&key))?.wants_outcome()]).await?;
    let outcome = queue::await_outcome(&pool, ids[0].id(), LIMIT).await?;
    assert!(matches!(outcome, Awaited::Ended(Outcome::Done(_))), "{outcome:?}");

    let count = async |condition: &str| -> Result<usize> {
        let found: i64 =
            sqlx::query_scalar(&format!("SELECT COUNT(*) FROM instance WHERE {condition}")).fetch_one(&pool).await?;
        Ok(usize::try_from(found)?)
    };
    let placed = format!("cluster_name = '{key}'");
    until("all are known and placed in one cluster", async || Ok(count(&placed).await? == SERVERS)).await?;
    assert_eq!(count("depth = 0").await?, 1);
    until(
        "all are fresh",
        async || Ok(count("last_seen_at > NOW(6) - INTERVAL 1500000 MICROSECOND").await? == SERVERS),
    )
    .await?;
    assert_eq!(servers.stats().unknown_statements, 0);

    // a server dies: recorded at once, retried apart, and back when it is
    let dead = servers.addresses()[SERVERS - 1];
    servers.kill(Target::Server(*dead.ip()), &simulator::Death::Blackhole)?;
    until("the dead one is recorded", async || Ok(count("failures > 0 AND last_error <> ''").await? == 1)).await?;
    servers.revive(Target::All)?;
    until("it is back", async || Ok(count("failures = 0").await? == SERVERS)).await?;

    shutdown.cancel();
    worker.await??;
    leader.await?;
    let lease: String =
        sqlx::query_scalar("SELECT CAST(holder AS CHAR) FROM lease WHERE name = 'leader'").fetch_one(&pool).await?;
    assert_eq!(lease, "", "a clean shutdown gives the lease back");
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM job_claimed").fetch_one(&pool).await?;
    assert_eq!(left, 0, "a clean shutdown leaves no claim");
    Ok(())
}
