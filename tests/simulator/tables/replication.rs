//! Replication tables: status of the own stream, connected replicas, binary logs.
//!
//! The column lists are those of MySQL 9.7.4 and MariaDB 10.11 in their order, with their types.

use super::{Column, Rows, Table, column, text, uint, uint32};
use crate::facts::{Facts, now_micros, server_id, uuid};
use crate::role::{Follows, Switch};
use crate::server::Dialect;
use crate::sql::{Kind, Value};

/// The user replicas log in with.
pub(super) const USER: &str = "repl";

const fn real(name: &'static str) -> Column {
    column(name, Kind::Real)
}

static MYSQL_REPLICA_STATUS: [Column; 60] = [
    text("Replica_IO_State"),
    text("Source_Host"),
    text("Source_User"),
    uint32("Source_Port"),
    uint32("Connect_Retry"),
    text("Source_Log_File"),
    uint("Read_Source_Log_Pos"),
    text("Relay_Log_File"),
    uint("Relay_Log_Pos"),
    text("Relay_Source_Log_File"),
    text("Replica_IO_Running"),
    text("Replica_SQL_Running"),
    text("Replicate_Do_DB"),
    text("Replicate_Ignore_DB"),
    text("Replicate_Do_Table"),
    text("Replicate_Ignore_Table"),
    text("Replicate_Wild_Do_Table"),
    text("Replicate_Wild_Ignore_Table"),
    uint32("Last_Errno"),
    text("Last_Error"),
    uint32("Skip_Counter"),
    uint("Exec_Source_Log_Pos"),
    uint("Relay_Log_Space"),
    text("Until_Condition"),
    text("Until_Log_File"),
    uint("Until_Log_Pos"),
    text("Source_SSL_Allowed"),
    text("Source_SSL_CA_File"),
    text("Source_SSL_CA_Path"),
    text("Source_SSL_Cert"),
    text("Source_SSL_Cipher"),
    text("Source_SSL_Key"),
    uint("Seconds_Behind_Source"),
    text("Source_SSL_Verify_Server_Cert"),
    uint32("Last_IO_Errno"),
    text("Last_IO_Error"),
    uint32("Last_SQL_Errno"),
    text("Last_SQL_Error"),
    text("Replicate_Ignore_Server_Ids"),
    uint32("Source_Server_Id"),
    text("Source_UUID"),
    text("Source_Info_File"),
    uint32("SQL_Delay"),
    uint32("SQL_Remaining_Delay"),
    text("Replica_SQL_Running_State"),
    uint("Source_Retry_Count"),
    text("Source_Bind"),
    text("Last_IO_Error_Timestamp"),
    text("Last_SQL_Error_Timestamp"),
    text("Source_SSL_Crl"),
    text("Source_SSL_Crlpath"),
    text("Retrieved_Gtid_Set"),
    text("Executed_Gtid_Set"),
    uint32("Auto_Position"),
    text("Replicate_Rewrite_DB"),
    text("Channel_Name"),
    text("Source_TLS_Version"),
    text("Source_public_key_path"),
    uint32("Get_Source_public_key"),
    text("Network_Namespace"),
];

static MARIADB_REPLICA_STATUS: [Column; 54] = [
    text("Slave_IO_State"),
    text("Master_Host"),
    text("Master_User"),
    uint32("Master_Port"),
    uint32("Connect_Retry"),
    text("Master_Log_File"),
    uint("Read_Master_Log_Pos"),
    text("Relay_Log_File"),
    uint("Relay_Log_Pos"),
    text("Relay_Master_Log_File"),
    text("Slave_IO_Running"),
    text("Slave_SQL_Running"),
    text("Replicate_Do_DB"),
    text("Replicate_Ignore_DB"),
    text("Replicate_Do_Table"),
    text("Replicate_Ignore_Table"),
    text("Replicate_Wild_Do_Table"),
    text("Replicate_Wild_Ignore_Table"),
    uint32("Last_Errno"),
    text("Last_Error"),
    uint32("Skip_Counter"),
    uint("Exec_Master_Log_Pos"),
    uint("Relay_Log_Space"),
    text("Until_Condition"),
    text("Until_Log_File"),
    uint("Until_Log_Pos"),
    text("Master_SSL_Allowed"),
    text("Master_SSL_CA_File"),
    text("Master_SSL_CA_Path"),
    text("Master_SSL_Cert"),
    text("Master_SSL_Cipher"),
    text("Master_SSL_Key"),
    uint("Seconds_Behind_Master"),
    text("Master_SSL_Verify_Server_Cert"),
    uint32("Last_IO_Errno"),
    text("Last_IO_Error"),
    uint32("Last_SQL_Errno"),
    text("Last_SQL_Error"),
    text("Replicate_Ignore_Server_Ids"),
    uint32("Master_Server_Id"),
    text("Master_SSL_Crl"),
    text("Master_SSL_Crlpath"),
    text("Using_Gtid"),
    text("Gtid_IO_Pos"),
    text("Replicate_Do_Domain_Ids"),
    text("Replicate_Ignore_Domain_Ids"),
    text("Parallel_Mode"),
    uint32("SQL_Delay"),
    uint32("SQL_Remaining_Delay"),
    text("Slave_SQL_Running_State"),
    uint("Slave_DDL_Groups"),
    uint("Slave_Non_Transactional_Groups"),
    uint("Slave_Transactional_Groups"),
    text("Replicate_Rewrite_DB"),
];

