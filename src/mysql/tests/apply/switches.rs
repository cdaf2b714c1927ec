//! Threads, read-only, semi-sync, delay, logs, statements.

use std::time::Duration;

use domain::instance::{ServerFacts, ThreadState};
use domain::plan::{Action, Position, SemiSyncSide, Threads};
use harness::{Flavor, Server, Topology, catch_up};
use mysql::apply::ApplyError;
use mysql::replication::{Waited, wait_for_position};

use crate::orders::{LIMIT, applied, columns, kept_options, number, obey, order, resume, start, stop};
use crate::support::{BOTH, facts_of, key, prober, rows, settings, shown, until, value};

const STOPPED: ThreadState = ThreadState::Stopped;
const RUNNING: ThreadState = ThreadState::Running;

#[tokio::test(flavor = "multi_thread")]
async fn threads_stop_and_start_one_by_one() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a\n  b").await.expect("servers");
        let (b, prober) = (&pair["b"], prober(settings()));
        for (action, expected) in [
            (stop(Threads::IO), (STOPPED, RUNNING)),
            (stop(Threads::SQL), (STOPPED, STOPPED)),
            (start(Threads::SQL), (STOPPED, RUNNING)),
            (start(Threads::IO), (RUNNING, RUNNING)),
            (stop(Threads::BOTH), (STOPPED, STOPPED)),
            (stop(Threads::BOTH), (STOPPED, STOPPED)),
            (start(Threads::BOTH), (RUNNING, RUNNING)),
        ] {
            obey(&prober, b, action).await;
            until(&prober, b, "threads", |facts| facts.threads() == expected).await;
        }
        assert!(order(&prober, &pair["a"], start(Threads::BOTH)).await.is_err(), "{flavor}: it has no source");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_channels_one_is_stopped() {
    for flavor in BOTH {
        let trio = Topology::start(flavor, "a\n  m\nx").await.expect("servers");
        let (m, prober) = (&trio["m"], prober(settings()));
        let port = trio["x"].port();
        let (other, count) = match flavor {
            Flavor::MySql => (
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='repl', \
                     SOURCE_PASSWORD='repl_password', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1 FOR CHANNEL 'o''x'; \
                     START REPLICA FOR CHANNEL 'o''x'"
                ),
                "SELECT SUM(SERVICE_STATE = 'ON') FROM performance_schema.replication_applier_status",
            ),
            Flavor::MariaDb => (
                format!(
                    "CHANGE MASTER 'o''x' TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='repl', \
                     MASTER_PASSWORD='repl_password', MASTER_USE_GTID=slave_pos; START SLAVE 'o''x'"
                ),
                "SELECT COUNT(*) FROM information_schema.processlist WHERE COMMAND = 'Slave_SQL'",
            ),
        };
        m.execute(&other).await.expect("another channel");
        assert_eq!(value(m, count).await, "2", "{flavor}");
        obey(&prober, m, stop(Threads::BOTH)).await;
        assert_eq!(facts_of(&prober, m).await.threads(), (STOPPED, STOPPED));
        assert_eq!(value(m, count).await, "1", "{flavor}: the other channel was left alone");
        obey(&prober, m, Action::ResetReplica).await;
        let only = facts_of(&prober, m).await.replica.expect("a replica");
        assert_eq!((only.source.port, only.channel.as_str(), only.sql_thread), (port, "o'x", RUNNING));
        obey(&prober, m, stop(Threads::BOTH)).await;
        assert_eq!(value(m, count).await, "0", "{flavor}: now it is the one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_are_kept_out_and_let_in() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        let has_super = flavor == Flavor::MySql;
        for (read_only, with_super, expected) in [
            (true, false, ("ON", false)),
            (true, true, ("ON", true)),
            (true, false, ("ON", true)),
            (false, false, ("OFF", false)),
            (true, true, ("ON", true)),
            (false, true, ("OFF", false)),
        ] {
            obey(&prober, &server, Action::SetReadOnly { read_only, with_super }).await;
            assert_eq!(shown(&server, "VARIABLES", "read_only").await, expected.0);
            let is_super = shown(&server, "VARIABLES", "super_read_only").await == "ON";
            assert_eq!(is_super, expected.1 && has_super, "{flavor} {read_only} {with_super}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn semi_sync_is_switched_on_both_sides() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a semisync=loaded\n  b semisync=loaded").await.expect("servers");
        let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
        let set = |side, enabled| Action::SetSemiSync { side, enabled };
        obey(&prober, a, set(SemiSyncSide::Source, true)).await;
        obey(&prober, b, set(SemiSyncSide::Replica, true)).await;
        let source = until(&prober, a, "an acknowledging replica", |facts| facts.semi_sync.source_clients == 1).await;
        assert!(source.semi_sync.source_enabled && !source.semi_sync.replica_enabled);
        let replica = until(&prober, b, "both threads", ServerFacts::is_replica_running).await;
        assert!(replica.semi_sync.replica_enabled && replica.semi_sync.replica_status);
        obey(&prober, b, set(SemiSyncSide::Replica, false)).await;
        until(&prober, a, "no acknowledging replica", |facts| facts.semi_sync.source_clients == 0).await;
        until(&prober, b, "both threads", ServerFacts::is_replica_running).await;
        obey(&prober, a, set(SemiSyncSide::Source, false)).await;
        assert!(!facts_of(&prober, a).await.semi_sync.source_enabled);
        // A receiver that is stopped on purpose stays stopped.
        obey(&prober, b, stop(Threads::IO)).await;
        obey(&prober, b, set(SemiSyncSide::Replica, true)).await;
        assert_eq!(facts_of(&prober, b).await.threads(), (STOPPED, RUNNING));
    }
    let bare = Server::start(Flavor::MySql).await.expect("a server");
    let action = Action::SetSemiSync { side: SemiSyncSide::Source, enabled: true };
    let error = order(&prober(settings()), &bare, action).await.expect_err("no plugin").to_string();
    assert!(error.contains("INSTALL PLUGIN rpl_semi_sync_source"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_is_set_and_nothing_else() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a\n  b").await.expect("servers");
        let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
        let heartbeat = match flavor {
            Flavor::MySql => "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HEARTBEAT_PERIOD = 0.75; START REPLICA",
            Flavor::MariaDb => "STOP SLAVE; CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 0.75; START SLAVE",
        };
        b.execute(heartbeat).await.expect("a period of one's own");
        let before = kept_options(b).await;
        assert!(order(&prober, b, Action::SetDelay { seconds: 7 }).await.is_err(), "{flavor}: the applier runs");
        // MySQL: the applier is enough, and the relay logs stay, applied or not.
        obey(&prober, b, stop(if flavor == Flavor::MySql { Threads::SQL } else { Threads::BOTH })).await;
        let relay = facts_of(&prober, b).await.replica.expect("a replica").relay;
        obey(&prober, b, Action::SetDelay { seconds: 7 }).await;
        let after = facts_of(&prober, b).await.replica.expect("a replica");
        assert_eq!(after.sql_delay, 7);
        assert!(after.relay == relay || flavor == Flavor::MariaDb, "{:?}", after.relay);
        let differences = crate::orders::changed(&before, &kept_options(b).await);
        assert_eq!(differences, [if flavor == Flavor::MySql { "Sql_delay" } else { "SQL_Delay" }]);
        resume(&prober, b).await;
        obey(&prober, b, stop(Threads::BOTH)).await;
        obey(&prober, b, Action::SetDelay { seconds: 0 }).await;
        resume(&prober, b).await;
        catch_up(b, a, LIMIT).await.expect("catches up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_logs_that_are_not_applied_are_not_lost_by_a_delay() {
    for (text, keeps) in [("a\n  b", false), ("a no_gtid\n  b no_gtid", true)] {
        let pair = Topology::start(Flavor::MySql, text).await.expect("servers");
        let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
        obey(&prober, b, stop(Threads::SQL)).await;
        a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("created");
        let end = facts_of(&prober, a).await.binlog;
        until(&prober, b, "the table", |facts| facts.replica.as_ref().is_some_and(|now| now.read == end)).await;
        obey(&prober, b, stop(Threads::BOTH)).await;
        let answer = order(&prober, b, Action::SetDelay { seconds: 1 }).await;
        let kept = facts_of(&prober, b).await.replica.expect("a replica");
        assert_eq!((answer.is_ok(), kept.read == end), (keeps, true), "{answer:?} {kept:?}");
        // Without its source: it has what it received.
        a.kill().expect("killed");
        obey(&prober, b, start(Threads::SQL)).await;
        applied(&prober, b, &end).await;
        assert_eq!(value(b, "SELECT COUNT(*) FROM app.t").await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_begun_and_removed() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        let history = facts_of(&prober, &server).await.gtid;
        obey(&prober, &server, Action::FlushBinaryLogs { times: 3 }).await;
        let until = std::time::Instant::now() + LIMIT;
        let logs = mysql::binlogs::list(&prober.connector(), &key(&server), until).await.expect("listed");
        assert_eq!(logs.len(), rows(&server, "SHOW BINARY LOGS").await.len());
        let last = logs.last().expect("a log");
        let now = facts_of(&prober, &server).await;
        assert_eq!((&now.binlog.file, now.binlog.position), (&last.name, last.size));
        assert!(last.name.ends_with("000004") || last.name.ends_with("000005"), "{logs:?}");
        assert_eq!(now.gtid, history, "a flush is no transaction");
        obey(&prober, &server, Action::PurgeBinaryLogs { to: last.name.clone() }).await;
        assert_eq!(rows(&server, "SHOW BINARY LOGS").await.len(), 1);
        let error = order(&prober, &server, Action::PurgeBinaryLogs { to: "no'such.1".to_owned() }).await;
        assert_eq!(number(&error.expect_err("no such log")), 1373);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_somebody_is_ended() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        let mut client = server.connect(harness::APPLICATION).await.expect("a client");
        let start = std::time::Instant::now();
        let sleeping = async {
            // MySQL's SLEEP says "1" when it is ended, MariaDB's fails.
            let _ = sqlx::raw_sql("SELECT SLEEP(60)").fetch_all(&mut client).await;
            sqlx::raw_sql("SELECT 1").fetch_all(&mut client).await.expect("only the statement was ended");
        };
        let ending = async {
            let find = "SELECT ID FROM information_schema.processlist WHERE INFO LIKE 'SELECT SLEEP%'";
            let id = loop {
                if let Some(row) = rows(&server, find).await.first() {
                    break crate::support::text(row, 0).parse().expect("a number");
                }
                assert!(start.elapsed() < LIMIT, "it never slept");
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            obey(&prober, &server, Action::KillQuery { id }).await;
        };
        tokio::join!(sleeping, ending);
        assert!(start.elapsed() < LIMIT, "{flavor}");
        let error = order(&prober, &server, Action::KillQuery { id: 4_000_000 }).await.expect_err("nobody");
        assert_eq!(number(&error), 1094);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_skipped() {
    for (flavor, text) in [(Flavor::MySql, "a no_gtid\n  b no_gtid"), (Flavor::MariaDb, "a\n  b")] {
        let pair = Topology::start(flavor, text).await.expect("servers");
        let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
        a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("created");
        let end = facts_of(&prober, a).await.binlog;
        applied(&prober, b, &end).await;
        b.execute("SET SESSION sql_log_bin = 0; INSERT INTO app.t VALUES (1)").await.expect("inserted");
        a.execute("INSERT INTO app.t VALUES (1); INSERT INTO app.t VALUES (2)").await.expect("inserted");
        until(&prober, b, "an error", |facts| facts.threads().1 == STOPPED).await;
        obey(&prober, b, Action::SkipOne).await;
        obey(&prober, b, start(Threads::SQL)).await;
        let end = facts_of(&prober, a).await.binlog;
        applied(&prober, b, &end).await;
        assert_eq!(value(b, "SELECT GROUP_CONCAT(i ORDER BY i) FROM app.t").await, "1,2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applier_runs_until_a_place() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a\n  b").await.expect("servers");
        let (a, b, prober) = (&pair["a"], &pair["b"], prober(settings()));
        obey(&prober, b, stop(Threads::SQL)).await;
        a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("created");
        let place = facts_of(&prober, a).await.binlog;
        a.execute("INSERT INTO app.t VALUES (1)").await.expect("inserted");
        let end = facts_of(&prober, a).await.binlog;
        let received = |facts: &ServerFacts| facts.replica.as_ref().is_some_and(|now| now.read == end);
        let facts = until(&prober, b, "all of it", received).await;
        let connector = prober.connector();
        let wait = async |place, seconds| {
            wait_for_position(&connector, &key(b), &facts, place, Duration::from_secs(seconds)).await.expect("waited")
        };
        assert_eq!(wait(&place, 1).await, Waited::NotApplying);
        obey(&prober, b, Action::RunUntil { position: Position::At(place.clone()) }).await;
        let there = |facts: &ServerFacts| facts.threads().1 == STOPPED;
        let facts = until(&prober, b, "the place", there).await;
        assert_eq!(facts.replica.expect("a replica").exec, place, "{flavor}");
        assert_eq!(value(b, "SELECT COUNT(*) FROM app.t").await, "0");
        obey(&prober, b, start(Threads::SQL)).await;
        assert!(matches!(wait(&end, 10).await, Waited::Reached { .. }));
        let far = domain::instance::BinlogCoordinates { position: end.position + 1_000_000, ..end.clone() };
        assert_eq!(wait(&far, 1).await, Waited::TimedOut);
        let status = if flavor == Flavor::MySql { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" };
        assert!(!columns(b, status).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let monitor = if flavor == Flavor::MySql { "REPLICATION CLIENT" } else { "REPLICA MONITOR, BINLOG MONITOR" };
        let make = format!("CREATE USER poor@'%' IDENTIFIED BY 'poor_password'; GRANT {monitor} ON *.* TO poor@'%'");
        server.execute(&make).await.expect("a poor user");
        let poor = harness::Account { user: "poor", password: "poor_password" };
        let prober = prober(crate::support::settings_for(poor));
        let action = Action::SetReadOnly { read_only: true, with_super: false };
        let error = order(&prober, &server, action).await.expect_err("denied");
        assert_eq!(number(&error), 1227);
        assert!(error.to_string().contains("SET GLOBAL read_only = ON"), "{error}");
        let facts = facts_of(&prober, &server).await;
        let action = Action::SkipOne;
        let late = mysql::apply::Order {
            on: &key(&server),
            action: &action,
            facts: &facts,
            until: std::time::Instant::now(),
            credentials_query: "",
        };
        let error = mysql::apply::apply(&prober.connector(), &mysql::apply::IdleConnections::default(), late)
            .await
            .expect_err("too late");
        assert!(matches!(error, ApplyError::Unreachable { .. }), "{error}");
    }
}
