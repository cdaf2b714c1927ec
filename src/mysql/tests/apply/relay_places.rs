//! MariaDB replicas whose threads are both stopped, whose source is gone, and whose appliers work in parallel.

use std::time::{Duration, Instant};

use domain::instance::ThreadState;
use domain::plan::{Action, Threads};
use harness::{Flavor, Server, Topology};
use mysql::Prober;

use crate::orders::{LIMIT, obey, stop};
use crate::support::{facts_of, prober, settings, until, value};

/// Several workers; a lock on a row fails an applier after a second, once and for all.
const TREE: &str = "a\n  b --slave-parallel-threads=4 --innodb-lock-wait-timeout=1 --slave-transaction-retries=0 --slave-parallel-mode=conservative";

async fn started() -> (Topology, Prober) {
    let tree = Topology::start(Flavor::MariaDb, TREE).await.expect("servers");
    let a = &tree["a"];
    a.execute("CREATE TABLE app.x (id INT PRIMARY KEY, v INT)").await.expect("created");
    a.execute("CREATE TABLE app.y (id INT)").await.expect("created");
    a.execute("INSERT INTO app.x VALUES (1, 0)").await.expect("inserted");
    harness::catch_up(&tree["b"], &tree["a"], LIMIT).await.expect("applied");
    (tree, prober(settings()))
}

/// `b` has received all that `a` has.
async fn received(prober: &Prober, tree: &Topology) {
    let all = facts_of(prober, &tree["a"]).await.gtid.mariadb_binlog_pos;
    let parts: Vec<String> = all.split(',').map(str::to_owned).collect();
    until(prober, &tree["b"], "all received", |facts| {
        let had = facts.replica.as_ref().map_or("", |replica| replica.mariadb_io_pos.as_str());
        parts.iter().all(|part| had.split(',').any(|one| one == part))
    })
    .await;
}

async fn write(on: &Server, domain: u32, sql: &str) {
    on.execute(&format!("SET gtid_domain_id = {domain}; {sql}")).await.expect(sql);
}

/// Keeps the row of `app.x` to itself: the applier that wants to change it fails.
async fn holding_the_row(on: &Server) -> sqlx::MySqlConnection {
    let mut lock = on.connect_root().await.expect("a connection");
    for sql in ["BEGIN", "SELECT * FROM app.x FOR UPDATE"] {
        sqlx::query(sql).execute(&mut lock).await.expect(sql);
    }
    lock
}

async fn applier_failed(prober: &Prober, on: &Server) {
    until(prober, on, "an error", |all| all.replica.as_ref().is_some_and(|now| now.last_sql_errno != 0)).await;
}

/// `b` goes on by itself, and has applied everything once.
async fn goes_on(prober: &Prober, b: &Server) {
    obey(prober, b, Action::ResumeApplier).await;
    let all = "SELECT CONCAT((SELECT GROUP_CONCAT(id ORDER BY id) FROM app.y), ' ', (SELECT v FROM app.x))";
    let begun = Instant::now();
    while value(b, all).await != "1 1" {
        assert!(begun.elapsed() < LIMIT, "{} {:?}", value(b, all).await, facts_of(prober, b).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until(prober, b, "all applied", |all| {
        let replica = all.replica.as_ref().expect("a replica");
        assert_eq!(replica.last_sql_error, "");
        let applied = &all.gtid.mariadb_slave_pos;
        replica.sql_thread == ThreadState::Running && replica.mariadb_io_pos.split(',').all(|one| applied.contains(one))
    })
    .await;
}

/// The status tells the beginning of the oldest log; what is applied is skipped all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_applier_goes_on_after_what_is_applied() {
    let (tree, prober) = started().await;
    let (a, b) = (&tree["a"], &tree["b"]);
    write(a, 1, "INSERT INTO app.y VALUES (1)").await;
    harness::catch_up(b, a, LIMIT).await.expect("applied");
    let lock = holding_the_row(b).await;
    write(a, 0, "UPDATE app.x SET v = v + 1").await;
    received(&prober, &tree).await;
    obey(&prober, b, stop(Threads::IO)).await;
    applier_failed(&prober, b).await;
    drop(lock);
    assert_eq!(facts_of(&prober, b).await.replica.expect("a replica").relay.position, 4);
    goes_on(&prober, b).await;
}

/// No place in the relay logs has everything applied before it and nothing after it.
#[tokio::test(flavor = "multi_thread")]
async fn domains_that_have_run_ahead_of_each_other_are_whole_again() {
    for receiver_first in [true, false] {
        let (tree, prober) = started().await;
        let (a, b) = (&tree["a"], &tree["b"]);
        let lock = holding_the_row(b).await;
        write(a, 0, "UPDATE app.x SET v = v + 1").await;
        write(a, 1, "INSERT INTO app.y VALUES (1)").await;
        received(&prober, &tree).await;
        if receiver_first {
            obey(&prober, b, stop(Threads::IO)).await;
        }
        applier_failed(&prober, b).await;
        assert_eq!(value(b, "SELECT COUNT(*) FROM app.y").await, "1", "the other domain has gone on");
        obey(&prober, b, stop(Threads::BOTH)).await;
        drop(lock);
        goes_on(&prober, b).await;
    }
}
