//! Every operation, with GTID, on both flavours.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::Flavor;
use scenario::{Playground, wait};

use crate::row::{Row, row, run_all};

const LIMIT: Duration = Duration::from_secs(20);

/// Moves, from `a / b (d, e), c` back to it.
const MOVES: &[Row] = &[
    row("relocate -i @d -d @c", "b<a c<a d<c e<b", "d<c"),
    row("relocate-replicas -i @b -d @c", "b<a c<a d<c e<c", "e"),
    row("move-up -i @d", "b<a c<a d<a e<c", "d<a"),
    row("move-up-replicas -i @c", "b<a c<a d<a e<a", "e"),
    row("move-below -i @d -d @e", "b<a c<a d<e e<a", "d<e"),
    row("move-gtid -i @d -d @b", "b<a c<a d<b e<a", "d<b"),
    row("move-replicas-gtid -i @a -d @c --pattern @e", "b<a c<a d<b e<c", "e"),
    row("repoint -i @e", "b<a c<a d<b e<c", "e<c"),
    row("repoint-replicas -i @c", "b<a c<a d<b e<c", "e<c"),
    row("take-master -i @d", "b<d c<a d<a e<c", "d"),
    row("take-siblings -i @c", "b<d c<a d<c e<c", "c"),
    row("make-local-master -i @d", "b<d c<a d<a e<d", "d"),
    row("relocate-replicas -i @d -d @c --pattern @b", "b<c c<a d<a e<d", "b"),
    row("relocate -i @b -d @a", "b<a c<a d<a e<d", "b<a"),
    row("relocate -i @d -d @b", "b<a c<a d<b e<d", "d<b"),
    row("relocate -i @e -d @b", "b<a c<a d<b e<b", "e<b"),
];

/// One server in its place; the links say what became of its threads.
const IN_PLACE: &[Row] = &[
    row("stop-replica -i @e", "b<a c<a d<b e<b(stopped)", "e"),
    row("relocate -i @e -d @c", "b<a c<a d<b e<c(stopped)", "e<c"),
    row("start-replica -i @e", "b<a c<a d<b e<c", "e"),
    row("restart-replica -i @e", "b<a c<a d<b e<c", "e"),
    row("stop-replica-nice -i @e", "b<a c<a d<b e<c(stopped)", "e"),
    row("repoint -i @e -d @b", "b<a c<a d<b e<b(stopped)", "e<b"),
    row("start-replica-io-thread -i @e", "b<a c<a d<b e<b(applier stopped)", "e"),
    row("stop-replica-io-thread -i @e", "b<a c<a d<b e<b(stopped)", "e"),
    row("start-replica-sql-thread -i @e", "b<a c<a d<b e<b(receiver stopped)", "e"),
    row("stop-replica-sql-thread -i @e", "b<a c<a d<b e<b(stopped)", "e"),
    row("change-master-credentials -i @e", "b<a c<a d<b e<b(stopped)", "e"),
    row("start-replica -i @e", "b<a c<a d<b e<b", "e"),
    row("delay-replication -i @e --seconds 1", "b<a c<a d<b e<b(delay 1)", "e"),
    row("delay-replication -i @e --seconds 0", "b<a c<a d<b e<b", "e"),
    row("detach-replica -i @e", "b<a c<a d<b e<//b(connecting)", "e"),
    row("reattach-replica -i @e", "b<a c<a d<b e<b", "e"),
    row("disable-gtid -i @e", "b<a c<a d<b e<b", "e"),
    row("enable-gtid -i @e", "b<a c<a d<b e<b", "e"),
    row("set-read-only -i @a", "b<a c<a d<b e<b", "a").with("a", "@@GLOBAL.read_only + 0", "1"),
    row("set-writeable -i @a", "b<a c<a d<b e<b", "a").with("a", "@@GLOBAL.read_only + 0", "0"),
    row("enable-semi-sync-replica -i @c", "b<a c<a d<b e<b", "c"),
    row("enable-semi-sync-master -i @a", "b<a c<a d<b e<b", "a"),
    row("disable-semi-sync-master -i @a", "b<a c<a d<b e<b", "a"),
    row("disable-semi-sync-replica -i @c", "b<a c<a d<b e<b", "c"),
    row("flush-binary-logs -i @a", "b<a c<a d<b e<b", "a"),
];

