//! Several of many clusters lose their primaries at once. The large form with its bars is `scripts/bench --recoveries`.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Flavor;
use scenario::Storm;
use scenario::storm::Sky;
use scenario::wait;
use serde_json::{Value, json};
use simulator::Death;
use sqlx::Row;

/// Where tests share a machine with whatever else runs there.
const LONGEST: Duration = Duration::from_secs(20);

fn sky(backend: Flavor, settings: Value) -> Sky {
    Sky { servers: 120, workers: 0, backend, variables: Vec::new(), settings }
}

#[rstest::rstest]
#[case(Flavor::MariaDb, Death::Refuse)]
#[case(Flavor::MySql, Death::Blackhole)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_that_lose_their_primaries_at_once_are_all_recovered(
    #[case] backend: Flavor,
    #[case] death: Death,
) -> Result<()> {
    let mut storm = Storm::start(&sky(backend, json!({}))).await?;
    let strike = storm.strike(3, &death).await?;
    let ridden = storm.ride_out(&strike).await?;
    println!("{death:?}: median {:?}, last {:?}, closed {:?}", ridden.median(), ridden.last(), ridden.closed);
    storm.recorded(&strike).await?;
    ensure!(ridden.last() <= LONGEST, "{ridden:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_brake_holds_back_with_a_reason_and_lets_go() -> Result<()> {
    let settings = json!({ "RecoveryMaxConcurrent": 2, "PreFailoverProcesses": ["sleep 2"] });
    let mut storm = Storm::start(&sky(Flavor::MariaDb, settings)).await?;
    let strike = storm.strike(6, &Death::Refuse).await?;
    explained(&storm).await?;
    let ridden = storm.ride_out(&strike).await?;
    storm.recorded(&strike).await?;
    let most = storm.most_at_once().await?;
    ensure!(most <= 2, "{most} at once");
    ensure!(ridden.held_back.len() >= 2, "{:?}", ridden.held_back);
    for reason in ridden.held_back.values() {
        ensure!(reason.contains("RecoveryMaxConcurrent"), "{reason}");
    }
    Ok(())
}

/// `explain` of a cluster that waits names the brake and its setting.
async fn explained(storm: &Storm) -> Result<()> {
    let pool = storm.fleet.pool().await?;
    wait::until("explain names the brake", LONGEST, || async {
        let sql = "SELECT cluster_name FROM recovery_blocked ORDER BY since DESC LIMIT 1";
        let Some(waiting) = sqlx::query(sql).fetch_optional(&pool).await? else { return Ok(None) };
        let cluster: String = waiting.try_get_unchecked(0)?;
        let text = storm.fleet.ok(&["explain", &cluster]).await?;
        let brake = text.lines().find(|line| line.contains("fleet-brake"));
        Ok(brake.filter(|line| line.contains("RecoveryMaxConcurrent")).map(drop))
    })
    .await
}
