//! Writers that know several servers, and semi-sync that loses nothing.

use std::time::{Duration, Instant};

use harness::{Flavor, Server, Topology, Writer, catch_up, wait_running};

const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(1);
const HELD_BACK: Duration = Duration::from_secs(2);
const TREE: &str = "a\n  b\n  c";

fn start(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => "START REPLICA",
        Flavor::MariaDb => "START SLAVE",
    }
}

fn stop(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => "STOP REPLICA",
        Flavor::MariaDb => "STOP SLAVE",
    }
}

fn forget(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => "STOP REPLICA; RESET REPLICA ALL; SET GLOBAL read_only = 0",
        Flavor::MariaDb => "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0",
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn rows_by(writer: &Writer, server: &Server, more: usize) {
    let count = || writer.rows().iter().filter(|row| row.server == server.address()).count();
    let before = count();
    eventually(&format!("rows on {}", server.address()), || count() >= before + more).await;
}

async fn check_follows(flavor: Flavor) {
    let topology = Topology::start_lossless(flavor, TREE).await.unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| &topology[name]);
    let mut writer = Writer::start_on_any(&[a, b, c], 1, PAUSE).await.unwrap();
    rows_by(&writer, a, 50).await;
    assert!(writer.rows().iter().all(|row| row.server == a.address()), "the others are read-only");

    a.kill().unwrap();
    let killed = Instant::now();
    assert_eq!(writer.outage(killed), None, "it has not ended");
    // Somebody takes its place: one of the two has all that was acknowledged, or will have when it has applied it.
    let new = loop {
        if writer.lost(b).await.unwrap().is_empty() {
            break b;
        }
        if writer.lost(c).await.unwrap().is_empty() {
            break c;
        }
        assert!(killed.elapsed() < LIMIT, "acknowledged, and nobody has it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // Longer than this machine may make a row wait that is written to a healthy server.
    eventually("time passes", || killed.elapsed() > HELD_BACK).await;
    new.execute(forget(flavor)).await.unwrap();
    rows_by(&writer, new, 50).await;

    let outage = writer.outage(killed).unwrap();
    assert_eq!((&outage.before.server, &outage.after.server), (&a.address(), &new.address()), "{outage:?}");
    // The last row may have come to its writer's notice a moment after the death of the server.
    let noticed_late = Duration::from_millis(500);
    assert!(
        outage.length + noticed_late >= HELD_BACK && outage.length < HELD_BACK + Duration::from_secs(5),
        "{outage:?}"
    );
    // One that does not end at its new primary is not taken for it.
    assert!(writer.outage(outage.after.at).unwrap().length < outage.length);
    writer.stop().await;
    assert_eq!(writer.lost(new).await.unwrap(), []);
    let other = if new.address() == b.address() { c } else { b };
    let lost = writer.lost(other).await.unwrap();
    assert!(lost.len() >= 50 && lost.iter().any(|row| row.server == new.address()), "{}", lost.len());
}

async fn check_frozen(flavor: Flavor) {
    let topology = Topology::start(flavor, TREE).await.unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| &topology[name]);
    let mut writer = Writer::start_on_any(&[a, b], 1, PAUSE).await.unwrap();
    rows_by(&writer, a, 20).await;
    a.freeze().unwrap();
    b.execute(forget(flavor)).await.unwrap();
    let promoted = Instant::now();
    rows_by(&writer, b, 20).await;
    // It does not wait for the frozen one.
    let first = writer.rows().into_iter().find(|row| row.server == b.address()).unwrap();
    assert!(first.at - promoted < Duration::from_secs(2), "{:?}", first.at - promoted);
    a.thaw().unwrap();
    // A server may join later.
    c.execute(forget(flavor)).await.unwrap();
    writer.add(c, PAUSE);
    for gone in [a, b] {
        gone.kill().unwrap();
    }
    rows_by(&writer, c, 20).await;
    writer.stop().await;
    let stopped = writer.acknowledged().len();
    assert_eq!(writer.finish().await.len(), stopped);
}

async fn check_lossless(flavor: Flavor) {
    let topology = Topology::start_lossless(flavor, TREE).await.unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| &topology[name]);
    let writer = Writer::start(a, 1, PAUSE).await.unwrap();
    rows_by(&writer, a, 20).await;
    b.execute(stop(flavor)).await.unwrap();
    rows_by(&writer, a, 20).await;
    c.execute(stop(flavor)).await.unwrap();
    // Nobody is left to acknowledge: after the row that may have been under way nothing is.
    let begun = Instant::now();
    let mut rows = writer.acknowledged().len();
    while begun.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = writer.acknowledged().len();
        if begun.elapsed() > Duration::from_millis(400) {
            assert_eq!(now, rows);
        }
        rows = now;
    }
    c.execute(start(flavor)).await.unwrap();
    rows_by(&writer, a, 20).await;
    let rows = writer.finish().await;
    wait_running(c, LIMIT).await.unwrap();
    catch_up(c, a, LIMIT).await.unwrap();
    assert_eq!(harness::missing_rows(c, &rows).await.unwrap(), Vec::<u64>::new());
}

#[tokio::test]
async fn a_writer_follows_the_primary() {
    for flavor in Flavor::ALL {
        check_follows(flavor).await;
    }
}

#[tokio::test]
async fn a_writer_does_not_wait_for_a_frozen_server() {
    for flavor in Flavor::ALL {
        check_frozen(flavor).await;
    }
}

#[tokio::test]
async fn lossless_means_that_nothing_is_acknowledged_without_a_replica() {
    for flavor in Flavor::ALL {
        check_lossless(flavor).await;
    }
}
