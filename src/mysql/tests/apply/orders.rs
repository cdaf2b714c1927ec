//! Giving orders, and reading what a server says about its replication.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::instance::{BinlogCoordinates, ServerFacts};
use domain::plan::{Action, Threads};
use harness::{Flavor, Server};
use mysql::Prober;
use mysql::apply::{ApplyError, IdleConnections, Order, apply};
use sqlx::{Column, Row};

use crate::support::{facts_of, key, rows, text, until};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Looks, then gives one order.
pub(crate) async fn order(prober: &Prober, server: &Server, action: Action) -> Result<(), ApplyError> {
    order_with(prober, server, action, "").await
}

/// As [`order`], with a `ReplicationCredentialsQuery`.
pub(crate) async fn order_with(
    prober: &Prober,
    server: &Server,
    action: Action,
    credentials_query: &str,
) -> Result<(), ApplyError> {
    let facts = facts_of(prober, server).await;
    let until = Instant::now() + Duration::from_secs(3);
    let order = Order { on: &key(server), action: &action, facts: &facts, until, credentials_query };
    apply(&prober.connector(), &IdleConnections::default(), order).await
}

pub(crate) async fn obey(prober: &Prober, server: &Server, action: Action) {
    let shown = format!("{action:?}");
    if let Err(error) = order(prober, server, action).await {
        panic!("{shown} on {}: {error}", server.flavor());
    }
}

pub(crate) fn number(error: &ApplyError) -> u16 {
    match error {
        ApplyError::Refused { number, .. } => *number,
        other => panic!("not refused: {other}"),
    }
}

pub(crate) fn stop(threads: Threads) -> Action {
    Action::Stop { threads }
}

pub(crate) fn start(threads: Threads) -> Action {
    Action::Start { threads }
}

/// Starts both threads and waits until they run.
pub(crate) async fn resume(prober: &Prober, server: &Server) {
    obey(prober, server, start(Threads::BOTH)).await;
    until(prober, server, "both threads", ServerFacts::is_replica_running).await;
}

/// Waits until a replica has applied its source's log up to this place. `catch_up` asks for GTIDs; this is for replicas
/// without, and says where that is.
pub(crate) async fn applied(prober: &Prober, replica: &Server, end: &BinlogCoordinates) {
    let is_there = |facts: &ServerFacts| facts.replica.as_ref().is_some_and(|now| now.exec == *end);
    until(prober, replica, "applied to the end", is_there).await;
}

/// A row as texts by column name.
pub(crate) async fn columns(server: &Server, sql: &str) -> BTreeMap<String, String> {
    let rows = rows(server, sql).await;
    let Some(row) = rows.first() else { return BTreeMap::new() };
    row.columns().iter().map(|column| (column.name().to_owned(), text(row, column.ordinal()))).collect()
}

/// Every option of the connection to the source that the server keeps. Positions, and what it learns from its source, are
/// left out.
pub(crate) async fn kept_options(server: &Server) -> BTreeMap<String, String> {
    let mut options = match server.flavor() {
        Flavor::MySql => {
            let mut kept = columns(server, "SELECT * FROM mysql.slave_master_info").await;
            kept.extend(columns(server, "SELECT * FROM mysql.slave_relay_log_info").await);
            kept
        }
        Flavor::MariaDb => columns(server, "SHOW ALL SLAVES STATUS").await,
    };
    const OPTIONS: [&str; 44] = [
        "Host",
        "Port",
        "User_name",
        "User_password",
        "Connect_retry",
        "Enabled_ssl",
        "Ssl_ca",
        "Ssl_capath",
        "Ssl_cert",
        "Ssl_cipher",
        "Ssl_key",
        "Ssl_verify_server_cert",
        "Heartbeat",
        "Bind",
        "Ignored_server_ids",
        "Retry_count",
        "Ssl_crl",
        "Ssl_crlpath",
        "Enabled_auto_position",
        "Tls_version",
        "Public_key_path",
        "Get_public_key",
        "Network_namespace",
        "Master_compression_algorithm",
        "Master_zstd_compression_level",
        "Tls_ciphersuites",
        "Source_connection_auto_failover",
        "Gtid_only",
        "Sql_delay",
        "Require_row_format",
        "Require_table_primary_key_check",
        "Privilege_checks_username",
        "Assign_gtids_to_anonymous_transactions_type",
        "Master_Host",
        "Master_Port",
        "Master_User",
        "Connect_Retry",
        "Replicate_Ignore_Server_Ids",
        "Replicate_Ignore_Domain_Ids",
        "Using_Gtid",
        "SQL_Delay",
        "Slave_heartbeat_period",
        "Master_SSL_Allowed",
        "Master_SSL_CA_File",
    ];
    options.retain(|name, _| OPTIONS.contains(&name.as_str()));
    options
}

/// What differs, by name; names of either flavor without their prefix.
pub(crate) fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let differ =
        |(name, value): (&String, &String)| (after.get(name) != Some(value)).then(|| name.replace("Master_", ""));
    before.iter().filter_map(differ).collect()
}
