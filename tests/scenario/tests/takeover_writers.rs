//! Planned takeovers while somebody writes who need not mind `read_only`: nothing that was acknowledged to anybody is lost,
//! because such writers are kept out, or nothing is taken over.
//!
//! One in CI; `ORCHESTRATOR_TAKEOVERS=5` for more.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Account, Flavor, Server};
use rstest::rstest;
use scenario::incident::{Durability, Incident};
use scenario::{credentials_query, wait};
use serde_json::json;
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, Executor};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const TREE: &str = "a\n  b\n  c";
const LIMIT: Duration = Duration::from_secs(30);
/// Takeovers, unless said otherwise.
const FEW: usize = 1;
const PAUSE: Duration = Duration::from_millis(1);
/// An administrator's account, used by an application.
const BOSS: Account = Account { user: "boss", password: "boss_password" };
/// Numbers of one writer: the next one's begin beyond them.
const NUMBERS: i64 = 1_000_000_000;

/// How an application uses its connection.
#[derive(Debug, Clone, Copy)]
enum Habit {
    Keeps,
    /// A connection for each row.
    Reconnects,
    /// Several rows in a transaction.
    Commits,
}

/// Several writers to one server, come what may.
struct Bosses {
    stop: CancellationToken,
    lanes: JoinSet<Vec<i64>>,
    next: i64,
}

impl Bosses {
    /// The numbers of these are beyond those of earlier ones.
    fn new(earlier: usize) -> Self {
        let next = i64::try_from(earlier).unwrap_or_default() * NUMBERS * 100;
        Self { stop: CancellationToken::new(), lanes: JoinSet::new(), next }
    }

    fn add(&mut self, server: &Server, habits: &[Habit]) {
        for habit in habits {
            self.next += NUMBERS;
            let options = server.connect_options(BOSS);
            self.lanes.spawn(write(options, *habit, self.next, self.stop.clone()));
        }
    }

    /// Numbers of the rows acknowledged.
    async fn finish(mut self) -> BTreeSet<i64> {
        self.stop.cancel();
        let mut all = BTreeSet::new();
        while let Some(rows) = self.lanes.join_next().await {
            all.extend(rows.unwrap_or_default());
        }
        all
    }
}

async fn write(
    options: sqlx::mysql::MySqlConnectOptions,
    habit: Habit,
    first: i64,
    stop: CancellationToken,
) -> Vec<i64> {
    let (mut acknowledged, mut open, mut number) = (Vec::new(), None, first);
    while !stop.is_cancelled() {
        tokio::time::sleep(PAUSE).await;
        if open.is_none() {
            open = MySqlConnection::connect_with(&options).await.ok();
        }
        let Some(connection) = &mut open else { continue };
        let numbers = number + 1..=number + if matches!(habit, Habit::Commits) { 3 } else { 1 };
        number += 3;
        match rows(connection, numbers.clone().collect()).await {
            Ok(()) => acknowledged.extend(numbers),
            Err(sqlx::Error::Database(_)) => {
                connection.execute("ROLLBACK").await.ok();
            }
            Err(_) => open = None,
        }
        if matches!(habit, Habit::Reconnects) {
            open = None;
        }
    }
    acknowledged
}

async fn rows(connection: &mut MySqlConnection, numbers: Vec<i64>) -> Result<(), sqlx::Error> {
    connection.execute("BEGIN").await?;
    for number in numbers {
        connection.execute(format!("INSERT INTO app.boss VALUES ({number})").as_str()).await?;
    }
    connection.execute("COMMIT").await.map(|_| ())
}

async fn cluster(flavor: Flavor, rights: &str) -> Result<Incident> {
    let settings = json!({ "ReplicationCredentialsQuery": credentials_query() });
    let mut incident = Incident::start(flavor, Durability::Asynchronous, TREE, settings).await?;
    incident.fleet.worker("worker", &[]).await?;
    let sql = format!(
        "CREATE TABLE app.boss (id BIGINT PRIMARY KEY); CREATE USER boss@'%' IDENTIFIED BY '{}'; \
         GRANT ALL ON app.* TO boss@'%'; GRANT {rights} ON *.* TO boss@'%'",
        BOSS.password
    );
    incident.server("a")?.execute(&sql).await?;
    for name in ["b", "c"] {
        wait::until(&format!("{name} knows the account"), LIMIT, || async {
            Ok(incident.server(name)?.connect(BOSS).await.ok().map(drop))
        })
        .await?;
    }
    Ok(incident)
}

