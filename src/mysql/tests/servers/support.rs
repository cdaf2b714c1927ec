//! What the tests share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::instance::{Answer, FailureKind, InstanceKey, Observation, ServerFacts};
use harness::{Account, Flavor, HOST, Server, TOPOLOGY};
use mysql::{ConnectSettings, HostnameMethod, ProbeSettings, Prober, Secret};
use sqlx::mysql::MySqlRow;
use sqlx::{Executor, Row};

pub(crate) const BOTH: [Flavor; 2] = [Flavor::MySql, Flavor::MariaDb];

pub(crate) fn settings_for(account: Account) -> ProbeSettings {
    ProbeSettings {
        connect: ConnectSettings {
            user: account.user.to_owned(),
            password: Secret::new(account.password),
            ..ConnectSettings::default()
        },
        hostname_method: HostnameMethod::Given,
        ..ProbeSettings::default()
    }
}

pub(crate) fn settings() -> ProbeSettings {
    settings_for(TOPOLOGY)
}

pub(crate) fn prober(settings: ProbeSettings) -> Prober {
    Prober::new(settings, Arc::new(|| 42))
}

pub(crate) fn key_at(port: u16) -> InstanceKey {
    InstanceKey::new(HOST, port)
}

pub(crate) fn key(server: &Server) -> InstanceKey {
    key_at(server.port())
}

pub(crate) fn facts(observation: Observation) -> ServerFacts {
    match observation.answer {
        Answer::Facts { facts, .. } => *facts,
        other => panic!("no facts of {}: {other:?}", observation.asked),
    }
}

pub(crate) async fn facts_of(prober: &Prober, server: &Server) -> ServerFacts {
    facts(prober.probe(&key(server)).await)
}

pub(crate) fn failure(observation: Observation) -> (FailureKind, String) {
    match observation.answer {
        Answer::Failed(failure) => (failure.kind, failure.message),
        other => panic!("{} should have failed: {other:?}", observation.asked),
    }
}

/// Probes until the facts are as wanted.
pub(crate) async fn until(
    prober: &Prober,
    server: &Server,
    what: &str,
    wanted: impl Fn(&ServerFacts) -> bool,
) -> ServerFacts {
    let start = Instant::now();
    loop {
        let facts = facts_of(prober, server).await;
        if wanted(&facts) {
            return facts;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {facts:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The rows a server answers to root.
pub(crate) async fn rows(server: &Server, sql: &str) -> Vec<MySqlRow> {
    let mut connection = server.connect_root().await.expect("root may log in");
    connection.fetch_all(sqlx::raw_sql(sql)).await.expect("root may ask")
}

/// One value a server tells root.
pub(crate) async fn value(server: &Server, sql: &str) -> String {
    let rows = rows(server, sql).await;
    text(rows.first().expect("a row"), 0)
}

pub(crate) fn text(row: &MySqlRow, column: impl sqlx::ColumnIndex<MySqlRow>) -> String {
    row.try_get_unchecked::<Option<String>, _>(column).expect("a text").unwrap_or_default()
}

/// Value of a global variable or status.
pub(crate) async fn shown(server: &Server, what: &str, name: &str) -> String {
    let rows = rows(server, &format!("SHOW GLOBAL {what} LIKE '{name}'")).await;
    rows.first().map_or_else(String::new, |row| text(row, 1))
}
