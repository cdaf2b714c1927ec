//! How an instance is doing, in the words people and scripts know: status, lag, problems.

use crate::instance::{CheckState, DbMicros, Instance, ThreadState};

/// A check older than this many poll intervals is not "recent".
const RECENT_INTERVALS: i64 = 5;

/// The moment and the thresholds by which instances are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Now, on the database's clock.
    pub now: DbMicros,
    /// `InstancePollSeconds`.
    pub poll_seconds: i64,
    /// `ReasonableReplicationLagSeconds`.
    pub reasonable_lag_seconds: i64,
    /// `ReasonableMaintenanceReplicationLagSeconds`.
    pub maintenance_lag_seconds: i64,
}

impl Judgement {
    /// Checked within one poll interval.
    pub fn is_up_to_date(&self, check: &CheckState) -> bool {
        check.seconds_since_checked(self.now).is_some_and(|age| age <= self.poll_seconds)
    }

    /// Checked within five poll intervals.
    pub fn is_recently_checked(&self, check: &CheckState) -> bool {
        check.seconds_since_checked(self.now).is_some_and(|age| age <= RECENT_INTERVALS * self.poll_seconds)
    }

    /// Replicating with both threads, lately and validly checked: drawn with a `+`.
    pub fn is_fine_replica(&self, instance: &Instance) -> bool {
        instance.check.is_valid() && self.is_recently_checked(&instance.check) && instance.facts.is_replica_running()
    }

    /// Lag within what planned work tolerates; a delayed replica is judged by its distance from the delay.
    pub fn has_reasonable_maintenance_lag(&self, instance: &Instance) -> bool {
        let Some(replica) = &instance.facts.replica else { return true };
        let behind = replica.seconds_behind.unwrap_or(0);
        distance_from_delay(behind, replica.sql_delay) <= self.maintenance_lag_seconds
    }

    /// The status word of topology lines.
    pub fn status(&self, instance: &Instance) -> &'static str {
        if !instance.check.is_valid() {
            "invalid"
        } else if !self.is_recently_checked(&instance.check) {
            "unchecked"
        } else if instance.facts.is_replica() && !instance.facts.is_replica_running() {
            "nonreplicating"
        } else if instance.facts.is_replica() && !self.has_reasonable_maintenance_lag(instance) {
            "lag"
        } else {
            "ok"
        }
    }

    /// The lag word of topology lines: `detached`, `unknown`, `null` or `<n>s`.
    pub fn lag(&self, instance: &Instance) -> String {
        let Some(replica) = &instance.facts.replica else {
            return if self.is_known(instance) { "0s".to_owned() } else { "unknown".to_owned() };
        };
        if is_detached_position(&replica.exec.file) {
            "detached".to_owned()
        } else if !self.is_known(instance) {
            "unknown".to_owned()
        } else if !instance.facts.is_replica() {
            "0s".to_owned()
        } else if !instance.facts.is_replica_running() || replica.seconds_behind.is_none() {
            "null".to_owned()
        } else {
            replica.lag_seconds.map_or_else(|| "null".to_owned(), |seconds| format!("{seconds}s"))
        }
    }

    fn is_known(&self, instance: &Instance) -> bool {
        instance.check.is_valid() && self.is_recently_checked(&instance.check)
    }

    /// What is wrong with an instance: one of the first four by precedence, then the others independently.
    pub fn problems(&self, instance: &Instance) -> Vec<&'static str> {
        let facts = &instance.facts;
        let mut problems = Vec::new();
        if !instance.check.is_valid() {
            problems.push("last_check_invalid");
        } else if !self.is_recently_checked(&instance.check) {
            problems.push("not_recently_checked");
        } else if facts.is_replica() && threads_exist(facts.threads()) && !facts.is_replica_running() {
            problems.push("not_replicating");
        } else if self.lags(instance) {
            problems.push("replication_lag");
        }
        if !instance.placement.gtid_errant.is_empty() {
            problems.push("errant_gtid");
        }
        if facts.group.as_ref().is_some_and(|group| group.state != "ONLINE") {
            problems.push("group_replication_member_not_online");
        }
        problems
    }

    fn lags(&self, instance: &Instance) -> bool {
        instance.facts.replica.as_ref().is_some_and(|replica| {
            replica
                .lag_seconds
                .is_some_and(|lag| (lag - delay_seconds(replica.sql_delay)).abs() > self.reasonable_lag_seconds)
        })
    }
}

/// Old-style detaching wrote `//<file>:<position>` into the position of the applier.
pub fn is_detached_position(file: &str) -> bool {
    file.strip_prefix("//").and_then(|rest| rest.rsplit_once(':')).is_some_and(|(name, position)| {
        !name.is_empty() && !position.is_empty() && position.bytes().all(|b| b.is_ascii_digit())
    })
}

fn threads_exist(threads: (ThreadState, ThreadState)) -> bool {
    threads.0 != ThreadState::NoThread && threads.1 != ThreadState::NoThread
}

fn distance_from_delay(behind: i64, delay: u64) -> i64 {
    if delay > 0 { (behind - delay_seconds(delay)).abs() } else { behind }
}

fn delay_seconds(delay: u64) -> i64 {
    i64::try_from(delay).unwrap_or(i64::MAX)
}
