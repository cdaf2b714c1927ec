//! The servers, what operates on them, and what is looked at after each operation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::instance::InstanceKey;
use domain::plan::Request;
use harness::{Flavor, Link, Topology, Writer, catch_up, replica_status, replicate};
use operations::OperationOutcome;
use scenario::{Executor, Fleet, credentials_query, key, wait};
use serde_json::json;

use crate::planned::as_planned;
use crate::states::{State, States, attached, is_one_topology, wanted};

/// Names in the text of the topology, and where each begins a sequence.
pub(crate) const SERVERS: [(&str, Option<&str>); 5] =
    [("a", None), ("b", Some("a")), ("c", Some("a")), ("d", Some("b")), ("e", Some("b"))];
const TEXT: &str = "a\n  b\n    d\n    e\n  c";
/// A thread that was started runs, a row that was written arrives.
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Servers, their application, a fleet that looks after them, and what operates on them.
pub(crate) struct Arena {
    pub(crate) topology: Topology,
    executor: Executor,
    writer: Writer,
    /// How operations ended, and how often.
    pub(crate) ends: BTreeMap<String, u64>,
    pub(crate) operating: Duration,
    /// Rows acknowledged that each server has shown to have, by number.
    shown: BTreeMap<String, usize>,
    _fleet: Fleet,
}

impl Arena {
    pub(crate) async fn start(flavor: Flavor) -> Result<Self> {
        let mut fleet =
            Fleet::new(flavor.other(), json!({ "ReplicationCredentialsQuery": credentials_query() })).await?;
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
    pub(crate) async fn reset(&mut self) -> Result<()> {
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

    /// Asks what would be done, has it done, and looks at what became of it.
    pub(crate) async fn step(&mut self, request: &Request) -> Result<String> {
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
            let detached = now.source.contains("//");
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
                let now = after.get(&name).map(|state| &state.source);
                ensure!(now == Some(&source), "{name} follows {now:?}, not {source}");
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
                let executed = self.topology[*name].value("@@GLOBAL.gtid_executed").await?;
                let subtract = format!("GTID_SUBTRACT('{executed}', @@GLOBAL.gtid_executed)");
                let own = self.topology["a"].value(&subtract).await?;
                ensure!(own.is_empty(), "{name} has transactions of its own: {own}");
            } else {
                let servers = self.topology[*name].value("@@GLOBAL.gtid_binlog_pos").await?;
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
            let state = State { source, io: status.io_running, sql: status.sql_running, delay: status.delay_seconds };
            states.insert(name.clone(), state);
        }
        Ok(states)
    }

    pub(crate) async fn links(&self) -> Result<String> {
        let links = self.states().await?.into_iter().map(|(name, state)| {
            let mark = match state.runs() {
                (true, true) => "",
                (true, false) => "(applier stopped)",
                (false, true) => "(receiver stopped)",
                (false, false) => "(stopped)",
            };
            let delay = if state.delay > 0 { "(delayed)" } else { "" };
            format!("{name}<{}{mark}{delay}", state.source)
        });
        Ok(links.collect::<Vec<_>>().join(" "))
    }

    fn name(&self, server: &InstanceKey) -> String {
        self.named(&server.to_string())
    }

    pub(crate) fn named(&self, text: &str) -> String {
        let servers = self.topology.servers.iter();
        servers
            .fold(self.topology.named(text), |text, (name, server)| text.replace(&format!("{:?}", key(server)), name))
    }
}
