//! Recoveries in which nobody takes over, each begun by the leader itself on real servers: a primary that is closed, and one that
//! waits for the wrong number of acknowledgements. And what settings leave to people after a failover.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Flavor, Server, replica_status};
use rstest::rstest;
use scenario::incident::{Durability, Incident};
use scenario::{Playground, wait};
use serde_json::json;
use sqlx::Row;

const LIMIT: Duration = Duration::from_secs(30);

/// Waits for a recovery of this server to end: its kind, code and outcome.
async fn ended(playground: &Playground, name: &str) -> Result<String> {
    let port = playground.server(name)?.port();
    let sql = "SELECT CONCAT(kind, ' ', code, ' ', outcome, ' ', errors) FROM recovery WHERE port = ? AND ended_at IS NOT NULL";
    let found = wait::until(&format!("a recovery of {name} ends"), LIMIT, || async {
        Ok(sqlx::query(sql).bind(port).fetch_optional(playground.pool()).await?)
    })
    .await;
    let row = match found {
        Ok(row) => row,
        Err(error) => {
            let said = playground.ok("replication-analysis").await?;
            anyhow::bail!("{error:#}\n{said}\n{}", playground.fleet.log_tail("service"))
        }
    };
    Ok(row.try_get_unchecked::<String, _>(0)?)
}

/// Waits for a recovery from a lock that came to something: a primary that was about to go on needs none.
async fn recovered(playground: &Playground) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM recovery WHERE code = 'LockedSemiSyncMaster' AND outcome = 'recovered'";
    let found = wait::until("the lock is dealt with", LIMIT, || async {
        let recovered: i64 = sqlx::query_scalar(sql).fetch_one(playground.pool()).await?;
        Ok((recovered > 0).then_some(()))
    });
    found.await.with_context(|| playground.fleet.log_tail("service"))
}

async fn count(playground: &Playground) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT COUNT(*) FROM recovery").fetch_one(playground.pool()).await?)
}