fn runs() -> Result<usize> {
    match std::env::var("ORCHESTRATOR_TAKEOVERS") {
        Ok(text) => text.parse().with_context(|| format!("ORCHESTRATOR_TAKEOVERS={text}: not a number")),
        Err(_) => Ok(FEW),
    }
}

async fn numbers(server: &Server, table: &str) -> Result<BTreeSet<i64>> {
    let sql = format!("SELECT id FROM app.{table}");
    let rows: Vec<i64> = sqlx::query_scalar(&sql).fetch_all(&mut server.connect_root().await?).await?;
    Ok(rows.into_iter().collect())
}

/// Every server has these rows of the bosses, and no others than the primary has.
async fn kept(incident: &Incident, acknowledged: &BTreeSet<i64>) -> Result<()> {
    for (name, server) in &incident.topology.servers {
        wait::until(&format!("{name} has the rows of everybody"), LIMIT, || async {
            let lost = acknowledged.difference(&numbers(server, "boss").await?).count();
            if lost == 0 {
                return Ok(Some(()));
            }
            anyhow::bail!("{lost} of {} acknowledged rows are lost", acknowledged.len())
        })
        .await?;
    }
    Ok(())
}

/// Rights that let their owner write to a server that is only `read_only`, in one flavour or the other.
fn rights(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => "SUPER, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN",
        Flavor::MariaDb => "SUPER, CONNECTION ADMIN",
    }
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_super_is_kept_out_and_loses_nothing(#[case] flavor: Flavor) -> Result<()> {
    let mut incident = cluster(flavor, rights(flavor)).await?;
    let mut writer = incident.write().await?;
    // Of the application on MariaDB, whose events are stopped by read_only; of somebody with SUPER on MySQL.
    let definer = if flavor == Flavor::MySql { "boss@'%'" } else { "app@'%'" };
    incident
        .server("a")?
        .execute(&format!(
            "CREATE TABLE app.event (id BIGINT AUTO_INCREMENT PRIMARY KEY); SET GLOBAL event_scheduler = ON; \
             CREATE DEFINER = {definer} EVENT app.often ON SCHEDULE EVERY 1 SECOND DO INSERT INTO app.event VALUES ()"
        ))
        .await?;
    let runs = runs()?;
    let mut total = 0;
    for run in 0..runs {
        let old = incident.primary.clone();
        let (old_server, new) = (incident.server(&old)?, incident.next_to(&old));
        let mut bosses = Bosses::new(run);
        bosses.add(old_server, &[Habit::Keeps, Habit::Keeps, Habit::Reconnects, Habit::Commits]);
        incident.rows_on(&writer, &old).await?;
        let (from, to) = (old_server.address(), incident.server(&new)?.address());
        let output = incident.fleet.run(&["-c", "graceful-master-takeover-auto", "-i", &from, "-d", &to]).await?;
        ensure!(output.code == 0, "takeover {run}: {}\n{}", output.stderr, incident.diagnosis().await);
        incident.primary.clone_from(&new);
        // They go on for a while: where they write now nobody may.
        incident.rows_on(&writer, &new).await?;
        let acknowledged = bosses.finish().await;
        ensure!(acknowledged.len() > 20, "{} rows", acknowledged.len());
        incident.reigns(&new).await?;
        kept(&incident, &acknowledged).await.with_context(|| format!("takeover {run}"))?;
        println!("{flavor}: takeover {run} from {old} to {new}: {} rows of the bosses, none lost", acknowledged.len());
        total += acknowledged.len();
    }
    writer.stop().await;
    let rows = incident.has_all_everywhere(&writer).await?;
    let primary = incident.server(&incident.primary)?;
    let of_events = numbers(primary, "event").await?;
    for (name, server) in &incident.topology.servers {
        let here = numbers(server, "event").await?;
        ensure!(here.is_subset(&of_events), "{name} has rows of its event that nobody else has");
    }
    println!(
        "{flavor}: {runs} takeovers, {rows} rows, {total} rows of 4 bosses at a time, {} of an event: none lost",
        of_events.len()
    );
    Ok(())
}

