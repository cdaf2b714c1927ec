//! The primary is killed, again and again: clients write again within a second, and nothing that was acknowledged is lost.
//!
//! A few times in CI; `ORCHESTRATOR_FAILOVERS=20` for figures, which are then held against the bars.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Flavor, Server};
use scenario::incident::{Durability, Incident};
use serde_json::json;

const TEXT: [&str; 4] = ["a", "  b", "  c", "  d"];
/// Failovers, unless said otherwise.
const FEW: usize = 3;
/// What clients may feel.
const MEDIAN: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3);
/// The same where tests share a machine with whatever else runs there: a failover is not a matter of luck there, either.
const LONGEST_IN_CI: Duration = Duration::from_secs(10);

#[rstest::rstest]
#[case(Flavor::MySql, Durability::Lossless)]
#[case(Flavor::MySql, Durability::Asynchronous)]
#[case(Flavor::MariaDb, Durability::Lossless)]
#[case(Flavor::MariaDb, Durability::Asynchronous)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced(#[case] flavor: Flavor, #[case] durability: Durability) -> Result<()> {
    let runs = runs()?;
    // MySQL's receivers tell then when they received what: its own default, which costs memory.
    let tells = if flavor == Flavor::MySql { " --performance-schema=ON" } else { "" };
    let topology = TEXT.map(|line| format!("{line}{tells}")).join("\n");
    let mut incident = Incident::start(flavor, durability, &topology, json!({})).await?;
    let (mut outages, mut rows, mut lost, mut told_whole) = (Vec::new(), 0, 0, 0);
    for run in 0..runs.unwrap_or(FEW) {
        let writer = incident.write().await?;
        let blow = incident.strike(Server::kill).await?;
        let taken_over = incident.taken_over(&blow, &writer).await.with_context(|| format!("failover {run}"))?;
        rows += writer.acknowledged().len();
        let lost_now = incident.settled(&blow, writer).await.with_context(|| format!("failover {run}"))?;
        let (felt, told) = (taken_over.outage.length.as_secs_f64(), incident.told(&blow).await?);
        println!(
            "{flavor} {durability:?}: {} after {}: {felt:.2} s, {lost_now} rows lost; {told}",
            taken_over.successor, blow.victim
        );
        if told.first_commit.is_some() {
            told_whole += 1;
            ensure!((told.seconds - felt).abs() < 1.0, "felt {felt:.3} s, told {told:?}");
        }
        // Later ones have newcomers that do not tell.
        let is_told = run > 0 || told.last_commit.is_some() == (flavor == Flavor::MySql);
        ensure!(is_told, "{told:?}");
        lost += lost_now;
        outages.push(taken_over.outage.length);
        incident.replace(&blow.victim).await?;
    }
    ensure!(told_whole > 0, "the first commit was never seen");
    outages.sort();
    let (median, longest) = (outages[outages.len() / 2], outages[outages.len() - 1]);
    println!(
        "{flavor} {durability:?}: {} failovers: median {:.2} s, longest {:.2} s; {lost} of {rows} acknowledged rows lost",
        outages.len(),
        median.as_secs_f64(),
        longest.as_secs_f64()
    );
    if durability == Durability::Lossless {
        ensure!(lost == 0, "{lost} acknowledged rows are lost");
    }
    if runs.is_some() {
        ensure!(median <= MEDIAN && longest <= LONGEST, "median {median:?}, longest {longest:?}: {outages:?}");
    }
    ensure!(longest <= LONGEST_IN_CI, "{outages:?}");
    Ok(())
}

fn runs() -> Result<Option<usize>> {
    match std::env::var("ORCHESTRATOR_FAILOVERS") {
        Ok(text) => {
            let runs: usize = text.parse().with_context(|| format!("ORCHESTRATOR_FAILOVERS={text}: not a number"))?;
            ensure!(runs > 0, "ORCHESTRATOR_FAILOVERS=0: nothing to do");
            Ok(Some(runs))
        }
        Err(_) => Ok(None),
    }
}
