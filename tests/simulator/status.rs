//! Status counters of both dialects: the few that a topology manager reads, and some around them.

use crate::facts::Facts;
use crate::server::Dialect;
use crate::sql::{Kind, Value};
use crate::variables::{Variable, count, semi_sync_replica, semi_sync_source};

const fn switch(name: &'static str, get: fn(&Facts<'_>) -> Value) -> Variable {
    Variable { name, kind: Kind::Bool, get }
}

fn zero(_: &Facts<'_>) -> Value {
    Value::UInt(0)
}

fn uptime(facts: &Facts<'_>) -> Value {
    Value::UInt(facts.uptime())
}

fn connected_replicas(facts: &Facts<'_>) -> Value {
    Value::UInt(facts.replicas().count() as u64)
}

fn semi_sync_clients(facts: &Facts<'_>) -> Value {
    if semi_sync_source(facts).is_true() { connected_replicas(facts) } else { Value::UInt(0) }
}

fn semi_sync_source_status(facts: &Facts<'_>) -> Value {
    Value::bool(semi_sync_source(facts).is_true() && facts.replicas().next().is_some())
}

fn semi_sync_replica_status(facts: &Facts<'_>) -> Value {
    Value::bool(semi_sync_replica(facts).is_true() && facts.hears_source())
}

static COMMON: [Variable; 8] = [
    count("Aborted_clients", zero),
    count("Connections", |facts| Value::UInt(u64::from(facts.connection_id))),
    count("Questions", |facts| Value::UInt(facts.server.statements.load(std::sync::atomic::Ordering::Relaxed))),
    count("Threads_connected", |facts| {
        Value::UInt(u64::from(facts.server.open.load(std::sync::atomic::Ordering::Relaxed)))
    }),
    count("Threads_running", |_| Value::UInt(1)),
    count("Uptime", uptime),
    count("Uptime_since_flush_status", uptime),
    count("Slow_queries", zero),
];

static MYSQL: [Variable; 8] = [
    switch("Rpl_semi_sync_replica_status", semi_sync_replica_status),
    count("Rpl_semi_sync_source_clients", semi_sync_clients),
    count("Rpl_semi_sync_source_no_times", zero),
    count("Rpl_semi_sync_source_no_tx", zero),
    switch("Rpl_semi_sync_source_status", semi_sync_source_status),
    count("Rpl_semi_sync_source_tx_waits", zero),
    count("Rpl_semi_sync_source_wait_sessions", zero),
    count("Rpl_semi_sync_source_yes_tx", zero),
];

static MARIADB: [Variable; 10] = [
    count("Rpl_semi_sync_master_clients", semi_sync_clients),
    count("Rpl_semi_sync_master_no_times", zero),
    count("Rpl_semi_sync_master_no_tx", zero),
    switch("Rpl_semi_sync_master_status", semi_sync_source_status),
    count("Rpl_semi_sync_master_yes_tx", zero),
    count("Rpl_semi_sync_slave_send_ack", zero),
    switch("Rpl_semi_sync_slave_status", semi_sync_replica_status),
    switch("Slave_running", |facts| Value::bool(facts.hears_source())),
    count("Slaves_connected", connected_replicas),
    count("Slaves_running", connected_replicas),
];

pub(crate) fn all(dialect: Dialect) -> &'static [&'static [Variable]] {
    static OF_MYSQL: [&[Variable]; 2] = [&COMMON, &MYSQL];
    static OF_MARIADB: [&[Variable]; 2] = [&COMMON, &MARIADB];
    match dialect {
        Dialect::MySql => &OF_MYSQL,
        Dialect::MariaDb => &OF_MARIADB,
    }
}
