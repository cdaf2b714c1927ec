//! Many clusters of a simulated fleet lose their primaries at once: how long each is without one, and what it costs. Started by
//! `scripts/bench --recoveries`; the figures are in `docs/benchmarks.md`.
//!
//! What it is not: a test. The targets are printed as met or missed; the exit code says only whether it could be measured.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use harness::Flavor;
use scenario::storm::{Ridden, Sky};
use scenario::{Storm, backend};
use serde_json::{Map, Value};
use simulator::Death;

/// Of all outages of one storm.
const MEDIAN: Duration = Duration::from_secs(3);
const LAST: Duration = Duration::from_secs(6);

/// Many clusters lose their primaries at once.
#[derive(Debug, Parser)]
#[command(name = "bench-recoveries")]
struct Arguments {
    /// Simulated servers, four to a cluster
    #[arg(long, default_value_t = 1000)]
    servers: usize,
    /// Clusters whose primaries die
    #[arg(long, default_value_t = 20)]
    dead: usize,
    /// How they die, in the words of the simulator: refuse, blackhole, freeze
    #[arg(long, default_value = "refuse")]
    death: Death,
    /// Worker processes; 0: only the built-in one of the service
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Storms, each with everything started afresh
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// RecoveryMaxConcurrent, instead of the default
    #[arg(long)]
    brake: Option<u64>,
    /// Which server is the backend: mariadb or mysql
    #[arg(long, default_value = "mariadb")]
    backend: Flavor,
    /// A configuration key for orchestrator, KEY=JSON; may be given several times
    #[arg(long = "set", value_parser = pair)]
    settings: Vec<(String, Value)>,
    /// Also say where the time of each recovery went
    #[arg(long)]
    explain: bool,
}

fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=JSON is needed")?;
    let value = serde_json::from_str(value).map_err(|error| format!("{value:?} is not JSON: {error}"))?;
    Ok((key.to_owned(), value))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-recoveries: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    if arguments.rounds == 0 {
        bail!("there must be a round");
    }
    println!(
        "| Servers | Dead | How | Workers | Backend | At once | Median s | Last s | All closed s | Own CPU ms | Backend CPU ms | Simulator CPU ms | Statements | Targets |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for round in 1..=arguments.rounds {
        round_of(arguments).await.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

async fn round_of(arguments: &Arguments) -> Result<()> {
    let mut settings: Map<String, Value> = arguments.settings.iter().cloned().collect();
    if let Some(brake) = arguments.brake {
        settings.insert("RecoveryMaxConcurrent".to_owned(), brake.into());
    }
    let sky = Sky {
        servers: arguments.servers,
        workers: arguments.workers,
        backend: arguments.backend,
        variables: backend::variables(arguments.backend, false, &[]),
        settings: settings.into(),
    };
    let mut storm = Storm::start(&sky).await?;
    let strike = storm.strike(arguments.dead, &arguments.death).await?;
    let ridden = storm.ride_out(&strike).await?;
    storm.recorded(&strike).await?;
    let most = storm.most_at_once().await?;
    println!("{}", row(arguments, &ridden, most));
    for (cluster, reason) in &ridden.held_back {
        eprintln!("   held back: {cluster}: {reason}");
    }
    if arguments.explain {
        for line in storm.timings(&strike).await? {
            eprintln!("   {line}");
        }
    }
    Ok(())
}

fn row(arguments: &Arguments, ridden: &Ridden, most: i64) -> String {
    let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
    let targets = match (ridden.median() <= MEDIAN, ridden.last() <= LAST) {
        // Before the others know of a silent one, their own patience must end.
        _ if !matches!(arguments.death, Death::Refuse) => "none",
        (true, true) => "met",
        _ if !ridden.held_back.is_empty() => "held back",
        _ => "missed",
    };
    let costs = ridden.costs;
    format!(
        "| {} | {} | {:?} | {} | {} | {most} | {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {targets} |",
        arguments.servers,
        arguments.dead,
        arguments.death,
        arguments.workers,
        arguments.backend,
        seconds(ridden.median()),
        seconds(ridden.last()),
        seconds(ridden.closed),
        costs.own_ms,
        costs.backend_ms,
        costs.driver_ms,
        costs.statements,
    )
}
