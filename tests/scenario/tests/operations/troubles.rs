//! Operations in trouble: two at once, much to apply, servers that hang.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::Flavor;
use scenario::playground::{TWO_TIERS, TWO_TIERS_LINKS};
use scenario::{Playground, wait};
use sqlx::mysql::MySqlConnection;

use crate::refusals::refused;

const LIMIT: Duration = Duration::from_secs(30);
/// A hung server is given up after: looks and orders have limits of seconds each.
const HUNG_LIMIT: Duration = Duration::from_secs(45);
/// Seconds of writing that a replica has received and not applied.
const UNAPPLIED: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_in_trouble_lose_nothing() -> Result<()> {
    let mut all = Playground::start(Flavor::MySql, TWO_TIERS).await?;
    // From now on e receives and applies nothing.
    all.sql("e", "STOP REPLICA SQL_THREAD").await?;
    let stopped = Instant::now();
    two_at_once(&mut all).await?;
    lock_taken_away(&mut all).await?;
    attached_again(&mut all).await?;
    hung_destination(&mut all).await?;
    hung_replica(&mut all).await?;
    while stopped.elapsed() < UNAPPLIED {
        all.rows_written(5).await?;
    }
    much_to_apply(&mut all).await
}

/// While it is held, the applier of that server waits.
async fn hold_applier(all: &Playground, name: &str) -> Result<MySqlConnection> {
    let mut lock = all.server(name)?.connect_root().await?;
    sqlx::raw_sql("LOCK TABLES app.ledger READ").execute(&mut lock).await?;
    // It must have received something that it cannot apply.
    wait::until("the applier waits", LIMIT, || async {
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'";
        Ok((all.value(name, waiting).await? != "0").then_some(()))
    })
    .await?;
    Ok(lock)
}

async fn let_go(mut lock: MySqlConnection) -> Result<()> {
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut lock).await?;
    Ok(())
}

/// Waits until an operation has begun to wait for an applier.
async fn drains(all: &Playground) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM operation_step WHERE state = 'begun' AND text LIKE '%wait until%'";
    wait::until("an operation waits for an applier", LIMIT, || async {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(all.pool()).await?;
        Ok((count > 0).then_some(()))
    })
    .await
}

/// Two people move one replica, at the same moment, each with a process of their own.
async fn two_at_once(all: &mut Playground) -> Result<()> {
    let lock = hold_applier(all, "d").await?;
    let here = &*all;
    let let_go = async {
        // The one that was refused ends while the other still waits.
        wait::until("one is refused", LIMIT, || async {
            let sql = "SELECT COUNT(*) FROM operation WHERE state = 'refused'";
            let count: i64 = sqlx::query_scalar(sql).fetch_one(here.pool()).await?;
            Ok((count == 1).then_some(()))
        })
        .await?;
        let_go(lock).await
    };
    let (one, other, freed) = tokio::join!(here.run("relocate -i @d -d @c"), here.run("relocate -i @d -d @a"), let_go);
    let (one, other) = (one?, other?);
    freed.with_context(|| format!("{one:?} {other:?}"))?;
    let (done, refused, links) = if one.code == 0 {
        (one, other, "b<a c<a d<c e<b(applier stopped)")
    } else {
        (other, one, "b<a c<a d<a e<b(applier stopped)")
    };
    ensure!(done.code == 0 && refused.code != 0, "{done:?} {refused:?}");
    let said = &refused.stderr;
    ensure!(said.contains("(under-maintenance); ") && said.contains("maintenance of d is held by "), "{said}");
    all.linked(links).await?;
    let taken: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM operation_step s JOIN operation o ON o.id = s.operation_id WHERE o.state = 'refused'",
    )
    .fetch_one(all.pool())
    .await?;
    ensure!(taken == 0, "the refused one has taken {taken} steps");
    all.ok("relocate -i @d -d @b").await?;
    all.linked("b<a c<a d<b e<b(applier stopped)").await
}

/// Somebody takes the lock away while the replica catches up: the operation ends at once, is told as what it was, and neither it
/// nor whoever looks after lost operations touches the servers any more.
async fn lock_taken_away(all: &mut Playground) -> Result<()> {
    let lock = hold_applier(all, "d").await?;
    let here = &*all;
    let take = async {
        drains(here).await?;
        here.ok("end-maintenance -i @d").await?;
        let_go(lock).await
    };
    let (output, taken) = tokio::join!(here.run("relocate -i @d -d @c"), take);
    let output = output?;
    taken.with_context(|| format!("{output:?}"))?;
    ensure!(output.code != 0 && output.stderr.contains("nothing was put back"), "{output:?}");
    let ended = "SELECT COUNT(*) FROM operation WHERE state = 'failed' AND error LIKE 'one of its locks was ended or taken over%'";
    let ended: i64 = sqlx::query_scalar(ended).fetch_one(all.pool()).await?;
    ensure!(ended == 1, "{ended} operations ended so");
    let told = "SELECT COUNT(*) FROM audit WHERE audit_type = 'relocate' AND message LIKE '%nothing was put back%'";
    let told: i64 = sqlx::query_scalar(told).fetch_one(all.pool()).await?;
    ensure!(told == 1 && all.locks().await? == 0, "{told} entries in the audit");
    all.linked("b<a c<a d<b(receiver stopped) e<b(applier stopped)").await?;
    all.ok("start-replica -i @d").await?;
    all.linked("b<a c<a d<b e<b(applier stopped)").await
}

