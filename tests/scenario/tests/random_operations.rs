//! Random sequences of operations on real servers under a steady write load, with a fixed seed. After each operation: it
//! did what its plan said when it was only asked for, nothing that was acknowledged is missing, no replica has silently
//! stopped, and the topology is one.
//!
//! `ORCHESTRATOR_SEQUENCES=200` runs that many instead of a few, `ORCHESTRATOR_SEQUENCES=17..18` one of them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use domain::instance::InstanceKey;
use domain::plan::{Action, Condition, Plan, Request, Rule, Step};
use harness::{Flavor, Link, Server, Topology, Writer, catch_up, replica_status, replicate};
use operations::OperationOutcome;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use scenario::{Executor, Fleet, key, wait};
use serde_json::json;
use store::operations::StepRow;

/// Names in the text of the topology, and where each begins a sequence.
const SERVERS: [(&str, Option<&str>); 5] =
    [("a", None), ("b", Some("a")), ("c", Some("a")), ("d", Some("b")), ("e", Some("b"))];
const TEXT: &str = "a\n  b\n    d\n    e\n  c";
const SEED: u64 = 20_261_123;
const OPERATIONS: usize = 10;
/// Sequences of one run, unless the environment says otherwise: what fits into half a minute.
const FEW: u64 = 4;
/// A thread that was started runs, a row that was written arrives.
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_for_nothing_is_lost_and_nothing_stops(#[case] flavor: Flavor) -> Result<()> {
    let mut arena = Arena::start(flavor).await?;
    let (range, begun) = (sequences()?, Instant::now());
    for sequence in range.clone() {
        arena.reset().await.with_context(|| format!("before sequence {sequence}"))?;
        let mut random = StdRng::seed_from_u64(SEED + sequence);
        let mut story = String::new();
        for _ in 0..OPERATIONS {
            let request = arena.random_request(&mut random)?;
            let said = arena.named(&format!("{request:?}"));
            let ended = arena.step(&request).await;
            let end = ended.as_ref().map_or("WRONG", |end| end.as_str());
            writeln!(story, "  {said}: {end}; {}", arena.links().await?)?;
            ended.with_context(|| format!("{flavor}, ORCHESTRATOR_SEQUENCES={sequence}..{}\n{story}", sequence + 1))?;
        }
    }
    arena.reset().await.context("after the last sequence")?;
    let done: u64 = arena.ends.values().sum();
    println!(
        "{flavor}: {} sequences, {done} operations in {:.1} s, {:.2} s each: {:?}",
        range.end - range.start,
        begun.elapsed().as_secs_f64(),
        arena.operating.as_secs_f64() / done as f64,
        arena.ends
    );
    Ok(())
}

/// Which sequences to run: as many, or from one up to another.
fn sequences() -> Result<Range<u64>> {
    let Ok(text) = std::env::var("ORCHESTRATOR_SEQUENCES") else { return Ok(0..FEW) };
    let parsed = match text.split_once("..") {
        Some((first, end)) => first.parse().ok().zip(end.parse().ok()).map(|(first, end)| first..end),
        None => text.parse().ok().map(|count| 0..count),
    };
    parsed.with_context(|| format!("ORCHESTRATOR_SEQUENCES={text}: neither a number nor two"))
}

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// By name, or host and port.
    source: Option<String>,
    io: String,
    sql: String,
    delay: u32,
}

impl State {
    /// Do the receiver and the applier want to run?
    fn runs(&self) -> (bool, bool) {
        (self.io != "No", self.sql != "No")
    }
}

type States = BTreeMap<String, State>;

/// Servers, their application, a fleet that looks after them, and what operates on them.
struct Arena {
    topology: Topology,
    executor: Executor,
    writer: Writer,
    /// How operations ended, and how often.
    ends: BTreeMap<String, u64>,
    operating: Duration,
    /// Rows acknowledged that each server has shown to have, by number.
    shown: BTreeMap<String, usize>,
    _fleet: Fleet,
}

