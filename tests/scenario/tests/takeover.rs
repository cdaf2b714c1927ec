//! Planned takeovers as people ask for them: a service, a worker and the command line, under write load. How long nobody can
//! write, and what is left when a server refuses a step.
//!
//! Two in CI; `ORCHESTRATOR_TAKEOVERS=10` for figures, which are then held against the target.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Flavor, Server, TOPOLOGY, Writer, replica_status};
use rstest::rstest;
use scenario::incident::{Durability, Incident};
use scenario::{credentials_query, wait};
use serde_json::{Value, json};
use sqlx::Executor;
use sqlx::mysql::MySqlConnection;

const TREE: &str = "a\n  b\n  c\n  d";
const LIMIT: Duration = Duration::from_secs(30);
/// Takeovers, unless said otherwise.
const FEW: usize = 2;
/// What clients may feel beyond replication lag.
const TARGET: Duration = Duration::from_millis(300);
/// The same where tests share a machine with whatever else runs there.
const LONGEST_IN_CI: Duration = Duration::from_secs(2);
/// A pause that ends by itself because replication lags, in these tests.
const LAG_SECONDS: u64 = 2;

async fn cluster(flavor: Flavor, mut settings: Value) -> Result<Incident> {
    settings["ReplicationCredentialsQuery"] = json!(credentials_query());
    settings["ReasonableMaintenanceReplicationLagSeconds"] = json!(LAG_SECONDS);
    let mut incident = Incident::start(flavor, Durability::Asynchronous, TREE, settings).await?;
    incident.fleet.worker("worker", &[]).await?;
    Ok(incident)
}

fn runs() -> Result<Option<usize>> {
    match std::env::var("ORCHESTRATOR_TAKEOVERS") {
        Ok(text) => {
            let runs: usize = text.parse().with_context(|| format!("ORCHESTRATOR_TAKEOVERS={text}: not a number"))?;
            ensure!(runs > 0, "ORCHESTRATOR_TAKEOVERS=0: nothing to do");
            Ok(Some(runs))
        }
        Err(_) => Ok(None),
    }
}

/// What the command says of the pause.
fn told(stderr: &str) -> Result<Duration> {
    let line = stderr.lines().find(|line| line.contains("nobody could write for")).context("no pause is told")?;
    let seconds = line.split_whitespace().rev().nth(1).context("no number")?;
    Ok(Duration::from_secs_f64(seconds.parse().with_context(|| line.to_owned())?))
}

