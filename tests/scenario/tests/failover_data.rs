//! Data decides who takes over: what any survivor has received is kept, applied or not.

use anyhow::{Result, ensure};
use harness::{Flavor, Server, catch_up, missing_rows, replica_status};
use scenario::incident::{Durability, Incident};
use scenario::wait;
use serde_json::json;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn stop(flavor: Flavor, thread: &str) -> String {
    match flavor {
        Flavor::MySql => format!("STOP REPLICA {thread}"),
        Flavor::MariaDb => format!("STOP SLAVE {thread}"),
    }
}

/// Every applier stands still, and what was acknowledged since is in relay logs only.
#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_is_applied_before_anybody_takes_over(#[case] flavor: Flavor) -> Result<()> {
    let mut incident = Incident::start(flavor, Durability::Lossless, "a\n  b\n  c", json!({})).await?;
    let mut writer = incident.write().await?;
    for name in ["b", "c"] {
        incident.server(name)?.execute(&stop(flavor, "SQL_THREAD")).await?;
    }
    incident.rows_on(&writer, "a").await?;
    let unapplied =
        writer.lost(incident.server("b")?).await?.len().min(writer.lost(incident.server("c")?).await?.len());
    ensure!(unapplied >= 50, "nothing is at stake: {unapplied}");

    let blow = incident.strike(Server::kill).await?;
    let taken_over = incident.taken_over(&blow, &writer).await?;
    writer.stop().await;
    incident.kept(&blow).await?;
    incident.recorded(&blow).await?;
    let lost = writer.lost(incident.server(&taken_over.successor)?).await?;
    ensure!(lost.is_empty(), "{} of {unapplied} rows that waited to be applied are lost", lost.len());
    println!("{flavor}: {unapplied} rows waited to be applied, {:.2} s", taken_over.outage.length.as_secs_f64());
    Ok(())
}

/// Waits until `replica` has received everything that `source` has written; nobody writes.
async fn received_all(source: &Server, replica: &Server) -> Result<()> {
    let flavor = source.flavor();
    let position = match flavor {
        Flavor::MySql => source.value("@@GLOBAL.gtid_executed").await?,
        Flavor::MariaDb => source.value("@@GLOBAL.gtid_binlog_pos").await?,
    };
    wait::until("everything is received", LIMIT, || async {
        let received = scenario::incident::received(replica).await?;
        let all = match flavor {
            Flavor::MySql => {
                let together = format!("CONCAT(@@GLOBAL.gtid_executed, ',', '{received}')");
                replica.value(&format!("GTID_SUBSET('{position}', {together})")).await? == "1"
            }
            Flavor::MariaDb => received == position,
        };
        Ok(all.then_some(()))
    })
    .await
}

/// Both threads of every replica stand still: what was acknowledged before is in relay logs, and nobody can send it again.
#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay_logs_of_replicas_that_stand_still_are_kept(#[case] flavor: Flavor) -> Result<()> {
    let mut incident = Incident::start(flavor, Durability::Asynchronous, "a\n  b\n  c", json!({})).await?;
    let mut writer = incident.write().await?;
    for name in ["b", "c"] {
        incident.server(name)?.execute(&stop(flavor, "SQL_THREAD")).await?;
    }
    incident.rows_on(&writer, "a").await?;
    let before = writer.acknowledged();
    writer.stop().await;
    for name in ["b", "c"] {
        let replica = incident.server(name)?;
        received_all(incident.server("a")?, replica).await?;
        replica.execute(&stop(flavor, "IO_THREAD")).await?;
        ensure!(missing_rows(replica, &before).await?.len() >= 50, "nothing is at stake");
    }
    // What comes now nobody receives.
    let writer = incident.write().await?;
    let blow = incident.strike(Server::kill).await?;
    let taken_over = incident.taken_over(&blow, &writer).await?;
    writer.finish().await;
    incident.kept(&blow).await?;
    incident.recorded(&blow).await?;
    let lost = missing_rows(incident.server(&taken_over.successor)?, &before).await?;
    ensure!(lost.is_empty(), "{} of {} rows in relay logs are lost", lost.len(), before.len());
    println!("{flavor}: {} rows, {:.2} s", before.len(), taken_over.outage.length.as_secs_f64());
    Ok(())
}

/// `b` has received more than `c` and executed less.
#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_has_received_counts_for_more_than_what_another_has_executed(#[case] flavor: Flavor) -> Result<()> {
    let mut incident = Incident::start(flavor, Durability::Asynchronous, "a\n  b\n  c", json!({})).await?;
    let mut writer = incident.write().await?;
    incident.server("b")?.execute(&stop(flavor, "SQL_THREAD")).await?;
    incident.rows_on(&writer, "a").await?;
    incident.server("c")?.execute(&stop(flavor, "IO_THREAD")).await?;
    incident.rows_on(&writer, "a").await?;
    // The application pauses, so that b has received all there is.
    let before = writer.acknowledged();
    writer.stop().await;
    let (a, b, c) = (incident.server("a")?, incident.server("b")?, incident.server("c")?);
    wait::until("c has executed more than b", LIMIT, || async {
        let (b, c) = (missing_rows(b, &before).await?.len(), missing_rows(c, &before).await?.len());
        Ok((c >= 50 && b >= c + 50).then_some(()))
    })
    .await?;
    received_all(a, b).await?;

    let writer = incident.write().await?;
    let blow = incident.strike(Server::kill).await?;
    let taken_over = incident.taken_over(&blow, &writer).await?;
    let all = writer.finish().await;
    incident.kept(&blow).await?;
    incident.recorded(&blow).await?;
    let successor = incident.server(&taken_over.successor)?;
    let lost = missing_rows(successor, &before).await?;
    ensure!(lost.is_empty(), "{} rows that b had received are not on {}", lost.len(), taken_over.successor);
    println!("{flavor}: {} took over, {} rows before and {} since", taken_over.successor, before.len(), all.len());
    Ok(())
}