impl Arena {
    async fn start(flavor: Flavor) -> Result<Self> {
        let backend = if flavor == Flavor::MySql { Flavor::MariaDb } else { Flavor::MySql };
        let mut fleet = Fleet::new(backend, json!({})).await?;
        let (topology, started) = tokio::join!(Topology::start(flavor, TEXT), fleet.service("service", &[]));
        let topology = topology?;
        started?;
        let backend = fleet.backend.connect_options(harness::ROOT).database("orchestrator");
        let executor = Executor::new(backend, |_| {}).await?;
        let writer = Writer::start(&topology["a"], 1, PAUSE).await?;
        for (_, server) in &topology.servers {
            executor.discover(server).await?;
        }
        let (ends, shown, operating) = (BTreeMap::new(), BTreeMap::new(), Duration::ZERO);
        Ok(Self { topology, executor, writer, ends, operating, shown, _fleet: fleet })
    }

    /// Everything as in the text; all that was ever acknowledged is everywhere, and nothing else.
    async fn reset(&mut self) -> Result<()> {
        let states = self.states().await?;
        for name in states.keys() {
            self.topology[name.as_str()].execute("STOP REPLICA").await?;
        }
        // Sources first: MariaDB's replicas give up when they have more than their source.
        for (name, source) in SERVERS {
            let server = &self.topology[name];
            server.execute(&format!("SET GLOBAL read_only = {}", u8::from(source.is_some()))).await?;
            match source {
                Some(source) => {
                    // Also when it is where it should be: it may be delayed, or without GTID.
                    replicate(server, &self.topology[source], Link::default()).await?;
                    catch_up(server, &self.topology["a"], LIMIT).await?;
                }
                None if states.contains_key(name) => server.execute("RESET REPLICA ALL").await?,
                None => {}
            }
        }
        // With pauses of their own the writes go on: a row is looked for once it was acknowledged.
        let names: Vec<&str> = SERVERS.iter().map(|(name, _)| *name).collect();
        self.shown.clear();
        self.has_everything(&names).await?;
        self.nothing_of_their_own(&names).await?;
        for (name, server) in &self.topology.servers {
            self.executor.discover(server).await.with_context(|| name.clone())?;
        }
        Ok(())
    }

    fn random_request(&self, random: &mut StdRng) -> Result<Request> {
        let name = |random: &mut StdRng| SERVERS.choose(random).map_or("a", |(name, _)| *name);
        let (one, other) = (name(random), name(random));
        let (instance, below) = (key(&self.topology[one]), key(&self.topology[other]));
        let of = instance.clone();
        let pattern =
            if random.random_bool(0.3) { key(&self.topology[name(random)]).to_string() } else { String::new() };
        let maybe = random.random_bool(0.5).then(|| below.clone());
        Ok(match random.random_range(0..44) {
            0..6 => Request::Relocate { instance, below },
            6..8 => Request::RelocateReplicas { of, below, pattern },
            8..11 => Request::MoveUp { instance },
            11 => Request::MoveUpReplicas { of, pattern },
            12..15 => Request::MoveBelow { instance, below },
            15..17 => Request::MoveGtid { instance, below },
            17 => Request::MoveReplicasGtid { of, below, pattern },
            18 => Request::MoveEquivalent { instance, below },
            19 => Request::Repoint { instance, below: maybe },
            20 => Request::RepointReplicas { of, below: None, pattern },
            21..24 => Request::TakeMaster { instance },
            24..26 => Request::TakeSiblings { instance },
            26 => Request::MakeCoMaster { instance },
            27..29 => Request::MakeLocalMaster { instance },
            29 => Request::RegroupReplicas { of, gtid_only: false },
            30 => Request::StopReplica { instance },
            31..33 => Request::StartReplica { instance },
            33 => Request::RestartReplica { instance },
            34 => Request::StopReplicaNice { instance },
            35 => Request::StopReplicaIo { instance },
            36 => Request::StopReplicaSql { instance },
            37 => Request::DelayReplication { instance, seconds: random.random_range(0..2) },
            38 => Request::FlushBinaryLogs { instance, until: String::new() },
            39 => Request::DisableGtid { instance },
            40 => Request::EnableGtid { instance },
            41 => Request::DetachReplica { instance },
            42 => Request::ReattachReplica { instance },
            _ => Request::SkipQuery { instance },
        })
    }