/// From the last row on the one to the first one on the other, and none on the one behind that.
fn pause_of(writer: &Writer, old: &str, new: &str) -> Result<Duration> {
    let rows = writer.rows();
    let last = rows.iter().rposition(|row| row.server == old).context("no row on the old one")?;
    let (before, after) = (&rows[last], rows.get(last + 1).context("no row on the new one")?);
    ensure!(after.server == new, "behind the last row on {old} came {after:?}");
    Ok(after.at - before.at)
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_under_load_is_a_short_pause(#[case] flavor: Flavor) -> Result<()> {
    let runs = runs()?;
    let mut incident = cluster(flavor, json!({})).await?;
    let mut writer = incident.write().await?;
    let (mut said, mut felt) = (Vec::new(), Vec::new());
    for run in 0..runs.unwrap_or(FEW) {
        let old = incident.primary.clone();
        let auto = run % 2 == 0;
        let named = incident.next_to(&old);
        let (old_address, new_address) = (incident.server(&old)?.address(), incident.server(&named)?.address());
        let words: &[&str] = if auto {
            &["-c", "graceful-master-takeover-auto", "-i", &old_address]
        } else {
            &["-c", "graceful-master-takeover", "-i", &old_address, "-d", &new_address]
        };
        let output = incident.fleet.run(words).await?;
        ensure!(output.code == 0, "takeover {run}: {}{}\n{}", output.stdout, output.stderr, incident.diagnosis().await);
        let successor = output.stdout.lines().next().context("no successor is printed")?.to_owned();
        ensure!(auto || successor == new_address, "{successor} instead of {named}");
        ensure!(output.stdout.lines().count() == 2, "successor and coordinates: {}", output.stdout);
        incident.primary = incident.topology.named(&successor);
        if !auto {
            // It is left stopped, on purpose.
            incident.fleet.ok(&["-c", "start-replica", "-i", &old_address]).await?;
        }
        incident.rows_on(&writer, &incident.primary).await?;
        incident.reigns(&incident.primary).await.with_context(|| format!("takeover {run}"))?;
        let (pause, outage) = (told(&output.stderr)?, pause_of(&writer, &old_address, &successor)?);
        println!("{flavor}: {old} to {}: told {pause:?}, felt {outage:?}", incident.primary);
        said.push(pause);
        felt.push(outage);
    }
    writer.stop().await;
    let rows = incident.has_all_everywhere(&writer).await?;
    said.sort();
    felt.sort();
    println!(
        "{flavor}: {} takeovers: told median {:?}, longest {:?}; felt median {:?}, longest {:?}; {rows} rows, none lost",
        said.len(),
        said[said.len() / 2],
        said[said.len() - 1],
        felt[felt.len() / 2],
        felt[felt.len() - 1]
    );
    if runs.is_some() {
        ensure!(said[said.len() / 2] <= TARGET && felt[felt.len() / 2] <= TARGET, "told {said:?}, felt {felt:?}");
    }
    ensure!(felt[felt.len() - 1] <= LONGEST_IN_CI, "{felt:?}");
    Ok(())
}

/// What a server refuses to our account from now on.
#[derive(Debug, Clone, Copy)]
enum Right {
    /// `read_only`.
    Closing,
    /// Stopping, starting, changing replication.
    Replication,
}

/// A step of a takeover from `a` to `b` that a server refuses, and whether `b` is open by then.
struct Trouble {
    what: &'static str,
    on: &'static str,
    right: Right,
    taken_over: bool,
}

const TROUBLES: &[Trouble] = &[
    Trouble { what: "a sibling does not move", on: "c", right: Right::Replication, taken_over: false },
    Trouble { what: "the old primary is not closed", on: "a", right: Right::Closing, taken_over: false },
    Trouble { what: "the designated does not stop", on: "b", right: Right::Replication, taken_over: false },
    Trouble { what: "the designated is not opened", on: "b", right: Right::Closing, taken_over: false },
    // Last: the roles are changed behind it.
    Trouble { what: "the old primary does not follow", on: "a", right: Right::Replication, taken_over: true },
];

impl Right {
    fn list(self, flavor: Flavor) -> &'static str {
        match (flavor, self) {
            (Flavor::MySql, Self::Closing) => "SUPER, SYSTEM_VARIABLES_ADMIN",
            (Flavor::MySql, Self::Replication) => "SUPER, REPLICATION_SLAVE_ADMIN",
            (Flavor::MariaDb, Self::Closing) => "READ_ONLY ADMIN",
            (Flavor::MariaDb, Self::Replication) => "SUPER, REPLICATION SLAVE ADMIN",
        }
    }
}

/// On this server alone; sessions that have the right still are ended.
async fn rule(server: &Server, statement: &str) -> Result<()> {
    let mut root = server.connect_root().await?;
    root.execute("SET SESSION sql_log_bin = 0").await?;
    let is_super = server.flavor() == Flavor::MySql && server.value("@@GLOBAL.super_read_only").await? == "1";
    if is_super {
        root.execute("SET GLOBAL super_read_only = 0").await?;
    }
    root.execute(statement).await.with_context(|| statement.to_owned())?;
    if is_super {
        root.execute("SET GLOBAL super_read_only = 1").await?;
    }
    end_sessions(&mut root).await
}

async fn end_sessions(root: &mut MySqlConnection) -> Result<()> {
    let sql =
        format!("SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE USER = '{}'", TOPOLOGY.user);
    let sessions: Vec<u64> = sqlx::query_scalar(&sql).fetch_all(&mut *root).await?;
    for session in sessions {
        // It may have ended by itself.
        root.execute(format!("KILL {session}").as_str()).await.ok();
    }
    Ok(())
}

