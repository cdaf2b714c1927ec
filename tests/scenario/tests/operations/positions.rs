//! Operations by file and position, on both flavours, on topologies without GTID.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Flavor;
use scenario::Playground;
use scenario::playground::{TWO_TIERS, TWO_TIERS_LINKS};

use crate::refusals::refused;
use crate::row::{Row, row, run_all};

/// From `a / b (d, e), c` back to it.
const MOVES: &[Row] = &[
    row("relocate -i @d -d @e", "b<a c<a d<e e<b", "d<e"),
    row("move-up -i @d", "b<a c<a d<b e<b", "d<b"),
    row("move-below -i @d -d @e", "b<a c<a d<e e<b", "d<e"),
    row("relocate -i @d -d @b", "b<a c<a d<b e<b", "d<b"),
    row("move-up-replicas -i @b", "b<a c<a d<a e<a", "d\ne"),
    row("take-siblings -i @c", "b<c c<a d<c e<c", "c"),
    row("relocate-replicas -i @c -d @a --pattern @b", "b<a c<a d<c e<c", "b"),
    row("relocate-replicas -i @c -d @a", "b<a c<a d<a e<a", "d\ne"),
    row("relocate -i @d -d @b", "b<a c<a d<b e<a", "d<b"),
    row("relocate -i @e -d @b", "b<a c<a d<b e<b", "e<b"),
    row("repoint -i @e", "b<a c<a d<b e<b", "e<b"),
    row("repoint-replicas -i @b", "b<a c<a d<b e<b", "d<b\ne<b"),
    row("take-master -i @d", "b<d c<a d<a e<b", "d"),
    row("relocate -i @e -d @d", "b<d c<a d<a e<d", "e<d"),
    row("relocate -i @b -d @a", "b<a c<a d<a e<d", "b<a"),
    row("relocate -i @d -d @b", "b<a c<a d<b e<d", "d<b"),
    row("relocate -i @e -d @b", "b<a c<a d<b e<b", "e<b"),
    row("make-co-master -i @c", "a<c b<a c<a d<b e<b", "c"),
    row("reset-replica -i @a", "b<a c<a d<b e<b", "a"),
    row("detach-replica -i @e", "b<a c<a d<b e<//b(connecting)", "e"),
    row("reattach-replica -i @e", "b<a c<a d<b e<b", "e"),
    row("restart-replica -i @e", "b<a c<a d<b e<b", "e"),
    row("stop-replica-nice -i @e", "b<a c<a d<b e<b(stopped)", "e"),
    row("start-replica -i @e", "b<a c<a d<b e<b", "e"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_move_on_mysql_without_gtid() -> Result<()> {
    let text = "a no_gtid\n  b no_gtid\n    d no_gtid\n    e no_gtid\n  c no_gtid";
    let mut all = Playground::start(Flavor::MySql, text).await?;
    run_all(&mut all, MOVES).await?;
    undone_by_an_equivalence(&mut all).await?;
    skipped_by_count(&mut all).await?;
    refused(&all, "enable-gtid -i @e", "no-shared-gtid", "gtid_mode").await?;
    refusals_by_position(&mut all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_move_on_mariadb_without_gtid() -> Result<()> {
    let settings = serde_json::json!({ "ReplicationCredentialsQuery": scenario::credentials_query() });
    let mut all = Playground::start_with(Flavor::MariaDb, TWO_TIERS, settings).await?;
    for name in ["b", "c", "d", "e"] {
        let change = "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = no; START SLAVE";
        all.sql(name, change).await?;
    }
    all.settled(TWO_TIERS_LINKS).await?;
    run_all(&mut all, MOVES).await?;
    undone_by_an_equivalence(&mut all).await?;
    skipped_by_count(&mut all).await
}

/// A move records two equal places: as long as nothing was written it can be undone by them.
async fn undone_by_an_equivalence(all: &mut Playground) -> Result<()> {
    all.settled(TWO_TIERS_LINKS).await?;
    all.pause().await;
    ensure!(all.ok("move-below -i @d -d @e").await? == "d<e");
    // Where the replica must stand exactly.
    ensure!(all.ok("move-equivalent -i @d -d @b").await? == "d<b");
    all.settled(TWO_TIERS_LINKS).await
}

async fn skipped_by_count(all: &mut Playground) -> Result<()> {
    all.sql("a", "CREATE TABLE app.t (id INT PRIMARY KEY)").await?;
    all.settled(TWO_TIERS_LINKS).await?;
    all.sql("e", "SET sql_log_bin = 0; INSERT INTO app.t VALUES (1)").await?;
    all.sql("a", "INSERT INTO app.t VALUES (1)").await?;
    all.linked("b<a c<a d<b e<b(applier stopped)").await?;
    run_all(all, &[row("skip-query -i @e", TWO_TIERS_LINKS, "e")]).await
}

/// What only moves by position refuse.
async fn refusals_by_position(all: &mut Playground) -> Result<()> {
    all.settled(TWO_TIERS_LINKS).await?;
    refused(all, "relocate -i @d -d @c", "too-complex", "neither its sibling").await?;
    refused(all, "repoint -i @d -d @a", "another-server", "position").await?;
    refused(all, "move-gtid -i @d -d @c", "no-shared-gtid", "file and position").await?;
    refused(all, "move-equivalent -i @d -d @c", "no-equivalence", "recorded").await?;
    all.sql("d", "STOP REPLICA SQL_THREAD").await?;
    refused(all, "move-up -i @d", "not-replicating", "does not run").await?;
    all.sql("d", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 1; START REPLICA").await?;
    refused(all, "move-up -i @d", "delayed", "1 s").await?;
    all.sql("d", "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0; START REPLICA").await?;
    all.settled(TWO_TIERS_LINKS).await?;
    // Its applier waits for us.
    let mut lock = all.server("d")?.connect_root().await?;
    sqlx::raw_sql("LOCK TABLES app.ledger READ").execute(&mut lock).await?;
    scenario::wait::until("the replica lags", Duration::from_secs(40), || async {
        let output = all.run("move-up -i @d --noop").await?;
        Ok(output.stderr.contains("lagging").then_some(()))
    })
    .await?;
    refused(all, "move-up -i @d", "lagging", "the limit is").await?;
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut lock).await?;
    all.settled(TWO_TIERS_LINKS).await
}
