//! MySQL GTIDs: empty transactions, a history without errant ones, the logs they are in.

use std::time::Instant;

use domain::gtid::mysql::GtidSet;
use domain::plan::{Action, Threads};
use harness::{Flavor, Server, Topology, catch_up};
use mysql::apply::ApplyError;
use mysql::binlogs::locate;

use crate::orders::{LIMIT, number, obey, order, resume, stop};
use crate::support::{facts_of, key, prober, settings, value};

const FOREIGN: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";

async fn executed(server: &Server) -> GtidSet {
    GtidSet::parse(&value(server, "SELECT @@GLOBAL.gtid_executed").await).expect("a set")
}

fn set(text: &str) -> GtidSet {
    GtidSet::parse(text).expect("a set")
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_transactions_are_committed_once() {
    let server = Server::start(Flavor::MySql).await.expect("a server");
    let prober = prober(settings());
    let before = executed(&server).await;
    let mut gtids: Vec<String> = (1..=45).map(|number| format!("{FOREIGN}:{number}")).collect();
    gtids.push(format!("{FOREIGN}:nightly:7"));
    let inject = Action::InjectEmpty { gtids };
    obey(&prober, &server, inject.clone()).await;
    let expected = before.union(&set(&format!("{FOREIGN}:1-45:nightly:7")));
    assert_eq!(executed(&server).await, expected);
    obey(&prober, &server, Action::SetReadOnly { read_only: true, with_super: true }).await;
    obey(&prober, &server, inject).await;
    obey(&prober, &server, Action::InjectEmpty { gtids: vec![format!("{FOREIGN}:46")] }).await;
    assert_eq!(
        executed(&server).await,
        expected.union(&set(&format!("{FOREIGN}:46"))),
        "super_read_only is no obstacle"
    );
    // They are in the log, so replicas get them.
    assert!(facts_of(&prober, &server).await.binlog.position > 46 * 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_gtids_says_how_far_it_came() {
    let pair = Topology::start(Flavor::MySql, "a no_gtid").await.expect("a server");
    let action = Action::InjectEmpty { gtids: vec![format!("{FOREIGN}:1")] };
    let error = order(&prober(settings()), &pair["a"], action).await.expect_err("refused");
    assert_eq!(number(&error), 1781);
    assert!(error.to_string().contains("at aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1, after 0 of 1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errant_transactions_leave_the_history() {
    let pair = Topology::start(Flavor::MySql, "a\n  b").await.expect("servers");
    let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
    a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("created");
    catch_up(b, a, LIMIT).await.expect("catches up");
    let good = executed(b).await;
    b.execute("SET GLOBAL read_only = OFF; CREATE TABLE app.errant (i INT)").await.expect("created");
    let errant = executed(b).await.subtract(&good);
    assert_eq!(errant.count(), 1);
    obey(&prober, b, stop(Threads::BOTH)).await;
    let reset = Action::ResetBinaryLogs { errant: errant.to_string() };
    obey(&prober, b, reset.clone()).await;
    assert_eq!(executed(b).await, good);
    assert_eq!(set(&value(b, "SELECT @@GLOBAL.gtid_purged").await), good);
    // Again: there is nothing to remove, so nothing is reset.
    let error = order(&prober, b, reset).await.expect_err("nothing to do");
    assert!(matches!(&error, ApplyError::Unsuitable { reason, .. } if reason.contains("nothing of")), "{error}");
    resume(&prober, b).await;
    a.execute("INSERT INTO app.t VALUES (1)").await.expect("inserted");
    catch_up(b, a, LIMIT).await.expect("catches up");
    assert_eq!(value(b, "SELECT COUNT(*) FROM app.t").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn gtids_are_located_in_binary_logs() {
    let server = Server::start(Flavor::MySql).await.expect("a server");
    let prober = prober(settings());
    let inject = async |number: u64| {
        obey(&prober, &server, Action::InjectEmpty { gtids: vec![format!("{FOREIGN}:{number}")] }).await;
        facts_of(&prober, &server).await.binlog.file
    };
    let mut files = Vec::new();
    for number in 1..=4 {
        files.push(inject(number).await);
        if number < 4 {
            obey(&prober, &server, Action::FlushBinaryLogs { times: 1 }).await;
        }
    }
    let connector = prober.connector();
    let key = key(&server);
    let find = async |numbers: &str, purged: &str| {
        let errant = set(&format!("{FOREIGN}:{numbers}"));
        locate(&connector, &key, &errant, &set(purged), Instant::now() + LIMIT).await
    };
    for (numbers, expected) in [("1", &files[..1]), ("2-3", &files[1..3]), ("4", &files[3..]), ("1-4", &files[..])] {
        assert_eq!(find(numbers, "").await.expect("located"), expected, "{numbers}");
    }
    obey(&prober, &server, Action::PurgeBinaryLogs { to: files[2].clone() }).await;
    let purged = value(&server, "SELECT @@GLOBAL.gtid_purged").await;
    assert_eq!(find("3-4", &purged).await.expect("located"), files[2..]);
    let error = find("1-4", &purged).await.expect_err("purged").to_string();
    assert!(error.contains(&format!("{FOREIGN}:1-2")), "{error}");
}