/// Bytes in the relay logs of a server.
fn relay_logs(server: &Server) -> u64 {
    let files = std::fs::read_dir(server.dir().join("data")).into_iter().flatten().flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("relay"));
    logs.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// The primary dies while it sends a large transaction. MySQL's appliers have begun with it, and would wait a minute for its rest.
#[rstest::rstest]
#[case(Flavor::MySql, "a\n  b\n  c")]
#[case(Flavor::MariaDb, "a\n  b\n  c")]
#[case(Flavor::MySql, "a no_gtid\n  b no_gtid\n  c no_gtid")]
#[case(Flavor::MariaDb, "a no_gtid\n  b no_gtid\n  c no_gtid")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_the_rest_of_a_transaction(#[case] flavor: Flavor, #[case] tree: &str) -> Result<()> {
    const ROWS: u32 = 1_500;
    let mut incident = Incident::start(flavor, Durability::Asynchronous, tree, json!({})).await?;
    let table = "CREATE TABLE app.large (id INT AUTO_INCREMENT PRIMARY KEY, t LONGTEXT)";
    incident.server("a")?.execute(table).await?;
    if flavor == Flavor::MySql && tree.contains("no_gtid") {
        // By file and position none can go below another and give its part up so: it has to be ended.
        incident.server("a")?.execute("GRANT SYSTEM_USER ON *.* TO orc_topo").await?;
    }
    let writer = incident.write().await?;
    incident.rows_on(&writer, "a").await?;
    let numbers = "SELECT 1 FROM information_schema.COLUMNS x JOIN information_schema.COLUMNS y";
    let large = format!("INSERT INTO app.large (t) SELECT REPEAT('x', 60000) FROM ({numbers} LIMIT {ROWS}) n");
    let mut connection = incident.server("a")?.connect_root().await?;
    let writing = tokio::spawn(async move { sqlx::query(&large).execute(&mut connection).await });

    let replicas = [incident.server("b")?, incident.server("c")?];
    let blow = incident
        .strike(|server| {
            let (before, begun) = (replicas.map(relay_logs), std::time::Instant::now());
            while replicas.iter().zip(before).any(|(replica, before)| relay_logs(replica) < before + 2_000_000) {
                ensure!(begun.elapsed() < LIMIT, "nothing of it comes");
                std::thread::sleep(Duration::from_millis(1));
            }
            server.kill()
        })
        .await?;
    let acknowledged = writing.await?.is_ok();
    let taken_over = incident.taken_over(&blow, &writer).await?;
    let has = incident.server(&taken_over.successor)?.value("(SELECT COUNT(*) FROM app.large)").await?;
    println!(
        "{flavor}: {has} of {ROWS} rows, acknowledged: {acknowledged}, {:.2} s",
        taken_over.outage.length.as_secs_f64()
    );
    ensure!(["0".to_owned(), ROWS.to_string()].contains(&has), "a transaction was kept in part");
    incident.settled(&blow, writer).await?;
    Ok(())
}

/// One primary after the other is lost; the anti-flapping period says whether that is dealt with.
#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_failure_is_held_back_and_that_is_said(#[case] flavor: Flavor) -> Result<()> {
    let settings = json!({ "RecoveryPeriodBlockSeconds": 3_600 });
    let mut incident = Incident::start(flavor, Durability::Asynchronous, "a\n  b\n  c\n  d", settings).await?;
    let writer = incident.write().await?;
    let first = incident.strike(Server::kill).await?;
    incident.taken_over(&first, &writer).await?;
    incident.settled(&first, writer).await?;
    incident.replace(&first.victim).await?;

    let second = incident.strike(Server::kill).await?;
    let port = incident.server(&second.victim)?.port();
    let reason = wait::until("the second recovery is held back", LIMIT, || async {
        let sql = "SELECT reason FROM recovery_blocked WHERE port = ?";
        let row = sqlx::query(sql).bind(port).fetch_optional(incident.pool()).await?;
        Ok(row.map(|row| sqlx::Row::try_get_unchecked::<String, _>(&row, 0)).transpose()?)
    })
    .await?;
    ensure!(reason.contains("RecoveryPeriodBlockSeconds"), "{reason}");
    // Nobody was promoted, and the survivors are as they were.
    for (name, server) in &incident.topology.servers {
        if *name != second.victim {
            let status = replica_status(flavor, &mut server.connect_root().await?).await?;
            ensure!(status.is_some_and(|status| status.source_port == port), "{name} follows somebody else");
        }
    }
    // Somebody has seen it: the way is free.
    incident.fleet.ok(&["-c", "ack-all-recoveries", "--reason", "seen"]).await?;
    let victim = incident.server(&second.victim)?.address();
    let successor = wait::until("the second is recovered", LIMIT, || async {
        for (name, server) in &incident.topology.servers {
            if server.address() != victim
                && replica_status(flavor, &mut server.connect_root().await?).await?.is_none()
                && ["0", "OFF"].contains(&server.value("@@GLOBAL.read_only").await?.as_str())
            {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    })
    .await?;
    incident.primary = successor;
    incident.followed(&second).await?;
    incident.recorded(&second).await?;
    for (name, server) in &incident.topology.servers {
        if *name != second.victim && *name != incident.primary {
            catch_up(server, incident.server(&incident.primary)?, LIMIT).await?;
        }
    }
    Ok(())
}
