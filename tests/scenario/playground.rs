//! A real topology under a steady write load, with a fleet that operates on it, and one question: is all well?
//!
//! ```text
//!   Playground::start(flavor, text) ─▶ ok("relocate -i @d -d @c") ─▶ settled("b<a c<a d<c e<b")
//! ```
//! Servers are named as in the text of the topology. Links are what the servers themselves say, by name of the replica:
//! `d<c` (both threads run), `d<c(stopped)`, `d<c(receiver stopped)`, `d<c(applier stopped)`, `d<c(connecting)`,
//! `d<c(delay 1)`, `d<//c(connecting)` (detached). A server that does not run is not among them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{Flavor, ReplicaStatus, Server, Topology, Writer, missing_rows, replica_status, table_checksum};
use serde_json::{Value, json};
use sqlx::MySqlPool;

use crate::fleet::{Fleet, Output};
use crate::wait;

/// A replica has applied everything, a server is known.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two rows that the application writes.
const PAUSE: Duration = Duration::from_millis(20);
/// Row numbers of one writer: a later one begins beyond them.
const ROWS: u64 = 1_000_000;

/// Two tiers: `a` is the primary, `d` and `e` are below `b`.
pub const TWO_TIERS: &str = "a\n  b\n    d\n    e\n  c";
/// Its links.
pub const TWO_TIERS_LINKS: &str = "b<a c<a d<b e<b";

/// A topology, its application, and the fleet that operates on it.
#[derive(Debug)]
pub struct Playground {
    /// The servers.
    pub topology: Topology,
    /// Service and worker.
    pub fleet: Fleet,
    /// Where the application writes.
    pub primary: String,
    pool: MySqlPool,
    writer: Option<Writer>,
    acknowledged: Vec<u64>,
    writers: u64,
}

impl Playground {
    /// Starts all of it and waits until every server is known.
    pub async fn start(flavor: Flavor, text: &str) -> Result<Self> {
        Self::start_with(flavor, text, json!({})).await
    }

    /// The same with settings of the fleet.
    pub async fn start_with(flavor: Flavor, text: &str, settings: Value) -> Result<Self> {
        let (topology, fleet) = tokio::try_join!(Topology::start(flavor, text), fleet(flavor, settings))?;
        let pool = fleet.pool().await?;
        let primary = topology.servers.first().context("an empty topology")?.0.clone();
        let mut playground =
            Self { topology, fleet, primary, pool, writer: None, acknowledged: Vec::new(), writers: 0 };
        playground.write().await?;
        playground.discover().await?;
        Ok(playground)
    }

    async fn discover(&self) -> Result<()> {
        let seeds: Vec<String> = self.topology.servers.iter().map(|(_, server)| server.address()).collect();
        self.fleet.ok(&["-c", "discover", "-i", &seeds.join(",")]).await?;
        wait::until("all servers are known", LIMIT, || async {
            let known = self.fleet.ok(&["-c", "all-instances"]).await?;
            Ok(seeds.iter().all(|seed| known.lines().any(|line| line == seed)).then_some(()))
        })
        .await
    }

    /// A server.
    pub fn server(&self, name: &str) -> Result<&Server> {
        self.topology.get(name).with_context(|| format!("no server {name}"))
    }

    /// Runs statements on a server as root.
    pub async fn sql(&self, name: &str, statements: &str) -> Result<()> {
        self.server(name)?.execute(statements).await
    }

    /// One value, as text; empty: NULL.
    pub async fn value(&self, name: &str, expression: &str) -> Result<String> {
        self.server(name)?.value(expression).await
    }

    /// The application writes (again).
    pub async fn write(&mut self) -> Result<()> {
        if self.writer.is_none() {
            let first = 1 + self.writers * ROWS;
            self.writers += 1;
            self.writer = Some(Writer::start(self.server(&self.primary)?, first, PAUSE).await?);
        }
        Ok(())
    }