static MARIADB_ALL_STATUS: [Column; 62] = [
    text("Connection_name"),
    text("Slave_SQL_State"),
    text("Slave_IO_State"),
    text("Master_Host"),
    text("Master_User"),
    uint32("Master_Port"),
    uint32("Connect_Retry"),
    text("Master_Log_File"),
    uint("Read_Master_Log_Pos"),
    text("Relay_Log_File"),
    uint("Relay_Log_Pos"),
    text("Relay_Master_Log_File"),
    text("Slave_IO_Running"),
    text("Slave_SQL_Running"),
    text("Replicate_Do_DB"),
    text("Replicate_Ignore_DB"),
    text("Replicate_Do_Table"),
    text("Replicate_Ignore_Table"),
    text("Replicate_Wild_Do_Table"),
    text("Replicate_Wild_Ignore_Table"),
    uint32("Last_Errno"),
    text("Last_Error"),
    uint32("Skip_Counter"),
    uint("Exec_Master_Log_Pos"),
    uint("Relay_Log_Space"),
    text("Until_Condition"),
    text("Until_Log_File"),
    uint("Until_Log_Pos"),
    text("Master_SSL_Allowed"),
    text("Master_SSL_CA_File"),
    text("Master_SSL_CA_Path"),
    text("Master_SSL_Cert"),
    text("Master_SSL_Cipher"),
    text("Master_SSL_Key"),
    uint("Seconds_Behind_Master"),
    text("Master_SSL_Verify_Server_Cert"),
    uint32("Last_IO_Errno"),
    text("Last_IO_Error"),
    uint32("Last_SQL_Errno"),
    text("Last_SQL_Error"),
    text("Replicate_Ignore_Server_Ids"),
    uint32("Master_Server_Id"),
    text("Master_SSL_Crl"),
    text("Master_SSL_Crlpath"),
    text("Using_Gtid"),
    text("Gtid_IO_Pos"),
    text("Replicate_Do_Domain_Ids"),
    text("Replicate_Ignore_Domain_Ids"),
    text("Parallel_Mode"),
    uint32("SQL_Delay"),
    uint32("SQL_Remaining_Delay"),
    text("Slave_SQL_Running_State"),
    uint("Slave_DDL_Groups"),
    uint("Slave_Non_Transactional_Groups"),
    uint("Slave_Transactional_Groups"),
    text("Replicate_Rewrite_DB"),
    uint32("Retried_transactions"),
    uint("Max_relay_log_size"),
    uint32("Executed_log_entries"),
    uint32("Slave_received_heartbeats"),
    real("Slave_heartbeat_period"),
    text("Gtid_Slave_Pos"),
];

pub(super) static STATUS_MYSQL: Table =
    Table { name: "", columns: &MYSQL_REPLICA_STATUS, rows: |facts| own_status(facts, &MYSQL_REPLICA_STATUS) };
pub(super) static STATUS_MARIADB: Table =
    Table { name: "", columns: &MARIADB_REPLICA_STATUS, rows: |facts| own_status(facts, &MARIADB_REPLICA_STATUS) };
pub(super) static ALL_STATUS_MARIADB: Table =
    Table { name: "", columns: &MARIADB_ALL_STATUS, rows: |facts| own_status(facts, &MARIADB_ALL_STATUS) };

