//! A cluster that loses its primary, again and again: what its clients felt, what was lost, what the fleet wrote down.
//!
//! ```text
//!   Incident::start ─▶ write ─▶ strike(how) ─▶ taken_over ─▶ settled ─▶ replace ─┐
//!                        ▲                                                       │  the dead one by a new one, empty
//!                        └───────────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::{
    Flavor, Link, Outage, Server, Topology, Writer, lossless, missing_rows, parse, replica_status, replicate,
    table_checksum,
};
use serde_json::{Value, json};
use sqlx::mysql::MySqlConnection;
use sqlx::{MySqlPool, Row};

use crate::fleet::Fleet;
use crate::wait;

/// Everything is known, everybody replicates.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// A failover that takes longer does not happen.
const FAILOVER_LIMIT: Duration = Duration::from_secs(30);
/// Between two rows of the application: it is what an outage can be told to.
const PAUSE: Duration = Duration::from_millis(2);
/// Rows before a blow, and from the new primary after it.
const ROWS: usize = 50;
/// Row numbers of one writer: the next one begins beyond them.
const NUMBERS: u64 = 1_000_000;

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Semi-sync: at least one replica has the row.
    Lossless,
    /// The primary has it.
    Asynchronous,
}

/// One cluster, its application, and the service that watches over it.
#[derive(Debug)]
pub struct Incident {
    /// The servers that are there now.
    pub topology: Topology,
    /// The service.
    pub fleet: Fleet,
    /// Name of the primary.
    pub primary: String,
    durability: Durability,
    pool: MySqlPool,
    writers: u64,
    newcomers: u64,
}

/// A blow to the primary.
#[derive(Debug)]
pub struct Blow {
    /// Name of the one struck.
    pub victim: String,
    /// When.
    pub at: Instant,
    /// What each survivor had received by then, as it says it: all that can be saved.
    pub received: BTreeMap<String, String>,
}

/// What became of it.
#[derive(Debug)]
pub struct TakenOver {
    /// Name of the new primary.
    pub successor: String,
    /// Nobody could write.
    pub outage: Outage,
}

impl Incident {
    /// Starts a cluster described as for [`parse`] and a service that recovers it, and waits until all is known.
    pub async fn start(flavor: Flavor, durability: Durability, text: &str, settings: Value) -> Result<Self> {
        let mut merged = json!({
            "RecoverMasterClusterFilters": ["*"],
            // One incident after the other, on purpose.
            "RecoveryPeriodBlockSeconds": 1,
        });
        if let (Some(merged), Value::Object(settings)) = (merged.as_object_mut(), settings) {
            merged.extend(settings);
        }
        let servers = async {
            match durability {
                Durability::Lossless => Topology::start_lossless(flavor, text).await,
                Durability::Asynchronous => Topology::start(flavor, text).await,
            }
        };
        let service = async {
            let mut fleet = Fleet::new(flavor.other(), merged).await?;
            fleet.service("service", &[]).await?;
            anyhow::Ok(fleet)
        };
        let (topology, fleet) = tokio::try_join!(servers, service)?;
        let pool = fleet.pool().await?;
        let primary = topology.servers.first().context("an empty topology")?.0.clone();
        let incident = Self { topology, fleet, primary, durability, pool, writers: 0, newcomers: 0 };
        incident.known().await?;
        Ok(incident)
    }

    /// The backend.
    pub fn pool(&self) -> &MySqlPool {
        &self.pool
    }

    /// A server.
    pub fn server(&self, name: &str) -> Result<&Server> {
        self.topology.get(name).with_context(|| format!("no server {name}"))
    }

    /// The application begins to write; it knows all servers. Rows have arrived when this returns.
    pub async fn write(&mut self) -> Result<Writer> {
        let mut servers = vec![self.server(&self.primary)?];
        servers.extend(self.others(&self.primary).map(|(_, server)| server));
        let writer = Writer::start_on_any(&servers, 1 + self.writers * NUMBERS, PAUSE).await?;
        self.writers += 1;
        self.rows_on(&writer, &self.primary).await?;
        Ok(writer)
    }

    /// Waits until the application has had rows acknowledged by a server.
    pub async fn rows_on(&self, writer: &Writer, name: &str) -> Result<()> {
        let address = self.server(name)?.address();
        let count = || writer.rows().iter().filter(|row| row.server == address).count();
        let before = count();
        wait::until(&format!("rows on {name}"), FAILOVER_LIMIT, || async {
            Ok((count() >= before + ROWS).then_some(()))
        })
        .await
    }