    /// The application pauses.
    pub async fn pause(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.acknowledged.extend(writer.finish().await);
        }
    }

    /// Waits until the application has had so many more rows acknowledged.
    pub async fn rows_written(&self, rows: usize) -> Result<()> {
        let count = || self.writer.as_ref().map_or(0, |writer| writer.acknowledged().len());
        let first = count();
        wait::until("the application writes", LIMIT, || async { Ok((count() >= first + rows).then_some(())) }).await
    }

    /// Runs a command: words apart by blanks, `@name` is that server's address; the first is the command.
    pub async fn run(&self, command: &str) -> Result<Output> {
        let words = self.words(command);
        let args: Vec<&str> = std::iter::once("-c").chain(words.iter().map(String::as_str)).collect();
        let mut output = self.fleet.run(&args).await?;
        output.stdout = self.named(&output.stdout);
        output.stderr = self.named(&output.stderr);
        Ok(output)
    }

    /// The same; must succeed. What it printed, with names for addresses, without the last line end.
    pub async fn ok(&self, command: &str) -> Result<String> {
        let output = self.run(command).await?;
        if output.code != 0 {
            bail!("{command} exited with {}: {}{}", output.code, output.stdout, output.stderr);
        }
        Ok(output.stdout.trim_end().to_owned())
    }

    /// The words of a command, with addresses for names.
    pub fn words(&self, command: &str) -> Vec<String> {
        command.split_whitespace().map(|word| self.addressed(word)).collect()
    }

    fn addressed(&self, word: &str) -> String {
        let mut text = word.to_owned();
        for (name, server) in &self.topology.servers {
            text = text.replace(&format!("@{name}"), &server.address());
        }
        text
    }

    /// A text with names for addresses.
    pub fn named(&self, text: &str) -> String {
        self.topology.named(text)
    }

    /// Who replicates from whom, as the servers say.
    pub async fn links(&self) -> Result<String> {
        let mut links = BTreeMap::new();
        for (name, server) in self.topology.servers.iter().filter(|(_, server)| server.is_running()) {
            let mut conn = server.connect_root().await?;
            if let Some(status) = replica_status(self.topology.flavor, &mut conn).await? {
                links.insert(name.clone(), self.link(name, &status));
            }
        }
        Ok(links.into_values().collect::<Vec<_>>().join(" "))
    }

    fn link(&self, name: &str, status: &ReplicaStatus) -> String {
        let mark = if status.source_host.starts_with("//") { "//" } else { "" };
        let source = self.topology.name_of(status.source_port);
        let source = source.map_or_else(|| status.source_port.to_string(), str::to_owned);
        let state = match (status.io_running.as_str(), status.sql_running.as_str()) {
            ("Yes", "Yes") => "",
            ("No", "No") => "(stopped)",
            ("No", _) => "(receiver stopped)",
            ("Yes", _) => "(applier stopped)",
            _ => "(connecting)",
        };
        let delay = if status.delay_seconds > 0 { format!("(delay {})", status.delay_seconds) } else { String::new() };
        format!("{name}<{mark}{source}{state}{delay}")
    }

    /// Waits until the servers say these links.
    pub async fn linked(&self, links: &str) -> Result<()> {
        let mut now = String::new();
        let begun = std::time::Instant::now();
        while begun.elapsed() < LIMIT {
            now = self.links().await?;
            if now == links {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the links are {now:?}, expected {links:?}{}", self.errors().await?)
    }

    /// What replication complains of, a line each.
    async fn errors(&self) -> Result<String> {
        let mut lines = Vec::new();
        for (name, server) in self.topology.servers.iter().filter(|(_, server)| server.is_running()) {
            let status = replica_status(self.topology.flavor, &mut server.connect_root().await?).await?;
            let errors = status.into_iter().flat_map(|status| [status.io_error, status.sql_error]);
            lines.extend(errors.filter(|error| !error.is_empty()).map(|error| format!("\n{name}: {error}")));
        }
        Ok(lines.concat())
    }

    /// Everything is as it should be: these links; every server that replicates has all that was acknowledged and the same
    /// rows as the primary; none has a transaction of its own. The application pauses for it.
    pub async fn settled(&mut self, links: &str) -> Result<()> {
        self.at_rest(links).await?;
        self.write().await
    }

    /// The same, and the application stays paused.
    pub async fn at_rest(&mut self, links: &str) -> Result<()> {
        self.linked(links).await?;
        self.pause().await;
        let (primary, mut attached) = (self.server(&self.primary)?, Vec::new());
        let lost = missing_rows(primary, &self.acknowledged).await?;
        if !lost.is_empty() {
            bail!("{} acknowledged rows are not on {}: {lost:?}", lost.len(), self.primary);
        }
        let truth = table_checksum(primary).await?;
        for (name, server) in self.attached(links) {
            let what = format!("{name} has the rows of {}", self.primary);
            let same =
                wait::until(&what, LIMIT, || async { Ok((table_checksum(server).await? == truth).then_some(())) });
            same.await.with_context(|| links.to_owned())?;
            attached.push(name);
        }
        for name in attached {
            self.nothing_of_its_own(name).await?;
        }
        Ok(())
    }

    /// The servers from which a chain of running links leads to the primary.
    fn attached(&self, links: &str) -> Vec<(&str, &Server)> {
        let links: Vec<(&str, &str)> = links.split(' ').filter_map(|link| link.split_once('<')).collect();
        let reaches = |name: &str| {
            let mut at = name;
            // As many steps as there are servers: a ring ends, too.
            for _ in 0..=links.len() {
                if at == self.primary {
                    return true;
                }
                match links.iter().find(|(replica, _)| *replica == at) {
                    Some((_, source)) => at = source,
                    None => return false,
                }
            }
            false
        };
        let all = self.topology.servers.iter().map(|(name, server)| (name.as_str(), server));
        all.filter(|(name, _)| *name != self.primary && reaches(name)).collect()
    }

    async fn nothing_of_its_own(&self, name: &str) -> Result<()> {
        if self.topology.flavor == Flavor::MariaDb {
            let position = "@@GLOBAL.gtid_current_pos";
            let truth = self.value(&self.primary, position).await?;
            return wait::until(&format!("{name} is at {truth}"), LIMIT, || async {
                Ok((self.value(name, position).await? == truth).then_some(()))
            })
            .await;
        }
        let truth = self.value(&self.primary, "@@GLOBAL.gtid_executed").await?;
        let errant = self.value(name, &format!("GTID_SUBTRACT(@@GLOBAL.gtid_executed, '{truth}')")).await?;
        if errant.is_empty() { Ok(()) } else { bail!("{name} has transactions of its own: {errant}") }
    }

    /// Audit entries of a type about a server; of all servers when `name` is empty.
    pub async fn audited(&self, kind: &str, name: &str) -> Result<i64> {
        let port = if name.is_empty() { 0 } else { self.server(name)?.port() };
        let sql = "SELECT COUNT(*) FROM audit WHERE audit_type = ? AND (port = ? OR ? = 0)";
        Ok(sqlx::query_scalar(sql).bind(kind).bind(port).bind(port).fetch_one(&self.pool).await?)
    }

    /// Maintenance locks in force.
    pub async fn locks(&self) -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM maintenance WHERE active_slot IS NOT NULL";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }

    /// The backend.
    pub fn pool(&self) -> &MySqlPool {
        &self.pool
    }
}

/// A service and a worker; the backend is of the other flavour.
async fn fleet(flavor: Flavor, settings: Value) -> Result<Fleet> {
    let mut fleet = Fleet::new(flavor.other(), settings).await?;
    fleet.service("service", &[]).await?;
    fleet.worker("worker", &[]).await?;
    Ok(fleet)
}
