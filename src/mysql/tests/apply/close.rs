//! Closing a primary to everybody: who may write in spite of `read_only` is stopped, or nothing is done and he is named.

use std::time::{Duration, Instant};

use domain::plan::{Action, Condition};
use harness::{Account, Flavor, Server};
use mysql::Prober;
use mysql::apply::ApplyError;
use sqlx::{Executor, MySqlConnection};

use crate::orders::{LIMIT, order};
use crate::support::{BOTH, facts_of, key, prober, settings, shown, value};

const BOSS: Account = Account { user: "boss", password: "boss_password" };
const WRITE: &str = "INSERT INTO app.t VALUES (NULL)";

/// An account with rights on `app`, and these on everything.
async fn add(server: &Server, account: Account, rights: &str) {
    let (user, password) = (account.user, account.password);
    let sql = format!(
        "CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'; GRANT ALL ON app.* TO '{user}'@'%'; \
         GRANT {rights} ON *.* TO '{user}'@'%'"
    );
    server.execute(&sql).await.expect("an account");
}

async fn with_table(flavor: Flavor) -> Server {
    let server = Server::start(flavor).await.expect("a server");
    server.execute("CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT)").await.expect("a table");
    server
}

async fn write(connection: &mut MySqlConnection) -> Result<(), String> {
    connection.execute(WRITE).await.map(drop).map_err(|error| error.to_string())
}