/// One row on a replica, none on a primary.
fn own_status(facts: &Facts<'_>, columns: &'static [Column]) -> Rows {
    let Some((host, port)) = source_name(facts) else { return Rows::Cells(Vec::new()) };
    let source = facts.source();
    let (receives, applies) = (facts.is(Switch::Receiver), facts.is(Switch::Applier));
    let hears = facts.hears_source();
    let (file, position) = (facts.log_file(), facts.log_position());
    let gtids = facts.gtids();
    let source_word = if facts.speaks(Dialect::MySql) { "source" } else { "master" };
    let lost = || format!("error connecting to {source_word} '{USER}@{host}:{port}' - retry-time: 60 retries: 1");
    let value = |column: &Column| match column.name {
        "Slave_IO_State" | "Replica_IO_State" if hears => {
            Value::text(format!("Waiting for {source_word} to send event"))
        }
        "Slave_IO_State" | "Replica_IO_State" if receives => {
            Value::text(format!("Reconnecting after a failed {source_word} event read"))
        }
        "Master_Host" | "Source_Host" => Value::text(host.clone()),
        "Master_User" | "Source_User" => Value::text(USER),
        "Master_Port" | "Source_Port" => Value::UInt(u64::from(port)),
        "Connect_Retry" => Value::UInt(60),
        "Master_Log_File" | "Source_Log_File" | "Relay_Master_Log_File" | "Relay_Source_Log_File" => {
            Value::text(file.clone())
        }
        "Read_Master_Log_Pos" | "Read_Source_Log_Pos" | "Exec_Master_Log_Pos" | "Exec_Source_Log_Pos" => {
            Value::UInt(position)
        }
        "Relay_Log_File" => Value::text("relay-bin.000002"),
        "Relay_Log_Pos" => Value::UInt(position + 217),
        "Relay_Log_Space" => Value::UInt(position + 426),
        "Slave_IO_Running" | "Replica_IO_Running" => Value::text(match (receives, hears) {
            (false, _) => "No",
            (true, true) => "Yes",
            (true, false) => "Connecting",
        }),
        "Slave_SQL_Running" | "Replica_SQL_Running" => Value::text(if applies { "Yes" } else { "No" }),
        "Source_SSL_Allowed" => Value::text("Yes"),
        "Last_IO_Errno" if receives && !hears => Value::UInt(2003),
        "Last_IO_Error" if receives && !hears => Value::text(lost()),
        "Until_Condition" => Value::text("None"),
        "Master_SSL_Allowed" | "Master_SSL_Verify_Server_Cert" | "Source_SSL_Verify_Server_Cert" => Value::text("No"),
        "Seconds_Behind_Master" | "Seconds_Behind_Source" if !hears || !applies => Value::Null,
        "SQL_Remaining_Delay" => Value::Null,
        "Master_Server_Id" | "Source_Server_Id" => Value::UInt(source.map_or(0, server_id)),
        "Source_UUID" => Value::text(source.map(uuid).unwrap_or_default()),
        "Source_Info_File" => Value::text("mysql.slave_master_info"),
        "Slave_SQL_Running_State" | "Replica_SQL_Running_State" | "Slave_SQL_State" if applies => {
            Value::text("Replica has read all relay log; waiting for more updates")
        }
        "Source_Retry_Count" => Value::UInt(10),
        "Auto_Position" => Value::UInt(1),
        "Retrieved_Gtid_Set" | "Executed_Gtid_Set" | "Gtid_IO_Pos" | "Gtid_Slave_Pos" => Value::text(gtids.clone()),
        "Using_Gtid" => Value::text("Slave_Pos"),
        "Parallel_Mode" => Value::text("optimistic"),
        "Max_relay_log_size" => Value::UInt(1_073_741_824),
        "Slave_heartbeat_period" => Value::Real(heartbeat_seconds(facts)),
        _ if matches!(column.kind, Kind::Text(_)) => Value::text(""),
        _ => Value::UInt(0),
    };
    Rows::Cells(vec![columns.iter().map(value).collect()])
}

/// Host and port of the source.
fn source_name(facts: &Facts<'_>) -> Option<(String, u16)> {
    match facts.server.role.follows() {
        Follows::Nobody => None,
        Follows::Server(source) => Some((facts.shared.servers[source].address.to_string(), facts.shared.port)),
        Follows::Elsewhere(host, port) => Some((host, port)),
    }
}

static CONNECTION_COLUMNS: [Column; 4] =
    [text("CHANNEL_NAME"), text("HOST"), uint32("PORT"), real("HEARTBEAT_INTERVAL")];
pub(super) static CONNECTION: Table =
    Table { name: "replication_connection_configuration", columns: &CONNECTION_COLUMNS, rows: connection };

fn connection(facts: &Facts<'_>) -> Rows {
    let row = |(host, port): (String, u16)| {
        vec![Value::text(""), Value::text(host), Value::UInt(u64::from(port)), Value::Real(heartbeat_seconds(facts))]
    };
    Rows::Cells(source_name(facts).map(row).into_iter().collect())
}

/// How often an idle source says that it is there: twice within a replica's patience.
fn heartbeat_seconds(facts: &Facts<'_>) -> f64 {
    facts.shared.spec.replica_net_timeout.as_secs_f64() / 2.0
}

