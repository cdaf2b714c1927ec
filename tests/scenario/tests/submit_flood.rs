//! 5,000 submissions for 500 hosts within a minute: at most 500 wait, all become known, and a host that does not exist
//! becomes a visible failure.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::Flavor;
use scenario::{Fleet, wait};
use serde_json::json;
use simulator::FleetSpec;

const HOSTS: usize = 500;
const SUBMISSIONS: usize = 5000;
/// Crontabs of many hosts fire at once; this machine has two cores.
const SIDE_BY_SIDE: usize = 8;
const MISSING: &str = "no-such-host.invalid:3306";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_midnight_of_crontabs_makes_one_waiting_row_per_host() -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec { servers: HOSTS, ..FleetSpec::default() })?;
    let mut fleet = Fleet::new(Flavor::MariaDb, json!({ "InstancePollSeconds": 5 })).await?;
    fleet.ok(&["migrate"]).await?;
    let hosts: Vec<String> = servers.addresses().iter().map(ToString::to_string).collect();
    let begun = Instant::now();
    let fleet_ref = &fleet;
    let calls = (0..SUBMISSIONS).map(|n| {
        let host = hosts[n % HOSTS].clone();
        async move { fleet_ref.ok(&["submit", "discover", "-i", &host]).await.map(|_| ()) }
    });
    run_side_by_side(calls).await?;
    fleet.ok(&["submit", "discover", "-i", MISSING]).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let pool = fleet.pool().await?;
    let count = |sql: &'static str| {
        let pool = pool.clone();
        async move { anyhow::Ok(sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await?) }
    };
    let waiting = count("SELECT (SELECT COUNT(*) FROM job_ready) + (SELECT COUNT(*) FROM job_scheduled)").await?;
    assert_eq!(waiting, i64::try_from(HOSTS)? + 1, "one waiting row per host");
    println!("{SUBMISSIONS} submissions in {seconds:.1} s made {waiting} waiting rows");

    fleet.service("service", &[]).await?;
    let known = i64::try_from(HOSTS)?;
    wait::until("all hosts are known", Duration::from_secs(60), || async {
        Ok((count("SELECT COUNT(*) FROM instance WHERE last_seen_at IS NOT NULL").await? == known).then_some(()))
    })
    .await?;
    wait::until("the missing host is a visible failure", Duration::from_secs(30), || async {
        let failed = fleet.ok(&["jobs", "list", "--state", "failed"]).await?;
        Ok(failed.contains("discover").then_some(()))
    })
    .await?;
    let failed = fleet.ok(&["jobs", "list", "--state", "failed", "--json"]).await?;
    assert!(failed.contains("no-such-host.invalid"), "{failed}");
    Ok(())
}

async fn run_side_by_side(calls: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    use futures::{StreamExt, TryStreamExt};
    futures::stream::iter(calls).buffer_unordered(SIDE_BY_SIDE).try_collect::<Vec<()>>().await.map(|_| ())
}
