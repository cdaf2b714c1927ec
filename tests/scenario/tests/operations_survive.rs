//! Workers are killed in the middle of operations: another one finishes each, or refuses cleanly, soon; never do two of
//! them act, not even when one was only frozen and wakes up; afterwards everything replicates, from where it did or from
//! where it was asked to.
//!
//! `ORCHESTRATOR_KILLS=all` kills within and after each single step instead of at a few of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::plan::Request;
use harness::{Flavor, Topology, Writer, catch_up, missing_rows, replica_status, wait_running};
use jobs::Operate;
use queue::{DEAD_AFTER, NewJob};
use scenario::{Executor, Fleet, credentials_query, key, wait};
use serde_json::json;
use store::operations::{NewOperation, Operation, State, StepRow};

/// Three clusters, one for each operation.
const TEXT: &str = "
    a
      b
      c
    p
      q
        r
    x
      y
";
const PRIMARIES: [&str; 3] = ["a", "p", "x"];
/// A dead worker's operation has ended this long after the death: the silence after which it counts as dead, and this.
const BEYOND_SILENCE: Duration = Duration::from_secs(3);
/// Kills for each operation, unless all are asked for.
const FEW: usize = 2;
/// A worker is frozen within the third step of a relocation: there is something to lose, and something left to do.
const FROZEN_AT: usize = 4;
/// No operation here has as many moments.
const MOST: usize = 60;
/// An operation ends: MySQL's applier alone may take a minute to stop, when its receiver stopped within a transaction.
const LIMIT: Duration = Duration::from_secs(120);
const CATCH_UP: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// What is done again and again, there and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Relocate,
    TakeMaster,
    MakeCoMaster,
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_worker_goes_on_with_what_a_killed_one_had_begun(#[case] flavor: Flavor) -> Result<()> {
    let mut night = Night::start(flavor).await?;
    for kind in [Kind::Relocate, Kind::TakeMaster, Kind::MakeCoMaster] {
        // Once unharmed: how many moments are there?
        let id = night.submit(kind).await?;
        night.ended(id).await?;
        let moments = 2 * night.executor.steps(id).await?.len();
        ensure!(night.judge(kind, id).await? && (4..MOST).contains(&moments), "{kind:?}: {moments} moments");
        for moment in chosen(moments)? {
            night.round(kind, moment).await.with_context(|| format!("{flavor}, {kind:?}, killed at {moment}"))?;
        }
    }
    night.awakening(Kind::Relocate).await.with_context(|| format!("{flavor}, frozen"))?;
    night.nothing_lost().await?;
    // How soon after a death an operation ends is a figure people ask for.
    println!(
        "{flavor}: {} losses; from death to end: median {:.1} s, longest {:.1} s, allowed {:.1} s",
        night.took.len(),
        median(&mut night.took),
        night.took.last().copied().unwrap_or_default(),
        (DEAD_AFTER + BEYOND_SILENCE).as_secs_f64()
    );
    Ok(())
}

/// The moments to kill at: 2 n is within step n, 2 n + 1 after it.
fn chosen(moments: usize) -> Result<Vec<usize>> {
    match std::env::var("ORCHESTRATOR_KILLS") {
        // After the last step nothing may be left to kill for.
        Ok(text) if text == "all" => Ok((0..moments - 1).collect()),
        Ok(text) => {
            let few: usize =
                text.parse().with_context(|| format!("ORCHESTRATOR_KILLS={text}: neither all nor a number"))?;
            Ok(spread(moments, few))
        }
        Err(_) => Ok(spread(moments, FEW)),
    }
}