    /// Does something to the primary, and asks the survivors in the same moment what they have.
    pub async fn strike(&self, how: impl FnOnce(&Server) -> Result<()>) -> Result<Blow> {
        let mut asking = Vec::new();
        for (name, server) in self.others(&self.primary) {
            asking.push((name.to_owned(), server.connect_root().await?));
        }
        how(self.server(&self.primary)?)?;
        let at = Instant::now();
        let mut received = BTreeMap::new();
        for (name, mut connection) in asking {
            received.insert(name, received_by(self.topology.flavor, &mut connection).await?);
        }
        Ok(Blow { victim: self.primary.clone(), at, received })
    }

    /// Waits until another server than the victim takes rows, which is the primary from then on.
    pub async fn taken_over(&mut self, blow: &Blow, writer: &Writer) -> Result<TakenOver> {
        let victim = self.server(&blow.victim)?.address();
        let begun = Instant::now();
        let first = loop {
            if let Some(row) = writer.rows().into_iter().find(|row| row.at > blow.at && row.server != victim) {
                break row;
            }
            if begun.elapsed() > FAILOVER_LIMIT {
                bail!("nobody took over from {} within {FAILOVER_LIMIT:?}\n{}", blow.victim, self.diagnosis().await);
            }
            tokio::time::sleep(PAUSE).await;
        };
        let found = self.topology.servers.iter().find(|(_, server)| server.address() == first.server);
        let successor = found.context("a row on an unknown server")?.0.clone();
        self.primary.clone_from(&successor);
        self.rows_on(writer, &successor).await?;
        let outage = writer.outage(blow.at).context("there is no gap between rows")?;
        ensure!(
            outage.before.server == victim && outage.after.server == first.server,
            "the longest gap is not that of the failover: {outage:?}"
        );
        Ok(TakenOver { successor, outage })
    }

    /// Everything is as it should be behind a failover: survivors follow the successor and have its rows, it has what
    /// any of them had received, it waits for acknowledgements as the old one did, and the recovery says that it is done.
    /// Gives how many acknowledged rows are lost.
    pub async fn settled(&self, blow: &Blow, mut writer: Writer) -> Result<usize> {
        writer.stop().await;
        self.followed(blow).await?;
        self.kept(blow).await?;
        if self.durability == Durability::Lossless {
            self.waits().await?;
        }
        self.recorded(blow).await?;
        Ok(missing_rows(self.server(&self.primary)?, &writer.acknowledged()).await?.len())
    }

