//! The leader when things go wrong: a backend that falls silent, a fleet without workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use config::Settings;
use harness::{Flavor, Mode, Proxy};
use jobs::SharedSettings;
use queue::DbClock;
use service::{Handles, Identity};
use sqlx::MySqlPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(30);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("not within {LIMIT:?}: {what}")
}

async fn count(pool: &MySqlPool, statement: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(statement).fetch_one(pool).await?)
}

/// A service without a worker: nobody but the leader itself reads the database's clock.
fn handles(pool: &MySqlPool, name: &str) -> Result<Arc<Handles>> {
    handles_with(pool, name, r#"{ "InstancePollSeconds": 1, "DeadInstancePollSecondsMax": 1 }"#)
}

fn handles_with(pool: &MySqlPool, name: &str, settings: &str) -> Result<Arc<Handles>> {
    let settings = Settings::from_json(settings)?;
    Ok(Arc::new(Handles {
        pool: pool.clone(),
        clock: Arc::new(DbClock::new()),
        config: SharedSettings::new((*settings.settings).clone()),
        identity: Identity::new("here".to_owned(), name, "service"),
        leadership: watch::Sender::new(None),
        bells: service::Bells::default(),
    }))
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_cut_off_from_the_backend_is_replaced_and_comes_back(#[case] flavor: Flavor) -> Result<()> {
    let server = harness::backend(flavor).await?;
    let schema = server.schema().await?;
    let direct = schema.pool(6).await?;
    store::schema::migrate(&direct).await?;
    let proxy = Proxy::start(server.server().port()).await?;
    let through = queue::connect_options(schema.options.clone()).port(proxy.port());
    let cut = queue::pool_options().max_connections(4).connect_with(through).await?;
    let first = handles(&cut, "first")?;
    let shutdown = CancellationToken::new();
    let leader = tokio::spawn(service::leader::run(Arc::clone(&first), shutdown.clone()));
    for round in 1..=3 {
        until("the first leads", async || Ok(first.leadership.borrow().is_some())).await?;
        let (second, stop) = (handles(&direct, "second")?, CancellationToken::new());
        let other = tokio::spawn(service::leader::run(Arc::clone(&second), stop.clone()));
        proxy.set(Mode::Stall).await?;
        let silent = Instant::now();
        until("the second leads", async || Ok(second.leadership.borrow().is_some())).await?;
        assert!(first.leadership.borrow().is_none(), "round {round}: the first stopped before the second began");
        assert!(silent.elapsed() < Duration::from_secs(5), "round {round}: {:?}", silent.elapsed());
        proxy.set(Mode::Pass).await?;
        stop.cancel();
        other.await?;
    }
    until("the first leads in the end", async || Ok(first.leadership.borrow().is_some())).await?;
    // The pool of the first did not leak its connections to the silence.
    let held = futures::future::try_join_all((0..4).map(|_| cut.acquire())).await?;
    drop(held);
    shutdown.cancel();
    leader.await?;
    let overlapping = "SELECT COUNT(*) FROM lease_history a JOIN lease_history b ON b.term = a.term + 1 \
                        WHERE a.ended_at IS NULL OR a.ended_at > b.acquired_at OR a.last_acted_at > a.ended_at";
    assert_eq!(count(&direct, overlapping).await?, 0, "terms follow each other");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_workers_the_queue_does_not_grow(#[case] flavor: Flavor) -> Result<()> {
    let schema = harness::backend(flavor).await?.schema().await?;
    let pool = schema.pool(8).await?;
    store::schema::migrate(&pool).await?;
    for n in 0..150 {
        sqlx::query(
            "INSERT INTO instance (hostname, port, failures, last_checked_at, ancestry_uuid, gtid_errant, first_seen_at, \
             changed_at) VALUES (?, 3306, ?, NOW(6) - INTERVAL 1 HOUR, '', '', NOW(6), NOW(6))",
        )
        .bind(format!("h{n}"))
        .bind(u32::from(n < 120))
        .execute(&pool)
        .await?;
    }
    let handles = handles(&pool, "lonely")?;
    let shutdown = CancellationToken::new();
    let leader = tokio::spawn(service::leader::run(Arc::clone(&handles), shutdown.clone()));
    let merges = "SELECT CAST(COALESCE(MIN(merges), 0) AS SIGNED) FROM job_ready WHERE kind = 'probe_dead'";
    until("the dead were due again several times", async || {
        // As if their checks had ended meanwhile: due again at once.
        sqlx::query(
            "UPDATE instance SET last_checked_at = NOW(6) - INTERVAL 3 SECOND, changed_at = NOW(6) WHERE failures > 0",
        )
        .execute(&pool)
        .await?;
        Ok(count(&pool, merges).await? >= 2)
    })
    .await?;
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM job_ready WHERE kind = 'probe_dead'").await?, 2);
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM job_ready WHERE kind = 'probe_shard'").await?, 1);
    let ticks = "SELECT COUNT(*) FROM schedule_tick WHERE tick_at < '2020-01-01'";
    assert_eq!(count(&pool, ticks).await?, 0, "ticks are of the database's clock, not of the process's");
    assert!(handles.clock.is_set());
    shutdown.cancel();
    leader.await?;
    Ok(())
}

/// Makes an instance known that never answered.
const KNOWN: &str = "INSERT INTO instance (hostname, port, ancestry_uuid, gtid_errant, first_seen_at, changed_at) \
                     VALUES (?, 3306, '', '', NOW(6), NOW(6))";

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_forgotten_and_found_again_at_once_keeps_its_alias(#[case] flavor: Flavor) -> Result<()> {
    let schema = harness::backend(flavor).await?.schema().await?;
    let pool = schema.pool(8).await?;
    store::schema::migrate(&pool).await?;
    sqlx::query(KNOWN).bind("db1").execute(&pool).await?;
    let shutdown = CancellationToken::new();
    let leader = tokio::spawn(service::leader::run(handles(&pool, "here")?, shutdown.clone()));
    let aliases = "SELECT COUNT(*) FROM cluster_alias WHERE cluster_name = 'db1:3306'";
    until("the alias is registered", async || Ok(count(&pool, aliases).await? == 1)).await?;
    // Between two looks of the leader: its inventory never misses the instance.
    let mut tx = pool.begin().await?;
    store::instances::forget_cluster(&mut tx, "db1:3306", Duration::from_secs(60)).await?;
    sqlx::query(KNOWN).bind("db1").execute(&mut *tx).await?;
    tx.commit().await?;
    assert_eq!(count(&pool, aliases).await?, 0, "the names of a forgotten cluster go");
    until("the alias is registered again", async || Ok(count(&pool, aliases).await? == 1)).await?;
    shutdown.cancel();
    leader.await?;
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_is_an_alias_of_a_known_server_is_not_asked_for(#[case] flavor: Flavor) -> Result<()> {
    let schema = harness::backend(flavor).await?.schema().await?;
    let pool = schema.pool(8).await?;
    store::schema::migrate(&pool).await?;
    sqlx::query(KNOWN).bind("db1").execute(&pool).await?;
    store::hostnames::save(&pool, "known-alias", "db1").await?;
    store::hostnames::save(&pool, "other-alias", "db2").await?;
    let seeds = r#"{ "DiscoverySeeds": ["known-alias", "other-alias", "stranger", "db1"] }"#;
    let shutdown = CancellationToken::new();
    let leader = tokio::spawn(service::leader::run(handles_with(&pool, "here", seeds)?, shutdown.clone()));
    // All in one transaction: when one is there, so are the others.
    let discoveries = "SELECT COUNT(*) FROM job_ready WHERE kind = 'discover'";
    until("what is unknown is asked for", async || Ok(count(&pool, discoveries).await? > 0)).await?;
    for (key, times) in [("known-alias", 0), ("other-alias", 1), ("stranger", 1), ("db1", 0)] {
        let asked = format!("{discoveries} AND unique_key = 'discover:{key}:3306'");
        assert_eq!(count(&pool, &asked).await?, times, "{key}");
    }
    shutdown.cancel();
    leader.await?;
    Ok(())
}
