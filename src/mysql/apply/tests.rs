//! Decisions that need no server.

mod scripted;

use std::time::Duration;

use domain::instance::{PluginNaming, ReplicaFacts, SemiSyncFacts};
use domain::plan::SourceOptions;

use super::*;
use crate::ConnectSettings;

fn facts(version: &str) -> ServerFacts {
    ServerFacts { version: version.to_owned(), ..ServerFacts::default() }
}

fn semi_sync(facts: &ServerFacts, side: SemiSyncSide, enabled: bool) -> Result<String, Unsuitable> {
    let dialect = Dialect::of(facts)?;
    let statements = set_semi_sync(&dialect, facts, side, enabled)?;
    Ok(statements.iter().map(|sql| sql.text().to_owned()).collect::<Vec<_>>().join("; "))
}

#[test]
fn the_receiver_is_restarted_where_that_is_needed_and_safe() {
    let replica = |io: ThreadState, sql: ThreadState, mariadb: bool| {
        let semi_sync = SemiSyncFacts { replica_plugin: Some(PluginNaming::MasterSlave), ..SemiSyncFacts::default() };
        let version = if mariadb { "10.11.6-MariaDB" } else { "8.0.25" };
        let replica =
            ReplicaFacts { io_thread: io, sql_thread: sql, using_mariadb_gtid: mariadb, ..ReplicaFacts::default() };
        ServerFacts { semi_sync, replica: Some(replica), ..facts(version) }
    };
    let on = "SET GLOBAL rpl_semi_sync_slave_enabled = ON";
    let (yes, no) = (ThreadState::Running, ThreadState::Stopped);
    for (facts, expected) in [
        (replica(yes, yes, false), format!("{on}; STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")),
        (replica(ThreadState::Other, no, false), format!("{on}; STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")),
        (replica(no, yes, false), on.to_owned()),
        (replica(yes, yes, true), format!("{on}; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD")),
        (replica(yes, no, true), on.to_owned()),
    ] {
        assert_eq!(semi_sync(&facts, SemiSyncSide::Replica, true).as_deref(), Ok(expected.as_str()));
        let mut already = facts;
        already.semi_sync.replica_enabled = true;
        assert_eq!(semi_sync(&already, SemiSyncSide::Replica, true).as_deref(), Ok(on), "nothing changes");
    }
}

#[test]
fn a_missing_plugin_is_named() {
    let error = semi_sync(&facts("9.7.4"), SemiSyncSide::Source, true).expect_err("missing");
    assert!(error.contains("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'"), "{error}");
}

/// Port 1: whoever connects fails otherwise.
async fn unsuitable(version: &str, action: Action) -> String {
    let connector = Connector::new(ConnectSettings::default());
    let (on, facts) = (InstanceKey::new("127.0.0.1", 1), facts(version));
    let until = Instant::now() + Duration::from_secs(3);
    let order = Order { on: &on, action: &action, facts: &facts, until, credentials_query: "" };
    match apply(&connector, &IdleConnections::default(), order).await {
        Err(ApplyError::Unsuitable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_server_cannot_be_told_is_not_tried() {
    let (mysql, mariadb) = ("9.7.4", "10.11.6-MariaDB");
    let key = InstanceKey::new("db2", 3306);
    let position = Position::EndOf(key.clone());
    for (version, action, reason) in [
        ("", Action::SkipOne, "no version"),
        (mysql, Action::RunUntil { position: position.clone() }, "was not read yet"),
        (mysql, Action::RunUntil { position: Position::Auto }, "none was named"),
        (
            mysql,
            Action::ChangeSource { to: key.clone(), position, options: SourceOptions::default() },
            "was not read yet",
        ),
        (
            mysql,
            Action::RenameSource {
                to: "//db2".to_owned(),
                port: 3306,
                position: Position::Unchanged,
                options: SourceOptions::default(),
            },
            "it must be said",
        ),
        (mysql, Action::SetSemiSync { side: SemiSyncSide::Replica, enabled: true }, "INSTALL PLUGIN"),
        (mysql, Action::InjectEmpty { gtids: vec!["x:1".to_owned()] }, "x"),
        (mysql, Action::ResetBinaryLogs { errant: "nonsense".to_owned() }, "nonsense"),
        (mysql, Action::PurgeBinaryLogs { to: "a\nb".to_owned() }, "control character"),
        (mariadb, Action::InjectEmpty { gtids: Vec::new() }, "MariaDB"),
        (mariadb, Action::ResetBinaryLogs { errant: String::new() }, "MariaDB"),
    ] {
        let said = unsuitable(version, action).await;
        assert!(said.contains(reason), "{said}");
    }
}

#[tokio::test]
async fn nothing_to_send_needs_no_connection() {
    let connector = Connector::new(ConnectSettings::default());
    let (on, facts) = (InstanceKey::new("127.0.0.1", 1), facts("9.7.4"));
    let until = Instant::now() + Duration::from_secs(3);
    for action in [Action::Drain, Action::Stop { threads: Threads::NONE }, Action::FlushBinaryLogs { times: 0 }] {
        let order = Order { on: &on, action: &action, facts: &facts, until, credentials_query: "" };
        assert_eq!(apply(&connector, &IdleConnections::default(), order).await, Ok(()));
    }
    let late = Order { on: &on, action: &Action::SkipOne, facts: &facts, until: Instant::now(), credentials_query: "" };
    assert!(matches!(apply(&connector, &IdleConnections::default(), late).await, Err(ApplyError::Unreachable { .. })));
}
