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
    let settings = Settings::from_json(r#"{ "InstancePollSeconds": 1, "DeadInstancePollSecondsMax": 1 }"#)?;
    Ok(Arc::new(Handles {
        pool: pool.clone(),
        clock: Arc::new(DbClock::new()),
        config: SharedSettings::new((*settings.settings).clone()),
        identity: Identity::new("here".to_owned(), name, "service"),
        leadership: watch::Sender::new(None),
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
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM job_ready WHERE kind = 'probe_dead'").await?, 3);
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM job_ready WHERE kind = 'probe_shard'").await?, 1);
    let ticks = "SELECT COUNT(*) FROM schedule_tick WHERE tick_at < '2020-01-01'";
    assert_eq!(count(&pool, ticks).await?, 0, "ticks are of the database's clock, not of the process's");
    assert!(handles.clock.is_set());
    shutdown.cancel();
    leader.await?;
    Ok(())
}