/// MariaDB has nothing that stops who has `READ_ONLY ADMIN`.
#[rstest]
#[case("session", &[Habit::Keeps, Habit::Commits])]
#[case("session", &[Habit::Reconnects])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_not_taken_over_from_who_writes_in_spite_of_read_only(
    #[case] named: &str,
    #[case] habits: &[Habit],
) -> Result<()> {
    let mut incident = cluster(Flavor::MariaDb, "READ_ONLY ADMIN").await?;
    let mut writer = incident.write().await?;
    let (from, to) = (incident.server("a")?.address(), incident.server("b")?.address());
    let runs = runs()?;
    let mut bosses = Bosses::new(0);
    bosses.add(incident.server("a")?, habits);
    for run in 0..runs {
        incident.rows_on(&writer, "a").await?;
        let output = incident.fleet.run(&["-c", "graceful-master-takeover-auto", "-i", &from, "-d", &to]).await?;
        ensure!(output.code != 0, "takeover {run}: it was taken over: {}{}", output.stdout, output.stderr);
        ensure!(output.stderr.contains(named) && output.stderr.contains("of boss"), "{}", output.stderr);
        incident.reigns("a").await.with_context(|| format!("takeover {run}"))?;
    }
    let acknowledged = bosses.finish().await;
    ensure!(acknowledged.len() > 20, "{} rows", acknowledged.len());
    kept(&incident, &acknowledged).await?;
    // An event of theirs is as bad.
    let event = "CREATE TABLE app.event (id BIGINT AUTO_INCREMENT PRIMARY KEY); SET GLOBAL event_scheduler = ON; \
                 CREATE DEFINER = boss@'%' EVENT app.often ON SCHEDULE EVERY 1 SECOND DO INSERT INTO app.event VALUES ()";
    incident.server("a")?.execute(event).await?;
    let output = incident.fleet.run(&["-c", "graceful-master-takeover-auto", "-i", &from, "-d", &to]).await?;
    ensure!(output.code != 0 && output.stderr.contains("event app.often of boss"), "{}", output.stderr);
    incident.reigns("a").await?;
    // Nobody of them is there any more.
    incident.server("a")?.execute("DROP EVENT app.often").await?;
    incident.fleet.ok(&["-c", "graceful-master-takeover-auto", "-i", &from, "-d", &to]).await?;
    incident.reigns("b").await?;
    incident.primary = "b".to_owned();
    incident.rows_on(&writer, "b").await?;
    kept(&incident, &acknowledged).await?;
    writer.stop().await;
    let rows = incident.has_all_everywhere(&writer).await?;
    println!("{habits:?}: {runs} takeovers refused, {rows} rows, {} rows of the bosses, none lost", acknowledged.len());
    Ok(())
}

/// A living primary that people declare dead is closed first, to everybody. Both commands in the long form.
#[rstest]
#[case(Flavor::MySql, ["force-master-failover", "force-master-takeover"])]
#[case(Flavor::MariaDb, ["force-master-takeover", "force-master-failover"])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_primary_is_replaced_by_force(#[case] flavor: Flavor, #[case] commands: [&str; 2]) -> Result<()> {
    for command in &commands[..runs()?.clamp(1, 2)] {
        by_force(flavor, command).await?;
    }
    Ok(())
}

async fn by_force(flavor: Flavor, command: &str) -> Result<()> {
    let mut incident = cluster(flavor, rights(flavor)).await?;
    let mut writer = incident.write().await?;
    let mut bosses = Bosses::new(0);
    bosses.add(incident.server("a")?, &[Habit::Keeps, Habit::Reconnects]);
    incident.rows_on(&writer, "a").await?;
    let (from, to) = (incident.server("a")?.address(), incident.server("c")?.address());
    let words: &[&str] = match command {
        "force-master-failover" => &["-c", command, "-i", &from],
        _ => &["-c", command, "-i", &from, "-d", &to],
    };
    let began = std::time::Instant::now();
    let output = incident.fleet.run(words).await?;
    ensure!(output.code == 0, "{}\n{}", output.stderr, incident.diagnosis().await);
    let successor = output.stdout.lines().next().context("no successor is printed")?;
    ensure!(command == "force-master-failover" || successor == to, "{successor} instead of {to}");
    incident.primary = incident.topology.named(successor);
    incident.rows_on(&writer, &incident.primary).await?;
    let outage = writer.outage(began).context("no outage")?.length;
    incident.reigns_over(&incident.primary, &["a"]).await?;
    let of_bosses = bosses.finish().await;
    writer.stop().await;
    let successor = incident.server(&incident.primary)?;
    let lost = writer.lost(successor).await?.len();
    let lost_of_bosses = of_bosses.difference(&numbers(successor, "boss").await?).count();
    println!(
        "{flavor} {command}: {} in {outage:?}; lost {lost} of {} rows, {lost_of_bosses} of {} of the bosses",
        incident.primary,
        writer.acknowledged().len(),
        of_bosses.len()
    );
    ensure!(lost + lost_of_bosses == 0, "it was closed first, and its replicas could have received all of it");
    Ok(())
}