async fn is_on(playground: &Playground, name: &str, variable: &str) -> Result<bool> {
    Ok(["1", "ON"].contains(&playground.value(name, &format!("@@GLOBAL.{variable}")).await?.as_str()))
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_closed_is_opened(#[case] flavor: Flavor) -> Result<()> {
    let settings = json!({ "RecoverMasterClusterFilters": ["*"], "RecoverNonWriteableMaster": true, "RecoveryPeriodBlockSeconds": 1 });
    let mut playground = Playground::start_with(flavor, "a\n  b\n  c", settings).await?;
    playground.settled("b<a c<a").await?;
    playground.sql("a", "SET GLOBAL read_only = 1").await?;
    let said = ended(&playground, "a").await?;
    ensure!(said.starts_with("non-writeable NoWriteableMasterStructureWarning recovered"), "{said}");
    ensure!(!is_on(&playground, "a", "read_only").await?, "it is closed");
    playground.rows_written(20).await?;
    playground.at_rest("b<a c<a").await?;
    ensure!(count(&playground).await? == 1 && playground.locks().await? == 0, "one recovery, no locks");

    // The same while a replica takes writes: told, not touched.
    playground.sql("b", "SET GLOBAL read_only = 0").await?;
    wait::until("b is known to be open", LIMIT, || async {
        let drawing = playground.ok("topology -i @a").await?;
        Ok(drawing.lines().any(|line| line.starts_with("+ b") && line.contains(",rw,")).then_some(()))
    })
    .await?;
    playground.sql("a", "SET GLOBAL read_only = 1").await?;
    let sql = "SELECT COUNT(*) FROM recovery WHERE kind = 'non-writeable' AND outcome = 'refused'";
    wait::until("it is refused", LIMIT, || async {
        let refused: i64 = sqlx::query_scalar(sql).fetch_one(playground.pool()).await?;
        Ok((refused > 0).then_some(()))
    })
    .await?;
    ensure!(is_on(&playground, "a", "read_only").await?, "two are open");
    Ok(())
}

/// Names of variables of semi-sync.
struct Words {
    source: &'static str,
    replica: &'static str,
    clients: &'static str,
}

fn words(flavor: Flavor) -> Words {
    match flavor {
        Flavor::MySql => Words {
            source: "rpl_semi_sync_source",
            replica: "rpl_semi_sync_replica_enabled",
            clients: "Rpl_semi_sync_source_clients",
        },
        Flavor::MariaDb => Words {
            source: "rpl_semi_sync_master",
            replica: "rpl_semi_sync_slave_enabled",
            clients: "Rpl_semi_sync_master_clients",
        },
    }
}

const TREE: &str = "a semisync=loaded\n  b semisync=loaded\n  c semisync=loaded\n  d semisync=loaded";
const LINKS: &str = "b<a c<a d<a";

/// These replicas acknowledge, and the primary waits for one of them for hours.
async fn semi_sync(playground: &Playground, acknowledge: &[&str]) -> Result<()> {
    let (flavor, words) = (playground.topology.flavor, words(playground.topology.flavor));
    for name in acknowledge {
        playground.sql(name, &format!("SET GLOBAL {} = 1; {}", words.replica, receiver(flavor))).await?;
    }
    clients(playground, acknowledge.len()).await?;
    let source = words.source;
    playground.sql("a", &format!("SET GLOBAL {source}_timeout = 3600000; SET GLOBAL {source}_enabled = 1")).await
}

fn receiver(flavor: Flavor) -> String {
    let word = if flavor == Flavor::MySql { "REPLICA" } else { "SLAVE" };
    format!("STOP {word} IO_THREAD; START {word} IO_THREAD")
}

async fn clients(playground: &Playground, wanted: usize) -> Result<()> {
    let variable = words(playground.topology.flavor).clients;
    wait::until(&format!("{wanted} acknowledge"), LIMIT, || async {
        let mut connection = playground.server("a")?.connect_root().await?;
        let row = sqlx::query(&format!("SHOW GLOBAL STATUS LIKE '{variable}'")).fetch_one(&mut connection).await?;
        let now: String = row.try_get_unchecked(1)?;
        if now == wanted.to_string() { Ok(Some(())) } else { anyhow::bail!("{now} do") }
    })
    .await
}

async fn acknowledging(playground: &Playground) -> Result<String> {
    let mut on = Vec::new();
    for name in ["b", "c", "d"] {
        if is_on(playground, name, words(playground.topology.flavor).replica).await? {
            on.push(name);
        }
    }
    Ok(on.join(" "))
}

fn semi_sync_settings(more: &serde_json::Value) -> serde_json::Value {
    let mut settings = json!({
        "RecoverMasterClusterFilters": ["*"],
        "DetectSemiSyncEnforcedQuery": "SELECT IF(@@GLOBAL.lc_time_names = 'de_DE', 2, 1)",
        "ReasonableLockedSemiSyncMasterSeconds": 2,
        "RecoveryPeriodBlockSeconds": 1,
    });
    if let (Some(settings), Some(more)) = (settings.as_object_mut(), more.as_object()) {
        settings.extend(more.clone());
    }
    settings
}

/// The one that should acknowledge first.
fn tree() -> String {
    TREE.replace("c semisync=loaded", "c semisync=loaded --lc-time-names=de_DE")
}

/// Nobody acknowledges any more, and every commit waits: one that could is told to.
async fn goes_on(playground: &mut Playground, name: &str) -> Result<()> {
    let off = format!(
        "SET GLOBAL {} = 0; {}",
        words(playground.topology.flavor).replica,
        receiver(playground.topology.flavor)
    );
    playground.sql(name, &off).await?;
    let began = std::time::Instant::now();
    recovered(playground).await?;
    playground.rows_written(20).await?;
    println!("{}: writes again {:?} after nobody acknowledged", playground.topology.flavor, began.elapsed());
    // The one with the highest priority, and no other.
    let on = acknowledging(playground).await?;
    ensure!(on == "c", "{on:?} acknowledge");
    playground.at_rest(LINKS).await?;
    ensure!(playground.locks().await? == 0, "locks are left behind");
    Ok(())
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_waits_for_too_few_goes_on(#[case] flavor: Flavor) -> Result<()> {
    let settings = semi_sync_settings(&json!({ "RecoverLockedSemiSyncMaster": true }));
    let mut playground = Playground::start_with(flavor, &tree(), settings).await?;
    semi_sync(&playground, &["b"]).await?;
    playground.settled(LINKS).await?;
    ensure!(count(&playground).await? == 0, "nothing was wrong");
    goes_on(&mut playground, "b").await
}

/// Exactly as many as are waited for, and those that should: too many first, then too few.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_those_acknowledge_that_should(#[case] flavor: Flavor) -> Result<()> {
    let settings = semi_sync_settings(&json!({ "EnforceExactSemiSyncReplicas": true }));
    let mut playground = Playground::start_with(flavor, &tree(), settings).await?;
    semi_sync(&playground, &["b", "c", "d"]).await?;
    let said = ended(&playground, "a").await?;
    ensure!(said.starts_with("semi-sync MasterWithTooManySemiSyncReplicas recovered"), "{said}");
    let on = acknowledging(&playground).await?;
    ensure!(on == "c", "{on:?} acknowledge");
    clients(&playground, 1).await?;
    playground.rows_written(20).await?;
    goes_on(&mut playground, "c").await
}

/// By file and position nobody knows where one that has read less should go on: it is lost, and detached where that is wanted.
#[rstest]
#[case(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lost_are_detached_if_that_is_wanted(#[case] detach: bool) -> Result<()> {
    let tree = "a no_gtid\n  b no_gtid\n  c no_gtid";
    let settings =
        json!({ "DetachLostReplicasAfterMasterFailover": detach, "DetachLostSlavesAfterMasterFailover": detach });
    let mut incident = Incident::start(Flavor::MySql, Durability::Asynchronous, tree, settings).await?;
    // Before anything comes, so that c does not receive a transaction in part: without SYSTEM_USER its applier would be
    // waited for.
    incident.server("c")?.execute("STOP REPLICA IO_THREAD").await?;
    let writer = incident.write().await?;
    incident.rows_on(&writer, "a").await?;
    let blow = incident.strike(Server::kill).await?;
    let taken_over = incident.taken_over(&blow, &writer).await?;
    ensure!(taken_over.successor == "b", "{} took over", taken_over.successor);
    writer.finish().await;
    incident.recorded(&blow).await?;
    let c = incident.server("c")?;
    let status = replica_status(Flavor::MySql, &mut c.connect_root().await?).await?.context("c is no replica")?;
    ensure!(status.source_host.starts_with("//") == detach, "c replicates from {}", status.source_host);
    ensure!(status.source_port == incident.server("a")?.port(), "its place is not kept: {}", status.source_port);
    let lost: String = sqlx::query_scalar("SELECT CAST(lost AS CHAR) FROM recovery").fetch_one(incident.pool()).await?;
    ensure!(lost.contains(&c.port().to_string()), "lost: {lost}");
    let sql = "SELECT COUNT(*) FROM downtime WHERE port = ?";
    let down: i64 = sqlx::query_scalar(sql).bind(c.port()).fetch_one(incident.pool()).await?;
    ensure!(down == 1, "c is not in downtime");
    Ok(())
}