/// A detached replica is a cluster of its own, and its source is looked at all the same when it is attached again.
async fn attached_again(all: &mut Playground) -> Result<()> {
    all.ok("detach-replica-master-host -i @d").await?;
    let alone = "SELECT COUNT(DISTINCT cluster_name) FROM instance WHERE cluster_name <> ''";
    wait::until("the detached replica is a cluster of its own", LIMIT, || async {
        let clusters: i64 = sqlx::query_scalar(alone).fetch_one(all.pool()).await?;
        Ok((clusters == 2).then_some(()))
    })
    .await?;
    let back = all.run("reattach-replica-master-host -i @d").await?;
    ensure!(back.code == 0 && !back.stderr.contains("could not be read"), "{back:?}");
    all.linked("b<a c<a d<b e<b(applier stopped)").await
}

/// The destination hangs while the replica catches up: it stays where it was, and runs.
async fn hung_destination(all: &mut Playground) -> Result<()> {
    let lock = hold_applier(all, "d").await?;
    let here = &*all;
    let hang = async {
        drains(here).await?;
        here.server("c")?.freeze()?;
        let_go(lock).await
    };
    let begun = Instant::now();
    let (output, frozen) = tokio::join!(here.run("relocate -i @d -d @c"), hang);
    let (output, took) = (output?, begun.elapsed());
    frozen.with_context(|| format!("{output:?}"))?;
    eprintln!("hung destination: given up after {} ms: {}", took.as_millis(), output.stderr.trim());
    ensure!(output.code != 0 && took < HUNG_LIMIT, "{took:?} {output:?}");
    ensure!(output.stderr.contains('c'), "{}", output.stderr);
    ensure!(all.locks().await? == 0, "a lock is left");
    all.server("c")?.thaw()?;
    all.linked("b<a c<a d<b e<b(applier stopped)").await
}

/// The replica itself hangs in the middle of its move.
async fn hung_replica(all: &mut Playground) -> Result<()> {
    let lock = hold_applier(all, "d").await?;
    let here = &*all;
    let hang = async {
        drains(here).await?;
        here.server("d")?.freeze()
    };
    let begun = Instant::now();
    let (output, frozen) = tokio::join!(here.run("relocate -i @d -d @c"), hang);
    let (output, took) = (output?, begun.elapsed());
    frozen.with_context(|| format!("{output:?}"))?;
    eprintln!("hung replica: given up after {} ms: {}", took.as_millis(), output.stderr.trim());
    ensure!(output.code != 0 && took < HUNG_LIMIT, "{took:?} {output:?}");
    ensure!(all.locks().await? == 0, "a lock is left");
    // Others are unharmed meanwhile.
    ensure!(all.ok("relocate -i @c -d @b").await? == "c<b");
    ensure!(all.ok("relocate -i @c -d @a").await? == "c<a");
    // Nobody could start it again, and that was said: it is started once it answers.
    let said = &output.stderr;
    ensure!(said.contains("could not be put back") && said.contains("once it answers: start-replica -i d"), "{said}");
    all.server("d")?.thaw()?;
    let_go(lock).await?;
    all.linked("b<a c<a d<b(receiver stopped) e<b(applier stopped)").await?;
    all.ok("start-replica -i @d").await?;
    all.linked("b<a c<a d<b e<b(applier stopped)").await
}

/// Half a minute of unapplied relay log, and a sibling that is behind.
async fn much_to_apply(all: &mut Playground) -> Result<()> {
    let rows = |name: &'static str| all.value(name, "SELECT COUNT(*) FROM app.ledger");
    eprintln!(
        "e lacks what the primary wrote in {UNAPPLIED:?}: it has {} of {} rows",
        rows("e").await?,
        rows("a").await?
    );
    // The sibling lacks it all, and gets nothing more: nobody could have what e would lose.
    all.sql("d", "STOP REPLICA").await?;
    all.rows_written(10).await?;
    refused(all, "relocate -i @e -d @d", "unapplied-relay-log", "its applier is stopped").await?;
    all.linked("b<a c<a d<b(stopped) e<b(applier stopped)").await?;
    all.sql("e", "START REPLICA SQL_THREAD").await?;
    refused(all, "relocate -i @e -d @d", "not-replicating", "d").await?;
    // It runs, but is behind: e applies what it has, and waits for it.
    all.sql("e", "STOP REPLICA SQL_THREAD").await?;
    all.sql("d", "START REPLICA").await?;
    let lock = hold_applier(all, "d").await?;
    all.rows_written(100).await?;
    all.sql("e", "START REPLICA SQL_THREAD").await?;
    ensure!(all.ok("relocate -i @e -d @d").await? == "e<d");
    let_go(lock).await?;
    all.settled("b<a c<a d<b e<d").await?;
    all.ok("relocate -i @e -d @b").await?;
    all.settled(TWO_TIERS_LINKS).await
}
