//! Enqueues recurring work by the cron expressions of the configuration, once per tick.
//!
//! Idempotent: a tick is taken by a compare-and-set on `schedule_tick` in the transaction that enqueues its job. Missed
//! ticks (no leader, backend away): with `run_once` the newest missed tick runs once, with `skip` only ticks of the last
//! [`GRACE`] run.

use std::str::FromStr;
use std::time::Duration;

use config::MissedTickPolicy;
use cron::Schedule;
use domain::instance::DbMicros;
use jobs::{Expire, ForgetUnseen, SnapshotTopologies, TrimAudit, TrimJobs};
use queue::NewJob;

use crate::leader::{Duty, DutyError, Leading};

/// Cron expressions have seconds; a job of this kind may be a second late.
const EVERY: Duration = Duration::from_secs(1);
/// A tick this old is "missed".
const GRACE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CronJobs {
    schedules: Option<Vec<Recurring>>,
}

type MakeJob = fn() -> Result<NewJob, queue::Error>;

#[derive(Debug)]
struct Recurring {
    name: &'static str,
    schedule: Schedule,
    job: MakeJob,
    /// Newest tick known to be dealt with; the backend is asked only when a newer one has come.
    dealt_with: Option<DbMicros>,
}

impl Duty for CronJobs {
    const NAME: &'static str = "cron_jobs";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let policy = leading.handles.config.get().settings.schedules.missed_tick_policy;
        let recurring = self.schedules.get_or_insert_with(|| recurring(leading));
        let now = leading.now().await?;
        for one in recurring.iter_mut() {
            let Some(tick) = newest_tick(&one.schedule, now) else { continue };
            if one.dealt_with.is_some_and(|last| last >= tick) {
                continue;
            }
            if policy == MissedTickPolicy::RunOnce || now - tick <= micros(GRACE) {
                take(leading, one, tick).await?;
            }
            one.dealt_with = Some(tick);
        }
        Ok(())
    }
}

/// Enqueues the work of one tick, unless that was done in an earlier term.
async fn take(leading: &Leading, one: &Recurring, tick: DbMicros) -> Result<(), DutyError> {
    let mut transaction = leading.fenced().await?;
    if store::schedules::take_tick(&mut transaction, one.name, tick).await? {
        let job = (one.job)()?.unique_key(&format!("{}:{tick}", one.name)).term(leading.term.number);
        queue::enqueue(&mut transaction, &[job]).await?;
        transaction.commit().await?;
        tracing::debug!(schedule = one.name, "enqueued recurring work");
    }
    Ok(())
}

fn recurring(leading: &Leading) -> Vec<Recurring> {
    let config = leading.handles.config.get();
    let schedules = &config.settings.schedules;
    let hours = config.settings.discovery.snapshot_topologies_interval_hours;
    let snapshots = match (schedules.snapshot.as_str(), hours) {
        ("", 0) => String::new(),
        ("", hours) => format!("0 0 */{} * * *", hours.min(23)),
        (expression, _) => expression.to_owned(),
    };
    let table: [(&'static str, &str, MakeJob); 5] = [
        ("cleanup", &schedules.cleanup, || NewJob::of(&TrimJobs {})),
        ("expiry", &schedules.expiry, || NewJob::of(&Expire {})),
        ("audit_trim", &schedules.audit_trim, || NewJob::of(&TrimAudit {})),
        ("forget", &schedules.forget, || NewJob::of(&ForgetUnseen {})),
        ("snapshot", &snapshots, || NewJob::of(&SnapshotTopologies {})),
    ];
    let mut recurring = Vec::new();
    for (name, expression, job) in table {
        if expression.is_empty() {
            continue;
        }
        match Schedule::from_str(expression) {
            Ok(schedule) => recurring.push(Recurring { name, schedule, job, dealt_with: None }),
            // The loader checks expressions; this is for a derived one.
            Err(error) => tracing::error!(schedule = name, error = %error, "cannot read the cron expression"),
        }
    }
    recurring
}

/// The newest tick at or before `now`, in UTC.
fn newest_tick(schedule: &Schedule, now: DbMicros) -> Option<DbMicros> {
    let just_after = chrono::DateTime::from_timestamp_micros(now + 1)?;
    schedule.after(&just_after).next_back().map(|tick| tick.timestamp_micros())
}

fn micros(duration: Duration) -> DbMicros {
    DbMicros::try_from(duration.as_micros()).unwrap_or(DbMicros::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_tick_is_the_one_that_just_came() {
        let every_ten_minutes = Schedule::from_str("0 */10 * * * *").expect("schedule");
        let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).expect("time").timestamp_micros();
        let newest = |now: &str| newest_tick(&every_ten_minutes, at(now));
        assert_eq!(newest("2026-11-23T10:09:59Z"), Some(at("2026-11-23T10:00:00Z")));
        assert_eq!(newest("2026-11-23T10:10:00Z"), Some(at("2026-11-23T10:10:00Z")));
        assert_eq!(newest("2026-11-23T10:10:01Z"), Some(at("2026-11-23T10:10:00Z")));
    }
}
