//! Server variables: which there are, learned once, and the values of those that change, asked in each probe.
//!
//! Asking `@@name` for a variable that does not exist is an error, and which exist depends on flavor, version and
//! plugins. So a slow read (`SHOW GLOBAL VARIABLES`, tolerant, but the server walks through all its variables: 0.4 ms)
//! tells which exist, and each probe asks exactly for those of them that change.

use std::borrow::Cow;
use std::fmt::Write;

use crate::columns::Columns;

/// A variable asked in each probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Var {
    ServerId,
    ServerUuid,
    Hostname,
    ReadOnly,
    SuperReadOnly,
    BinlogFormat,
    GtidMode,
    GtidExecuted,
    GtidPurged,
    GtidCurrentPos,
    GtidSlavePos,
    GtidBinlogPos,
    SourceEnabled,
    SourceTimeout,
    SourceWaitCount,
    ReplicaEnabled,
    MasterEnabled,
    MasterTimeout,
    MasterWaitCount,
    SlaveEnabled,
}

/// The variables asked in each probe, in the order of [`Var`].
const LIVE: [(Var, &str); 20] = [
    (Var::ServerId, "server_id"),
    (Var::ServerUuid, "server_uuid"),
    (Var::Hostname, "hostname"),
    (Var::ReadOnly, "read_only"),
    (Var::SuperReadOnly, "super_read_only"),
    (Var::BinlogFormat, "binlog_format"),
    (Var::GtidMode, "gtid_mode"),
    (Var::GtidExecuted, "gtid_executed"),
    (Var::GtidPurged, "gtid_purged"),
    (Var::GtidCurrentPos, "gtid_current_pos"),
    (Var::GtidSlavePos, "gtid_slave_pos"),
    (Var::GtidBinlogPos, "gtid_binlog_pos"),
    (Var::SourceEnabled, "rpl_semi_sync_source_enabled"),
    (Var::SourceTimeout, "rpl_semi_sync_source_timeout"),
    (Var::SourceWaitCount, "rpl_semi_sync_source_wait_for_replica_count"),
    (Var::ReplicaEnabled, "rpl_semi_sync_replica_enabled"),
    (Var::MasterEnabled, "rpl_semi_sync_master_enabled"),
    (Var::MasterTimeout, "rpl_semi_sync_master_timeout"),
    (Var::MasterWaitCount, "rpl_semi_sync_master_wait_for_slave_count"),
    (Var::SlaveEnabled, "rpl_semi_sync_slave_enabled"),
];

/// Variables read now and then.
const SLOW: [&str; 15] = [
    "version",
    "version_comment",
    "report_host",
    "log_bin",
    "log_slave_updates",
    "log_replica_updates",
    "binlog_row_image",
    "performance_schema",
    "master_info_repository",
    "group_replication_group_name",
    "group_replication_single_primary_mode",
    "replica_parallel_workers",
    "slave_parallel_workers",
    "replica_preserve_commit_order",
    "slave_preserve_commit_order",
];

/// The statement that learns which variables there are, with the values of the slow ones.
pub(crate) fn learn_sql() -> String {
    let mut sql = String::from("SHOW GLOBAL VARIABLES WHERE Variable_name IN (");
    for (index, name) in SLOW.iter().copied().chain(LIVE.iter().map(|(_, name)| *name)).enumerate() {
        let _ = write!(sql, "{}'{name}'", if index == 0 { "" } else { "," });
    }
    sql.push(')');
    sql
}

/// The variables of [`LIVE`] that a server has, as a bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LiveSet(u32);

/// What `SHOW GLOBAL VARIABLES` told. One is kept per server, so the values lie in one text, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SlowVariables {
    pub(crate) live: LiveSet,
    values: Box<str>,
    /// Where the value of each of [`SLOW`] lies; `None` if the server has no such variable.
    places: [Option<(u32, u32)>; SLOW.len()],
}

