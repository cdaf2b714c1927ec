//! A primary that is alive and that the fleet cannot ask: it is named for what it is, and nobody takes its place.
//!
//! Some seconds in CI; `ORCHESTRATOR_HOLD=120` for so many.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{APPLICATION, Flavor, Link, Server, TOPOLOGY, Topology, replica_status};
use rstest::rstest;
use scenario::{Fleet, wait};
use serde_json::json;
use sqlx::mysql::MySqlConnection;
use sqlx::{Executor, MySqlPool, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const LIMIT: Duration = Duration::from_secs(30);
/// How long a failover that must not come is waited for, unless said otherwise: a real one takes one second or two.
const HOLD: Duration = Duration::from_secs(5);
/// More than MariaDB's least `max_connections`.
const CLIENTS: usize = 14;
const UNREACHABLE: &str = "UnreachableMaster";

/// A primary behind a door, through which both its replicas and the fleet reach it.
struct Besieged {
    topology: Topology,
    door: Door,
    fleet: Fleet,
    pool: MySqlPool,
}

/// Listens in a server's place, and can be closed to the fleet alone, as a firewall between networks would be: who logs in as
/// the fleet gets no answer any more, neither on connections that are there nor on new ones. Everybody else comes and goes.
struct Door {
    port: u16,
    closed: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Door {
    async fn of(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (closed, is_closed) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                guests.spawn(let_in(client, server, is_closed.clone()));
            }
        });
        Ok(Self { port, closed, task })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The first packet of a client names its user: these servers offer no TLS.
async fn let_in(mut client: TcpStream, server: u16, mut closed: watch::Receiver<bool>) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.ok()?;
    server.set_nodelay(true).ok()?;
    client.set_nodelay(true).ok()?;
    client.write_all(&packet(&mut server).await?).await.ok()?;
    let login = packet(&mut client).await?;
    let is_ours = login.windows(TOPOLOGY.user.len()).any(|name| name == TOPOLOGY.user.as_bytes());
    let passes = async {
        server.write_all(&login).await.ok()?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()
    };
    let shut = async {
        while !is_ours || !*closed.borrow_and_update() {
            if closed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let was_shut = tokio::select! {
        biased;
        () = shut => true,
        _ = passes => false,
    };
    if was_shut {
        // Bytes are taken, and nothing comes back.
        drop(server);
        tokio::io::copy(&mut client, &mut tokio::io::sink()).await.ok()?;
    }
    Some(())
}

/// One packet of the protocol, with its header.
async fn packet(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes).await.ok()?;
    let length = usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16;
    bytes.resize(4 + length, 0);
    from.read_exact(&mut bytes[4..]).await.ok()?;
    Some(bytes)
}

impl Besieged {
    async fn start(flavor: Flavor) -> Result<Self> {
        let settings = json!({
            "RecoverMasterClusterFilters": ["*"],
            "RecoverIntermediateMasterClusterFilters": ["*"],
        });
        let (topology, mut fleet) =
            tokio::try_join!(Topology::start(flavor, "a no_tls\n  b\n  c"), Fleet::new(flavor.other(), settings))?;
        let door = Door::of(topology["a"].port()).await?;
        for replica in ["b", "c"] {
            stop_replica(&topology[replica]).await?;
            topology.link(replica, "a", Link { via_port: Some(door.port), ..Link::default() }).await?;
        }
        fleet.service("service", &[]).await?;
        let pool = fleet.pool().await?;
        let besieged = Self { topology, door, fleet, pool };
        let primary = besieged.primary();
        besieged.fleet.ok(&["-c", "discover", "-i", &primary]).await?;
        let all = ["b", "c"].map(|name| besieged.topology[name].address());
        wait::until("all are known as one cluster", LIMIT, || async {
            let members = besieged.fleet.run(&["-c", "which-cluster-instances", "-i", &primary]).await?.stdout;
            Ok(all.iter().all(|one| members.lines().any(|line| line == one)).then_some(()))
        })
        .await?;
        Ok(besieged)
    }

    /// The primary as everybody knows it.
    fn primary(&self) -> String {
        format!("127.0.0.1:{}", self.door.port)
    }

    /// From now on the fleet cannot reach the primary, or can again; its replicas can all the time.
    fn cut_off(&self, cut_off: bool) {
        self.door.closed.send_replace(cut_off);
    }

    /// What is said of the primary; empty: nothing.
    async fn said(&self) -> Result<String> {
        said_of(&self.fleet, &self.primary()).await
    }

    async fn says(&self, code: &str) -> Result<()> {
        until_said(&self.fleet, &self.primary(), code).await
    }

    /// For a while nothing happens, whatever is said.
    async fn holds(&self) -> Result<()> {
        let hold = hold()?;
        let begun = Instant::now();
        while begun.elapsed() < hold {
            untouched(&self.pool).await.with_context(|| self.fleet.log_tail("service"))?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for replica in ["b", "c"] {
            let server = &self.topology[replica];
            let status = replica_status(server.flavor(), &mut server.connect_root().await?).await?;
            let port = status.context("no replica any more")?.source_port;
            ensure!(port == self.door.port, "{replica} replicates from port {port}");
            let read_only = server.value("@@GLOBAL.read_only").await?;
            ensure!(["1", "ON"].contains(&read_only.as_str()), "{replica} is open for writes: {read_only}");
        }
        self.topology["a"].execute("CREATE DATABASE still_writable").await
    }
}

fn hold() -> Result<Duration> {
    match std::env::var("ORCHESTRATOR_HOLD") {
        Ok(text) => {
            let seconds = text.parse().with_context(|| format!("ORCHESTRATOR_HOLD={text}: not a number of seconds"))?;
            Ok(Duration::from_secs(seconds))
        }
        Err(_) => Ok(HOLD),
    }
}

/// The words after the last colon of the line about this instance.
async fn said_of(fleet: &Fleet, instance: &str) -> Result<String> {
    let lines = fleet.ok(&["-c", "replication-analysis"]).await?;
    let line = lines.lines().find(|line| line.starts_with(&format!("{instance} (")));
    Ok(line.and_then(|line| line.rsplit_once("): ")).map(|(_, codes)| codes.to_owned()).unwrap_or_default())
}

async fn until_said(fleet: &Fleet, instance: &str, code: &str) -> Result<()> {
    wait::until(&format!("{instance} is {code:?}"), LIMIT, || async {
        Ok((said_of(fleet, instance).await? == code).then_some(()))
    })
    .await
    .with_context(|| fleet.log_tail("service"))
}

/// No recovery was begun, and nobody is being recovered.
async fn untouched(pool: &MySqlPool) -> Result<()> {
    let sql = "SELECT CONCAT(r.kind, ' ', r.code, ' of ', r.hostname, ':', r.port, ' ', COALESCE(r.outcome, r.phase), ' ', \
               COALESCE(GROUP_CONCAT(e.text ORDER BY e.id SEPARATOR '; '), '')) \
               FROM recovery r LEFT JOIN recovery_event e ON e.recovery_id = r.id GROUP BY r.id";
    let begun = sqlx::query(sql).fetch_all(pool).await?;
    let begun: Vec<String> = begun.iter().map(|row| row.try_get_unchecked(0)).collect::<Result<_, _>>()?;
    ensure!(begun.is_empty(), "recoveries were begun: {begun:#?}");
    Ok(())
}

async fn stop_replica(server: &Server) -> Result<()> {
    server.execute(if server.flavor() == Flavor::MySql { "STOP REPLICA" } else { "STOP SLAVE" }).await
}

async fn stop_applier(server: &Server) -> Result<()> {
    let word = if server.flavor() == Flavor::MySql { "REPLICA" } else { "SLAVE" };
    server.execute(&format!("STOP {word} SQL_THREAD")).await
}

/// Ends the fleet's connections to a server.
async fn end_sessions(root: &mut MySqlConnection) -> Result<()> {
    let user = TOPOLOGY.user;
    let sessions: Vec<u64> = sqlx::query_scalar(&format!(
        "SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE USER = '{user}'"
    ))
    .fetch_all(&mut *root)
    .await?;
    for session in sessions {
        // It may have ended by itself.
        root.execute(format!("KILL {session}").as_str()).await.ok();
    }
    Ok(())
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_cut_off_from_a_living_primary(#[case] flavor: Flavor) -> Result<()> {
    let besieged = Besieged::start(flavor).await?;
    besieged.says("").await?;
    besieged.cut_off(true);
    besieged.says(UNREACHABLE).await?;
    besieged.holds().await?;
    ensure!(besieged.said().await? == UNREACHABLE, "it is so all the time");
    let explained = besieged.fleet.ok(&["-c", "explain", "-i", &besieged.primary()]).await?;
    ensure!(explained.contains(UNREACHABLE), "{explained}");
    let (status, body) = besieged.fleet.get("service", "/api/v2/analyses").await?;
    ensure!(status == 200 && body.matches(r#""says":"hears""#).count() == 2, "{body}");
    let codes: Vec<String> = sqlx::query_scalar("SELECT CAST(CONCAT(code, ' ', is_actionable) AS CHAR) FROM detection")
        .fetch_all(&besieged.pool)
        .await?;
    ensure!(codes == ["UnreachableMaster 0"], "the leader has told people, and nothing else: {codes:?}");
    besieged.cut_off(false);
    besieged.says("").await?;
    untouched(&besieged.pool).await
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_while_all_appliers_are_stopped(#[case] flavor: Flavor) -> Result<()> {
    let besieged = Besieged::start(flavor).await?;
    for replica in ["b", "c"] {
        stop_applier(&besieged.topology[replica]).await?;
    }
    besieged.says("AllMasterReplicasNotReplicating").await?;
    besieged.cut_off(true);
    besieged.says(UNREACHABLE).await?;
    besieged.holds().await?;
    ensure!(besieged.said().await? == UNREACHABLE, "it is so all the time");
    Ok(())
}

/// A plain topology, for troubles that need no network.
async fn plain(flavor: Flavor) -> Result<(Topology, Fleet, MySqlPool)> {
    let settings = json!({ "RecoverMasterClusterFilters": ["*"] });
    let (topology, mut fleet) =
        tokio::try_join!(Topology::start(flavor, "a\n  b\n  c"), Fleet::new(flavor.other(), settings))?;
    fleet.service("service", &[]).await?;
    fleet.ok(&["-c", "discover", "-i", &topology["a"].address()]).await?;
    let pool = fleet.pool().await?;
    wait::until("all are known as one cluster", LIMIT, || async {
        let members = fleet.run(&["-c", "which-cluster-instances", "-i", &topology["a"].address()]).await?.stdout;
        Ok((members.lines().count() == 3).then_some(()))
    })
    .await?;
    until_said(&fleet, &topology["a"].address(), "").await?;
    Ok((topology, fleet, pool))
}

/// Alive, and named for why it does not answer, for as long as it lasts.
async fn is_alive_but(warning: &str, topology: &Topology, fleet: &Fleet, pool: &MySqlPool) -> Result<()> {
    let primary = topology["a"].address();
    until_said(fleet, &primary, warning).await?;
    let hold = hold()?;
    let begun = Instant::now();
    while begun.elapsed() < hold {
        untouched(pool).await.with_context(|| fleet.log_tail("service"))?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let said = said_of(fleet, &primary).await?;
    ensure!(said == warning, "now it is {said:?}");
    Ok(())
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_without_a_free_connection(#[case] flavor: Flavor) -> Result<()> {
    let (topology, fleet, pool) = plain(flavor).await?;
    let server = &topology["a"];
    let mut root = server.connect_root().await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(server.connect(APPLICATION).await?);
    }
    // Those who are there may stay; nobody else gets in, not even on the connection that is kept for administrators.
    root.execute("SET GLOBAL max_connections = 10").await?;
    end_sessions(&mut root).await?;
    is_alive_but("TooManyConnectionsStructureWarning", &topology, &fleet, &pool).await?;
    root.execute("SET GLOBAL max_connections = 151").await?;
    until_said(&fleet, &server.address(), "").await?;
    drop(clients);
    Ok(())
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_does_not_know_our_password(#[case] flavor: Flavor) -> Result<()> {
    let (topology, fleet, pool) = plain(flavor).await?;
    let server = &topology["a"];
    let mut root = server.connect_root().await?;
    // On the primary alone: the replicas are asked as before.
    root.execute("SET SESSION sql_log_bin = 0").await?;
    root.execute(format!("ALTER USER '{}'@'%' IDENTIFIED BY 'another'", TOPOLOGY.user).as_str()).await?;
    end_sessions(&mut root).await?;
    is_alive_but("LoginRefusedStructureWarning", &topology, &fleet, &pool).await?;
    let known = format!("ALTER USER '{}'@'%' IDENTIFIED BY '{}'", TOPOLOGY.user, TOPOLOGY.password);
    root.execute(known.as_str()).await?;
    until_said(&fleet, &server.address(), "").await
}