fn spread(moments: usize, few: usize) -> Vec<usize> {
    let all: BTreeSet<usize> = (0..few).map(|number| (2 * number + 1) * moments / (2 * few)).collect();
    all.into_iter().collect()
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Servers, writers, a leader, and workers that live only for so long.
struct Night {
    topology: Topology,
    fleet: Fleet,
    /// To look with; it executes nothing here.
    executor: Executor,
    writers: Vec<(&'static str, Writer)>,
    workers: usize,
    took: Vec<f64>,
}

impl Night {
    async fn start(flavor: Flavor) -> Result<Self> {
        let settings = json!({ "ReplicationCredentialsQuery": credentials_query() });
        let mut fleet = Fleet::new(flavor.other(), settings).await?;
        let (topology, started) =
            tokio::join!(Topology::start(flavor, TEXT), fleet.service("service", &["--no-worker"]));
        let topology = topology?;
        started?;
        let backend = fleet.backend.connect_options(harness::ROOT).database("orchestrator");
        let executor = Executor::new(backend, |_| {}).await?;
        let mut writers = Vec::new();
        for name in PRIMARIES {
            writers.push((name, Writer::start(&topology[name], 1, PAUSE).await?));
        }
        for (_, server) in &topology.servers {
            executor.discover(server).await?;
        }
        let mut night = Self { topology, fleet, executor, writers, workers: 0, took: Vec::new() };
        night.hire().await?;
        night.hire().await?;
        Ok(night)
    }

    async fn hire(&mut self) -> Result<()> {
        self.workers += 1;
        self.fleet.worker(&format!("worker{}", self.workers), &[]).await
    }

    /// Asks for the operation that leads on from how things are now.
    async fn submit(&self, kind: Kind) -> Result<u64> {
        let request = match kind {
            Kind::Relocate => {
                let below = if self.source("c").await?.as_deref() == Some("a") { "b" } else { "a" };
                Request::Relocate { instance: key(&self.topology["c"]), below: key(&self.topology[below]) }
            }
            Kind::TakeMaster => {
                let lower = if self.source("q").await?.as_deref() == Some("p") { "r" } else { "q" };
                Request::TakeMaster { instance: key(&self.topology[lower]) }
            }
            Kind::MakeCoMaster => {
                if self.source("x").await?.is_some() {
                    self.topology["x"].execute("STOP REPLICA; RESET REPLICA ALL").await?;
                }
                Request::MakeCoMaster { instance: key(&self.topology["y"]) }
            }
        };
        let mut tx = self.executor.pool().begin().await?;
        let new = NewOperation { request: &request, dry_run: false, cluster_name: "", actor: "night" };
        let id = store::operations::create(&mut tx, &new).await?;
        let jobs = queue::enqueue(&mut tx, &[NewJob::of(&Operate::new(id))?]).await?;
        let job = jobs.first().context("not enqueued")?.id();
        store::operations::set_job(&mut tx, id, job).await?;
        tx.commit().await?;
        Ok(id)
    }

    async fn ended(&self, id: u64) -> Result<Operation> {
        let begun = Instant::now();
        loop {
            let operation = self.executor.operation(id).await?;
            if operation.state.has_ended() {
                return Ok(operation);
            }
            ensure!(begun.elapsed() < LIMIT, "did not end: {operation:?}\n{:?}", self.executor.steps(id).await?);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One operation, one death.
    async fn round(&mut self, kind: Kind, moment: usize) -> Result<()> {
        let id = self.submit(kind).await?;
        let Some(dead) = self.executor_at(id, moment).await? else {
            println!("{kind:?}, moment {moment}: ended before");
            self.judge(kind, id).await?;
            return Ok(());
        };
        self.fleet.kill(&dead)?;
        self.taken_up(kind, id, &dead).await?;
        self.hire().await
    }

    /// One operation whose worker is frozen within a step, and wakes up when another one has ended it: what it still
    /// believes to be its own is not.
    async fn awakening(&mut self, kind: Kind) -> Result<()> {
        let id = self.submit(kind).await?;
        let frozen = self.executor_at(id, FROZEN_AT).await?.context("ended before")?;
        self.fleet.signal(&frozen, "STOP")?;
        let done = self.taken_up(kind, id, &frozen).await?;
        let (operation, steps) = (self.executor.operation(id).await?, self.executor.steps(id).await?);
        self.fleet.signal(&frozen, "CONT")?;
        self.fleet.heard(&frozen).await?;
        // It carries on with whatever it has before it ends.
        self.fleet.signal(&frozen, "TERM")?;
        self.fleet.ended(&frozen, LIMIT).await?;
        ensure!(self.executor.steps(id).await? == steps, "{frozen} went on: {:?}", self.executor.steps(id).await?);
        let now = self.executor.operation(id).await?;
        ensure!((now.run, now.state, &now.outcome) == (operation.run, operation.state, &operation.outcome), "{now:?}");
        ensure!(self.judge(kind, id).await? == done, "{frozen} has changed something");
        self.hire().await
    }

    /// Another worker than the lost one ends it, soon, and things are as it says; was it done?
    async fn taken_up(&mut self, kind: Kind, id: u64, dead: &str) -> Result<bool> {
        let died = Instant::now();
        let at_death = self.executor.steps(id).await?;
        let operation = self.ended(id).await?;
        let took = died.elapsed();
        self.took.push(took.as_secs_f64());
        let last = at_death.last().map_or_else(String::new, |step| format!("{} of {:?}", step.state, step.text));
        println!("{kind:?}: {dead} was lost with {last}; {} after {took:.1?}", operation.state.name());
        ensure!(took <= DEAD_AFTER + BEYOND_SILENCE, "ended after {took:?}: {operation:?}");
        ensure!(operation.run == 2 && operation.executor != dead, "not taken up by another: {operation:?}");
        self.never_two(id, &at_death).await?;
        let locks = store::maintenance::active(self.executor.pool()).await?;
        ensure!(locks.is_empty(), "locks are left: {locks:?}");
        let done = self.judge(kind, id).await?;
        ensure!(done == (operation.state == State::Done), "says {:?}, but done: {done}", operation.state);
        Ok(done)
    }

    /// Who carries it out, at a moment: 2 n is within step n, 2 n + 1 after it. `None`: it ended before.
    async fn executor_at(&self, id: u64, moment: usize) -> Result<Option<String>> {
        let begun = Instant::now();
        loop {
            let operation = self.executor.operation(id).await?;
            // Also when it had fewer steps this time: there was nothing to drain.
            if operation.state.has_ended() {
                return Ok(None);
            }
            let steps = self.executor.steps(id).await?;
            let done = steps.iter().filter(|step| step.state == "done").count();
            if steps.len() + done > moment {
                return Ok(Some(operation.executor));
            }
            ensure!(begun.elapsed() < LIMIT, "moment {moment} never came: {operation:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What the ledger proves: the dead begins nothing more; whoever takes over has newer tokens, and begins nothing before
    /// the last order of the dead can have arrived.
    async fn never_two(&self, id: u64, at_death: &[StepRow]) -> Result<()> {
        let steps = self.executor.steps(id).await?;
        ensure!(steps.iter().all(|step| step.state != "begun"), "left open: {steps:?}");
        let (old, new): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.run == 1);
        // One may have been on its way to the backend when the worker died.
        ensure!(old.len() <= at_death.len() + 1, "the dead went on: {old:?}");
        for earlier in &old {
            // The dead may have sent what it did not record as done until the last moment that it had for it.
            let closed = match (earlier.state.as_str(), earlier.ended_at) {
                ("done", Some(ended)) => ended,
                _ => earlier.deadline_at,
            };
            let later = |step: &&StepRow| {
                step.token > earlier.token && step.begun_at >= closed && step.worker != earlier.worker
            };
            ensure!(new.iter().all(later), "{steps:?}");
        }
        Ok(())
    }

    /// Waits until everything runs, and says whether things are as asked; as before is the only other thing they may be.
    async fn judge(&self, kind: Kind, id: u64) -> Result<bool> {
        for (name, server) in &self.topology.servers {
            if self.source(name).await?.is_some() {
                wait_running(server, CATCH_UP).await?;
            }
        }
        let request = self.executor.operation(id).await?.request;
        let asked = match (kind, &request) {
            (Kind::Relocate, Request::Relocate { below, .. }) => {
                let source = self.source("c").await?;
                let to_b = *below == key(&self.topology["b"]);
                let (wanted, before) = if to_b { ("b", "a") } else { ("a", "b") };
                ensure!([Some(wanted), Some(before)].contains(&source.as_deref()), "c follows {source:?}");
                source.as_deref() == Some(wanted)
            }
            (Kind::TakeMaster, Request::TakeMaster { instance }) => {
                let (upper, lower) = if *instance == key(&self.topology["r"]) { ("r", "q") } else { ("q", "r") };
                let sources = (self.source(upper).await?, self.source(lower).await?);
                let sources = (sources.0.as_deref(), sources.1.as_deref());
                let swapped = sources == (Some("p"), Some(upper));
                ensure!(swapped || sources == (Some(lower), Some("p")), "{upper} and {lower} follow {sources:?}");
                swapped
            }
            (Kind::MakeCoMaster, _) => {
                let sources = (self.source("x").await?, self.source("y").await?);
                ensure!(sources.1.as_deref() == Some("x"), "y follows {:?}", sources.1);
                sources.0.as_deref() == Some("y")
            }
            _ => return Err(anyhow::anyhow!("{kind:?} is not {request:?}")),
        };
        Ok(asked)
    }

    /// Whom a server follows, by name.
    async fn source(&self, name: &str) -> Result<Option<String>> {
        let server = &self.topology[name];
        let status = replica_status(self.topology.flavor, &mut server.connect_root().await?).await?;
        let found = status.filter(|status| !status.source_host.is_empty()).map(|status| {
            let source = self.topology.name_of(status.source_port);
            source.map_or_else(|| status.source_port.to_string(), str::to_owned)
        });
        Ok(found)
    }

    /// Every row that was acknowledged is on every server of its cluster.
    async fn nothing_lost(&mut self) -> Result<()> {
        for (primary, writer) in std::mem::take(&mut self.writers) {
            let acknowledged = writer.finish().await;
            let members: &[&str] = match primary {
                "a" => &["a", "b", "c"],
                "p" => &["p", "q", "r"],
                _ => &["x", "y"],
            };
            for name in members {
                if *name != primary {
                    catch_up(&self.topology[*name], &self.topology[primary], CATCH_UP).await?;
                }
                let missing = missing_rows(&self.topology[*name], &acknowledged).await?;
                ensure!(missing.is_empty(), "{name} lacks {missing:?}");
            }
        }
        wait::until("no lock is left", CATCH_UP, || async {
            Ok(store::maintenance::active(self.executor.pool()).await?.is_empty().then_some(()))
        })
        .await
    }
}
