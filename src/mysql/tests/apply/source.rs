//! Changes of source.

use domain::instance::{BinlogCoordinates, InstanceKey};
use domain::plan::{Action, Position, SourceOptions, Threads};
use harness::{Flavor, REPLICATION, Server, Topology, catch_up};
use mysql::Prober;
use mysql::apply::ApplyError;

use crate::orders::{LIMIT, applied, changed, kept_options, number, obey, order, order_with, resume, stop};
use crate::support::{BOTH, facts_of, key, prober, settings, value};

/// What a planner would take: the options as they are.
async fn options(prober: &Prober, server: &Server) -> SourceOptions {
    let tls = facts_of(prober, server).await.replica.map(|replica| replica.tls).unwrap_or_default();
    SourceOptions { tls, request_public_key: false }
}

fn gtid(flavor: Flavor) -> Position {
    if flavor == Flavor::MySql { Position::Auto } else { Position::MariadbSlavePos }
}

async fn source_of(prober: &Prober, server: &Server) -> Option<InstanceKey> {
    facts_of(prober, server).await.source().cloned()
}

/// Options of one's own that a change of source must not touch. The authority's file does not exist: with the certificate
/// not verified, nobody reads it.
fn own_options(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => {
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 1, SOURCE_HEARTBEAT_PERIOD = 0.5, \
             SOURCE_CONNECT_RETRY = 7, SOURCE_RETRY_COUNT = 99, SOURCE_BIND = '127.0.0.1', SOURCE_SSL = 1, \
             SOURCE_SSL_VERIFY_SERVER_CERT = 0, SOURCE_TLS_VERSION = 'TLSv1.3', SOURCE_SSL_CIPHER = \
             'ECDHE-RSA-AES128-GCM-SHA256', SOURCE_COMPRESSION_ALGORITHMS = 'zlib,uncompressed', \
             SOURCE_ZSTD_COMPRESSION_LEVEL = 9, REQUIRE_ROW_FORMAT = 1, REQUIRE_TABLE_PRIMARY_KEY_CHECK = OFF, \
             GTID_ONLY = 1"
        }
        Flavor::MariaDb => {
            "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 1, MASTER_HEARTBEAT_PERIOD = 0.5, MASTER_CONNECT_RETRY = 7, \
             IGNORE_SERVER_IDS = (5, 6), IGNORE_DOMAIN_IDS = (9)"
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_by_gtid_changes_the_source_and_nothing_else() {
    for flavor in BOTH {
        let tree = Topology::start(flavor, "a\n  b\n  c").await.expect("servers");
        let (a, b, c, prober) = (&tree["a"], &tree["b"], &tree["c"], prober(settings()));
        b.execute(own_options(flavor)).await.expect("options of one's own");
        let before = kept_options(b).await;
        let action = Action::ChangeSource { to: key(c), position: gtid(flavor), options: options(&prober, b).await };
        obey(&prober, b, action.clone()).await;
        assert_eq!(source_of(&prober, b).await, Some(key(c)));
        assert_eq!(changed(&before, &kept_options(b).await), ["Port"], "{flavor}");
        resume(&prober, b).await;
        a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("created");
        catch_up(b, a, LIMIT).await.expect("catches up");
        if flavor == Flavor::MySql {
            let user = "SELECT COUNT(*) FROM information_schema.processlist WHERE COMMAND LIKE 'Binlog Dump%'";
            assert_eq!(value(c, user).await, "1");
            assert!(options(&prober, b).await.tls.allowed, "still over TLS");
        }
        // MySQL: the receiver has to stand, the applier may run.
        assert_eq!(
            number(&order(&prober, b, action).await.expect_err("it runs")),
            if flavor == Flavor::MySql { 3021 } else { 1198 }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_told_of_no_tls_uses_none() {
    let pair = Topology::start(Flavor::MySql, "a no_tls\nb").await.expect("servers");
    let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
    let source = "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'repl', SOURCE_PASSWORD = 'repl_password'";
    b.execute(source).await.expect("an account");
    let options = SourceOptions { request_public_key: true, ..SourceOptions::default() };
    obey(&prober, b, Action::ChangeSource { to: key(a), position: Position::Auto, options }).await;
    resume(&prober, b).await;
    a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("created");
    catch_up(b, a, LIMIT).await.expect("catches up");
}

/// Both stop at the end of what the primary wrote; then `b` goes on below `c`.
async fn move_by_position(flavor: Flavor, text: &str) {
    let tree = Topology::start(flavor, text).await.expect("servers");
    let (a, b, c, prober) = (&tree["a"], &tree["b"], &tree["c"], prober(settings()));
    a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("created");
    let end = facts_of(&prober, a).await.binlog;
    for replica in [b, c] {
        applied(&prober, replica, &end).await;
    }
    obey(&prober, b, stop(Threads::BOTH)).await;
    let place = facts_of(&prober, c).await.binlog;
    let position = Position::At(place.clone());
    obey(&prober, b, Action::ChangeSource { to: key(c), position, options: options(&prober, b).await }).await;
    let now = facts_of(&prober, b).await.replica.expect("a replica");
    assert_eq!((now.source, now.read), (key(c), place), "{text}");
    assert!(!now.auto_position && !now.using_mariadb_gtid, "{text}: GTID is turned off");
    resume(&prober, b).await;
    a.execute("INSERT INTO app.t VALUES (1)").await.expect("inserted");
    let start = std::time::Instant::now();
    while value(b, "SELECT COUNT(*) FROM app.t").await != "1" {
        assert!(start.elapsed() < LIMIT, "{text}: {:?}", facts_of(&prober, b).await.replica);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_by_position_begins_where_it_is_told() {
    move_by_position(Flavor::MySql, "a no_gtid\n  b no_gtid\n  c no_gtid").await;
    move_by_position(Flavor::MySql, "a\n  b\n  c").await;
    move_by_position(Flavor::MariaDb, "a\n  b\n  c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_with_filtered_domains_is_not_half_moved() {
    let pair = Topology::start(Flavor::MariaDb, "a\n  b\nc").await.expect("servers");
    let (b, prober) = (&pair["b"], prober(settings()));
    b.execute("STOP SLAVE; CHANGE MASTER TO IGNORE_DOMAIN_IDS = (9)").await.expect("a filter");
    let before = kept_options(b).await;
    let position = Position::At(BinlogCoordinates { file: "binlog.000001".to_owned(), position: 4 });
    let action = Action::ChangeSource { to: key(&pair["c"]), position, options: SourceOptions::default() };
    let error = order(&prober, b, action).await.expect_err("refused");
    assert!(matches!(&error, ApplyError::Unsuitable { reason, .. } if reason.contains("DOMAIN_IDS")), "{error}");
    assert_eq!(changed(&before, &kept_options(b).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_primary_of_mariadb_keeps_what_it_wrote() {
    let pair = Topology::start(Flavor::MariaDb, "a\n  b").await.expect("servers");
    let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
    a.execute("CREATE TABLE app.t (i INT PRIMARY KEY); INSERT INTO app.t VALUES (1)").await.expect("written");
    catch_up(b, a, LIMIT).await.expect("catches up");
    obey(&prober, b, Action::SetReadOnly { read_only: false, with_super: false }).await;
    let query = "SELECT 'repl', 'repl_password'";
    order_with(&prober, a, Action::CopyCredentials { from: key(b) }, query).await.expect("credentials");
    let options = SourceOptions::default();
    obey(&prober, a, Action::ChangeSource { to: key(b), position: Position::MariadbCurrentPos, options }).await;
    resume(&prober, a).await;
    b.execute("INSERT INTO app.t VALUES (2)").await.expect("written");
    catch_up(a, b, LIMIT).await.expect("catches up");
    assert_eq!(value(a, "SELECT GROUP_CONCAT(i ORDER BY i) FROM app.t").await, "1,2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_hidden_and_found_again() {
    for (flavor, text) in
        [(Flavor::MySql, "a\n  b"), (Flavor::MySql, "a no_gtid\n  b no_gtid"), (Flavor::MariaDb, "a\n  b")]
    {
        let pair = Topology::start(flavor, text).await.expect("servers");
        let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
        a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("created");
        let end = facts_of(&prober, a).await.binlog;
        applied(&prober, b, &end).await;
        obey(&prober, b, stop(Threads::BOTH)).await;
        let before = (kept_options(b).await, facts_of(&prober, b).await);
        let rename = |to: String, position: Position, options: SourceOptions| Action::RenameSource {
            to,
            port: a.port(),
            position,
            options,
        };
        let by_gtid = before.1.is_using_gtid();
        let position = || if by_gtid { Position::Unchanged } else { Position::At(end.clone()) };
        let own = options(&prober, b).await;
        if !by_gtid {
            let action = rename("//127.0.0.1".to_owned(), Position::Unchanged, own.clone());
            let error = order(&prober, b, action).await.expect_err("the position would be lost").to_string();
            assert!(error.contains("position"), "{error}");
        }
        obey(&prober, b, rename("//127.0.0.1".to_owned(), position(), own.clone())).await;
        let source = source_of(&prober, b).await.expect("a source");
        assert!(source.is_detached() && source.port == a.port(), "{source}");
        assert_eq!(changed(&before.0, &kept_options(b).await), ["Host"], "{text}");
        obey(&prober, b, rename("127.0.0.1".to_owned(), position(), own)).await;
        assert_eq!(changed(&before.0, &kept_options(b).await), Vec::<String>::new());
        resume(&prober, b).await;
        a.execute("INSERT INTO app.t VALUES (1)").await.expect("inserted");
        let end = facts_of(&prober, a).await.binlog;
        applied(&prober, b, &end).await;
        assert_eq!(value(b, "SELECT COUNT(*) FROM app.t").await, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_forgotten() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a\n  b").await.expect("servers");
        let (b, prober) = (&pair["b"], prober(settings()));
        assert!(order(&prober, b, Action::ResetReplica).await.is_err(), "{flavor}: it runs");
        obey(&prober, b, stop(Threads::BOTH)).await;
        obey(&prober, b, Action::ResetReplica).await;
        assert_eq!(kept_options(b).await.get("Host").map_or("", String::as_str), "", "{flavor}");
        assert_eq!(facts_of(&prober, b).await.replica, None);
        let left = crate::orders::columns(
            b,
            if flavor == Flavor::MySql { "SHOW REPLICA STATUS" } else { "SHOW ALL SLAVES STATUS" },
        );
        assert!(left.await.is_empty(), "{flavor}: no host `_` is needed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_copied_and_never_shown() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a\n  b").await.expect("servers");
        let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
        let copy = |from: &Server| Action::CopyCredentials { from: key(from) };
        let query = format!("SELECT '{}', '{}'", REPLICATION.user, REPLICATION.password);
        // The table counts where there is one; a query that fails does not hide it.
        for query in ["", "SELECT nonsense FROM nowhere", "SELECT '', ''"] {
            let answer = order_with(&prober, a, copy(b), query).await;
            assert_eq!(answer.is_ok(), flavor == Flavor::MySql, "{answer:?}");
            if let Err(error) = answer {
                let text = error.to_string();
                assert!(text.contains("ReplicationCredentialsQuery") && error.key() == &key(b), "{text}");
            }
        }
        order_with(&prober, a, copy(b), &query).await.expect("by the query");
        assert_eq!(facts_of(&prober, a).await.replica, None, "an account is no source");
        let options = options(&prober, b).await;
        obey(&prober, a, Action::ChangeSource { to: key(b), position: gtid(flavor), options }).await;
        resume(&prober, a).await;
        // Servers repeat what they cannot take: a value that is too long, a statement they cannot read.
        obey(&prober, a, stop(Threads::BOTH)).await;
        let secret = "hunter2".repeat(40);
        for query in [format!("SELECT 'repl', '{secret}'"), format!("SELECT 'repl' '{secret}")] {
            let answer = order_with(&prober, a, copy(a), &query).await;
            // The table counts again where the query cannot be read.
            let is_refused = flavor == Flavor::MariaDb || query.ends_with('\'');
            assert_eq!(answer.is_err(), is_refused, "{flavor}");
            assert!(
                !format!("{answer:?} {}", answer.as_ref().err().map_or_else(String::new, ToString::to_string))
                    .contains("hunter2")
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_passwords_and_files_arrive_as_they_are() {
    let pair = Topology::start(Flavor::MySql, "a\n  b").await.expect("servers");
    let (b, prober) = (&pair["b"], prober(settings()));
    b.execute("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT'").await.expect("set");
    obey(&prober, b, stop(Threads::BOTH)).await;
    let query = r#"SELECT 'o''br\\ien"x', 'p''w\\d"; -- ü'"#;
    order_with(&prober, b, Action::CopyCredentials { from: key(b) }, query).await.expect("credentials");
    let kept = kept_options(b).await;
    assert_eq!((kept["User_name"].as_str(), kept["User_password"].as_str()), (r#"o'br\ien"x"#, "p'w\\d\"; -- ü"));
    let mut options = options(&prober, b).await;
    options.tls.ca_file = r"C:\keys\o'brien.pem".to_owned();
    let to = key(&pair["a"]);
    obey(&prober, b, Action::ChangeSource { to, position: Position::Auto, options }).await;
    assert_eq!(kept_options(b).await["Ssl_ca"], r"C:\keys\o'brien.pem");
}
