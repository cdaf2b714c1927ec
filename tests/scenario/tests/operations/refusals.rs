//! What is unsafe is refused, each by its rule, and nothing is sent to any server but questions.

use anyhow::{Context, Result, bail, ensure};
use harness::{Flavor, Topology};
use scenario::Playground;
use serde_json::json;
use sqlx::Row;

/// Asks for something unsafe: refused by this rule, with a reason that says this, and a remedy.
pub(crate) async fn refused(all: &Playground, command: &str, rule: &str, said: &str) -> Result<()> {
    let output = all.run(command).await?;
    let text = &output.stderr;
    ensure!(output.code != 0, "{command} was done: {}", output.stdout);
    let Some((reason, remedy)) = text.split_once(&format!("({rule}); ")) else {
        bail!("{command}: no {rule} in {text}")
    };
    ensure!(reason.contains(said), "{command}: no {said:?} in {text}");
    ensure!(!remedy.trim().is_empty(), "{command}: no remedy in {text}");
    ensure!(output.stdout.is_empty(), "{command}: {:?} as a result", output.stdout);
    Ok(())
}

/// One unsafe request; what is arranged before it and put back after it, on one server, by root.
struct Unsafe {
    command: &'static str,
    rule: &'static str,
    said: &'static str,
    /// (server, statements before, statements after); after each the application writes some rows.
    arranged: &'static [(&'static str, &'static str, &'static str)],
}

const fn plain(command: &'static str, rule: &'static str, said: &'static str) -> Unsafe {
    Unsafe { command, rule, said, arranged: &[] }
}

const fn arranged(
    arranged: &'static [(&'static str, &'static str, &'static str)],
    command: &'static str,
    rule: &'static str,
    said: &'static str,
) -> Unsafe {
    Unsafe { command, rule, said, arranged }
}

/// `a / b (d, e), c`, and `x`, which has another cluster's data; `d` logs nothing of what it applies, `e` nothing at all.
const ON_MYSQL: &[Unsafe] = &[
    plain("relocate -i @a -d @c", "not-a-replica", "a"),
    plain("relocate -i @b -d @b", "itself", "b"),
    plain("relocate -i @c -d @x", "other-cluster", "x"),
    plain("move-below -i @d -d @c", "not-siblings", "c"),
    plain("move-up -i @b", "no-grandparent", "a"),
    plain("relocate -i @c -d @e", "binary-log-off", "e"),
    plain("relocate -i @c -d @d", "does-not-relay", "d"),
    plain("enable-gtid -i @c", "already-so", "uses GTID already"),
    plain("reattach-replica -i @c", "not-detached", "c"),
    plain("gtid-errant-reset-master -i @c", "no-errant-gtid", "c"),
    plain("skip-query -i @c", "no-replication-error", "c"),
    plain("enable-semi-sync-replica -i @c", "no-plugin", "c"),
    plain("purge-binary-logs -i @a --binlog nonesuch.000001", "bad-argument", "nonesuch"),
    plain("flush-binary-logs -i @a --binlog binlog.999999", "too-many", "binlog.999999"),
    plain("set-writeable -i @c", "would-write-twice", "a is writable"),
    plain("make-master -i @b", "primary-alive", "alive"),
    arranged(
        &[(
            "c",
            "STOP REPLICA SQL_THREAD; SET GLOBAL binlog_format = 'STATEMENT'",
            "SET GLOBAL binlog_format = 'ROW'; START REPLICA",
        )],
        "relocate -i @c -d @b",
        "binlog-format",
        "STATEMENT",
    ),
    arranged(&[("c", FILTER, NO_FILTER)], "relocate -i @b -d @c", "filters", "c"),
    arranged(&[("c", DELAY, NO_DELAY)], "relocate -i @d -d @c", "delayed", "3600 s"),
    arranged(
        &[("b", "SET GLOBAL read_only = OFF", "SET GLOBAL read_only = ON")],
        "make-co-master -i @b",
        "not-read-only",
        "b",
    ),
    arranged(
        &[("c", OTHER_CHANNEL, "RESET REPLICA ALL FOR CHANNEL 'other'")],
        "relocate -i @c -d @b",
        "several-channels",
        "other",
    ),
    arranged(&[("c", "STOP REPLICA", "START REPLICA")], "relocate -i @d -d @c", "not-replicating", "c"),
    arranged(
        &[("c", "STOP REPLICA", "START REPLICA"), ("a", "FLUSH BINARY LOGS", "DO 0")],
        "purge-binary-logs -i @a --binlog latest",
        "replica-needs-log",
        "c",
    ),
    arranged(
        &[
            ("c", "STOP REPLICA", "START REPLICA"),
            ("d", "STOP REPLICA SQL_THREAD", "START REPLICA"),
            ("d", "STOP REPLICA", "DO 0"),
        ],
        "relocate -i @d -d @c",
        "unapplied-relay-log",
        "applier is stopped",
    ),
    arranged(
        &[
            ("d", "STOP REPLICA", "START REPLICA"),
            // Every log but the last.
            ("c", "FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY", "DO 0"),
        ],
        "relocate -i @d -d @c",
        "purged-gtid",
        "purged",
    ),
];

