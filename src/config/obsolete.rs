//! Keys of earlier versions that are still found in files: ignored, but not called unknown.

/// A key without any effect, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obsolete {
    pub name: &'static str,
    pub reason: &'static str,
}

const fn row(name: &'static str, reason: &'static str) -> Obsolete {
    Obsolete { name, reason }
}

/// All obsolete keys. The last three were never declared so, but are common.
pub const OBSOLETE: &[Obsolete] = &[
    row("DatabaselessMode__experimental", "a backend is always needed"),
    row("BufferBinlogEvents", "events are always read in chunks"),
    row("BinlogFileHistoryDays", "binary log files are not recorded"),
    row("MaintenanceOwner", "the owner is given with each maintenance"),
    row("ReadLongRunningQueries", "long running queries are not collected"),
    row("DiscoveryPollSeconds", "see InstancePollSeconds"),
    row("ActiveNodeExpireSeconds", "see LeaderLeaseSeconds"),
    row("AuditPageSize", "the page size is fixed"),
    row("SlaveStartPostWaitMilliseconds", "no pause is made"),
    row("MySQLTopologyMaxPoolConnections", "see ConnectionBudget"),
    row("MaintenancePurgeDays", "the retention is fixed"),
    row("MaintenanceExpireMinutes", "the duration is given with each maintenance"),
    row("HttpTimeoutSeconds", "the timeout is fixed"),
    row("AgentAutoDiscover", "agents announce themselves"),
    row("PseudoGTIDCoordinatesHistoryHeuristicMinutes", "the look-back is fixed"),
    row("PseudoGTIDPreferIndependentMultiMatch", "the way of matching is fixed"),
    row("MaxOutdatedKeysToShow", "all are shown"),
    row("StatusSimpleHealth", "the health check is always the simple one"),
    row("AutoRecoveryGloballyEnabled", "recoveries are switched by command, and by RecoverMasterClusterFilters"),
    row("MySQLMaxAllowedPacket", "the driver adapts to the server's packet size"),
];

/// The obsolete key of this name, without regard to case.
pub(crate) fn find(name: &str) -> Option<&'static Obsolete> {
    OBSOLETE.iter().find(|key| key.name.eq_ignore_ascii_case(name))
}
