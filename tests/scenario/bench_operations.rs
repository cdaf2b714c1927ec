//! What moving many replicas costs, compared to one: one source, one target, and replicas that move between them, on real
//! servers under a steady write load. Started by `scripts/bench --relocate`; the figures are in `docs/benchmarks.md`.
//!
//! Measured are the commands that people run, from their start to their end; the job alone, as a worker runs it; and the bare
//! statements, which is what the servers and the machine cost.
//!
//! What it is not: a test. The target is printed as met or missed; the exit code says only whether it could be measured.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use domain::plan::Request;
use harness::{Flavor, HOST, Member, Topology, Writer, catch_up, parse, replica_status};
use scenario::{Executor, Fleet, key, proc};
use serde_json::json;

/// Wall time of moving all replicas, in wall times of moving one.
const TARGET: f64 = 3.0;
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
    /// MySQL replicates without TLS, as MariaDB does here, whose servers have no certificate
    #[arg(long)]
    no_tls: bool,
    /// Transactions a second on the primary, of one row each, which every replica applies; 0 leaves it idle
    #[arg(long, default_value_t = 50)]
    rows: u32,
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
    let [mut commands, mut jobs, mut bare] = [const { Times::new() }; 3];
    for round in 1..=arguments.rounds {
        // One and all in turn, so that whatever else the machine does weighs on both.
        let command = commands.add(bench.round(Way::Command).await?);
        let job = jobs.add(bench.round(Way::Job).await?);
        let statements = bare.add((bench.bare(1).await?, bench.bare(arguments.replicas).await?));
        eprintln!("round {round}: command {command}; job {job}; bare statements {statements}");
    }
    println!("| Servers | TLS | Rows/s | Replicas | In parallel | Measured | One s | All s | All / one | Target |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let flavor = arguments.flavor;
    let tls = if flavor == Flavor::MySql && !arguments.no_tls { "yes" } else { "no" };
    let what = format!("{flavor} | {tls} | {} | {} | {}", arguments.rows, arguments.replicas, bench.parallel);
    for (measured, times) in [("command", &mut commands), ("job", &mut jobs), ("bare statements", &mut bare)] {
        let (one, all, ratio) = times.medians();
        let verdict = match measured {
            "bare statements" => String::new(),
            _ if ratio <= TARGET => format!("at most {TARGET}: met"),
            _ => format!("at most {TARGET}: missed"),
        };
        println!("| {what} | {measured} | {one:.3} | {all:.3} | {ratio:.2} | {verdict} |");
    }
    Ok(())
}

/// Who moves replicas.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A person: command line, queue, the worker of the service.
    Command,
    /// The job that workers run, in this process: nothing around it, and something to tell of it.
    Job,
}

/// Seconds of moving one and of moving all.
#[derive(Debug)]
struct Times {
    ones: Vec<f64>,
    alls: Vec<f64>,
    ratios: Vec<f64>,
}

impl Times {
    const fn new() -> Self {
        Self { ones: Vec::new(), alls: Vec::new(), ratios: Vec::new() }
    }

    /// Adds a round, and says what it was.
    fn add(&mut self, (one, all): (f64, f64)) -> String {
        self.ones.push(one);
        self.alls.push(all);
        self.ratios.push(all / one);
        format!("one {one:.3} s, all {all:.3} s, {:.2} times", all / one)
    }

    fn medians(&mut self) -> (f64, f64, f64) {
        (median(&mut self.ones), median(&mut self.alls), median(&mut self.ratios))
    }
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
    fleet: Fleet,
    _writer: Option<Writer>,
}

impl Bench {
    async fn start(arguments: &Arguments) -> Result<Self> {
        let replicas: Vec<String> = (1..=arguments.replicas).map(|number| format!("r{number}")).collect();
        eprintln!("starts {} {} servers and a backend", replicas.len() + 2, arguments.flavor);
        let members = members(&replicas, !arguments.no_tls)?;
        let mut settings = json!({ "InstancePollSeconds": 5 });
        if let Some(wanted) = arguments.parallel {
            settings["MaxConcurrentReplicaOperations"] = json!(wanted);
        }
        let mut fleet = Fleet::new(Flavor::MariaDb, settings).await?;
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
        let pause = Duration::from_secs(1).checked_div(arguments.rows);
        let writer = match pause {
            Some(pause) => Some(Writer::start(&topology["source"], 1, pause).await?),
            None => None,
        };
        for (_, server) in &topology.servers {
            executor.discover(server).await?;
        }
        let explain = arguments.explain;
        Ok(Self { topology, executor, replicas, parallel, explain, fleet, _writer: writer })
    }

