//! How a recovery ends: outcome, record, audit, answer to whoever waits.

use std::fmt;

use domain::instance::{DbMicros, Instance, InstanceKey};
use operations::{InstanceError, Moved, OperationOutcome};
use queue::JobError;
use serde::{Deserialize, Serialize};
use store::audit::Entry;
use store::operations::{Finish, Operation, State};
use store::recoveries::{Close, Kind, Outcome, Progress};

use super::{End, Line, Recovering};
use crate::hooks::List;

/// How long clients could not write, as far as it can be told from what was seen. A wire format.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outage {
    /// The old primary last gave an answer (or was last open for writes): it cannot have begun earlier.
    pub not_before: DbMicros,
    /// The old primary first gave none (or was closed): it had begun by then.
    pub not_after: DbMicros,
    /// The new primary took writes.
    pub until: DbMicros,
    /// The last commit of the old primary that reached a replica, by this process' clock of the backend. `None`: nobody tells.
    pub last_commit: Option<DbMicros>,
    /// The first commit of clients on the new primary, if it was seen while the recovery went on.
    pub first_commit: Option<DbMicros>,
    /// The best guess: from the last commit, if the old primary gave no sign of life after it, else from `not_after`, which the
    /// watch of primaries sets within a moment; to the first commit, if one was seen, else to `until`.
    pub seconds: f64,
    /// It cannot have been longer than this.
    pub at_most_seconds: f64,
    /// The primary was closed by us, so this is exact: how long nobody could write.
    pub is_write_pause: bool,
}

impl Outage {
    /// Of a failure: from the last sign of life of the failed server.
    pub(super) fn of(failed: Option<&Instance>, found_at: DbMicros, until: DbMicros) -> Self {
        let check = failed.map(|one| &one.check);
        let silent = check.and_then(|check| check.silent_since).unwrap_or(found_at).min(found_at);
        let seen = check.and_then(|check| check.last_seen_at).unwrap_or(silent).min(silent);
        Self::between(seen, silent, until)
    }

    /// A commit of the old primary was received then.
    pub(super) fn begins_after(&mut self, last_commit: DbMicros) {
        self.last_commit = Some(last_commit);
        self.count();
    }

    /// Clients were seen to commit on the new primary.
    pub(super) fn ends_with(&mut self, first_commit: DbMicros) {
        self.first_commit = Some(first_commit);
        self.count();
    }

    fn count(&mut self) {
        let seconds = |from: DbMicros, to: DbMicros| (to - from).max(0) as f64 / 1e6;
        // A commit older than the last answer says only that clients were idle.
        let last = self.last_commit.filter(|at| *at >= self.not_before);
        let end = self.first_commit.map_or(self.until, |at| at.max(self.until));
        self.seconds = seconds(last.unwrap_or(self.not_after), end);
        self.at_most_seconds = seconds(last.unwrap_or(self.not_before), end).max(self.seconds);
    }

    fn between(not_before: DbMicros, not_after: DbMicros, until: DbMicros) -> Self {
        let mut outage = Self { not_before, not_after, until, ..Self::default() };
        outage.count();
        outage
    }

    /// Of a takeover: from closing the old primary.
    pub(super) fn pause(closed_at: DbMicros, until: DbMicros) -> Self {
        Self { is_write_pause: true, ..Self::between(closed_at, closed_at, until) }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_write_pause {
            write!(f, "nobody could write for {:.3} s", self.seconds)
        } else {
            let from =
                if self.last_commit.is_some_and(|at| at >= self.not_before) { "last commit" } else { "first silence" };
            let to = if self.first_commit.is_some() { "first commit" } else { "opening" };
            let (seconds, at_most) = (self.seconds, self.at_most_seconds);
            write!(
                f,
                "nobody could write for about {seconds:.3} s ({at_most:.3} s at most), from the {from} to the {to}"
            )
        }
    }
}

