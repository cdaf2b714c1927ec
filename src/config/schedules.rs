//! Section: recurring work. Cron expressions have six or seven fields, seconds first, in UTC:
//! `second minute hour day-of-month month day-of-week [year]`.

use crate::key::section;
use crate::value::{choice, text};

choice! {
    /// What happens to ticks of a schedule during which nobody led.
    pub enum MissedTickPolicy {
        /// However many were missed: run once, now.
        RunOnce = "run_once",
        /// Wait for the next tick.
        Skip = "skip",
    }
}

section! {
    /// Recurring work.
    pub struct Schedules in schedules, "Schedules";
    cleanup: String = text("0 */10 * * * *") => "CleanupSchedule" (New), Effective, Restart,
        "When finished and failed jobs past their retention and nodes long gone are removed.";
    expiry: String = text("0 * * * * *") => "ExpirySchedule" (New), Effective, Restart,
        "When downtime, maintenance, candidates, pools, resolved names and tokens that have run out are removed.";
    audit_trim: String = text("0 15 3 * * *") => "AuditTrimSchedule" (New), Effective, Restart,
        "When records older than `AuditPurgeDays` are removed.";
    forget: String = text("0 5 * * * *") => "ForgetSchedule" (New), Effective, Restart,
        "When servers not seen for `UnseenInstanceForgetHours` are forgotten.";
    snapshot: String = String::new() => "SnapshotSchedule" (New), Effective, Restart,
        "When all topologies are snapshotted; empty = by `SnapshotTopologiesIntervalHours`. Excludes that key.";
    missed_tick_policy: MissedTickPolicy = MissedTickPolicy::RunOnce => "MissedTickPolicy" (New), Effective, Restart,
        "What happens to ticks during which nobody led: `run_once` makes up for all of them with one run, `skip` waits for the next.";
}