/// The successor is chosen, has everything, and has the others below it; opening it is left to people.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_promotion_the_successor_stays_closed(#[case] flavor: Flavor) -> Result<()> {
    let settings = json!({ "RecoverMasterClusterFilters": ["*"], "ApplyMySQLPromotionAfterMasterFailover": false });
    let mut playground = Playground::start_with(flavor, "a\n  b\n  c\n  d", settings).await?;
    playground.at_rest("b<a c<a d<a").await?;
    let victim = playground.server("a")?.port();
    playground.server("a")?.kill()?;
    let said = ended(&playground, "a").await?;
    ensure!(said.starts_with("primary DeadMaster"), "{said}");
    let links = playground.links().await?;
    println!("{flavor}: {said}: {links}");
    let sql = "SELECT successor_port FROM recovery";
    let port: u16 = sqlx::query(sql).fetch_one(playground.pool()).await?.try_get_unchecked(0)?;
    let successor = playground.topology.name_of(port).context("no successor")?.to_owned();
    ensure!(is_on(&playground, &successor, "read_only").await?, "{successor} was opened");
    let server = playground.server(&successor)?;
    let status = replica_status(flavor, &mut server.connect_root().await?).await?.context("it forgot its source")?;
    ensure!(status.source_port == victim && !status.is_running(), "{status:?}");
    for name in ["b", "c", "d"].into_iter().filter(|name| *name != successor) {
        let status = replica_status(flavor, &mut playground.server(name)?.connect_root().await?).await?;
        ensure!(status.is_some_and(|status| status.source_port == port && status.is_running()), "{name} is not below");
    }
    Ok(())
}
