//! System variables of both dialects. `SELECT @@x` gives the value by type, `SHOW VARIABLES` its text (`ON`, `OFF`).

use crate::facts::{Facts, server_id, uuid};
use crate::role::Switch;
use crate::server::Dialect;
use crate::sql::{Kind, Value};

/// A variable or a status counter.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) get: fn(&Facts<'_>) -> Value,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Variable {
    /// As in SHOW.
    pub(crate) fn shown(&self, facts: &Facts<'_>) -> Value {
        match ((self.get)(facts), self.kind) {
            (Value::Null, _) => Value::text(""),
            (value, Kind::Bool) => Value::text(if value.is_true() { "ON" } else { "OFF" }),
            (value, _) => Value::text(value.as_text().into_owned()),
        }
    }
}

pub(crate) const fn text(name: &'static str, get: fn(&Facts<'_>) -> Value) -> Variable {
    Variable { name, kind: Kind::Text(1024), get }
}

const fn switch(name: &'static str, get: fn(&Facts<'_>) -> Value) -> Variable {
    Variable { name, kind: Kind::Bool, get }
}

pub(crate) const fn count(name: &'static str, get: fn(&Facts<'_>) -> Value) -> Variable {
    Variable { name, kind: Kind::UInt, get }
}

fn read_only(facts: &Facts<'_>) -> Value {
    Value::bool(facts.is(Switch::ReadOnly))
}

fn super_read_only(facts: &Facts<'_>) -> Value {
    Value::bool(facts.is(Switch::SuperReadOnly))
}

pub(crate) fn semi_sync_source(facts: &Facts<'_>) -> Value {
    Value::bool(facts.is(Switch::SemiSyncSource))
}

pub(crate) fn semi_sync_replica(facts: &Facts<'_>) -> Value {
    Value::bool(facts.is(Switch::SemiSyncReplica))
}

fn on(_: &Facts<'_>) -> Value {
    Value::Int(1)
}

fn off(_: &Facts<'_>) -> Value {
    Value::Int(0)
}

fn empty(_: &Facts<'_>) -> Value {
    Value::text("")
}

static COMMON: [Variable; 38] = [
    switch("autocommit", on),
    text("binlog_format", |_| Value::text("ROW")),
    text("binlog_row_image", |_| Value::text("FULL")),
    text("character_set_client", |_| Value::text("utf8mb4")),
    text("character_set_server", |_| Value::text("utf8mb4")),
    text("collation_server", |_| Value::text("utf8mb4_general_ci")),
    text("datadir", |_| Value::text("/var/lib/mysql/")),
    text("hostname", |facts| Value::text(facts.host())),
    text("init_connect", empty),
    count("innodb_flush_log_at_trx_commit", |_| Value::UInt(1)),
    switch("log_bin", on),
    text("log_bin_basename", |_| Value::text("/var/lib/mysql/mysql-bin")),
    switch("log_slave_updates", on),
    count("lower_case_table_names", |_| Value::UInt(0)),
    count("max_allowed_packet", |_| Value::UInt(67_108_864)),
    count("max_connections", |_| Value::UInt(151)),
    switch("performance_schema", |facts| Value::bool(facts.speaks(Dialect::MySql))),
    text("pid_file", |_| Value::text("/run/mysqld/mysqld.pid")),
    count("port", |facts| Value::UInt(u64::from(facts.shared.port))),
    switch("read_only", read_only),
    text("relay_log", |_| Value::text("relay-bin")),
    switch("relay_log_recovery", off),
    text("report_host", |facts| Value::text(facts.host())),
    count("report_port", |facts| Value::UInt(u64::from(facts.shared.port))),
    text("report_user", empty),
    count("server_id", |facts| Value::UInt(server_id(facts.server))),
    switch("skip_name_resolve", on),
    count("slave_net_timeout", |_| Value::UInt(60)),
    text("socket", |_| Value::text("/run/mysqld/mysqld.sock")),
    text("sql_mode", |_| Value::text("STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION")),
    count("sync_binlog", |_| Value::UInt(1)),
    count("sync_relay_log", |_| Value::UInt(10_000)),
    text("system_time_zone", |_| Value::text("UTC")),
    text("time_zone", |_| Value::text("SYSTEM")),
    text("version", |facts| Value::text(facts.server.version())),
    text("version_comment", |facts| {
        Value::text(if facts.speaks(Dialect::MySql) {
            "MySQL Community Server - GPL (simulated)"
        } else {
            "Debian 12 (simulated)"
        })
    }),
    text("version_compile_os", |_| Value::text("Linux")),
    count("wait_timeout", |_| Value::UInt(28_800)),
];