/// A second primary that takes no writes, and back.
const CO_PRIMARIES: &[Row] = &[
    row("make-co-master -i @c", "a<c b<a c<a d<b e<b", "c"),
    row("stop-replica -i @a", "a<c(stopped) b<a c<a d<b e<b", "a"),
    row("reset-replica -i @a", "b<a c<a d<b e<b", "a"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_on_mysql_with_gtid() -> Result<()> {
    let text = "a semisync=loaded\n  b\n    d\n    e\n  c semisync=loaded";
    let mut all = Playground::start(Flavor::MySql, text).await?;
    run_all(&mut all, MOVES).await?;
    run_all(&mut all, IN_PLACE).await?;
    in_place_on_both(&mut all).await?;
    errant_transactions(&mut all).await?;
    ways_of_asking(&mut all).await?;
    run_all(&mut all, CO_PRIMARIES).await?;
    regrouping(&mut all).await?;
    lost_primary(&mut all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_on_mariadb_with_gtid() -> Result<()> {
    // No table of MariaDB tells a replica's password.
    let settings = serde_json::json!({ "ReplicationCredentialsQuery": scenario::credentials_query() });
    let mut all = Playground::start_with(Flavor::MariaDb, scenario::playground::TWO_TIERS, settings).await?;
    run_all(&mut all, MOVES).await?;
    run_all(&mut all, IN_PLACE).await?;
    in_place_on_both(&mut all).await?;
    run_all(&mut all, CO_PRIMARIES).await?;
    regrouping(&mut all).await?;
    lost_primary(&mut all).await
}

/// What needs something to be arranged first.
async fn in_place_on_both(all: &mut Playground) -> Result<()> {
    purged_logs(all).await?;
    killed_query(all).await?;
    skipped_transaction(all).await?;
    asked_without_changing(all).await
}

async fn purged_logs(all: &mut Playground) -> Result<()> {
    let logs = async |all: &Playground| -> Result<Vec<String>> {
        let mut conn = all.server("a")?.connect_root().await?;
        let rows: Vec<sqlx::mysql::MySqlRow> = sqlx::raw_sql("SHOW BINARY LOGS").fetch_all(&mut conn).await?;
        Ok(rows.iter().map(|row| sqlx::Row::try_get_unchecked::<String, _>(row, 0)).collect::<Result<_, _>>()?)
    };
    let before = logs(all).await?;
    let (first, last) = (before.first().context("no log")?, before.last().context("no log")?.clone());
    ensure!(*first != last, "there is nothing to purge: {before:?}");
    // Replicas must be seen to have gone beyond that file.
    all.rows_written(2).await?;
    all.settled("b<a c<a d<b e<b").await?;
    ensure!(all.ok(&format!("purge-binary-logs -i @a --binlog {last}")).await? == "a");
    ensure!(logs(all).await?.first() == Some(&last), "not purged: {:?}", logs(all).await?);
    all.settled("b<a c<a d<b e<b").await
}

async fn killed_query(all: &mut Playground) -> Result<()> {
    let mut victim = all.server("c")?.connect(harness::APPLICATION).await?;
    let id: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&mut victim).await?;
    let sleeping = tokio::spawn(async move {
        let begun = std::time::Instant::now();
        // MariaDB makes it an error, MySQL a result.
        let _ = sqlx::query("SELECT SLEEP(60)").execute(&mut victim).await;
        begun.elapsed()
    });
    wait::until("the query runs", LIMIT, || async {
        let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(60)'";
        Ok((all.value("c", count).await? == "1").then_some(()))
    })
    .await?;
    ensure!(all.ok(&format!("kill-query -i @c --process {id}")).await? == "c");
    let took = sleeping.await?;
    ensure!(took < Duration::from_secs(50), "it ran on for {took:?}");
    Ok(())
}

async fn skipped_transaction(all: &mut Playground) -> Result<()> {
    all.sql("a", "CREATE TABLE app.t (id INT PRIMARY KEY)").await?;
    all.settled("b<a c<a d<b e<b").await?;
    all.sql("e", "SET sql_log_bin = 0; INSERT INTO app.t VALUES (1)").await?;
    all.sql("a", "INSERT INTO app.t VALUES (1)").await?;
    all.linked("b<a c<a d<b e<b(applier stopped)").await?;
    run_all(all, &[row("skip-query -i @e", "b<a c<a d<b e<b", "e")]).await
}

/// Questions, plans and other ways of asking, which change nothing.
async fn asked_without_changing(all: &mut Playground) -> Result<()> {
    let links = "b<a c<a d<b e<b";
    for (command, stdout) in [
        ("can-replicate-from -i @d -d @c", "c"),
        ("can-replicate-from -i @b -d @b", ""),
        ("can-replicate-from-gtid -i @d -d @c", "c"),
        ("is-replicating -i @e", "e"),
        ("is-replication-stopped -i @e", ""),
    ] {
        let said = all.ok(command).await?;
        ensure!(said == stdout, "{command}: {said:?}");
    }
    let statements = all.ok("restart-replica-statements -i @e --statement DO(1)").await?;
    let lines: Vec<&str> = statements.lines().collect();
    ensure!(lines.len() == 5 && lines[2] == "DO(1);" && lines.iter().all(|line| line.ends_with(';')), "{statements}");
    let plan = all.ok("relocate -i @e -d @c --noop").await?;
    ensure!(plan.contains("replicate from c") && plan.lines().count() > 3, "{plan}");
    let words = all.words("plan relocate -i @e -d @c");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let planned = all.named(&all.fleet.ok(&words).await?);
    // Who is behind whom changes between two moments, and is warned of.
    let lines = |text: &str| text.lines().filter(|line| !line.starts_with("warning: ")).collect::<Vec<_>>().join("\n");
    ensure!(lines(planned.trim_end()) == lines(&plan), "{planned}\n{plan}");
    all.settled(links).await
}

/// Without waiting, over HTTP, and by the old words.
async fn ways_of_asking(all: &mut Playground) -> Result<()> {
    let job = all.ok("relocate -i @e -d @c --async").await?;
    ensure!(job.parse::<u64>().is_ok(), "no job id: {job:?}");
    all.linked("b<a c<a d<b e<c").await?;
    let path = |word: &str, names: &[&str]| -> Result<String> {
        let servers: Result<Vec<_>> = names.iter().map(|name| all.server(name)).collect();
        let parts: Vec<String> = servers?.iter().map(|one| format!("{}/{}", one.host(), one.port())).collect();
        Ok(format!("/api/{word}/{}", parts.join("/")))
    };
    wait::until("the lock is gone", LIMIT, || async { Ok((all.locks().await? == 0).then_some(())) }).await?;
    let (status, body) = all.fleet.get("service", &path("relocate", &["e", "b"])?).await?;
    ensure!(status == 200 && body.contains("\"Code\":\"OK\""), "{status}: {body}");
    all.linked("b<a c<a d<b e<b").await
}

/// MySQL only: MariaDB has no sets to tell errant transactions by.
async fn errant_transactions(all: &mut Playground) -> Result<()> {
    let links = "b<a c<a d<b e<b";
    let write = "CREATE DATABASE errant";
    let clean = "SET sql_log_bin = 0; DROP DATABASE IF EXISTS errant";
    ensure!(all.ok("which-gtid-errant -i @e").await?.is_empty());
    for repair in ["gtid-errant-reset-master -i @e", "gtid-errant-inject-empty -i @e"] {
        let uuid = all.value("e", "@@server_uuid").await?;
        all.sql("e", write).await?;
        let errant = all.ok("which-gtid-errant -i @e").await?;
        ensure!(errant == format!("{uuid}:1"), "{errant}");
        let located = all.ok("locate-gtid-errant -i @e").await?;
        ensure!(located.starts_with("binlog.0") && located.lines().count() == 1, "{located}");
        run_all(all, &[row(repair, links, "e")]).await?;
        ensure!(all.ok("which-gtid-errant -i @e").await?.is_empty(), "{repair}");
        all.sql("e", clean).await?;
    }
    Ok(())
}

/// The candidate that people prefer takes the others.
async fn regrouping(all: &mut Playground) -> Result<()> {
    all.ok("register-candidate -i @d --promotion-rule prefer").await?;
    run_all(
        all,
        &[
            row("regroup-replicas -i @b", "b<a c<a d<b e<d", "d\nd lost: 0, trivial: 1, pseudo-gtid: 0"),
            row("relocate -i @e -d @b", "b<a c<a d<b e<b", "e<b"),
            row("regroup-replicas-gtid -i @b", "b<a c<a d<b e<d", "d\nd lost: 0, moved: 1"),
        ],
    )
    .await
}

/// The end: the primary dies, and people make another.
async fn lost_primary(all: &mut Playground) -> Result<()> {
    // What only one of them had received would be a reason to prefer it.
    all.at_rest("b<a c<a d<b e<d").await?;
    all.server("a")?.kill()?;
    "b".clone_into(&mut all.primary);
    wait::until("nobody hears it any more", LIMIT, || async {
        let links = all.links().await?;
        Ok((links == "b<a(connecting) c<a(connecting) d<b e<d").then_some(()))
    })
    .await?;
    let made = all.ok("make-master -i @b").await?;
    ensure!(made == "b", "{made}");
    let closed = all.value("b", "@@GLOBAL.read_only + 0").await?;
    ensure!(closed == "0", "read_only is {closed}");
    all.write().await?;
    all.rows_written(5).await?;
    all.settled("b<//a(stopped) c<b d<b e<d").await
}