/// Sessions that ended are listed for a moment.
async fn closes(prober: &Prober, server: &Server) {
    let start = Instant::now();
    while let Err(error) = order(prober, server, Action::Close).await {
        assert!(start.elapsed() < LIMIT, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let facts = facts_of(prober, server).await;
    assert_eq!(Condition::Closed.holds(&key(server), &facts, &[].into()), Ok(()));
}

/// Nothing was changed, and the reason names this.
async fn refuses(prober: &Prober, server: &Server, named: &str) {
    let start = Instant::now();
    loop {
        match order(prober, server, Action::Close).await {
            // Somebody else, who is going, may be named first.
            Err(ApplyError::Unsuitable { reason, .. }) if reason.contains(named) => break,
            other => assert!(start.elapsed() < LIMIT, "{named}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shown(server, "VARIABLES", "read_only").await, "OFF");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_super_is_kept_out() {
    for flavor in BOTH {
        let (server, prober) = (with_table(flavor).await, prober(settings()));
        let rights = match flavor {
            Flavor::MySql => "SUPER, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN",
            Flavor::MariaDb => "SUPER, CONNECTION ADMIN",
        };
        add(&server, BOSS, rights).await;
        let mut boss = server.connect(BOSS).await.expect("a login");
        write(&mut boss).await.expect("a row");
        closes(&prober, &server).await;
        assert!(write(&mut boss).await.expect_err("a row").contains("read-only"), "{flavor}");
        // Again: it is closed already.
        closes(&prober, &server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_stays_open_while_somebody_is_there_who_writes_in_spite_of_read_only() {
    let (server, prober) = (with_table(Flavor::MariaDb).await, prober(settings()));
    let (direct, by_role) = (BOSS, Account { user: "deputy", password: "deputy_password" });
    add(&server, direct, "READ_ONLY ADMIN").await;
    add(&server, by_role, "PROCESS").await;
    server
        .execute(
            "CREATE ROLE inner_role; GRANT READ_ONLY ADMIN ON *.* TO inner_role; CREATE ROLE outer_role; \
             GRANT inner_role TO outer_role; GRANT outer_role TO deputy@'%'",
        )
        .await
        .expect("roles");
    for account in [direct, by_role] {
        let mut boss = server.connect(account).await.expect("a login");
        refuses(&prober, &server, &format!("of {}", account.user)).await;
        write(&mut boss).await.expect("it was not closed");
    }
    closes(&prober, &server).await;
    // It was closed before: that is not taken back.
    let boss = server.connect(direct).await.expect("a login");
    assert!(order(&prober, &server, Action::Close).await.is_err());
    assert_eq!(shown(&server, "VARIABLES", "read_only").await, "ON");
    drop(boss);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_mariadb_that_write_in_spite_of_read_only_are_named() {
    let (server, prober) = (with_table(Flavor::MariaDb).await, prober(settings()));
    server.execute(&format!("CREATE EVENT app.nightly ON SCHEDULE EVERY 1 DAY DO {WRITE}")).await.expect("an event");
    server.execute("SET GLOBAL event_scheduler = ON").await.expect("events run");
    refuses(&prober, &server, "event app.nightly of root@127.0.0.1").await;
    server.execute("SET GLOBAL event_scheduler = OFF").await.expect("events do not run");
    closes(&prober, &server).await;
}

/// Semi-sync replication without a replica that would acknowledge.
async fn waits_for_nobody(flavor: Flavor) -> harness::Topology {
    let topology = harness::Topology::start(flavor, "a semisync=loaded").await.expect("a server");
    let word = if flavor == Flavor::MySql { "source" } else { "master" };
    let sql = format!(
        "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT); SET GLOBAL rpl_semi_sync_{word}_timeout = 3600000; \
         SET GLOBAL rpl_semi_sync_{word}_enabled = ON"
    );
    topology["a"].execute(&sql).await.expect("semi-sync");
    topology
}

type Writing = tokio::task::JoinHandle<Result<(), String>>;

/// Five, one of which waits for an acknowledgement and the others for that one.
async fn writers_that_wait(server: &Server) -> Vec<Writing> {
    let mut writers = Vec::new();
    for _ in 0..5 {
        let mut app = server.connect(harness::APPLICATION).await.expect("a login");
        writers.push(tokio::spawn(async move { write(&mut app).await }));
    }
    let start = Instant::now();
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE STATE LIKE 'Waiting for semi-sync ACK%'";
    while value(server, waiting).await == "0" {
        assert!(start.elapsed() < LIMIT, "nobody waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    writers
}

/// MariaDB cannot tell then where its binary log ends. It is alive, and has to be closed: which begins with seeing it.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_whose_commits_wait_answers_probes() {
    for flavor in BOTH {
        let (topology, prober) = (waits_for_nobody(flavor).await, prober(settings()));
        let server = &topology["a"];
        facts_of(&prober, server).await;
        if flavor == Flavor::MariaDb {
            server.execute("SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC").await.expect("lossless");
        }
        let _writers = writers_that_wait(server).await;
        let start = Instant::now();
        loop {
            let facts = facts_of(&prober, server).await;
            assert!(facts.semi_sync.source_enabled && !facts.read_only && facts.log_bin, "{flavor}");
            let is_missing = facts.missing.iter().any(|text| text.contains("binary log status"));
            assert_eq!(is_missing, facts.binlog.file.is_empty(), "{flavor}: {:?}", facts.missing);
            // All five have come so far.
            if is_missing || flavor == Flavor::MySql {
                break;
            }
            assert!(start.elapsed() < LIMIT, "{flavor}: it tells its position all the same");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What hung is not asked again for a while.
        let start = Instant::now();
        facts_of(&prober, server).await;
        println!("{flavor}: asked in {:?}", start.elapsed());
        order(&prober, server, Action::Seal).await.unwrap_or_else(|error| panic!("{flavor}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_whose_commits_wait_is_sealed_and_acknowledges_none_of_them() {
    for flavor in BOTH {
        let (topology, prober) = (waits_for_nobody(flavor).await, prober(settings()));
        let server = &topology["a"];
        let writers = writers_that_wait(server).await;
        let refused = order(&prober, server, Action::SetReadOnly { read_only: true, with_super: true }).await;
        assert!(matches!(refused, Err(ApplyError::Refused { number: 1205, .. })), "{flavor}: {refused:?}");
        let start = Instant::now();
        order(&prober, server, Action::Seal).await.unwrap_or_else(|error| panic!("{flavor}: {error}"));
        println!("{flavor}: sealed in {:?}", start.elapsed());
        let facts = facts_of(&prober, server).await;
        assert_eq!(Condition::Closed.holds(&key(server), &facts, &[].into()), Ok(()));
        for writer in writers {
            assert!(writer.await.expect("it ends").is_err(), "{flavor}: a commit was acknowledged");
        }
        // Nobody waits: at once, and again.
        order(&prober, server, Action::Seal).await.expect("closed already");
    }
}
