//! Too few file descriptors for the fleet: the worker says what it needs and connects anew; no server looks dead for it.

use std::time::Duration;

use anyhow::{Result, bail};
use harness::Flavor;
use scenario::{Fleet, wait};
use serde_json::json;
use simulator::FleetSpec;

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
    let count = |condition: String| {
        let pool = pool.clone();
        async move {
            let sql = format!("SELECT COUNT(*) FROM instance WHERE {condition}");
            anyhow::Ok(sqlx::query_scalar::<_, i64>(&sql).fetch_one(&pool).await?)
        }
    };
    let all = i64::try_from(SERVERS)?;
    wait::until("all servers are known", LIMIT, || async {
        Ok((count("last_seen_at IS NOT NULL".to_owned()).await? == all).then_some(()))
    })
    .await?;

    fleet.start("narrow", json!({}), &["prlimit", "--nofile=300:300"], &["worker"])?;
    let said = wait::until("the narrow worker says what it needs", LIMIT, || async {
        Ok(fleet.log("narrow")?.lines().find(|line| line.contains("limit on open files is too low")).map(str::to_owned))
    })
    .await?;
    assert!(said.contains("limit=300") && said.contains("instances=400"), "{said}");
    fleet.kill("wide")?;
    // The fleet needs a moment to see that a worker died.
    wait::until("the narrow worker has taken over", LIMIT, || async {
        Ok((stale(&pool).await? == 0 && servers.stats().open_connections < 300).then_some(()))
    })
    .await?;

    servers.reset_stats();
    let started: String = sqlx::query_scalar("SELECT CAST(NOW(6) AS CHAR)").fetch_one(&pool).await?;
    let rounds_later = format!("last_seen_at > '{started}' + INTERVAL {} SECOND", 4 * INTERVAL_SECONDS);
    let begun = std::time::Instant::now();
    while count(rounds_later.clone()).await? < all {
        let stale = stale(&pool).await?;
        if stale > 0 {
            bail!("{stale} servers were not seen for two intervals; {}", fleet.log_tail("narrow"));
        }
        let failed = count("failures > 0 OR last_error <> ''".to_owned()).await?;
        if failed > 0 {
            bail!("{failed} living servers are marked as failed; {}", fleet.log_tail("narrow"));
        }
        let open = std::fs::read_dir(format!("/proc/{}/fd", fleet.pid("narrow")?))?.count();
        if open > 300 {
            bail!("{open} open files");
        }
        if begun.elapsed() > LIMIT {
            bail!("not every server was seen again within {LIMIT:?}; {}", fleet.log_tail("narrow"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stats = servers.stats();
    assert!(stats.new_connections > SERVERS as u64, "it connects anew: {stats:?}");
    Ok(())
}

async fn stale(pool: &sqlx::MySqlPool) -> Result<i64> {
    let sql = format!(
        "SELECT COUNT(*) FROM instance WHERE last_seen_at IS NULL OR last_seen_at < NOW(6) - INTERVAL {} SECOND",
        2 * INTERVAL_SECONDS
    );
    Ok(sqlx::query_scalar(&sql).fetch_one(pool).await?)
}
