//! Section: the job queue.

use crate::key::section;

section! {
    /// The job queue.
    pub struct Queue in queue, "Job queue";
    poll_milliseconds: u64 = 250 => "QueuePollMilliseconds" (New), Effective, Restart,
        "How often an idle worker looks for jobs.";
    retention_hours: u64 = 24 => "QueueRetentionHours" (New), Effective, Live,
        "How long the outcome of a finished job is kept.";
    failed_job_retention_days: u64 = 30 => "FailedJobRetentionDays" (New), Effective, Live,
        "How long a failed job is kept for inspection and retry.";
}