    /// Asks what would be done, has it done, and looks at what became of it.
    async fn step(&mut self, request: &Request) -> Result<String> {
        let before = self.states().await?;
        let (_, planned) = self.executor.operate(request, true).await?;
        let planned = planned.context("asked for the plan")?;
        let begun = Instant::now();
        let (id, outcome) = self.executor.operate(request, false).await?;
        self.operating += begun.elapsed();
        let outcome = outcome.with_context(|| self.named(&format!("operation {id}, planned: {planned:?}")));
        let outcome = outcome?;
        let steps = self.executor.steps(id).await?;
        let stored = self.executor.operation(id).await?.plan;
        as_planned(&planned, &outcome, stored.as_ref(), &steps)
            .map_err(|error| anyhow::anyhow!(self.named(&error.to_string())))?;
        let after = self.became(request, &outcome, &before).await?;
        let attached = attached(&after);
        let attached: Vec<&str> = attached.iter().map(String::as_str).collect();
        self.has_everything(&attached).await?;
        let word =
            outcome.refusal.as_ref().map_or_else(|| outcome.state.clone(), |refusal| format!("{:?}", refusal.rule));
        *self.ends.entry(outcome.state).or_default() += 1;
        Ok(word)
    }

    /// Waits until the servers are as they must be after this operation; gives how they are.
    async fn became(&self, request: &Request, outcome: &OperationOutcome, before: &States) -> Result<States> {
        let begun = Instant::now();
        loop {
            let after = self.states().await?;
            match self.is_right(request, outcome, before, &after) {
                Ok(()) => return Ok(after),
                Err(error) if begun.elapsed() > LIMIT => {
                    return Err(error.context(format!(
                        "{}\nbefore: {before:?}\nafter: {after:?}",
                        self.named(&format!("{outcome:?}"))
                    )));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn is_right(&self, request: &Request, outcome: &OperationOutcome, before: &States, after: &States) -> Result<()> {
        is_one_topology(after)?;
        let subject = self.name(request.instance());
        let done = outcome.state == "done";
        for (name, then) in before {
            let now = after.get(name).with_context(|| format!("{name} is no replica any more"))?;
            let wanted = if done && *name == subject { wanted(request, then.runs()) } else { then.runs() };
            ensure!(now.runs() == wanted, "threads of {name}: {now:?}, wanted: {wanted:?}");
            let detached = now.source.as_deref().is_none_or(|source| source.contains("//"));
            ensure!(now.io != "Connecting" || detached, "{name} does not get through to its source");
        }
        let others: BTreeSet<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
        ensure!(
            others.is_empty() || matches!(request, Request::MakeCoMaster { .. }) && done,
            "became replicas: {others:?}"
        );
        for moved in &outcome.done {
            let name = self.name(&moved.instance);
            if let Some(source) = moved.new_source.as_ref().map(|source| self.name(source)) {
                let now = after.get(&name).and_then(|state| state.source.clone());
                ensure!(now.as_ref() == Some(&source), "{name} follows {now:?}, not {source}");
            }
        }
        if !done {
            let sources = |states: &States| -> Vec<_> { states.values().map(|state| state.source.clone()).collect() };
            ensure!(sources(before) == sources(after), "refused, and yet moved");
        }
        Ok(())
    }

    /// Waits until these servers have every row that was acknowledged by now.
    async fn has_everything(&mut self, names: &[&str]) -> Result<()> {
        let acknowledged = self.writer.acknowledged();
        for name in names {
            let from = self.shown.get(*name).copied().unwrap_or(0);
            let (rows, server) = (&acknowledged[from..], &self.topology[*name]);
            let Some((first, last)) = rows.first().zip(rows.last()) else { continue };
            wait::until(&format!("{name} has {} acknowledged rows, {first} to {last}", rows.len()), LIMIT, || async {
                let there: Vec<u64> = sqlx::query_scalar("SELECT id FROM app.ledger WHERE id BETWEEN ? AND ?")
                    .bind(first)
                    .bind(last)
                    .fetch_all(&mut server.connect_root().await?)
                    .await?;
                let there: BTreeSet<u64> = there.into_iter().collect();
                Ok(rows.iter().all(|id| there.contains(id)).then_some(()))
            })
            .await?;
            self.shown.insert((*name).to_owned(), acknowledged.len());
        }
        Ok(())
    }

    /// The primary has executed all that these have, asked after them.
    async fn nothing_of_their_own(&self, names: &[&str]) -> Result<()> {
        for name in names.iter().filter(|name| **name != "a") {
            if self.topology.flavor == Flavor::MySql {
                let executed = value(&self.topology[*name], "@@GLOBAL.gtid_executed").await?;
                let own =
                    value(&self.topology["a"], &format!("GTID_SUBTRACT('{executed}', @@GLOBAL.gtid_executed)")).await?;
                ensure!(own.is_empty(), "{name} has transactions of its own: {own}");
            } else {
                let servers = value(&self.topology[*name], "@@GLOBAL.gtid_binlog_pos").await?;
                let primary = key(&self.topology["a"]).port.to_string();
                let own = servers.split(',').find(|gtid| gtid.split('-').nth(1) != Some(primary.as_str()));
                ensure!(own.is_none(), "{name} has transactions of its own: {servers}");
            }
        }
        Ok(())
    }

    async fn states(&self) -> Result<States> {
        let mut states = States::new();
        for (name, server) in &self.topology.servers {
            let status = replica_status(self.topology.flavor, &mut server.connect_root().await?).await?;
            let Some(status) = status.filter(|status| !status.source_host.is_empty()) else { continue };
            let source = self.name(&InstanceKey::new(status.source_host.clone(), status.source_port));
            let state = State {
                source: Some(source),
                io: status.io_running,
                sql: status.sql_running,
                delay: status.delay_seconds,
            };
            states.insert(name.clone(), state);
        }
        Ok(states)
    }

    async fn links(&self) -> Result<String> {
        let links = self.states().await?.into_iter().map(|(name, state)| {
            let mark = match state.runs() {
                (true, true) => "",
                (true, false) => "(applier stopped)",
                (false, true) => "(receiver stopped)",
                (false, false) => "(stopped)",
            };
            let delay = if state.delay > 0 { "(delayed)" } else { "" };
            format!("{name}<{}{mark}{delay}", state.source.unwrap_or_default())
        });
        Ok(links.collect::<Vec<_>>().join(" "))
    }

    fn name(&self, server: &InstanceKey) -> String {
        self.named(&server.to_string())
    }

    fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, server) in &self.topology.servers {
            text = text.replace(&server.address(), name);
            text = text.replace(&format!("{:?}", key(server)), name);
        }
        text
    }
}

/// One value, as text.
async fn value(server: &Server, expression: &str) -> Result<String> {
    let sql = format!("SELECT CAST(({expression}) AS CHAR)");
    let found: Option<String> = sqlx::query_scalar(&sql).fetch_one(&mut server.connect_root().await?).await?;
    Ok(found.unwrap_or_default())
}

/// What was done is what was printed: the same answer, the same plan, and of the plan each step, in its order.
fn as_planned(
    planned: &OperationOutcome,
    outcome: &OperationOutcome,
    stored: Option<&Plan>,
    steps: &[StepRow],
) -> Result<()> {
    let (asked, told) = (planned.refusal.as_ref(), outcome.refusal.as_ref());
    if asked.is_some() || told.is_some() {
        let rules = (asked.map(|refusal| refusal.rule), told.map(|refusal| refusal.rule));
        // Whether what was received is on the new source already changes from moment to moment.
        let of_the_moment = [rules.0, rules.1].contains(&Some(Rule::UnappliedRelayLog));
        ensure!(rules.0 == rules.1 || of_the_moment, "{planned:?}\nbut then {outcome:?}");
        if told.is_none() {
            ensure!(outcome.state == "done", "{outcome:?}");
            return Ok(());
        }
        ensure!(stored.is_none() && steps.is_empty(), "refused, and yet something was done: {steps:?}");
        return Ok(());
    }
    ensure!(outcome.state == "done" && outcome.error.is_empty(), "planned as {:?}\nbut {outcome:?}", planned.plan);
    let (Some(printed), Some(stored)) = (planned.plan.as_ref(), stored) else { bail!("no plan: {planned:?}") };
    ensure!(gist(printed) == gist(stored), "printed: {printed:?}\nexecuted: {stored:?}");
    for (part, branch, wanted) in lists(stored) {
        let mut rows: Vec<&StepRow> = steps.iter().filter(|row| row.part == part && row.branch == branch).collect();
        rows.sort_by_key(|row| row.sequence);
        let executed: Vec<&Step> = rows.iter().filter_map(|row| row.step.as_ref()).collect();
        ensure!(executed == wanted.iter().collect::<Vec<_>>(), "{part} {branch}: {rows:?}");
    }
    ensure!(steps.len() == stored.steps().count() && steps.iter().all(|row| row.state == "done"), "{steps:?}");
    Ok(())
}

/// A plan less what follows from the moment, while the application writes: warnings (who is behind by what), and whether
/// what was received is applied first or was seen to be on the new source already.
fn gist(plan: &Plan) -> Plan {
    let mut gist = plan.clone();
    gist.warnings.clear();
    for branch in &mut gist.branches {
        branch.steps.retain(|step| step.action != Action::Drain);
        for step in &mut branch.steps {
            step.before.retain(|condition| !matches!(condition, Condition::Drained | Condition::ReceivedIsIn { .. }));
        }
    }
    gist
}

fn lists(plan: &Plan) -> Vec<(&'static str, u32, &[Step])> {
    let branches = (0..).zip(&plan.branches).map(|(index, branch)| ("branch", index, branch.steps.as_slice()));
    branches.chain([("head", 0, plan.head.as_slice()), ("tail", 0, plan.tail.as_slice())]).collect()
}

/// Threads of the server that this operation is about, once it is done.
fn wanted(request: &Request, (io, sql): (bool, bool)) -> (bool, bool) {
    match request {
        Request::StopReplica { .. } | Request::StopReplicaNice { .. } => (false, false),
        Request::StartReplica { .. } | Request::RestartReplica { .. } => (true, true),
        Request::StopReplicaIo { .. } => (false, sql),
        Request::StopReplicaSql { .. } => (io, false),
        _ => (io, sql),
    }
}

/// Nobody follows itself; rings are of two.
fn is_one_topology(states: &States) -> Result<()> {
    for name in states.keys() {
        let mut way = vec![name.as_str()];
        while let Some(source) = states.get(way[way.len() - 1]).and_then(|state| state.source.as_deref()) {
            if let Some(at) = way.iter().position(|passed| *passed == source) {
                ensure!(way.len() - at == 2, "a ring: {way:?}");
                break;
            }
            way.push(source);
        }
    }
    Ok(())
}

/// The primary, and the servers from which running links lead there.
fn attached(states: &States) -> BTreeSet<String> {
    let mut attached = BTreeSet::from(["a".to_owned()]);
    for _ in states {
        for (name, state) in states.iter().filter(|(_, state)| state.runs() == (true, true)) {
            if state.source.as_ref().is_some_and(|source| attached.contains(source)) {
                attached.insert(name.clone());
            }
        }
    }
    attached
}
