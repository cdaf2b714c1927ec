//! Semi-synchronous replication: variables under old or new names, and status where a role is switched on.

use domain::instance::{PluginNaming, SemiSyncFacts};

use crate::columns::{Columns, is_on};
use crate::variables::{Live, LiveSet, Var};

/// One of the roles is on, so the status is worth asking.
pub(crate) fn is_enabled<C: Columns>(live: &Live<'_, C>) -> bool {
    [Var::SourceEnabled, Var::ReplicaEnabled, Var::MasterEnabled, Var::SlaveEnabled].iter().any(|var| live.is_on(*var))
}

/// Its commits wait for acknowledgements, or would.
pub(crate) fn waits<C: Columns>(live: &Live<'_, C>) -> bool {
    [Var::SourceEnabled, Var::MasterEnabled].iter().any(|var| live.is_on(*var))
}

/// Facts from variables and from rows of name and value.
pub(crate) fn read<C: Columns>(set: LiveSet, live: &Live<'_, C>, status: &[C]) -> SemiSyncFacts {
    let naming = |new: Var, old: Var| match (set.has(new), set.has(old)) {
        (true, _) => Some(PluginNaming::SourceReplica),
        (false, true) => Some(PluginNaming::MasterSlave),
        (false, false) => None,
    };
    let mut facts = SemiSyncFacts {
        source_plugin: naming(Var::SourceEnabled, Var::MasterEnabled),
        replica_plugin: naming(Var::ReplicaEnabled, Var::SlaveEnabled),
        source_enabled: live.is_on(Var::SourceEnabled) || live.is_on(Var::MasterEnabled),
        replica_enabled: live.is_on(Var::ReplicaEnabled) || live.is_on(Var::SlaveEnabled),
        source_timeout_ms: live.number(Var::SourceTimeout).max(live.number(Var::MasterTimeout)),
        wait_for_replica_count: live.number(Var::SourceWaitCount).max(live.number(Var::MasterWaitCount)),
        ..SemiSyncFacts::default()
    };
    for row in status {
        let (Some(name), Some(value)) = (row.at(0), row.at(1)) else { continue };
        match name.to_ascii_lowercase().as_str() {
            "rpl_semi_sync_source_status" | "rpl_semi_sync_master_status" => facts.source_status = is_on(&value),
            "rpl_semi_sync_replica_status" | "rpl_semi_sync_slave_status" => facts.replica_status = is_on(&value),
            "rpl_semi_sync_source_clients" | "rpl_semi_sync_master_clients" => {
                facts.source_clients = value.parse().unwrap_or(0);
            }
            _ => {}
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::written::row;
    use crate::variables::SlowVariables;

    fn facts(names: &[&str], values: &str, status: &[(&str, &str)]) -> SemiSyncFacts {
        let rows: Vec<_> = names.iter().map(|name| row(&format!("n={name}\nv=?"))).collect();
        let set = SlowVariables::read(&rows).live;
        let values = row(values);
        let live = Live::new(set, &values);
        let status: Vec<_> = status.iter().map(|(name, value)| row(&format!("n={name}\nv={value}"))).collect();
        read(set, &live, &status)
    }

    #[test]
    fn old_and_new_plugins_are_read() {
        let new = facts(
            &[
                "rpl_semi_sync_source_enabled",
                "rpl_semi_sync_source_timeout",
                "rpl_semi_sync_source_wait_for_replica_count",
            ],
            "a=1\nb=500\nc=2",
            &[("Rpl_semi_sync_source_status", "ON"), ("Rpl_semi_sync_source_clients", "3")],
        );
        assert_eq!((new.source_plugin, new.replica_plugin), (Some(PluginNaming::SourceReplica), None));
        assert_eq!((new.source_enabled, new.source_timeout_ms, new.wait_for_replica_count), (true, 500, 2));
        assert_eq!((new.source_status, new.source_clients), (true, 3));
        let old = facts(
            &["rpl_semi_sync_master_enabled", "rpl_semi_sync_master_timeout", "rpl_semi_sync_slave_enabled"],
            "a=OFF\nb=10000\nc=ON",
            &[("Rpl_semi_sync_slave_status", "ON")],
        );
        assert_eq!(old.source_plugin, Some(PluginNaming::MasterSlave));
        assert_eq!((old.source_enabled, old.replica_enabled, old.replica_status), (false, true, true));
        assert_eq!(old.wait_for_replica_count, 0, "MariaDB waits for one and has no such variable");
    }
}
