//! Replicas that have received part of a transaction, and whose source sends no more.

use std::time::{Duration, Instant};

use domain::instance::{InstanceKey, ThreadState};
use domain::plan::{Action, Position, SourceOptions, Threads, holds_part, running_threads};
use harness::{Flavor, Mode, Proxy, Server, Topology};
use mysql::Prober;

use crate::orders::{obey, stop};
use crate::support::{facts_of, key, prober, settings, until, value};

/// Far below the 60 s for which an applier waits, far above what stopping takes.
const AT_ONCE: Duration = Duration::from_secs(15);
/// Bytes of the transaction that arrive, of about a million.
const PART: u64 = 200_000;

/// `b` has applied all but a transaction that it has received in part; its receiver is stopped.
async fn holding_part(flavor: Flavor, text: &str) -> (Topology, Prober) {
    let tree = Topology::start(flavor, text).await.expect("servers");
    let (a, b, prober) = (&tree["a"], &tree["b"], prober(settings()));
    a.execute("CREATE TABLE app.big (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT)").await.expect("created");
    a.execute("INSERT INTO app.big (t) VALUES (REPEAT('x', 4000))").await.expect("inserted");
    let proxy = Proxy::start(a.port()).await.expect("a proxy");
    obey(&prober, b, stop(Threads::BOTH)).await;
    change(&prober, b, &InstanceKey::new("127.0.0.1", proxy.port())).await;
    obey(&prober, b, Action::Start { threads: Threads::BOTH }).await;
    let gone = |all: &domain::instance::ServerFacts| all.replica.as_ref().is_some_and(|now| now.read == now.exec);
    until(&prober, b, "both threads and all applied", |all| all.is_replica_running() && gone(all)).await;
    let before = facts_of(&prober, b).await.replica.expect("a replica").read;

    proxy.set(Mode::StallAfter(PART)).await.expect("a short breath");
    let many =
        "INSERT INTO app.big (t) SELECT REPEAT('y', 4000) FROM (SELECT 1 FROM information_schema.COLUMNS LIMIT 250) n";
    a.execute(many).await.expect("inserted");
    until(&prober, b, "a part of it", |all| all.replica.as_ref().is_some_and(|now| now.read != before)).await;
    obey(&prober, b, stop(Threads::IO)).await;
    if flavor == Flavor::MySql {
        all_read(b).await;
    }
    (tree, prober)
}

/// The applier has read what there is. On a busy machine that is later than its arrival.
async fn all_read(on: &Server) {
    let idle = "SELECT COUNT(*) FROM information_schema.processlist \
                WHERE user = 'system user' AND state LIKE '%has read all relay log; waiting for more updates'";
    let begun = Instant::now();
    while value(on, idle).await == "0" {
        assert!(begun.elapsed() < AT_ONCE, "the applier is busy");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn change(prober: &Prober, on: &Server, to: &InstanceKey) {
    let replica = facts_of(prober, on).await.replica.expect("a replica");
    let options = SourceOptions { tls: replica.tls, request_public_key: false };
    let position = if replica.auto_position {
        Position::Auto
    } else if replica.using_mariadb_gtid {
        Position::MariadbSlavePos
    } else {
        Position::At(replica.exec)
    };
    obey(prober, on, Action::ChangeSource { to: to.clone(), position, options }).await;
}

/// Stops the applier; says how long that took.
async fn stopping(prober: &Prober, on: &Server) -> Duration {
    let begun = Instant::now();
    obey(prober, on, stop(Threads::SQL)).await;
    until(prober, on, "no thread", |all| running_threads(all) == Threads::NONE).await;
    println!("stopped after {:?}", begun.elapsed());
    begun.elapsed()
}

/// The rest of what was cut comes from another server, whole; nothing is applied twice.
async fn is_whole(prober: &Prober, tree: &Topology) {
    let (a, b) = (&tree["a"], &tree["b"]);
    obey(prober, b, Action::Start { threads: Threads::BOTH }).await;
    let sum = "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(CONCAT(id, t)))) FROM app.big";
    let (wanted, begun) = (value(a, sum).await, Instant::now());
    while value(b, sum).await != wanted {
        assert!(begun.elapsed() < AT_ONCE, "{:?}", facts_of(prober, b).await.replica);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_changes_while_the_applier_runs_and_gives_a_part_up() {
    let (tree, prober) = holding_part(Flavor::MySql, "a\n  b\n  c").await;
    let (b, c) = (&tree["b"], &tree["c"]);
    assert!(holds_part(&facts_of(&prober, b).await));
    // c has not got the transaction either.
    c.execute("STOP REPLICA").await.expect("stopped");
    change(&prober, b, &key(c)).await;
    let facts = facts_of(&prober, b).await;
    assert_eq!((facts.source(), running_threads(&facts)), (Some(&key(c)), Threads::SQL));
    assert!(facts.replica.as_ref().is_some_and(|replica| replica.auto_position));
    obey(&prober, b, Action::Start { threads: Threads::IO }).await;
    until(&prober, b, "nothing in part", |all| all.is_replica_running() && !holds_part(all)).await;
    obey(&prober, b, stop(Threads::IO)).await;
    assert!(stopping(&prober, b).await < AT_ONCE);
    c.execute("START REPLICA").await.expect("started");
    is_whole(&prober, &tree).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_right_to_an_applier_with_a_part_is_stopped_at_once() {
    let (tree, prober) = holding_part(Flavor::MySql, "a\n  b").await;
    let (a, b) = (&tree["a"], &tree["b"]);
    b.execute("SET sql_log_bin = 0; GRANT SYSTEM_USER ON *.* TO orc_topo").await.expect("granted");
    assert!(stopping(&prober, b).await < AT_ONCE);
    change(&prober, b, &key(a)).await;
    is_whole(&prober, &tree).await;
}

/// By file and position the relay logs tell that nothing whole is left; the part goes with them and comes again.
#[tokio::test(flavor = "multi_thread")]
async fn by_position_a_part_counts_as_nothing() {
    let (tree, prober) = holding_part(Flavor::MySql, "a no_gtid\n  b no_gtid").await;
    let (a, b) = (&tree["a"], &tree["b"]);
    let drained = |all: &domain::instance::ServerFacts| {
        all.replica.as_ref().is_some_and(|now| now.read == now.exec && now.io_thread == ThreadState::Stopped)
    };
    until(&prober, b, "all whole transactions applied", drained).await;
    let raw = "SELECT COUNT(*) FROM app.big";
    assert_eq!(value(b, raw).await, "1");
    b.execute("SET sql_log_bin = 0; GRANT SYSTEM_USER ON *.* TO orc_topo").await.expect("granted");
    assert!(stopping(&prober, b).await < AT_ONCE);
    assert!(drained(&facts_of(&prober, b).await), "the part is still in its logs");
    change(&prober, b, &key(a)).await;
    is_whole(&prober, &tree).await;
}

/// MariaDB rolls the part back.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_does_not_wait_for_the_rest() {
    for text in ["a\n  b", "a\n  b --slave-parallel-threads=4", "a no_gtid\n  b no_gtid"] {
        let (tree, prober) = holding_part(Flavor::MariaDb, text).await;
        let (a, b) = (&tree["a"], &tree["b"]);
        assert!(stopping(&prober, b).await < AT_ONCE, "{text}");
        change(&prober, b, &key(a)).await;
        is_whole(&prober, &tree).await;
    }
}