/// `a / b (d), c`: `c` says that it is of an older version.
const ON_MARIADB: &[Unsafe] = &[
    plain("relocate -i @b -d @d", "loop", "d"),
    plain("make-co-master -i @d", "is-a-replica", "b"),
    plain("make-co-master -i @b", "no-credentials", "a has no replication user"),
    plain("relocate -i @c -d @b", "lower-version", "10.6.4"),
    plain("gtid-errant-reset-master -i @b", "no-shared-gtid", "no GTID sets"),
    plain("move-up -i @b", "no-grandparent", "a"),
    plain("move-below -i @d -d @a", "not-siblings", "a"),
    arranged(
        &[
            ("d", "STOP SLAVE", "START SLAVE"),
            // Every log but the last, once nobody reads another.
            ("a", "FLUSH BINARY LOGS; DO SLEEP(1); PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY", "DO 0"),
        ],
        "relocate -i @d -d @a",
        "purged-gtid",
        "its oldest log begins after",
    ),
    arranged(
        &[("d", "STOP SLAVE; SET GLOBAL gtid_strict_mode = OFF; CREATE DATABASE errant", "START SLAVE")],
        "relocate -i @d -d @a",
        "errant-gtid",
        "it wrote them itself",
    ),
];

const FILTER: &str =
    "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (nonesuch); START REPLICA";
const NO_FILTER: &str = "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (); START REPLICA";
const DELAY: &str = "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 3600; START REPLICA";
const NO_DELAY: &str = "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0; START REPLICA";
const OTHER_CHANNEL: &str =
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1 FOR CHANNEL 'other'";

/// Rows that the application writes after each arrangement.
const ROWS: usize = 10;

const LOG_ON: &str = "SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsafe_requests_are_refused_on_mysql_and_only_questions_are_sent() -> Result<()> {
    let text = "a\n  b\n    d no_log_updates\n    e no_binlog\n  c\nx";
    let settings = json!({ "VerifyReplicationFilters": true });
    let mut all = Playground::start_with(Flavor::MySql, text, settings).await?;
    all.sql("x", "CREATE DATABASE other").await?;
    let links = "b<a c<a d<b e<b";
    all.settled(links).await?;
    for (name, _) in &all.topology.servers {
        all.sql(name, LOG_ON).await?;
    }
    refused_each(&all, ON_MYSQL, links).await?;
    by_other_means(&mut all, links).await?;
    only_questions(&all.topology).await?;
    without_a_primary(&mut all).await?;
    only_questions(&all.topology).await?;
    // The log does tell changes.
    all.ok("stop-replica -i @e").await?;
    let told = only_questions(&all.topology).await.expect_err("a change").to_string();
    ensure!(told.contains("STOP REPLICA"), "{told}");
    Ok(())
}