    /// Seconds of moving the first replica, and of moving all; each there and back, so that the next round begins as this
    /// one did. The target is a replica of the source and stays where it is.
    async fn round(&self, way: Way) -> Result<(f64, f64)> {
        let one = self.moved(way, "r1", "target").await? + self.moved(way, "r1", "source").await?;
        let all = self.moved(way, "source", "target").await? + self.moved(way, "target", "source").await?;
        Ok((one / 2.0, all / 2.0))
    }

    /// Seconds of moving the first replica (`r1`), or all replicas of a server, below another.
    async fn moved(&self, way: Way, what: &str, below: &str) -> Result<f64> {
        let source = &self.topology["source"];
        for (_, server) in self.topology.servers.iter().skip(1) {
            catch_up(server, source, CATCH_UP).await?;
        }
        let is_one = what == "r1";
        let (what, below) = (&self.topology[what], &self.topology[below]);
        let expected = if is_one { 1 } else { self.replicas.len() };
        match way {
            Way::Command => {
                let word = if is_one { "relocate" } else { "relocate-replicas" };
                let (what, below) = (what.address(), below.address());
                let begun = Instant::now();
                let said = self.fleet.ok(&["-c", word, "-i", &what, "-d", &below]).await?;
                let took = begun.elapsed().as_secs_f64();
                if said.lines().count() != expected {
                    bail!("{word} of {what} moved {} of {expected}: {said}", said.lines().count());
                }
                Ok(took)
            }
            Way::Job => {
                let (what, below) = (key(what), key(below));
                let request = if is_one {
                    Request::Relocate { instance: what, below }
                } else {
                    Request::RelocateReplicas { of: what, below, pattern: String::new() }
                };
                self.job(&request, expected).await
            }
        }
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

    async fn job(&self, request: &Request, expected: usize) -> Result<f64> {
        let before = self.spent();
        let asked = self.executor.probe_stats();
        let begun = Instant::now();
        let (id, outcome) = self.executor.operate(request, false).await?;
        let took = begun.elapsed().as_secs_f64();
        let after = self.spent();
        let outcome = outcome.with_context(|| format!("operation {id}, {request:?}"))?;
        if outcome.state != "done" || outcome.done.len() != expected {
            bail!("{} of {expected} moved, {}: {}", outcome.done.len(), outcome.state, outcome.error);
        }
        if self.explain {
            self.tell(id, took).await?;
            let spent: Vec<String> =
                before.iter().zip(after).map(|((name, then), (_, now))| format!("{name} {:.0}", now - then)).collect();
            eprintln!("    processor time, ms: {}", spent.join(", "));
            let asks = self.executor.probe_stats();
            eprintln!(
                "    {} looks in {} round trips, {} connections for looks",
                asks.probes - asked.probes,
                asks.round_trips - asked.round_trips,
                asks.connections_opened - asked.connections_opened
            );
        }
        Ok(took)
    }

    /// Processor time so far, in milliseconds, of all who take part.
    fn spent(&self) -> Vec<(&'static str, f64)> {
        let of = |name: &str| proc::cpu_ms(self.topology[name].pid().unwrap_or_default());
        let service = self.fleet.pid("service").unwrap_or_default();
        vec![
            ("replicas", self.replicas.iter().map(|name| of(name)).sum()),
            ("source", of("source")),
            ("target", of("target")),
            ("backend", proc::cpu_ms(self.fleet.backend.pid().unwrap_or_default())),
            ("service", proc::cpu_ms(service)),
            ("this process", proc::cpu_ms(std::process::id())),
            ("machine", proc::machine_ms().0),
        ]
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

fn members(replicas: &[String], tls: bool) -> Result<Vec<Member>> {
    let mut members = parse(&format!("source\n target\n {}\n", replicas.join("\n ")))?;
    for member in &mut members {
        member.options.tls = tls;
    }
    Ok(members)
}
