//! The accounts every server of the harness has. They are part of the template, so they exist before the first
//! binary log event and no replica differs from its source by them.

use crate::flavor::Flavor;

/// A name and its password. Throw-away servers on loopback only: these are not secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub user: &'static str,
    pub password: &'static str,
}

/// May do everything; from 127.0.0.1 only.
pub const ROOT: Account = Account { user: "root", password: "" };
/// What orchestrator logs in with: the rights its manual asks for, nothing more.
pub const TOPOLOGY: Account = Account { user: "orc_topo", password: "orc_topo_password" };
/// What replicas log in with at their source.
pub const REPLICATION: Account = Account { user: "repl", password: "repl_password" };
/// A plain application: all rights on database `app`, and bound by `read_only`.
pub const APPLICATION: Account = Account { user: "app", password: "app_password" };

/// One statement per line, as an init file wants it.
pub(crate) fn setup_sql(flavor: Flavor) -> String {
    let mut lines = vec![
        // MariaDB's own set-up has made it already.
        "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1'".to_owned(),
        "GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION".to_owned(),
        "CREATE DATABASE app".to_owned(),
    ];
    for account in [TOPOLOGY, REPLICATION, APPLICATION] {
        lines.push(format!("CREATE USER '{}'@'%' IDENTIFIED BY '{}'", account.user, account.password));
    }
    lines.push(format!("GRANT ALL ON app.* TO '{}'@'%'", APPLICATION.user));
    lines.push(format!("GRANT REPLICATION SLAVE ON *.* TO '{}'@'%'", REPLICATION.user));
    lines.extend(topology_grants(flavor).iter().map(|grant| format!("GRANT {grant} TO '{}'@'%'", TOPOLOGY.user)));
    lines.join(";\n") + ";\n"
}

fn topology_grants(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        Flavor::MySql => &[
            "SUPER, PROCESS, RELOAD, REPLICATION SLAVE, REPLICATION CLIENT ON *.*",
            "SYSTEM_VARIABLES_ADMIN, REPLICATION_SLAVE_ADMIN, CONNECTION_ADMIN, BINLOG_ADMIN, \
             GROUP_REPLICATION_ADMIN ON *.*",
            // For empty transactions in place of errant ones that have a tag (8.3 and later).
            "TRANSACTION_GTID_TAG ON *.*",
            "SELECT ON mysql.slave_master_info",
            "SELECT ON performance_schema.*",
            "SELECT ON meta.*",
        ],
        Flavor::MariaDb => &[
            "SUPER, PROCESS, RELOAD, REPLICATION SLAVE, BINLOG MONITOR ON *.*",
            // SUPER no longer includes these in 10.11.
            "READ_ONLY ADMIN, CONNECTION ADMIN, BINLOG ADMIN, REPLICATION MASTER ADMIN, REPLICATION SLAVE ADMIN, \
             REPLICA MONITOR ON *.*",
            "SELECT ON mysql.*",
            "SELECT ON performance_schema.*",
            "SELECT ON meta.*",
        ],
    }
}
