//! What can be selected from or shown: column lists captured from real servers, rows computed from facts.

mod replication;

use crate::facts::Facts;
use crate::server::Dialect;
use crate::sql::{Kind, SqlError, Value};
use crate::variables::Variable;
use crate::{status, variables};

pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) not_null: bool,
}

pub(crate) struct Table {
    /// As clients see it in column definitions.
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
    pub(crate) rows: fn(&Facts<'_>) -> Rows,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

pub(crate) enum Rows {
    Cells(Vec<Vec<Value>>),
    /// Pairs of name and value, computed only for the rows that are wanted.
    Variables {
        lists: &'static [&'static [Variable]],
        upper: bool,
    },
}

/// One row, as an expression sees it.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    Nothing,
    Cells(&'a [Value]),
    Variable { variable: &'static Variable, upper: bool, facts: &'a Facts<'a> },
}

impl Row<'_> {
    pub(crate) fn get(&self, column: usize) -> Value {
        match self {
            Row::Nothing => Value::Null,
            Row::Cells(cells) => cells.get(column).cloned().unwrap_or(Value::Null),
            Row::Variable { variable, upper: false, .. } if column == 0 => Value::text(variable.name),
            Row::Variable { variable, .. } if column == 0 => Value::text(variable.name.to_ascii_uppercase()),
            Row::Variable { variable, facts, .. } => variable.shown(facts),
        }
    }

    pub(crate) fn to_values(self) -> Vec<Value> {
        match self {
            Row::Nothing => Vec::new(),
            Row::Cells(cells) => cells.to_vec(),
            Row::Variable { .. } => vec![self.get(0), self.get(1)],
        }
    }
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, not_null: true }
}

const fn text(name: &'static str) -> Column {
    column(name, Kind::Text(1024))
}

const fn uint(name: &'static str) -> Column {
    column(name, Kind::UInt)
}

const fn uint32(name: &'static str) -> Column {
    column(name, Kind::UInt32)
}

const fn nullable(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, not_null: false }
}

static SHOWN_PAIR: [Column; 2] = [text("Variable_name"), text("Value")];
static SELECTED_PAIR: [Column; 2] = [text("VARIABLE_NAME"), text("VARIABLE_VALUE")];

/// Shown and selected variables and counters, for one dialect: the rows are fixed, so that a `fn` can name them.
macro_rules! pair_table {
    ($table:ident, $name:literal, $columns:ident, $source:path, $dialect:ident, $upper:literal) => {
        static $table: Table = Table {
            name: $name,
            columns: &$columns,
            rows: |_| Rows::Variables { lists: $source(Dialect::$dialect), upper: $upper },
        };
    };
}

pair_table!(SHOW_VARIABLES_MYSQL, "session_variables", SHOWN_PAIR, variables::all, MySql, false);
pair_table!(SHOW_VARIABLES_MARIADB, "SESSION_VARIABLES", SHOWN_PAIR, variables::all, MariaDb, false);
pair_table!(SHOW_STATUS_MYSQL, "session_status", SHOWN_PAIR, status::all, MySql, false);
pair_table!(SHOW_STATUS_MARIADB, "SESSION_STATUS", SHOWN_PAIR, status::all, MariaDb, false);
pair_table!(VARIABLES_MYSQL, "global_variables", SELECTED_PAIR, variables::all, MySql, false);
pair_table!(VARIABLES_MARIADB, "GLOBAL_VARIABLES", SELECTED_PAIR, variables::all, MariaDb, true);
pair_table!(STATUS_MYSQL, "global_status", SELECTED_PAIR, status::all, MySql, false);
pair_table!(STATUS_MARIADB, "GLOBAL_STATUS", SELECTED_PAIR, status::all, MariaDb, true);

static PROCESSLIST_COLUMNS: [Column; 8] = [
    uint("ID"),
    nullable("USER", Kind::Text(128)),
    nullable("HOST", Kind::Text(1044)),
    nullable("DB", Kind::Text(256)),
    nullable("COMMAND", Kind::Text(64)),
    nullable("TIME", Kind::Int),
    nullable("STATE", Kind::Text(256)),
    nullable("INFO", Kind::Blob),
];
static SHOW_PROCESSLIST_COLUMNS: [Column; 8] = [
    column("Id", Kind::Int),
    text("User"),
    text("Host"),
    nullable("db", Kind::Text(256)),
    text("Command"),
    column("Time", Kind::Int32),
    nullable("State", Kind::Text(120)),
    nullable("Info", Kind::Text(400)),
];
static PROCESSLIST: Table = Table { name: "processlist", columns: &PROCESSLIST_COLUMNS, rows: processlist };
static SHOW_PROCESSLIST: Table = Table { name: "PROCESSLIST", columns: &SHOW_PROCESSLIST_COLUMNS, rows: processlist };

/// The connection that asks, and one binary log stream per replica.
fn processlist(facts: &Facts<'_>) -> Rows {
    let dump = if facts.speaks(Dialect::MySql) { "Binlog Dump GTID" } else { "Binlog Dump" };
    let own = vec![
        Value::UInt(u64::from(facts.connection_id)),
        Value::text(facts.user.to_owned()),
        Value::text(format!("{}:{}", facts.peer, 40_000)),
        Value::Null,
        Value::text("Query"),
        Value::Int(0),
        Value::text("executing"),
        Value::text("(simulated)"),
    ];
    let streams = facts.replicas().map(|replica| {
        vec![
            Value::UInt(10 + replica.index as u64),
            Value::text(replication::USER),
            Value::text(format!("{}:{}", replica.address, 30_000 + replica.index % 30_000)),
            Value::Null,
            Value::text(dump),
            Value::Int(86_400),
            Value::text("Source has sent all binlog to replica; waiting for more updates"),
            Value::Null,
        ]
    });
    Rows::Cells(streams.chain([own]).collect())
}