/// Not a step that is refused, one that never ends: what the designated has received in the pause it cannot apply.
async fn never_ends(incident: &Incident, words: &[&str], gate: &Path) -> Result<()> {
    std::fs::write(gate, "")?;
    let (b, port) = (incident.server("b")?, incident.server("b")?.port());
    let stands_in_the_way = async {
        for name in ["c", "d"] {
            let server = incident.server(name)?;
            wait::until(&format!("{name} is below b"), LIMIT, || async {
                let status = replica_status(server.flavor(), &mut server.connect_root().await?).await?;
                Ok(status.filter(|status| status.source_port == port && status.is_running()).map(drop))
            })
            .await?;
        }
        let mut lock = b.connect_root().await?;
        lock.execute("LOCK TABLES app.ledger READ").await?;
        std::fs::remove_file(gate)?;
        anyhow::Ok(lock)
    };
    let (failed, lock) = tokio::join!(incident.fleet.run(words), stands_in_the_way);
    let failed = failed?;
    // It is there still while everything is taken back.
    drop(lock?);
    println!("the designated does not catch up: {}", incident.topology.named(failed.stderr.trim()));
    ensure!(failed.code != 0, "it was taken over: {}", failed.stdout);
    incident.reigns("a").await.context("the designated does not catch up")?;
    nobody_lags(incident).await
}

/// A takeover would be refused.
async fn nobody_lags(incident: &Incident) -> Result<()> {
    wait::until("nobody lags", LIMIT, || async {
        let lag = incident.fleet.ok(&["-c", "topology", "-i", &incident.server("a")?.address()]).await?;
        if lag.matches("[0s,").count() == 4 { Ok(Some(())) } else { anyhow::bail!("{lag}") }
    })
    .await
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_a_server_refuses_is_taken_back(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let gate = dir.path().join("gate");
    // Between the siblings' moves and the pause.
    let hook = format!("while [ -e {} ]; do sleep 0.02; done", gate.display());
    let mut incident = cluster(flavor, json!({ "PreGracefulTakeoverProcesses": [hook] })).await?;
    let mut writer = incident.write().await?;
    let addresses = [incident.server("a")?.address(), incident.server("b")?.address()];
    let words = ["-c", "graceful-master-takeover-auto", "-i", &addresses[0], "-d", &addresses[1]];
    never_ends(&incident, &words, &gate).await?;
    incident.rows_on(&writer, "a").await?;
    for trouble in TROUBLES {
        nobody_lags(&incident).await.with_context(|| trouble.what)?;
        let server = incident.server(trouble.on)?;
        let rights = trouble.right.list(flavor);
        rule(server, &format!("REVOKE {rights} ON *.* FROM '{}'@'%'", TOPOLOGY.user)).await?;
        let output = incident.fleet.run(&words).await?;
        rule(server, &format!("GRANT {rights} ON *.* TO '{}'@'%'", TOPOLOGY.user)).await?;
        println!("{flavor}: {}: exit {}", trouble.what, output.code);
        println!("{}", incident.topology.named(output.stderr.trim()));
        let diagnosis = || async { format!("{}\n{}", trouble.what, incident.diagnosis().await) };
        ensure!((output.code == 0) == trouble.taken_over, "{}\n{}", output.stderr, diagnosis().await);
        ensure!(output.stderr.contains("error 1227"), "not for that reason: {}", output.stderr);
        if trouble.taken_over {
            ensure!(output.stderr.contains(&addresses[0]), "it is not told: {}", output.stderr);
            incident.rows_on(&writer, "b").await?;
            let closed = server.value("@@GLOBAL.read_only").await?;
            ensure!(["1", "ON"].contains(&closed.as_str()), "the old primary is open: {closed}");
        } else {
            if let Err(error) = incident.reigns("a").await {
                anyhow::bail!("{error:#}\n{}", diagnosis().await);
            }
            incident.rows_on(&writer, "a").await?;
        }
    }
    writer.stop().await;
    let b = incident.server("b")?;
    ensure!(writer.lost(b).await?.is_empty(), "rows are lost");
    for name in ["c", "d"] {
        wait::until(&format!("{name} has all rows"), LIMIT, || async {
            Ok(writer.lost(incident.server(name)?).await?.is_empty().then_some(()))
        })
        .await?;
    }
    println!("{flavor}: {} rows, none lost", writer.acknowledged().len());
    Ok(())
}