    /// Waits until all survivors follow the new primary and have its rows; nobody writes.
    pub async fn followed(&self, blow: &Blow) -> Result<()> {
        let successor = self.server(&self.primary)?;
        for (name, server) in self.others(&self.primary).filter(|(name, _)| *name != blow.victim) {
            let what = format!("{name} follows {}", self.primary);
            let followed = wait::until(&what, FAILOVER_LIMIT, || async {
                let status = replica_status(self.topology.flavor, &mut server.connect_root().await?).await?;
                let follows =
                    |status: &harness::ReplicaStatus| status.source_port == successor.port() && status.is_running();
                Ok(status.as_ref().is_some_and(follows).then_some(()))
            });
            if let Err(error) = followed.await {
                bail!("{error:#}\n{}", self.diagnosis().await);
            }
            wait::until(&format!("{name} has the rows of {}", self.primary), FAILOVER_LIMIT, || async {
                Ok((table_checksum(server).await? == table_checksum(successor).await?).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// The new primary has all that any survivor had received.
    pub async fn kept(&self, blow: &Blow) -> Result<()> {
        let successor = self.server(&self.primary)?;
        for (name, received) in &blow.received {
            if !has(successor, received).await? {
                let diagnosis = self.diagnosis().await;
                bail!("{} lacks what {name} had received: {received}\n{diagnosis}", self.primary);
            }
        }
        Ok(())
    }

    /// The new primary waits for acknowledgements.
    async fn waits(&self) -> Result<()> {
        let role = match self.topology.flavor {
            Flavor::MySql => "@@GLOBAL.rpl_semi_sync_source_enabled",
            Flavor::MariaDb => "@@GLOBAL.rpl_semi_sync_master_enabled",
        };
        let role = self.server(&self.primary)?.value(role).await?;
        if !["1", "ON"].contains(&role.as_str()) {
            bail!("{}: source of semi-sync is {role:?}\n{}", self.primary, self.diagnosis().await);
        }
        Ok(())
    }

    /// There is one recovery of the victim, it ended well, and names the successor.
    pub async fn recorded(&self, blow: &Blow) -> Result<()> {
        let (victim, successor) = (self.server(&blow.victim)?.port(), self.server(&self.primary)?.port());
        let sql = "SELECT outcome, successor_port, is_successful FROM recovery WHERE port = ? AND ended_at IS NOT NULL";
        let ended = wait::until("the recovery is closed", FAILOVER_LIMIT, || async {
            let rows = sqlx::query(sql).bind(victim).fetch_all(&self.pool).await?;
            Ok((!rows.is_empty()).then_some(rows))
        });
        let rows = match ended.await {
            Ok(rows) => rows,
            Err(error) => bail!("{error:#}\n{}", self.diagnosis().await),
        };
        let mut all = Vec::new();
        for row in &rows {
            let outcome: String = row.try_get_unchecked(0)?;
            all.push((outcome, row.try_get::<u16, _>(1)?, row.try_get::<u8, _>(2)?));
        }
        if all != [("recovered".to_owned(), successor, 1)] {
            bail!("recorded: {all:?}\n{}", self.diagnosis().await);
        }
        Ok(())
    }

    /// How long clients could not write, as the closed recovery tells it.
    pub async fn told(&self, blow: &Blow) -> Result<jobs::recover::Outage> {
        let sql = "SELECT outage FROM recovery WHERE port = ? AND is_successful = 1";
        let row = sqlx::query(sql).bind(self.server(&blow.victim)?.port()).fetch_one(&self.pool).await?;
        let text: String = row.try_get_unchecked(0)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A new server, empty, takes the place of one that is gone: below the primary, with all it has.
    pub async fn replace(&mut self, gone: &str) -> Result<()> {
        let address = self.server(gone)?.address();
        let mut members = parse("source\n  replica")?;
        if self.durability == Durability::Lossless {
            lossless(&mut members);
        }
        let options = members.pop().context("no replica")?.options;
        let newcomer = Server::start_with(self.topology.flavor, options).await?;
        replicate(&newcomer, self.server(&self.primary)?, Link::default()).await?;
        self.newcomers += 1;
        self.topology.servers.retain(|(name, _)| name != gone);
        self.topology.servers.push((format!("new{}", self.newcomers), newcomer));
        self.fleet.ok(&["-c", "forget", "-i", &address]).await?;
        self.known().await
    }

    /// Waits until the service sees all of them well, below the primary.
    async fn known(&self) -> Result<()> {
        let addresses: Vec<String> = self.topology.servers.iter().map(|(_, server)| server.address()).collect();
        self.fleet.ok(&["-c", "discover", "-i", &addresses.join(",")]).await?;
        let primary = self.server(&self.primary)?.address();
        let seen = wait::until("the service sees all servers well", READY_LIMIT, || async {
            let drawing = self.fleet.ok(&["-c", "topology", "-i", &primary]).await?;
            let lines: Vec<&str> = drawing.lines().collect();
            let well = |address: &String| lines.iter().any(|line| line.contains(address) && line.contains(",ok,"));
            Ok((lines.len() == addresses.len() && drawing.starts_with(&primary) && addresses.iter().all(well))
                .then_some(()))
        });
        if let Err(error) = seen.await {
            let drawing = self.fleet.run(&["-c", "topology", "-i", &primary]).await?;
            bail!("{error:#}\n{}{}", self.topology.named(&drawing.stdout), self.topology.named(&drawing.stderr));
        }
        Ok(())
    }

    fn others<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a Server)> {
        let all = self.topology.servers.iter().map(|(name, server)| (name.as_str(), server));
        all.filter(move |(other, _)| *other != name)
    }

    /// Another server than this one: the next in the order in which they are written.
    pub fn next_to(&self, name: &str) -> String {
        let names: Vec<&String> = self.topology.servers.iter().map(|(name, _)| name).collect();
        let at = names.iter().position(|other| *other == name).unwrap_or_default();
        names[(at + 1) % names.len()].clone()
    }

    /// Waits until this one takes writes and has no source, and all others that run are closed and replicate from it.
    pub async fn reigns(&self, name: &str) -> Result<()> {
        self.reigns_over(name, &[]).await
    }

    /// The same, and these need not replicate from it: they are closed.
    pub async fn reigns_over(&self, name: &str, apart: &[&str]) -> Result<()> {
        let primary = self.server(name)?;
        let what = format!("{name} is the primary");
        let reigns = wait::until(&what, FAILOVER_LIMIT, || async {
            let mut wrong = Vec::new();
            for (other, server) in self.topology.servers.iter().filter(|(_, server)| server.is_running()) {
                let status = replica_status(self.topology.flavor, &mut server.connect_root().await?).await?;
                let is_open = ["0", "OFF"].contains(&server.value("@@GLOBAL.read_only").await?.as_str());
                let is_well = match status {
                    None => other == name || apart.contains(&other.as_str()),
                    Some(status) if other != name => {
                        apart.contains(&other.as_str()) || status.source_port == primary.port() && status.is_running()
                    }
                    Some(_) => false,
                };
                if !is_well || is_open != (other == name) {
                    wrong.push(other.clone());
                }
            }
            if wrong.is_empty() { Ok(Some(())) } else { bail!("not as it should be: {wrong:?}") }
        });
        match reigns.await {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", self.diagnosis().await),
        }
    }

    /// Waits until every server that runs has all rows that were acknowledged; gives their number.
    pub async fn has_all_everywhere(&self, writer: &Writer) -> Result<usize> {
        for (name, server) in self.topology.servers.iter().filter(|(_, server)| server.is_running()) {
            wait::until(&format!("{name} has all acknowledged rows"), FAILOVER_LIMIT, || async {
                let lost = writer.lost(server).await?.len();
                if lost == 0 { Ok(Some(())) } else { bail!("{lost} rows are missing") }
            })
            .await?;
        }
        Ok(writer.acknowledged().len())
    }

    /// What the fleet wrote down, with names for addresses: for messages of failures.
    pub async fn diagnosis(&self) -> String {
        let sql = "SELECT CONCAT(r.id, ' ', r.code, ' of ', r.hostname, ':', r.port, ' ', r.phase, ' ', r.outcome, ' ', r.errors) \
                   FROM recovery r UNION ALL \
                   SELECT CONCAT(e.recovery_id, ' ', e.noted_at, ' ', e.kind, ': ', e.text) FROM recovery_event e UNION ALL \
                   SELECT CONCAT('blocked: ', b.code, ' ', b.reason) FROM recovery_blocked b UNION ALL \
                   SELECT CONCAT('operation ', o.id, ' ', o.word, ' asked for ', o.created_at, ', ended ', COALESCE(o.finished_at, 'never'), ' ', o.hostname, ':', o.port, ' ', o.state, ' ', COALESCE(o.outcome, '')) \
                   FROM operation o UNION ALL \
                   SELECT CONCAT('step of ', s.operation_id, ' ', s.begun_at, ' to ', COALESCE(s.ended_at, 'never'), ' ', s.text) \
                   FROM operation_step s UNION ALL \
                   SELECT CONCAT('former primary ', f.hostname, ':', f.port, ' ', f.state, ' ', COALESCE(f.seen_at, 'never seen'), ' ', f.errant_gtid) \
                   FROM former_primary f UNION ALL \
                   SELECT CONCAT('instance ', i.hostname, ':', i.port, ' failed ', i.failures, ' times: ', i.last_error) FROM instance i";
        let lines = match sqlx::query(sql).fetch_all(&self.pool).await {
            Ok(rows) => rows.iter().map(|row| row.try_get_unchecked::<String, _>(0).unwrap_or_default()).collect(),
            Err(error) => vec![format!("cannot read the recoveries: {error}")],
        };
        self.topology.named(&format!("{}\n{}", lines.join("\n"), self.fleet.log_tail("service")))
    }
}

/// What a replica has received, as it says it.
pub async fn received(server: &Server) -> Result<String> {
    received_by(server.flavor(), &mut server.connect_root().await?).await
}

/// The last that a replica has received: a GTID set of MySQL's, the position of MariaDB's.
async fn received_by(flavor: Flavor, connection: &mut MySqlConnection) -> Result<String> {
    let (sql, column) = match flavor {
        Flavor::MySql => ("SHOW REPLICA STATUS", "Retrieved_Gtid_Set"),
        Flavor::MariaDb => ("SHOW SLAVE STATUS", "Gtid_IO_Pos"),
    };
    let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
    let row = rows.first().context("a replica without a source")?;
    Ok(row.try_get_unchecked::<Option<String>, _>(column)?.unwrap_or_default().replace('\n', ""))
}

/// Whether a server has executed this.
async fn has(server: &Server, received: &str) -> Result<bool> {
    if received.is_empty() {
        return Ok(true);
    }
    match server.flavor() {
        Flavor::MySql => Ok(server.value(&format!("GTID_SUBSET('{received}', @@GLOBAL.gtid_executed)")).await? == "1"),
        // A server that has gone another way has the same sequence numbers, so these prove nothing: it must have the event.
        Flavor::MariaDb => {
            let mut connection = server.connect_root().await?;
            for log in sqlx::raw_sql("SHOW BINARY LOGS").fetch_all(&mut connection).await? {
                let events = format!("SHOW BINLOG EVENTS IN '{}'", log.try_get_unchecked::<String, _>(0)?);
                for event in sqlx::raw_sql(&events).fetch_all(&mut connection).await? {
                    let info: String = event.try_get_unchecked("Info")?;
                    if info.split([' ', '[', ']', ',']).any(|word| word == received) {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        }
    }
}
