//! The primary is frozen, replaced, and wakes up: nobody writes to it for longer than it takes to find that out.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{Flavor, Server};
use scenario::incident::{Durability, Incident};
use scenario::wait;
use serde_json::json;

/// What clients may feel: the bar where `ORCHESTRATOR_FAILOVERS` asks for figures, on a machine that has nothing else to do.
/// Heartbeats come every two seconds here, and receivers give up after four (`replica_net_timeout`).
const LONGEST: Duration = Duration::from_secs(5);
/// MariaDB's receivers that acknowledge take two seconds to be stopped while they give up.
const GIVING_UP: Duration = Duration::from_secs(2);
/// The same where tests share a machine with whatever else runs there.
const LONGEST_IN_CI: Duration = Duration::from_secs(15);
/// From waking up to being closed to writers.
const CLOSED: Duration = Duration::from_secs(10);

#[rstest::rstest]
#[case(Flavor::MySql, Durability::Lossless)]
#[case(Flavor::MySql, Durability::Asynchronous)]
#[case(Flavor::MariaDb, Durability::Lossless)]
#[case(Flavor::MariaDb, Durability::Asynchronous)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_is_replaced_and_closed_when_it_wakes_up(
    #[case] flavor: Flavor,
    #[case] durability: Durability,
) -> Result<()> {
    // MySQL's receivers tell then when they last heard anything: its own default, which costs memory.
    let told = if flavor == Flavor::MySql { " --performance-schema=ON" } else { "" };
    let topology = ["a", "  b", "  c", "  d"].map(|line| format!("{line}{told}")).join("\n");
    let mut incident = Incident::start(flavor, durability, &topology, json!({})).await?;
    let mut writer = incident.write().await?;
    let blow = incident.strike(Server::freeze).await?;
    let taken_over = incident.taken_over(&blow, &writer).await?;
    let outage = taken_over.outage.length;

    let old = incident.server(&blow.victim)?;
    old.thaw()?;
    let awake = Instant::now();
    let closed = wait::until("the old primary is closed", CLOSED, || async {
        Ok(["1", "ON"].contains(&old.value("@@GLOBAL.read_only").await?.as_str()).then_some(()))
    });
    if let Err(error) = closed.await {
        anyhow::bail!("{error:#}\n{}", incident.diagnosis().await);
    }
    let closed = awake.elapsed();
    incident.rows_on(&writer, &taken_over.successor).await?;
    writer.stop().await;
    incident.followed(&blow).await?;
    incident.kept(&blow).await?;
    incident.recorded(&blow).await?;

    let lost = writer.lost(incident.server(&taken_over.successor)?).await?;
    println!(
        "{flavor} {durability:?}: {:.2} s; closed {:.2} s after it woke up; {} rows only on it",
        outage.as_secs_f64(),
        closed.as_secs_f64(),
        lost.len()
    );
    // What nobody had received may be lost without semi-sync; nothing else is, and never a row of the new primary.
    ensure!(lost.iter().all(|row| row.server == old.address()), "{lost:?}");
    ensure!(durability == Durability::Asynchronous || lost.is_empty(), "acknowledged rows are lost: {lost:?}");
    let gives_up = flavor == Flavor::MariaDb && durability == Durability::Lossless;
    let longest = match std::env::var_os("ORCHESTRATOR_FAILOVERS") {
        Some(_) if gives_up => LONGEST + GIVING_UP,
        Some(_) => LONGEST,
        None => LONGEST_IN_CI,
    };
    ensure!(outage <= longest, "{outage:?}\n{}", incident.diagnosis().await);
    Ok(())
}
