//! Too few file descriptors for the fleet: the worker says what it needs and connects anew; no server looks dead for it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use harness::Flavor;
use scenario::{Fleet, http_get, wait};
use serde_json::json;
use simulator::FleetSpec;
use sqlx::MySqlPool;

const SERVERS: usize = 400;
const LIMIT: Duration = Duration::from_secs(90);
const INTERVAL_SECONDS: i64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_too_few_descriptors_says_so_and_sees_every_server_in_time() -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec { servers: SERVERS, ..FleetSpec::default() })?;
    let mut fleet = Fleet::new(Flavor::MariaDb, json!({ "InstancePollSeconds": INTERVAL_SECONDS })).await?;
    fleet.service("service", &["--no-worker"]).await?;
    fleet.worker("wide", &[]).await?;
    let seeds = servers.seeds().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    fleet.ok(&["submit", "discover", "-i", &seeds]).await?;
    let pool = fleet.pool().await?;
    wait::until("all servers are known", LIMIT, || async {
        Ok((count(&pool, "last_seen_at IS NOT NULL").await? == i64::try_from(SERVERS)?).then_some(()))
    })
    .await?;

    for (narrow, before, limit) in [("narrow", "wide", 300), ("narrower", "narrow", 64)] {
        fleet.start(narrow, json!({}), &["prlimit", &format!("--nofile={limit}:{limit}")], &["worker"])?;
        let said = wait::until("the narrow worker says what it needs", LIMIT, || async {
            let log = fleet.log(narrow)?;
            Ok(log.lines().find(|line| line.contains("limit on open files is too low")).map(str::to_owned))
        })
        .await?;
        assert!(said.contains(&format!("limit={limit}")) && said.contains("instances=400"), "{said}");
        fleet.kill(before)?;
        // The fleet needs a moment to see that a worker died.
        wait::until("the narrow worker has taken over", LIMIT, || async {
            Ok((stale(&pool).await? == 0 && servers.stats().open_connections < limit).then_some(()))
        })
        .await?;
        servers.reset_stats();
        sees_all(&fleet, &pool, narrow, limit).await?;
        let stats = servers.stats();
        assert!(stats.new_connections > SERVERS as u64, "it connects anew: {stats:?}");
    }
    Ok(())
}

/// Four rounds in which no server is late, none looks dead, and the process keeps below its limit.
async fn sees_all(fleet: &Fleet, pool: &MySqlPool, process: &str, limit: usize) -> Result<()> {
    let started: String = sqlx::query_scalar("SELECT CAST(NOW(6) AS CHAR)").fetch_one(pool).await?;
    let later = format!("last_seen_at > '{started}' + INTERVAL {} SECOND", 4 * INTERVAL_SECONDS);
    let begun = Instant::now();
    while count(pool, &later).await? < i64::try_from(SERVERS)? {
        let tail = || fleet.log_tail(process);
        let stale = stale(pool).await?;
        if stale > 0 {
            bail!("{stale} servers were not seen for two intervals; {}", tail());
        }
        none_failed(fleet, pool, process).await?;
        let open = std::fs::read_dir(format!("/proc/{}/fd", fleet.pid(process)?))?.count();
        if open > limit {
            bail!("{open} open files");
        }
        if begun.elapsed() > LIMIT {
            bail!("not every server was seen again within {LIMIT:?}; {}", tail());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Waits for something, while no server is taken for dead even once.
async fn unharmed_until(
    what: &str,
    fleet: &Fleet,
    pool: &MySqlPool,
    done: impl AsyncFn() -> Result<bool>,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        none_failed(fleet, pool, "service").await?;
        if done().await? {
            return Ok(());
        }
        if begun.elapsed() > LIMIT {
            bail!("{what}: not within {LIMIT:?}; {}", fleet.log_tail("service"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn none_failed(fleet: &Fleet, pool: &MySqlPool, process: &str) -> Result<()> {
    let failed = count(pool, "failures > 0 OR last_error <> ''").await?;
    if failed > 0 {
        bail!("{failed} living servers are marked as failed; {}", fleet.log_tail(process));
    }
    Ok(())
}

async fn count(pool: &MySqlPool, condition: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(&format!("SELECT COUNT(*) FROM instance WHERE {condition}")).fetch_one(pool).await?)
}

async fn stale(pool: &MySqlPool) -> Result<i64> {
    let late = 2 * INTERVAL_SECONDS;
    count(pool, &format!("last_seen_at IS NULL OR last_seen_at < NOW(6) - INTERVAL {late} SECOND")).await
}

/// Clients that would take all descriptors of a service: they get some, and its servers are seen all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_number_cost_a_service_no_server() -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec { servers: SERVERS, ..FleetSpec::default() })?;
    let mut fleet = Fleet::new(Flavor::MySql, json!({ "InstancePollSeconds": INTERVAL_SECONDS })).await?;
    fleet.ok(&["migrate"]).await?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = json!({ "ListenAddress": format!("127.0.0.1:{port}") });
    fleet.start("service", listen, &["prlimit", "--nofile=300:300"], &["http"])?;
    wait::until("the service is ready", LIMIT, || async {
        let (status, _) = http_get(port, "/health/ready").await?;
        Ok((status == 200).then_some(()))
    })
    .await?;
    let seeds = servers.seeds().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    fleet.ok(&["submit", "discover", "-i", &seeds]).await?;
    let pool = fleet.pool().await?;
    wait::until("all servers are known", LIMIT, || async {
        let known = count(&pool, "last_seen_at IS NOT NULL").await? == i64::try_from(SERVERS)?;
        Ok((known && stale(&pool).await? == 0).then_some(()))
    })
    .await?;
    // They connect, say nothing, and come again when they are sent away.
    let clients = tokio::spawn(async move {
        let mut held = std::collections::VecDeque::new();
        loop {
            if let Ok(Ok(stream)) =
                tokio::time::timeout(Duration::from_millis(50), tokio::net::TcpStream::connect(("127.0.0.1", port)))
                    .await
            {
                held.push_back(stream);
            }
            if held.len() > 1000 {
                held.pop_front();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    unharmed_until("the service says that there are too many", &fleet, &pool, async || {
        Ok(fleet.log("service")?.contains("more clients than HTTPMaxConnections"))
    })
    .await?;
    sees_all(&fleet, &pool, "service", 300).await?;
    let (status, _) = http_get(port, "/health/live").await?;
    assert_eq!(status, 200, "it says that it lives");
    assert!(!clients.is_finished(), "they were there all the time");
    clients.abort();
    assert!(!fleet.log("service")?.contains("a server could not be asked"), "{}", fleet.log_tail("service"));
    sees_all(&fleet, &pool, "service", 300).await
}
