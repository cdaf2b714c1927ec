//! Section: the record of who did what.

use crate::key::section;

section! {
    /// The record of who did what.
    pub struct Audit in audit, "Audit";
    log_file: String = String::new() => "AuditLogFile", Effective, Live, "Append audit lines to this file.";
    to_syslog: bool = false => "AuditToSyslog", NotYet("syslog"), Restart, "Copy audit entries to syslog.";
    to_backend_db: bool = false => "AuditToBackendDB", Unused("audit entries are always kept in the backend"), Live,
        "Write audit entries to the backend, for the audit pages and API.";
    purge_days: u64 = 7 => "AuditPurgeDays", Effective, Live,
        "Age at which audit entries, detections and recoveries are removed.";
}
