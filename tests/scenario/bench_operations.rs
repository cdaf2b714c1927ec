//! What moving many replicas costs, compared to one: one source, one target, and replicas that move between them, on real
//! servers under a steady write load. Started by `scripts/bench --relocate`; the figures are in `docs/benchmarks.md`.
//!
//! What it is not: a test. The target is printed as met or missed; the exit code says only whether it could be measured.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use domain::plan::Request;
use harness::{Flavor, Member, Topology, Writer, catch_up, parse};
use scenario::{Executor, Fleet, key};
use serde_json::json;

/// Wall time of moving all replicas, in wall times of moving one.
const TARGET: f64 = 3.0;
const PAUSE: Duration = Duration::from_millis(20);
const CATCH_UP: Duration = Duration::from_secs(60);

/// Relocating many replicas, compared to one.
#[derive(Debug, Parser)]
#[command(name = "bench-operations")]
struct Arguments {
    /// Flavour of the servers: mariadb (115 MB each) or mysql (290 MB each)
    #[arg(long, default_value = "mariadb")]
    flavor: Flavor,
    /// Replicas to be moved
    #[arg(long, default_value_t = 20)]
    replicas: usize,
    /// Moves of one, and of all, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// MaxConcurrentReplicaOperations, instead of the default
    #[arg(long)]
    parallel: Option<u64>,
    /// Leave the primary idle
    #[arg(long)]
    no_writes: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-operations: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    if arguments.replicas == 0 || arguments.rounds == 0 {
        bail!("there must be a replica and a round");
    }
    let bench = Bench::start(arguments).await?;
    let (mut single, mut many) = (Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        // There and back, so that each round begins as the first did.
        single.push(bench.move_one("target").await?);
        single.push(bench.move_one("source").await?);
        many.push(bench.move_all("source", "target").await?);
        many.push(bench.move_all("target", "source").await?);
        eprintln!("round {round}: one {:.3} s, all {:.3} s", last(&single), last(&many));
    }
    let (one, all) = (median(&mut single), median(&mut many));
    let ratio = all / one;
    let verdict = if ratio <= TARGET { "met" } else { "missed" };
    println!(
        "| Servers | Replicas | In parallel | One s | All s | All / one | Target |\n|---|---|---|---|---|---|---|"
    );
    println!(
        "| {} | {} | {} | {one:.3} | {all:.3} | {ratio:.2} | at most {TARGET}: {verdict} |",
        arguments.flavor, arguments.replicas, bench.parallel
    );
    Ok(())
}

fn last(times: &[f64]) -> f64 {
    times.last().copied().unwrap_or_default()
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The servers, and what moves them.
struct Bench {
    topology: Topology,
    executor: Executor,
    replicas: Vec<String>,
    parallel: u64,
    _fleet: Fleet,
    _writer: Option<Writer>,
}

impl Bench {
    async fn start(arguments: &Arguments) -> Result<Self> {
        let replicas: Vec<String> = (1..=arguments.replicas).map(|number| format!("r{number}")).collect();
        eprintln!("starts {} {} servers and a backend", replicas.len() + 2, arguments.flavor);
        let members = members(&replicas)?;
        let mut fleet = Fleet::new(Flavor::MariaDb, json!({ "InstancePollSeconds": 5 })).await?;
        let (topology, started) =
            tokio::join!(Topology::start_members(arguments.flavor, &members), fleet.service("service", &[]));
        let topology = topology?;
        started?;
        let backend = fleet.backend.connect_options(harness::ROOT).database("orchestrator");
        let mut parallel = 0;
        let executor = Executor::new(backend, |settings| {
            if let Some(wanted) = arguments.parallel {
                settings.discovery.max_concurrent_replica_operations = wanted;
            }
            parallel = settings.discovery.max_concurrent_replica_operations;
        })
        .await?;
        let writer = if arguments.no_writes { None } else { Some(Writer::start(&topology["source"], 1, PAUSE).await?) };
        for (_, server) in &topology.servers {
            executor.discover(server).await?;
        }
        Ok(Self { topology, executor, replicas, parallel, _fleet: fleet, _writer: writer })
    }

    /// Seconds that moving the first replica takes.
    async fn move_one(&self, below: &str) -> Result<f64> {
        let instance = key(&self.topology[self.replicas[0].as_str()]);
        let request = Request::Relocate { instance, below: key(&self.topology[below]) };
        self.timed(&request, 1).await
    }

    /// Seconds that moving all replicas takes. The target is a replica of the source and stays where it is.
    async fn move_all(&self, of: &str, below: &str) -> Result<f64> {
        let (of, below) = (key(&self.topology[of]), key(&self.topology[below]));
        let request = Request::RelocateReplicas { of, below, pattern: String::new() };
        self.timed(&request, self.replicas.len()).await
    }

    async fn timed(&self, request: &Request, expected: usize) -> Result<f64> {
        let source = &self.topology["source"];
        for (_, server) in self.topology.servers.iter().skip(1) {
            catch_up(server, source, CATCH_UP).await?;
        }
        let begun = Instant::now();
        let (id, outcome) = self.executor.operate(request, false).await?;
        let took = begun.elapsed().as_secs_f64();
        let outcome = outcome.with_context(|| format!("operation {id}, {request:?}"))?;
        if outcome.state != "done" || outcome.done.len() != expected {
            bail!("{} of {expected} moved, {}: {}", outcome.done.len(), outcome.state, outcome.error);
        }
        Ok(took)
    }
}

fn members(replicas: &[String]) -> Result<Vec<Member>> {
    parse(&format!("source\n target\n {}\n", replicas.join("\n ")))
}
