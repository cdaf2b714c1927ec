//! Login methods, and the connection itself, as operations will use it.

use std::time::{Duration, Instant};

use domain::instance::FailureKind;
use harness::{Account, Flavor, Options, Server, TOPOLOGY};
use mysql::{Connector, TlsMode, TlsSettings};

use crate::support::{BOTH, facts_of, failure, key, prober, settings_for, shown, value};

/// Longer than a nonce, and not ASCII alone.
const LONG: Account = Account { user: "long_password", password: "a password longer than any nonce is: ßß, really" };
const EMPTY: Account = Account { user: "empty_password", password: "" };

fn with_tls(account: Account, mode: TlsMode) -> mysql::ProbeSettings {
    let mut settings = settings_for(account);
    settings.connect.tls = TlsSettings { mode, skip_verify: true, ..TlsSettings::default() };
    settings
}

/// Logs in afresh, in plain and encrypted where the server can do that.
async fn logs_in(server: &Server, account: Account, modes: &[TlsMode]) {
    for mode in modes {
        let connector = Connector::new(with_tls(account, *mode).connect);
        for _ in 0..2 {
            let mut connection = connector.open(&key(server), false).await.unwrap_or_else(|failure| {
                panic!("{account:?} {mode:?}: {failure:?}");
            });
            assert_eq!(connection.is_encrypted(), *mode == TlsMode::Always);
            let results = connection.query("SELECT CURRENT_USER()").await.expect("answers");
            let user = results[0].rows[0].at(0).expect("a user").into_owned();
            assert!(user.starts_with(account.user), "{user}");
            connection.close().await.expect("says goodbye");
        }
        // The other way round: what is cached for one must not be needed by the next.
        server.execute("FLUSH PRIVILEGES").await.expect("the cache of passwords is empty");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_accounts_log_in_with_an_empty_cache_and_a_full_one() {
    let server = Server::start(Flavor::MySql).await.expect("a server");
    let modes = [TlsMode::Off, TlsMode::Always, TlsMode::Off];
    for account in [LONG, EMPTY] {
        let Account { user, password } = account;
        server.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{password}'")).await.expect("an account");
        logs_in(&server, account, &modes).await;
    }
    // Deprecated, and another method than the one the server greets with.
    let Account { user, password } = Account { user: "old_sha", ..LONG };
    let make = format!("CREATE USER {user}@'%' IDENTIFIED WITH sha256_password BY '{password}'");
    server.execute(&make).await.expect("an account");
    logs_in(&server, Account { user, password }, &modes).await;
    assert_eq!(shown(&server, "STATUS", "Aborted_clients").await, "0", "we say goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_accounts_log_in_by_each_method() {
    let server = Server::start(Flavor::MariaDb).await.expect("a server");
    server.execute("INSTALL SONAME 'auth_ed25519'").await.expect("a plugin");
    let Account { user: _, password } = LONG;
    for (user, method) in [
        ("native", format!("IDENTIFIED VIA mysql_native_password USING PASSWORD('{password}')")),
        ("edwards", format!("IDENTIFIED VIA ed25519 USING PASSWORD('{password}')")),
    ] {
        server.execute(&format!("CREATE USER {user}@'%' {method}")).await.expect("an account");
        logs_in(&server, Account { user, password }, &[TlsMode::Off, TlsMode::Mixed]).await;
        let wrong = with_tls(Account { user, password: "wrong" }, TlsMode::Off);
        let (kind, message) = failure(prober(wrong).probe(&key(&server)).await);
        assert_eq!(kind, FailureKind::AccessDenied, "{message}");
    }
    // A method we do not have: the server is alive all the same.
    server.execute("INSTALL SONAME 'auth_socket'").await.ok();
    server.execute("CREATE USER sock@'%' IDENTIFIED VIA unix_socket").await.expect("an account");
    let strange = with_tls(Account { user: "sock", password }, TlsMode::Off);
    let (kind, message) = failure(prober(strange).probe(&key(&server)).await);
    assert_eq!(kind, FailureKind::AccessDenied, "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_server_ended_says_nothing() {
    for flavor in BOTH {
        let extra_args = vec!["--wait-timeout=1".to_owned()];
        let server = Server::start_with(flavor, Options { extra_args, ..Options::default() }).await.expect("a server");
        let prober = prober(settings_for(TOPOLOGY));
        facts_of(&prober, &server).await;
        let mine = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE USER = '{}'", TOPOLOGY.user);
        let start = Instant::now();
        while value(&server, &mine).await != "0" {
            assert!(start.elapsed() < Duration::from_secs(10), "the server keeps an idle connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        facts_of(&prober, &server).await;
        assert_eq!(prober.stats().connections_opened, 2, "{flavor:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_asks_changes_and_survives_refusals() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let connector = Connector::new(settings_for(harness::APPLICATION).connect);
        let mut connection = connector.open(&key(&server), false).await.expect("logs in");
        let made = "CREATE TABLE app.t (id INT PRIMARY KEY, name TEXT); INSERT INTO app.t VALUES (1, 'é'), (2, NULL)";
        assert_eq!(connection.execute(made).await.expect("runs"), 2);
        let results = connection.query("SELECT * FROM app.t ORDER BY id; UPDATE app.t SET name = 'x'").await;
        let results = results.expect("runs");
        assert_eq!((results.len(), results[1].affected_rows), (2, 2));
        let names: Vec<_> = results[0].rows.iter().map(|row| row.text("name").map(String::from)).collect();
        assert_eq!(names, [Some("é".to_owned()), None]);
        let refused = connection.query("SELECT 1; SELECT nonsense; SELECT 2").await.expect_err("refused");
        assert_eq!(refused.number(), Some(1054), "{refused}");
        let refused = connection.execute("SET GLOBAL read_only = 1").await.expect_err("refused");
        assert_eq!(refused.number(), Some(1227), "{refused}");
        // Two packets long, and more than one reading.
        let sql = format!("SELECT '{}' AS long_one, REPEAT('y', 1000000) AS longer", "x".repeat(70_000));
        let results = connection.query(&sql).await.expect("runs");
        assert_eq!(results[0].rows[0].text("long_one").map(|text| text.len()), Some(70_000));
        assert_eq!(results[0].rows[0].text("longer").map(|text| text.len()), Some(1_000_000));
        let late = tokio::time::timeout(Duration::from_millis(100), connection.query("SELECT SLEEP(20)")).await;
        assert!(late.is_err() && connection.is_broken());
    }
}