/// How a recovery ended, for whoever asked for it: the outcome of its operation has it under `recovery`. A wire format.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecoveryOutcome {
    pub id: u64,
    pub uid: String,
    /// `recovered`, `failed`, `refused`, `no_longer_needed`, `cancelled`.
    pub outcome: String,
    pub failed: InstanceKey,
    pub successor: Option<InstanceKey>,
    /// Servers given up, with the reason.
    pub lost: Vec<InstanceError>,
    /// What went wrong, whatever the outcome.
    pub errors: Vec<String>,
    pub outage: Option<Outage>,
}

/// What the job of a recovery that has ended gives back.
pub(super) fn answer(ended: &Operation) -> Result<serde_json::Value, JobError> {
    match ended.state {
        State::Failed => Err(JobError::give_up(ended.error.clone())),
        _ => Ok(ended.outcome.clone().unwrap_or_default()),
    }
}

impl Recovering<'_> {
    /// Ends recovery and operation, with the locks.
    pub(super) async fn close(&mut self, end: End) -> Result<serde_json::Value, JobError> {
        let (outcome, state, error) = words(&end);
        let first = self.first_commit.take().and_then(|first| first.seen());
        if let (Some(first), Some(outage)) = (first, &mut self.done.outage) {
            outage.ends_with(first);
            self.journal.note_with(Line::Fact, format!("clients commit again; {outage}"), &self.done.outage);
        }
        if outcome != Outcome::Recovered {
            self.done.errors.extend((!error.is_empty() && !self.done.errors.contains(&error)).then(|| error.clone()));
            // Only what was tried has failed. Nothing is done to any server from here on: hooks may take their time.
            if matches!(end, End::Failed(_)) {
                self.end_locks().await?;
                self.hooks(List::PostUnsuccessfulFailover).await?.ok();
            }
        }
        self.keep_results().await?;
        let successor = (outcome == Outcome::Recovered).then_some(self.row.successor.as_ref()).flatten();
        let text = self.text(outcome, &error);
        let value = self.value(outcome, state, &error)?;
        let hold = self.work.config.settings.recovery.recovery_period_block_seconds;
        let close = Close { outcome, successor, hold: std::time::Duration::from_secs(hold), text: &text };
        let finish = Finish { state, outcome: &value, error: &error, message: &text };
        let (pool, run) = (&self.work.ctx.pool, self.work.run);
        self.work.still_ours(store::recoveries::finish(pool, run, self.row.id, &close, finish).await)?;
        tracing::info!(recovery.id = self.row.id, outcome = outcome.name(), "{text}");
        self.audit(&text).await;
        if state == State::Failed { Err(JobError::give_up(error)) } else { Ok(value) }
    }

    /// Keeps what is known by now.
    pub(super) async fn keep_results(&self) -> Result<(), JobError> {
        let lost: Vec<InstanceKey> = self.done.lost.keys().cloned().collect();
        let participating: Vec<InstanceKey> = self.done.participating.iter().cloned().collect();
        let outage = self.done.outage.as_ref().map(serde_json::to_value).transpose().map_err(JobError::give_up)?;
        let known = Progress {
            successor_alias: Some(&self.row.successor_alias),
            successor_coordinates: Some(&self.row.successor_coordinates),
            lost: Some(&lost),
            participating: Some(&participating),
            errors: Some(&self.done.errors),
            outage: outage.as_ref(),
        };
        let (pool, run) = (&self.work.ctx.pool, self.work.run);
        self.work.still_ours(store::recoveries::note_result(pool, run, self.row.id, &known).await)
    }

    fn text(&self, outcome: Outcome, error: &str) -> String {
        let mut parts =
            vec![format!("recovery {} from {} ({}): {}", self.row.id, self.row.failed, self.row.code, outcome.name())];
        if let Some(successor) = self.row.successor.as_ref().filter(|_| outcome == Outcome::Recovered) {
            parts.push(format!("successor: {successor}"));
        }
        parts.extend(self.done.outage.as_ref().map(ToString::to_string));
        if !self.done.lost.is_empty() {
            let lost: Vec<String> = self.done.lost.keys().map(ToString::to_string).collect();
            parts.push(format!("lost: {}", lost.join(", ")));
        }
        parts.extend((!error.is_empty()).then(|| error.to_owned()));
        parts.join("; ")
    }

    fn value(&self, outcome: Outcome, state: State, error: &str) -> Result<serde_json::Value, JobError> {
        let operation = &self.work.operation;
        let since = operation.started_at.unwrap_or(operation.now);
        let successor = self.row.successor.clone().filter(|_| outcome == Outcome::Recovered);
        let lost = self.done.lost.iter();
        let lost: Vec<InstanceError> =
            lost.map(|(key, why)| InstanceError { instance: key.clone(), error: why.clone() }).collect();
        let told = OperationOutcome {
            operation: operation.id,
            word: operation.word.clone(),
            state: state.name().to_owned(),
            instance: successor.clone().unwrap_or_else(|| self.row.failed.clone()),
            done: successor.iter().map(|key| Moved { instance: key.clone(), new_source: None }).collect(),
            errors: lost.clone(),
            error: error.to_owned(),
            duration_seconds: (self.work.ctx.clock.now_micros() - since).max(0) as f64 / 1e6,
            runs: self.work.run.number,
            ..OperationOutcome::default()
        };
        let recovery = RecoveryOutcome {
            id: self.row.id,
            uid: self.row.uid.clone(),
            outcome: outcome.name().to_owned(),
            failed: self.row.failed.clone(),
            successor,
            lost,
            errors: self.done.errors.clone(),
            outage: self.done.outage.clone(),
        };
        let mut value = serde_json::to_value(told).map_err(JobError::give_up)?;
        let recovery = serde_json::to_value(recovery).map_err(JobError::give_up)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("recovery".to_owned(), recovery);
        }
        Ok(value)
    }

    /// The entry that the original writes, besides that of the operation.
    async fn audit(&self, text: &str) {
        let audit_type = match self.row.kind {
            Kind::Primary | Kind::Takeover => "recover-dead-master",
            Kind::CoPrimary => "recover-dead-co-master",
            Kind::Intermediate => "recover-dead-intermediate-master",
            Kind::GroupMember => "recover-dead-replication-group-member-with-replicas",
            Kind::NonWriteable => "recover-non-writeable-master",
            Kind::SemiSync => "recover-semi-sync-master",
        };
        let entry = Entry {
            audit_type,
            instance: Some(&self.row.failed),
            cluster_name: &self.row.cluster_name,
            actor: &self.work.operation.actor,
            message: text,
        };
        let written = async {
            let mut conn = self.work.ctx.pool.acquire().await.map_err(JobError::retry)?;
            store::audit::write(&mut conn, &entry).await.map_err(JobError::retry)
        };
        if let Err(error) = written.await {
            // It has ended, and its own record says the same.
            self.journal.note(Line::Error, format!("no audit entry: {error}"));
        }
    }
}

