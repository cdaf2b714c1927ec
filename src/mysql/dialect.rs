//! The statements of a probe in the words of each server. Who knows which words is in [`domain::version`].

use domain::version::{Fact, ServerVersion};

/// Whom the server replicates from. MariaDB's answers for all its connections only when asked for all.
pub(crate) fn replica_status(version: &ServerVersion) -> &'static str {
    if version.has(Fact::MariaDbGtid) {
        ALL_SLAVES_STATUS
    } else if version.has(Fact::ReplicaWords) {
        "SHOW REPLICA STATUS"
    } else {
        "SHOW SLAVE STATUS"
    }
}

/// MariaDB's, with what its other statement leaves out: the heartbeat period.
pub(crate) const ALL_SLAVES_STATUS: &str = "SHOW ALL SLAVES STATUS";

/// The heartbeat period of a channel, whose name comes as a literal. The first question is answered even where
/// `performance_schema` is off (tried on 9.7); older servers may answer the second one only.
pub(crate) fn heartbeat(channel: &str) -> [String; 2] {
    [
        "SELECT HEARTBEAT_INTERVAL FROM performance_schema.replication_connection_configuration WHERE CHANNEL_NAME = ",
        "SELECT Heartbeat FROM mysql.slave_master_info WHERE Channel_name = ",
    ]
    .map(|question| format!("{question}{channel}"))
}

/// Position of the own binary log.
pub(crate) fn binlog_status(version: &ServerVersion) -> &'static str {
    if version.has(Fact::BinaryLogStatus) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
}

/// Replicas that registered themselves.
pub(crate) fn replicas(version: &ServerVersion) -> &'static str {
    if version.has(Fact::ShowReplicas) { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" }
}

/// Connections that read the binary log. The table in `performance_schema` does not stop the server while it is read,
/// but is empty where that schema is off.
pub(crate) fn dump_threads(version: &ServerVersion, has_performance_schema: bool) -> &'static str {
    if has_performance_schema && version.has(Fact::PerformanceSchemaProcesslist) {
        "SELECT USER, HOST FROM performance_schema.processlist WHERE COMMAND IN ('Binlog Dump', 'Binlog Dump GTID')"
    } else {
        "SELECT USER, HOST FROM information_schema.processlist WHERE COMMAND IN ('Binlog Dump', 'Binlog Dump GTID')"
    }
}

/// Members of the replication group the server is in.
pub(crate) const GROUP_MEMBERS: &str = "SELECT MEMBER_ID, MEMBER_HOST, MEMBER_PORT, MEMBER_STATE, MEMBER_ROLE, \
     @@global.group_replication_group_name AS GROUP_NAME, \
     @@global.group_replication_single_primary_mode AS SINGLE_PRIMARY \
     FROM performance_schema.replication_group_members WHERE MEMBER_STATE <> 'OFFLINE'";

/// State of semi-synchronous replication. The server walks through all its status variables for this (0.2 ms), so it is
/// asked only where one of the roles is switched on.
pub(crate) const SEMI_SYNC_STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN (\
     'Rpl_semi_sync_source_status','Rpl_semi_sync_source_clients','Rpl_semi_sync_replica_status',\
     'Rpl_semi_sync_master_status','Rpl_semi_sync_master_clients','Rpl_semi_sync_slave_status')";

/// Seconds since the server started.
pub(crate) const UPTIME: &str = "SHOW GLOBAL STATUS LIKE 'Uptime'";

/// The server's clock.
pub(crate) const CLOCK: &str = "SELECT UNIX_TIMESTAMP()";

/// A row with a user: its password is there too, for whoever may read it.
pub(crate) const SAVED_CREDENTIALS: &str = "SELECT COUNT(*) > 0 AND MAX(User_name) <> '' FROM mysql.slave_master_info";

/// What MaxScale answers and no server does.
pub(crate) const MAXSCALE_CHECK: &str = "SHOW VARIABLES LIKE 'maxscale%'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_asked_in_its_own_words() {
        for (version, status, binlog, hosts, modern_processlist) in [
            ("5.7.44-log", "SHOW SLAVE STATUS", "SHOW MASTER STATUS", "SHOW SLAVE HOSTS", false),
            ("8.0.21", "SHOW SLAVE STATUS", "SHOW MASTER STATUS", "SHOW SLAVE HOSTS", false),
            ("8.0.36", "SHOW REPLICA STATUS", "SHOW MASTER STATUS", "SHOW REPLICAS", true),
            ("8.4.0", "SHOW REPLICA STATUS", "SHOW BINARY LOG STATUS", "SHOW REPLICAS", true),
            ("9.7.4", "SHOW REPLICA STATUS", "SHOW BINARY LOG STATUS", "SHOW REPLICAS", true),
            ("10.5.23-MariaDB", "SHOW ALL SLAVES STATUS", "SHOW MASTER STATUS", "SHOW SLAVE HOSTS", false),
            ("11.8.2-MariaDB-log", "SHOW ALL SLAVES STATUS", "SHOW MASTER STATUS", "SHOW SLAVE HOSTS", false),
        ] {
            let version = ServerVersion::parse(version, "");
            assert_eq!(replica_status(&version), status, "{version}");
            assert_eq!(binlog_status(&version), binlog, "{version}");
            assert_eq!(replicas(&version), hosts, "{version}");
            assert_eq!(dump_threads(&version, true).contains("performance_schema"), modern_processlist, "{version}");
            assert!(!dump_threads(&version, false).contains("performance_schema"), "{version}");
        }
    }
}