static GROUP_MEMBER_COLUMNS: [Column; 8] = [
    text("CHANNEL_NAME"),
    text("MEMBER_ID"),
    text("MEMBER_HOST"),
    nullable("MEMBER_PORT", Kind::Int32),
    text("MEMBER_STATE"),
    text("MEMBER_ROLE"),
    text("MEMBER_VERSION"),
    text("MEMBER_COMMUNICATION_STACK"),
];
static GROUP_MEMBERS: Table =
    Table { name: "replication_group_members", columns: &GROUP_MEMBER_COLUMNS, rows: |_| Rows::Cells(Vec::new()) };

static WARNING_COLUMNS: [Column; 3] = [text("Level"), uint32("Code"), text("Message")];
static WARNINGS: Table = Table { name: "", columns: &WARNING_COLUMNS, rows: |_| Rows::Cells(Vec::new()) };

/// For the `Detect*Query` settings, which operators point at a table of their own: here it is called `meta.instance`.
static META_COLUMNS: [Column; 5] =
    [text("datacenter"), text("region"), text("cluster_alias"), text("promotion_rule"), text("instance_alias")];
static META: Table = Table { name: "instance", columns: &META_COLUMNS, rows: meta };

fn meta(facts: &Facts<'_>) -> Rows {
    let datacenter = facts.shared.spec.datacenters.get(facts.server.datacenter).cloned().unwrap_or_default();
    let cluster = facts.server.cluster;
    Rows::Cells(vec![vec![
        Value::text(datacenter),
        Value::text("simulated"),
        Value::text(format!("cluster-{cluster}")),
        Value::text("neutral"),
        Value::text(format!("instance-{}", facts.server.index)),
    ]])
}

/// The table a statement names. `schema` is empty when none was written.
pub(crate) fn find(dialect: Dialect, schema: &str, name: &str) -> Result<&'static Table, SqlError> {
    let (schema, name) = (schema.to_ascii_lowercase(), name.to_ascii_lowercase());
    Ok(match (dialect, schema.as_str(), name.as_str()) {
        (Dialect::MySql, "performance_schema", "global_status" | "session_status") => &STATUS_MYSQL,
        (Dialect::MySql, "performance_schema", "global_variables" | "session_variables") => &VARIABLES_MYSQL,
        (Dialect::MySql, "performance_schema", "processlist") | (_, "information_schema", "processlist") => {
            &PROCESSLIST
        }
        (Dialect::MySql, "performance_schema", "replication_group_members") => &GROUP_MEMBERS,
        (Dialect::MySql, "performance_schema", "replication_connection_configuration") => &replication::CONNECTION,
        (Dialect::MySql, "performance_schema", "replication_connection_status") => &replication::RECEPTION,
        (Dialect::MySql, "mysql", "slave_master_info") => &replication::CREDENTIALS,
        (Dialect::MariaDb, "information_schema", "global_status" | "session_status") => &STATUS_MARIADB,
        (Dialect::MariaDb, "information_schema", "global_variables" | "session_variables") => &VARIABLES_MARIADB,
        (_, "meta", "instance") => &META,
        (_, "", _) => return Err(SqlError::new(1046, "3D000", "No database selected".to_owned())),
        (_, "information_schema", _) => {
            let text = format!("Unknown table '{}' in information_schema", name.to_ascii_uppercase());
            return Err(SqlError::new(1109, "42S02", text));
        }
        _ => return Err(SqlError::new(1146, "42S02", format!("Table '{schema}.{name}' doesn't exist"))),
    })
}

/// What a SHOW statement shows, by its words in upper case.
pub(crate) fn show(dialect: Dialect, words: &[&str]) -> Option<&'static Table> {
    use Dialect::{MariaDb, MySql};
    Some(match (dialect, words) {
        (MySql, ["REPLICA", "STATUS"]) => &replication::STATUS_MYSQL,
        (MariaDb, ["REPLICA" | "SLAVE", "STATUS"]) => &replication::STATUS_MARIADB,
        (MariaDb, ["ALL", "REPLICAS" | "SLAVES", "STATUS"]) => &replication::ALL_STATUS_MARIADB,
        (MySql, ["REPLICAS"]) => &replication::REPLICAS_MYSQL,
        (MariaDb, ["REPLICA" | "SLAVE", "HOSTS"]) => &replication::REPLICAS_MARIADB,
        (MySql, ["BINARY", "LOG", "STATUS"]) => &replication::LOG_STATUS_MYSQL,
        (MariaDb, ["BINLOG" | "MASTER", "STATUS"]) => &replication::LOG_STATUS_MARIADB,
        (MySql, ["BINARY", "LOGS"]) => &replication::LOGS_MYSQL,
        (MariaDb, ["BINARY" | "MASTER", "LOGS"]) => &replication::LOGS_MARIADB,
        (MySql, ["VARIABLES"] | ["GLOBAL" | "SESSION", "VARIABLES"]) => &SHOW_VARIABLES_MYSQL,
        (MariaDb, ["VARIABLES"] | ["GLOBAL" | "SESSION", "VARIABLES"]) => &SHOW_VARIABLES_MARIADB,
        (MySql, ["STATUS"] | ["GLOBAL" | "SESSION", "STATUS"]) => &SHOW_STATUS_MYSQL,
        (MariaDb, ["STATUS"] | ["GLOBAL" | "SESSION", "STATUS"]) => &SHOW_STATUS_MARIADB,
        (_, ["PROCESSLIST"] | ["FULL", "PROCESSLIST"]) => &SHOW_PROCESSLIST,
        (_, ["WARNINGS"]) => &WARNINGS,
        _ => return None,
    })
}