fn words(end: &End) -> (Outcome, State, String) {
    match end {
        End::Recovered => (Outcome::Recovered, State::Done, String::new()),
        End::Failed(reason) => (Outcome::Failed, State::Failed, reason.clone()),
        End::Refused(reason) => (Outcome::Refused, State::Refused, reason.clone()),
        End::NoLongerNeeded(reason) => (Outcome::NoLongerNeeded, State::Refused, reason.clone()),
        End::Cancelled => {
            (Outcome::Cancelled, State::Cancelled, "cancelled before a successor was opened for writes".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_goes_from_the_last_commit_to_the_first() {
        let second = 1_000_000;
        let mut outage = Outage::between(10 * second, 11 * second, 12 * second);
        assert_eq!((outage.seconds, outage.at_most_seconds), (1.0, 2.0));
        outage.begins_after(5 * second);
        assert_eq!((outage.seconds, outage.at_most_seconds), (1.0, 2.0), "it answered after that: clients were idle");
        outage.begins_after(21 * second / 2);
        assert_eq!((outage.seconds, outage.at_most_seconds), (1.5, 1.5));
        outage.ends_with(13 * second);
        assert_eq!((outage.seconds, outage.at_most_seconds), (2.5, 2.5));
        assert!(outage.to_string().ends_with("from the last commit to the first commit"), "{outage}");
    }
}
