//! What moving many replicas costs, compared to one: one source, one target, and replicas that move between them, on real
//! servers under a steady write load. Started by `scripts/bench --relocate`; the figures are in `docs/benchmarks.md`.
//!
//! What it is not: a test. The target is printed as met or missed; the exit code says only whether it could be measured.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use domain::plan::Request;
use harness::{Flavor, HOST, Member, Topology, Writer, catch_up, parse, replica_status};
use scenario::{Executor, Fleet, key};
use serde_json::json;

/// Wall time of moving all replicas, in wall times of moving one.
const TARGET: f64 = 3.0;
const PAUSE: Duration = Duration::from_millis(20);
/// Between looks at a receiver that connects.
const LOOK: Duration = Duration::from_millis(10);
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
    /// Moves of one and of all, there and back, of which the median counts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// MaxConcurrentReplicaOperations, instead of the default
    #[arg(long)]
    parallel: Option<u64>,
    /// Leave the primary idle
    #[arg(long)]
    no_writes: bool,
    /// Also say where the time of each operation went
    #[arg(long)]
    explain: bool,
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
    let (mut single, mut many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare_single, mut bare_many) = (Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        // There and back, so that each round begins as the first did; one and all in turn, so that whatever else the
        // machine does weighs on both.
        let ones = [bench.move_one("target").await?, bench.move_one("source").await?];
        let alls = [bench.move_all("source", "target").await?, bench.move_all("target", "source").await?];
        let (one, all): (f64, f64) = (ones.iter().sum(), alls.iter().sum());
        let bare = (bench.bare(1).await?, bench.bare(arguments.replicas).await?);
        eprintln!(
            "round {round}: one {:.3} s, all {:.3} s, {:.2} times; bare statements {:.3} s, {:.3} s",
            one / 2.0,
            all / 2.0,
            all / one,
            bare.0,
            bare.1
        );
        bare_single.push(bare.0);
        bare_many.push(bare.1);
        ratios.push(all / one);
        single.extend(ones);
        many.extend(alls);
    }
    let (one, all, ratio) = (median(&mut single), median(&mut many), median(&mut ratios));
    let verdict = if ratio <= TARGET { "met" } else { "missed" };
    println!(
        "| Servers | Replicas | In parallel | One s | All s | All / one | Target |\n|---|---|---|---|---|---|---|"
    );
    println!(
        "| {} | {} | {} | {one:.3} | {all:.3} | {ratio:.2} | at most {TARGET}: {verdict} |",
        arguments.flavor, arguments.replicas, bench.parallel
    );
    let (one, all) = (median(&mut bare_single), median(&mut bare_many));
    println!(
        "The same statements sent to the servers alone, with nothing asked and nobody to wait for but them: one {one:.3} s, all \
         {} at once {all:.3} s, {:.2} times.",
        arguments.replicas,
        all / one
    );
    Ok(())
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
    explain: bool,
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
        let explain = arguments.explain;
        Ok(Self { topology, executor, replicas, parallel, explain, _fleet: fleet, _writer: writer })
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

    /// Seconds that the statements of a move take by themselves, on the first of the replicas, all at once: the receiver stops,
    /// the source is named (the one there is), the receiver runs. What the servers and this machine cost, without us.
    async fn bare(&self, count: usize) -> Result<f64> {
        let source = &self.topology["source"];
        let mut connections = Vec::new();
        for name in &self.replicas[..count] {
            let server = &self.topology[name.as_str()];
            catch_up(server, source, CATCH_UP).await?;
            connections.push(server.connect_root().await?);
        }
        let flavor = source.flavor();
        let statements = match flavor {
            Flavor::MySql => [
                "STOP REPLICA IO_THREAD".to_owned(),
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{HOST}', SOURCE_PORT = {}, SOURCE_HEARTBEAT_PERIOD = 2",
                    source.port()
                ),
                "START REPLICA IO_THREAD".to_owned(),
            ],
            Flavor::MariaDb => [
                "STOP SLAVE".to_owned(),
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '{HOST}', MASTER_PORT = {}, MASTER_USE_GTID = slave_pos, \
                     MASTER_HEARTBEAT_PERIOD = 2",
                    source.port()
                ),
                "START SLAVE".to_owned(),
            ],
        };
        let begun = Instant::now();
        let moves = connections.into_iter().map(|mut connection| {
            let statements = &statements;
            async move {
                for sql in statements {
                    sqlx::raw_sql(sql).execute(&mut connection).await?;
                }
                while !replica_status(flavor, &mut connection).await?.is_some_and(|status| status.is_running()) {
                    tokio::time::sleep(LOOK).await;
                }
                anyhow::Ok(())
            }
        });
        futures::future::try_join_all(moves).await?;
        Ok(begun.elapsed().as_secs_f64())
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
        if self.explain {
            self.tell(id, took).await?;
        }
        Ok(took)
    }

    /// What an operation spent its time on, as the backend's clock says: before the first step, in each step (mean), between
    /// the steps of a branch (mean), after the last step.
    async fn tell(&self, id: u64, took: f64) -> Result<()> {
        let (operation, steps) = (self.executor.operation(id).await?, self.executor.steps(id).await?);
        let milliseconds = |from: i64, to: i64| (to - from) as f64 / 1e3;
        let mut lasted: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        let mut between = Vec::new();
        for step in &steps {
            let ended = step.ended_at.context("a step without an end")?;
            lasted.entry(step.sequence).or_default().push(milliseconds(step.begun_at, ended));
            let next = steps.iter().find(|next| next.branch == step.branch && next.sequence == step.sequence + 1);
            between.extend(next.map(|next| milliseconds(ended, next.begun_at)));
        }
        let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len().max(1) as f64;
        let created = operation.created_at;
        let first = steps.iter().map(|step| step.begun_at).min().unwrap_or(created);
        let last = steps.iter().filter_map(|step| step.ended_at).max().unwrap_or(created);
        let lasted: Vec<String> = lasted.values().map(|times| format!("{:.1}", mean(times))).collect();
        eprintln!(
            "  {:.0} ms: {:.1} before, {:.1} in steps ({} each; {:.1} between), {:.1} after",
            took * 1e3,
            milliseconds(created, first),
            milliseconds(first, last),
            lasted.join(" + "),
            mean(&between),
            operation.finished_at.map_or(0.0, |finished| milliseconds(last, finished))
        );
        Ok(())
    }
}

fn members(replicas: &[String]) -> Result<Vec<Member>> {
    parse(&format!("source\n target\n {}\n", replicas.join("\n ")))
}