static MYSQL: [Variable; 32] = [
    count("binlog_expire_logs_seconds", |_| Value::UInt(2_592_000)),
    switch("enforce_gtid_consistency", on),
    text("gtid_executed", |facts| Value::text(facts.gtids())),
    text("gtid_mode", |_| Value::text("ON")),
    text("gtid_owned", empty),
    text("gtid_purged", empty),
    switch("log_replica_updates", on),
    switch("offline_mode", off),
    text("replica_exec_mode", |_| Value::text("STRICT")),
    count("replica_net_timeout", |_| Value::UInt(60)),
    count("replica_parallel_workers", |_| Value::UInt(4)),
    switch("replica_preserve_commit_order", on),
    switch("require_secure_transport", off),
    switch("rpl_semi_sync_replica_enabled", semi_sync_replica),
    count("rpl_semi_sync_replica_trace_level", |_| Value::UInt(32)),
    switch("rpl_semi_sync_source_enabled", semi_sync_source),
    count("rpl_semi_sync_source_timeout", |_| Value::UInt(10_000)),
    count("rpl_semi_sync_source_trace_level", |_| Value::UInt(32)),
    count("rpl_semi_sync_source_wait_for_replica_count", |_| Value::UInt(1)),
    switch("rpl_semi_sync_source_wait_no_replica", on),
    text("rpl_semi_sync_source_wait_point", |_| Value::text("AFTER_SYNC")),
    count("server_id_bits", |_| Value::UInt(32)),
    text("server_uuid", |facts| Value::text(uuid(facts.server))),
    switch("skip_replica_start", off),
    switch("source_verify_checksum", off),
    switch("super_read_only", super_read_only),
    text("terminology_use_previous", |_| Value::text("NONE")),
    switch("tls_certificates_enforced_validation", off),
    text("tls_version", |_| Value::text("TLSv1.2,TLSv1.3")),
    text("transaction_isolation", |_| Value::text("REPEATABLE-READ")),
    text("version_compile_machine", |_| Value::text("x86_64")),
    text("version_compile_zlib", |_| Value::text("1.3.2")),
];

static MARIADB: [Variable; 21] = [
    text("gtid_binlog_pos", |facts| Value::text(facts.gtids())),
    text("gtid_binlog_state", |facts| Value::text(facts.gtids())),
    text("gtid_current_pos", |facts| Value::text(facts.gtids())),
    count("gtid_domain_id", |_| Value::UInt(0)),
    switch("gtid_ignore_duplicates", off),
    text("gtid_slave_pos", |facts| Value::text(facts.replicated_gtids())),
    switch("gtid_strict_mode", on),
    switch("rpl_semi_sync_master_enabled", semi_sync_source),
    count("rpl_semi_sync_master_timeout", |_| Value::UInt(10_000)),
    count("rpl_semi_sync_master_trace_level", |_| Value::UInt(32)),
    switch("rpl_semi_sync_master_wait_no_slave", on),
    text("rpl_semi_sync_master_wait_point", |_| Value::text("AFTER_COMMIT")),
    switch("rpl_semi_sync_slave_delay_master", off),
    switch("rpl_semi_sync_slave_enabled", semi_sync_replica),
    count("rpl_semi_sync_slave_kill_conn_timeout", |_| Value::UInt(5)),
    count("rpl_semi_sync_slave_trace_level", |_| Value::UInt(32)),
    text("slave_exec_mode", |_| Value::text("STRICT")),
    text("slave_parallel_mode", |_| Value::text("optimistic")),
    count("slave_parallel_threads", |_| Value::UInt(0)),
    text("tx_isolation", |_| Value::text("REPEATABLE-READ")),
    text("wsrep_on", |_| Value::text("OFF")),
];

/// All variables of a dialect, as lists to go through one after the other.
pub(crate) fn all(dialect: Dialect) -> &'static [&'static [Variable]] {
    static OF_MYSQL: [&[Variable]; 2] = [&COMMON, &MYSQL];
    static OF_MARIADB: [&[Variable]; 2] = [&COMMON, &MARIADB];
    match dialect {
        Dialect::MySql => &OF_MYSQL,
        Dialect::MariaDb => &OF_MARIADB,
    }
}

pub(crate) fn find(dialect: Dialect, name: &str) -> Option<&'static Variable> {
    all(dialect).iter().copied().flatten().find(|variable| variable.name.eq_ignore_ascii_case(name))
}