/// All of them, whatever becomes of one.
async fn refused_each(all: &Playground, list: &[Unsafe], links: &str) -> Result<()> {
    let mut wrong = Vec::new();
    for one in list {
        for (name, before, _) in one.arranged {
            all.sql(name, before).await.with_context(|| one.command.to_owned())?;
            // Whoever was stopped lacks something, whoever only receives has received something.
            all.rows_written(ROWS).await?;
        }
        let checked = check(all, one).await;
        wrong.extend(checked.err().map(|error| format!("{error:#}")));
        let back = put_back(all, one, links).await;
        back.with_context(|| format!("{} ({})\n{}", one.command, one.rule, wrong.join("\n")))?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{} refused", list.len());
    Ok(())
}

/// The end of the playground: its primary is killed.
async fn without_a_primary(all: &mut Playground) -> Result<()> {
    all.sql("c", "STOP REPLICA").await?;
    all.rows_written(5).await?;
    all.pause().await;
    all.server("a")?.kill()?;
    all.linked("b<a(connecting) c<a(stopped) d<b e<b").await?;
    refused(all, "relocate -i @d -d @a", "unreachable", "a did not answer").await?;
    refused(all, "make-master -i @c", "not-most-advanced", "c lacks").await?;
    all.ok("register-candidate -i @b --promotion-rule must_not").await?;
    refused(all, "make-master -i @b", "no-candidate", "must_not").await?;
    all.linked("b<a(connecting) c<a(stopped) d<b e<b").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsafe_requests_are_refused_on_mariadb_and_only_questions_are_sent() -> Result<()> {
    let text = "a\n  b\n    d\n  c --version=10.6.4-MariaDB-log";
    let mut all = Playground::start(Flavor::MariaDb, text).await?;
    let links = "b<a c<a d<b";
    all.settled(links).await?;
    for (name, _) in &all.topology.servers {
        all.sql(name, LOG_ON).await?;
    }
    refused_each(&all, ON_MARIADB, links).await?;
    only_questions(&all.topology).await
}

async fn check(all: &Playground, one: &Unsafe) -> Result<()> {
    let arranged = all.links().await?;
    refused(all, one.command, one.rule, one.said).await?;
    let links = all.links().await?;
    ensure!(links == arranged, "{}: the links are {links}, were {arranged}", one.command);
    ensure!(all.locks().await? == 0, "{}: a lock is left", one.command);
    Ok(())
}

async fn put_back(all: &Playground, one: &Unsafe, links: &str) -> Result<()> {
    for (name, _, after) in one.arranged {
        all.sql(name, after).await?;
    }
    if !one.arranged.is_empty() {
        all.linked(links).await?;
    }
    Ok(())
}

/// What is arranged by our own commands, and a server of another kind.
async fn by_other_means(all: &mut Playground, links: &str) -> Result<()> {
    let id = all.value("c", "@@server_id").await?;
    all.sql("c", &format!("SET GLOBAL server_id = {}", all.value("d", "@@server_id").await?)).await?;
    refused(all, "relocate -i @d -d @c", "same-server-id", "identical server id").await?;
    all.sql("c", &format!("SET GLOBAL server_id = {id}")).await?;
    for (name, command, rule) in
        [("c", "relocate -i @c -d @b", "errant-gtid"), ("b", "gtid-errant-reset-master -i @b", "has-replicas")]
    {
        all.sql(name, "CREATE DATABASE errant; DROP DATABASE errant").await?;
        let uuid = all.value(name, "@@server_uuid").await?;
        refused(all, command, rule, if name == "c" { &uuid } else { "d" }).await?;
        for number in [1, 2] {
            let empty = format!("SET gtid_next = '{uuid}:{number}'; BEGIN; COMMIT; SET gtid_next = 'AUTOMATIC'");
            all.sql("a", &empty).await?;
        }
    }
    all.settled(links).await?;
    let unknown = all.run("relocate -i 127.0.0.1:1 -d @c").await?;
    ensure!(unknown.code != 0 && unknown.stderr.contains("not known: discover it first"), "{unknown:?}");
    all.ok("begin-downtime -i @c --reason disk --owner ann").await?;
    refused(all, "relocate -i @d -d @c", "downtimed", "ann: disk").await?;
    all.ok("end-downtime -i @c").await?;
    all.ok("begin-maintenance -i @c --reason upgrade --owner ann").await?;
    refused(all, "relocate -i @c -d @b", "under-maintenance", "ann").await?;
    refused(all, "relocate -i @d -d @c", "under-maintenance", "ann").await?;
    all.ok("end-maintenance -i @c").await?;
    // The backend is a server, too.
    let backend = all.fleet.backend.address();
    all.ok(&format!("discover -i {backend}")).await?;
    refused(all, &format!("relocate -i @c -d {backend}"), "other-flavor", "MariaDB").await?;
    all.linked(links).await
}

/// Nothing that changes anything was sent under our name.
async fn only_questions(topology: &Topology) -> Result<()> {
    for (name, server) in topology.servers.iter().filter(|(_, server)| server.is_running()) {
        let mut conn = server.connect_root().await?;
        let sql = "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
                   WHERE user_host LIKE '%orc_topo%' AND command_type IN ('Query', 'Execute', 'Prepare')";
        let rows = sqlx::raw_sql(sql).fetch_all(&mut conn).await?;
        ensure!(!rows.is_empty(), "{name} was asked nothing: is its log on?");
        for row in rows {
            let text: String = row.try_get_unchecked(0)?;
            if let Some(changing) = text.split(';').map(str::trim).find(|one| !is_question(one)) {
                bail!("sent to {name}: {changing}");
            }
        }
    }
    Ok(())
}

fn is_question(statement: &str) -> bool {
    let word = statement.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let own_session = statement.to_ascii_uppercase().starts_with("SET SESSION") || statement.starts_with("SET NAMES");
    matches!(word.as_str(), "" | "SELECT" | "SHOW") || own_session
}