/// As joined with `replication_connection_configuration` by channel: that is how it is asked.
static RECEPTION_COLUMNS: [Column; 6] = [
    text("CHANNEL_NAME"),
    real("HEARTBEAT_INTERVAL"),
    uint("COUNT_RECEIVED_HEARTBEATS"),
    text("QUEUEING_TRANSACTION"),
    column("LAST_HEARTBEAT_TIMESTAMP", Kind::Time(6)),
    column("LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP", Kind::Time(6)),
];
pub(super) static RECEPTION: Table =
    Table { name: "replication_connection_status", columns: &RECEPTION_COLUMNS, rows: reception };

fn reception(facts: &Facts<'_>) -> Rows {
    let row = |_| {
        vec![
            Value::text(""),
            Value::Real(heartbeat_seconds(facts)),
            Value::UInt(facts.shared.now_ms() / 1000),
            Value::text(""),
            Value::Time(now_micros() - facts.quiet_micros()),
            Value::Time(0),
        ]
    };
    Rows::Cells(source_name(facts).map(row).into_iter().collect())
}

static MYSQL_REPLICAS: [Column; 5] =
    [uint32("Server_Id"), text("Host"), uint32("Port"), uint32("Source_Id"), text("Replica_UUID")];
static MARIADB_REPLICAS: [Column; 4] = [uint32("Server_id"), text("Host"), uint32("Port"), uint32("Master_id")];
pub(super) static REPLICAS_MYSQL: Table = Table { name: "", columns: &MYSQL_REPLICAS, rows: replicas };
pub(super) static REPLICAS_MARIADB: Table = Table { name: "", columns: &MARIADB_REPLICAS, rows: replicas };

fn replicas(facts: &Facts<'_>) -> Rows {
    let row = |replica| {
        let mut cells = vec![
            Value::UInt(server_id(replica)),
            Value::text(replica.address.to_string()),
            Value::UInt(u64::from(facts.shared.port)),
            Value::UInt(server_id(facts.server)),
        ];
        if facts.speaks(Dialect::MySql) {
            cells.push(Value::text(uuid(replica)));
        }
        cells
    };
    Rows::Cells(facts.replicas().map(row).collect())
}

static MYSQL_LOG_STATUS: [Column; 5] =
    [text("File"), uint("Position"), text("Binlog_Do_DB"), text("Binlog_Ignore_DB"), text("Executed_Gtid_Set")];
static MARIADB_LOG_STATUS: [Column; 4] =
    [text("File"), uint("Position"), text("Binlog_Do_DB"), text("Binlog_Ignore_DB")];
pub(super) static LOG_STATUS_MYSQL: Table = Table { name: "", columns: &MYSQL_LOG_STATUS, rows: log_status };
pub(super) static LOG_STATUS_MARIADB: Table = Table { name: "", columns: &MARIADB_LOG_STATUS, rows: log_status };

fn log_status(facts: &Facts<'_>) -> Rows {
    let mut cells =
        vec![Value::text(facts.log_file()), Value::UInt(facts.log_position()), Value::text(""), Value::text("")];
    if facts.speaks(Dialect::MySql) {
        cells.push(Value::text(facts.gtids()));
    }
    Rows::Cells(vec![cells])
}

static MYSQL_LOGS: [Column; 3] = [text("Log_name"), uint("File_size"), text("Encrypted")];
static MARIADB_LOGS: [Column; 2] = [text("Log_name"), uint("File_size")];
pub(super) static LOGS_MYSQL: Table = Table { name: "", columns: &MYSQL_LOGS, rows: logs };
pub(super) static LOGS_MARIADB: Table = Table { name: "", columns: &MARIADB_LOGS, rows: logs };

fn logs(facts: &Facts<'_>) -> Rows {
    let mut cells = vec![Value::text(facts.log_file()), Value::UInt(facts.log_position())];
    if facts.speaks(Dialect::MySql) {
        cells.push(Value::text("No"));
    }
    Rows::Cells(vec![cells])
}

static CREDENTIAL_COLUMNS: [Column; 5] =
    [text("Host"), uint32("Port"), text("User_name"), text("User_password"), text("Channel_name")];
pub(super) static CREDENTIALS: Table =
    Table { name: "slave_master_info", columns: &CREDENTIAL_COLUMNS, rows: credentials };

/// No password: nothing can be replicated from a simulated server.
fn credentials(facts: &Facts<'_>) -> Rows {
    let row = |(host, port): (String, u16)| {
        let (host, port) = (Value::text(host), Value::UInt(u64::from(port)));
        vec![host, port, Value::text(USER), Value::text(""), Value::text("")]
    };
    Rows::Cells(source_name(facts).map(row).into_iter().collect())
}