impl SlowVariables {
    /// From rows of name and value.
    pub(crate) fn read<C: Columns>(rows: &[C]) -> Self {
        let mut learned = Self::default();
        let mut values = String::new();
        for row in rows {
            let (Some(name), Some(value)) = (row.at(0), row.at(1)) else { continue };
            let name = name.to_ascii_lowercase();
            if let Some((var, _)) = LIVE.iter().find(|(_, known)| *known == name) {
                learned.live.0 |= 1 << (*var as u32);
            }
            if let Some(index) = SLOW.iter().position(|known| *known == name) {
                let start = values.len();
                values.push_str(&value);
                let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                learned.places[index] = Some((place(start), place(values.len())));
            }
        }
        learned.values = values.into_boxed_str();
        learned
    }

    /// A value as it was when read.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (start, end) = self.places[SLOW.iter().position(|known| *known == name)?]?;
        self.values.get(start as usize..end as usize)
    }
}

impl LiveSet {
    /// The server has this variable.
    pub(crate) fn has(self, var: Var) -> bool {
        self.0 & (1 << (var as u32)) != 0
    }

    /// The statement that asks for all of them.
    pub(crate) fn sql(self) -> String {
        let mut sql = String::with_capacity(512);
        for (_, name) in LIVE.iter().filter(|(var, _)| self.has(*var)) {
            let _ = write!(sql, "{}@@global.{name}", if sql.is_empty() { "SELECT " } else { "," });
        }
        sql
    }
}

/// The answer to [`LiveSet::sql`].
pub(crate) struct Live<'r, C> {
    set: LiveSet,
    row: &'r C,
}

impl<'r, C: Columns> Live<'r, C> {
    pub(crate) fn new(set: LiveSet, row: &'r C) -> Self {
        Self { set, row }
    }

    /// The value; `None` where the server has no such variable, or it is NULL.
    pub(crate) fn get(&self, var: Var) -> Option<Cow<'r, str>> {
        if !self.set.has(var) {
            return None;
        }
        let before = self.set.0 & ((1 << (var as u32)) - 1);
        self.row.at(before.count_ones() as usize)
    }

    /// The value as text, empty where there is none.
    pub(crate) fn text(&self, var: Var) -> String {
        self.get(var).map_or_else(String::new, Cow::into_owned)
    }

    /// The value of a switch.
    pub(crate) fn is_on(&self, var: Var) -> bool {
        self.get(var).is_some_and(|text| crate::columns::is_on(&text))
    }

    /// The value as a number, 0 where there is none.
    pub(crate) fn number(&self, var: Var) -> u64 {
        self.get(var).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// A GTID set on one line, without white space.
    pub(crate) fn gtid(&self, var: Var) -> String {
        let mut text = self.text(var);
        text.retain(|c| !c.is_whitespace());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::written::{Written, row};

    fn variables(pairs: &[(&str, &str)]) -> Vec<Written> {
        pairs.iter().map(|(name, value)| row(&format!("Variable_name={name}\nValue={value}"))).collect()
    }

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, (var, name)) in LIVE.iter().enumerate() {
            assert_eq!(*var as usize, index, "{name}");
        }
    }

    #[test]
    fn only_variables_that_exist_are_asked_and_read_back_by_place() {
        let learned = SlowVariables::read(&variables(&[
            ("version", "10.5.23-MariaDB"),
            ("server_id", "7"),
            ("hostname", "db1"),
            ("read_only", "ON"),
            ("gtid_slave_pos", "0-1-2"),
        ]));
        assert_eq!(learned.get("version"), Some("10.5.23-MariaDB"));
        assert_eq!(
            learned.live.sql(),
            "SELECT @@global.server_id,@@global.hostname,@@global.read_only,@@global.gtid_slave_pos"
        );
        let answer = row("a=7\nb=db1\nc=1\nd=0-1-2,\n 1-2-3");
        let live = Live::new(learned.live, &answer);
        assert_eq!(live.number(Var::ServerId), 7);
        assert_eq!(live.get(Var::ServerUuid), None);
        assert!(live.is_on(Var::ReadOnly));
        assert_eq!(live.gtid(Var::GtidSlavePos), "0-1-2,");
        assert_eq!(live.gtid(Var::GtidExecuted), "");
    }

    #[test]
    fn read_only_modes_of_any_server_are_read() {
        for (text, on) in [("0", false), ("OFF", false), ("1", true), ("ON", true), ("NO_LOCK_NO_ADMIN", true)] {
            assert_eq!(crate::columns::is_on(text), on, "{text}");
        }
    }
}
