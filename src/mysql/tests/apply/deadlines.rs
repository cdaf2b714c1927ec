//! Servers that make us wait.

use std::time::{Duration, Instant};

use domain::plan::Action;
use harness::{Flavor, Mode, Proxy, Server, TOPOLOGY};
use mysql::apply::{ApplyError, IdleConnections, Order, apply};

use crate::orders::{LIMIT, number, obey, order, order_with};
use crate::support::{BOTH, facts_of, failure, key, key_at, prober, rows, settings, text, value};

const READ_ONLY: Action = Action::SetReadOnly { read_only: true, with_super: true };

/// Holds a lock that `SET GLOBAL read_only` waits for, until the connection goes.
async fn lock(server: &Server) -> sqlx::mysql::MySqlConnection {
    server.execute("CREATE TABLE IF NOT EXISTS app.held (i INT)").await.expect("a table");
    let mut holder = server.connect(harness::APPLICATION).await.expect("a client");
    sqlx::raw_sql("LOCK TABLES app.held WRITE").execute(&mut holder).await.expect("locked");
    holder
}

/// Waits until no statement that begins like this is under way: far shorter than it would last by itself.
async fn ended(server: &Server, beginning: &str) {
    let find = format!("SELECT ID FROM information_schema.processlist WHERE INFO LIKE '{beginning}%'");
    let start = Instant::now();
    while !rows(server, &find).await.is_empty() {
        assert!(start.elapsed() < LIMIT, "{} still runs {beginning}", server.flavor());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_waits_for_a_lock_gives_up_by_itself() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        let holder = lock(&server).await;
        let start = Instant::now();
        let error = order(&prober, &server, READ_ONLY).await.expect_err("locked");
        assert_eq!(number(&error), 1205, "{error}");
        assert!(start.elapsed() < Duration::from_secs(3));
        drop(holder);
        let start = Instant::now();
        while order(&prober, &server, READ_ONLY).await.is_err() {
            assert!(start.elapsed() < LIMIT, "{flavor}: the lock is gone");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_an_answer_is_unknown_and_not_left_behind() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        let holder = lock(&server).await;
        let facts = facts_of(&prober, &server).await;
        // A whole second is what servers wait for a lock at least: our own limit comes first.
        let (on, start) = (key(&server), Instant::now());
        let until = start + Duration::from_millis(500);
        let order = Order { on: &on, action: &READ_ONLY, facts: &facts, until, credentials_query: "" };
        let error = apply(&prober.connector(), &IdleConnections::default(), order).await.expect_err("locked");
        assert!(
            matches!(&error, ApplyError::Unknown { reason, .. } if reason.contains("SET GLOBAL read_only")),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(2), "{flavor}: {:?}", start.elapsed());
        ended(&server, "SET GLOBAL").await;
        drop(holder);
        assert_eq!(value(&server, "SELECT @@GLOBAL.read_only").await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_network_is_no_longer_than_the_limit() {
    let server = Server::start(Flavor::MariaDb).await.expect("a server");
    let proxy = Proxy::start(server.port()).await.expect("a proxy");
    let prober = prober(settings());
    let facts = facts_of(&prober, &server).await;
    let holder = lock(&server).await;
    let on = key_at(proxy.port());
    let start = Instant::now();
    let until = start + Duration::from_secs(1);
    let order = Order { on: &on, action: &READ_ONLY, facts: &facts, until, credentials_query: "" };
    let (connector, idle) = (prober.connector(), IdleConnections::default());
    let (answer, ()) = tokio::join!(apply(&connector, &idle, order), async {
        let waiting = "SELECT ID FROM information_schema.processlist WHERE INFO LIKE 'SET GLOBAL%'";
        while rows(&server, waiting).await.is_empty() {
            assert!(start.elapsed() < LIMIT, "it never came");
        }
        proxy.set(Mode::Stall).await.expect("stalled");
    });
    assert!(matches!(answer, Err(ApplyError::Unknown { .. })), "{answer:?}");
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    let until = Instant::now() + Duration::from_millis(300);
    let order = Order { on: &on, action: &READ_ONLY, facts: &facts, until, credentials_query: "" };
    let answer = apply(&connector, &idle, order).await;
    assert!(matches!(answer, Err(ApplyError::Unreachable { .. })), "{answer:?}");
    proxy.set(Mode::CloseAfter(0)).await.expect("closed");
    drop(holder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_question_about_credentials_changes_nothing() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        let action = Action::CopyCredentials { from: key(&server) };
        let start = Instant::now();
        let error = order_with(&prober, &server, action, "SELECT SLEEP(60), 'secret'").await.expect_err("slow");
        assert!(matches!(&error, ApplyError::Unreachable { .. } | ApplyError::Unsuitable { .. }), "{error}");
        assert!(!error.to_string().contains("secret'"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        ended(&server, "SELECT SLEEP").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_unreachable() {
    let server = Server::start(Flavor::MariaDb).await.expect("a server");
    let prober = prober(settings());
    obey(&prober, &server, READ_ONLY).await;
    let facts = facts_of(&prober, &server).await;
    server.freeze().expect("frozen");
    let on = key(&server);
    let until = Instant::now() + Duration::from_secs(3);
    let order = Order { on: &on, action: &READ_ONLY, facts: &facts, until, credentials_query: "" };
    let answer = apply(&prober.connector(), &IdleConnections::default(), order).await;
    let (_, looked) = failure(prober.probe(&on).await);
    server.thaw().expect("thawed");
    assert!(matches!(answer, Err(ApplyError::Unreachable { .. })), "{answer:?}, but {looked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_over_one_connection_and_one_that_ended_is_replaced() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        let facts = facts_of(&prober, &server).await;
        let (on, connector, idle) = (key(&server), prober.connector(), IdleConnections::default());
        let flush = async || {
            let until = Instant::now() + Duration::from_secs(3);
            let action = Action::FlushBinaryLogs { times: 1 };
            let order = Order { on: &on, action: &action, facts: &facts, until, credentials_query: "" };
            apply(&connector, &idle, order).await.expect("obeyed");
        };
        // The sessions of ours that are no prober's: their numbers.
        let ours = async || {
            let sql = format!(
                "SELECT CAST(ID AS CHAR) FROM information_schema.processlist WHERE USER = '{}' ORDER BY ID DESC",
                TOPOLOGY.user
            );
            rows(&server, &sql).await.iter().map(|row| text(row, 0)).collect::<Vec<_>>()
        };
        let before = ours().await.len();
        flush().await;
        let first = ours().await;
        assert_eq!(first.len(), before + 1, "{flavor}: it waits for the next order");
        flush().await;
        assert_eq!(ours().await, first, "{flavor}: the same connection");
        server.execute(&format!("KILL {}", first[0])).await.expect("killed");
        flush().await;
        let second = ours().await;
        assert!(second.len() == before + 1 && second[0] != first[0], "{flavor}: {first:?}, then {second:?}");
        idle.close().await;
        let start = Instant::now();
        while ours().await.len() > before {
            assert!(start.elapsed() < LIMIT, "{flavor}: it is not left behind");
        }
    }
}
