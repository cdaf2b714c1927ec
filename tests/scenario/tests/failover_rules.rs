//! Who may be promoted, by people's rules and places, on real servers: data are fetched from whoever has them, and only who
//! may takes over.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Flavor, Server, missing_rows, replica_status};
use rstest::rstest;
use scenario::incident::{Durability, Incident};
use scenario::wait;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
/// A setting of the servers that nothing here depends on tells where they stand.
const PLACES: &str = "SELECT IF(@@GLOBAL.lc_time_names = 'de_DE', 'sf', 'ny')";

fn replication(flavor: Flavor, verb: &str, thread: &str) -> String {
    let word = if flavor == Flavor::MySql { "REPLICA" } else { "SLAVE" };
    format!("{verb} {word} {thread}")
}

/// What was written down about everybody considered: name and verdict.
async fn considered(incident: &Incident) -> Result<Vec<String>> {
    let text: String = sqlx::query_scalar("SELECT CAST(choice AS CHAR) FROM recovery ORDER BY id DESC LIMIT 1")
        .fetch_one(incident.pool())
        .await?;
    let choice: Value = serde_json::from_str(&text)?;
    let all = choice["considered"].as_array().context("nobody was considered")?;
    Ok(all.iter().map(|one| incident.topology.named(&one.to_string())).collect())
}

/// `b` alone has received the last rows, and must never be promoted.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_must_not_gives_its_data_away(#[case] flavor: Flavor) -> Result<()> {
    let mut incident = Incident::start(flavor, Durability::Asynchronous, "a\n  b\n  c\n  d", json!({})).await?;
    let b = incident.server("b")?.address();
    incident.fleet.ok(&["-c", "register-candidate", "-i", &b, "--promotion-rule", "must_not"]).await?;
    let mut writer = incident.write().await?;
    for name in ["c", "d"] {
        incident.server(name)?.execute(&replication(flavor, "STOP", "IO_THREAD")).await?;
    }
    incident.rows_on(&writer, "a").await?;
    writer.stop().await;
    let all = writer.acknowledged();
    wait::until("b has all rows", LIMIT, || async {
        Ok(missing_rows(incident.server("b")?, &all).await?.is_empty().then_some(()))
    })
    .await?;
    let behind = missing_rows(incident.server("c")?, &all).await?.len();
    ensure!(behind >= 50, "nothing is at stake: {behind}");

    let writer = incident.write().await?;
    let blow = incident.strike(Server::kill).await?;
    let taken_over = incident.taken_over(&blow, &writer).await?;
    writer.finish().await;
    ensure!(taken_over.successor != "b", "who must not be promoted was");
    incident.kept(&blow).await?;
    incident.recorded(&blow).await?;
    let successor = incident.server(&taken_over.successor)?;
    let lost = missing_rows(successor, &all).await?;
    ensure!(lost.is_empty(), "{} of {behind} rows that only b had are lost", lost.len());
    let told = considered(&incident).await?;
    ensure!(told.iter().any(|one| one.contains("\"b\"") || one.contains("must_not")), "{told:#?}");
    let status = replica_status(flavor, &mut incident.server("b")?.connect_root().await?).await?;
    let status = status.context("b replicates no more")?;
    ensure!(status.source_port == successor.port(), "b replicates from {}", status.source_port);
    println!(
        "{flavor}: {} took over with {behind} rows of b in {:.2} s",
        taken_over.successor,
        taken_over.outage.length.as_secs_f64()
    );
    Ok(())
}

/// `b` is preferred, and far away; `c` is near, and in downtime; `d` is near. With the veto `b` is nobody.
#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_preferred_elsewhere_is_vetoed(#[case] flavor: Flavor) -> Result<()> {
    let settings = json!({ "DetectDataCenterQuery": PLACES, "PreventCrossDataCenterMasterFailover": true });
    let tree = "a\n  b --lc-time-names=de_DE\n  c\n  d";
    let mut incident = Incident::start(flavor, Durability::Asynchronous, tree, settings).await?;
    let [a, b, c] = ["a", "b", "c"].map(|name| incident.server(name).map(Server::address));
    let (a, b, c) = (a?, b?, c?);
    incident.fleet.ok(&["-c", "register-candidate", "-i", &b, "--promotion-rule", "prefer"]).await?;
    let downtime = ["--owner", "me", "--reason", "disk", "--duration", "1h"];
    incident.fleet.ok(&[&["-c", "begin-downtime", "-i", &c], &downtime[..]].concat()).await?;
    let explained = incident.fleet.ok(&["-c", "explain", "-i", &a]).await?;
    ensure!(
        explained.contains("PreventCrossDataCenterMasterFailover") || explained.contains("would be"),
        "{explained}"
    );

    let writer = incident.write().await?;
    let blow = incident.strike(Server::kill).await?;
    let taken_over = incident.taken_over(&blow, &writer).await?;
    ensure!(taken_over.successor == "d", "{} took over\n{:#?}", taken_over.successor, considered(&incident).await?);
    let told = considered(&incident).await?;
    ensure!(told.iter().any(|one| one.contains("PreventCrossDataCenterMasterFailover")), "{told:#?}");
    incident.settled(&blow, writer).await?;

    // The last one there is c, in downtime: better than nobody.
    incident.fleet.ok(&["-c", "forget", "-i", &a]).await?;
    incident.topology.servers.retain(|(name, _)| name != "a");
    let writer = incident.write().await?;
    let blow = incident.strike(Server::kill).await?;
    let taken_over = incident.taken_over(&blow, &writer).await?;
    ensure!(taken_over.successor == "c", "{} took over\n{:#?}", taken_over.successor, considered(&incident).await?);
    incident.settled(&blow, writer).await?;

    // Now there is only b: nobody takes over, and it is said why.
    let d = incident.server("d")?.address();
    incident.fleet.ok(&["-c", "forget", "-i", &d]).await?;
    incident.topology.servers.retain(|(name, _)| name != "d");
    let blow = incident.strike(Server::kill).await?;
    let explained = wait::until("it is explained", LIMIT, || async {
        let text = incident.fleet.ok(&["-c", "explain", "-i", &b]).await?;
        Ok((text.contains("DeadMaster") && text.contains("PreventCrossDataCenterMasterFailover")).then_some(text))
    })
    .await
    .with_context(|| incident.fleet.log_tail("service"))?;
    println!("{flavor}: {}", incident.topology.named(&explained));
    let status = replica_status(flavor, &mut incident.server("b")?.connect_root().await?).await?;
    let victim = incident.server(&blow.victim)?.port();
    ensure!(status.is_some_and(|status| status.source_port == victim), "b was touched");
    Ok(())
}
