//! Workers in a network of their own that loses every packet to the primary, which lives: no failover, and it is explained.
//! (no_failover.rs has the same with a door that closes; here connections hang that were open.)

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Flavor, TOPOLOGY, Topology, Writer, replica_status};
use rstest::rstest;
use scenario::{Fleet, Namespace, namespace, wait};
use serde_json::json;
use sqlx::Row;

const LIMIT: Duration = Duration::from_secs(40);
/// How long a failover that must not come is waited for: a real one takes one second or two.
const HOLD: Duration = Duration::from_secs(8);
const FLAVOR: &str = "ORCHESTRATOR_FLAVOR";
const UNREACHABLE: &str = "UnreachableMaster";

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_whose_network_loses_all_packets_to_a_living_primary(#[case] flavor: Flavor) -> Result<()> {
    let said = namespace::run_inside("inside", &[(FLAVOR, &flavor.to_string())]).await?;
    println!("{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the namespace that the other test of this file makes"]
async fn inside() -> Result<()> {
    let flavor: Flavor = std::env::var(FLAVOR).with_context(|| format!("{FLAVOR} is not set"))?.parse()?;
    let namespace = Namespace::start()?;
    let settings = json!({
        "RecoverMasterClusterFilters": ["*"],
        "RecoverIntermediateMasterClusterFilters": ["*"],
    });
    let (topology, mut fleet) =
        tokio::try_join!(Topology::start(flavor, "a\n  b\n  c"), Fleet::new(flavor.other(), settings))?;
    fleet.service("service", &["--no-worker"]).await?;
    // Root comes from the host itself alone.
    let (user, password) = (TOPOLOGY.user, TOPOLOGY.password);
    fleet.backend.execute(&format!("GRANT ALL ON orchestrator.* TO '{user}'@'%'")).await?;
    for worker in ["left", "right"] {
        let login = json!({ "MySQLOrchestratorUser": user, "MySQLOrchestratorPassword": password });
        fleet.start(worker, login, &namespace.wrapper(), &["worker"])?;
        fleet.heard(worker).await?;
    }
    let (primary, pool) = (topology["a"].address(), fleet.pool().await?);
    fleet.ok(&["-c", "discover", "-i", &primary]).await?;
    wait::until("all are known as one cluster", LIMIT, || async {
        let members = fleet.run(&["-c", "which-cluster-instances", "-i", &primary]).await?.stdout;
        Ok((members.lines().count() == 3).then_some(()))
    })
    .await
    .with_context(|| fleet.log_tail("left"))?;
    let says = async |code: &'static str| {
        wait::until(&format!("the primary is {code:?}"), LIMIT, || async {
            let lines = fleet.ok(&["-c", "replication-analysis"]).await?;
            let line = lines.lines().find(|line| line.starts_with(&format!("{primary} (")));
            Ok((line.and_then(|line| line.rsplit_once("): ")).map_or("", |(_, codes)| codes) == code).then_some(()))
        })
        .await
        .with_context(|| fleet.log_tail("left"))
    };
    says("").await?;
    let mut writer = Writer::start(&topology["a"], 1, Duration::from_millis(5)).await?;
    namespace.lose(topology["a"].port(), true)?;
    let lost = Instant::now();
    says(UNREACHABLE).await?;
    println!("{flavor}: {UNREACHABLE} after {:?}", lost.elapsed());
    let begun = Instant::now();
    while begun.elapsed() < HOLD {
        let recoveries: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM recovery").fetch_one(&pool).await?;
        ensure!(recoveries == 0, "a recovery was begun: {}", fleet.log_tail("left"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    says(UNREACHABLE).await?;
    let explained = fleet.ok(&["-c", "explain", "-i", &primary]).await?;
    ensure!(explained.contains(UNREACHABLE), "{explained}");
    let detections =
        sqlx::query("SELECT CAST(CONCAT(code, ' ', is_actionable) AS CHAR) FROM detection").fetch_all(&pool);
    let codes: Vec<String> = detections.await?.iter().map(|row| row.try_get_unchecked(0)).collect::<Result<_, _>>()?;
    ensure!(codes == ["UnreachableMaster 0"], "people were told that, and nothing else: {codes:?}");
    writer.stop().await;
    ensure!(!writer.acknowledged().is_empty() && writer.lost(&topology["a"]).await?.is_empty(), "the primary lives");
    for replica in ["b", "c"] {
        let server = &topology[replica];
        let status = replica_status(flavor, &mut server.connect_root().await?).await?.context("no replica any more")?;
        ensure!(status.source_port == topology["a"].port() && status.is_running(), "{replica}: {status:?}");
        let read_only = server.value("@@GLOBAL.read_only").await?;
        ensure!(["1", "ON"].contains(&read_only.as_str()), "{replica} is open for writes: {read_only}");
    }
    namespace.lose(topology["a"].port(), false)?;
    says("").await?;
    let recoveries: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM recovery").fetch_one(&pool).await?;
    ensure!(recoveries == 0, "a recovery was begun afterwards");
    println!("{flavor}: {} rows meanwhile, no failover", writer.acknowledged().len());
    Ok(())
}
