//! Asking for a recovery, and following it.

use std::time::Duration;

use ::jobs::recover::{OpenError, Opened, open};
use api::legacy::ReplicationAnalysis;
use domain::instance::InstanceKey;
use queue::Queue;
use store::operations::StepRow;
use store::recoveries::{NewRecovery, Outcome, Recovery, Which};

use super::look;
use super::target::{Ask, Node, Target, find};
use crate::actions::{Error, Record, Scope, operations, submission};

/// Tries when the transaction meets a conflict.
const TRIES: u64 = 20;
/// Who acknowledges what a person's new request makes obsolete.
const SELF: &str = "orchestrator";

/// A recovery that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    pub recovery: u64,
    /// The operation that carries it out, and its job.
    pub operation: u64,
    pub job: u64,
}

/// Begins a recovery past the gates. [`Error::Refused`]: the cluster is being recovered already, or somebody has locked a
/// server that it is about. [`Error::NotPossible`]: there is nothing to recover, or no way. What is refused is in the audit.
pub async fn start(scope: &Scope, ask: Ask<'_>, node: Node<'_>) -> Result<Started, Error> {
    let started = begin(scope, ask, node).await;
    if let Err(error) = &started
        && is_refusal(error)
        && let Err(cause) = record_refusal(scope, ask, error).await
    {
        tracing::warn!(error = %cause.chain(), "no audit entry of a refused recovery");
    }
    started
}

/// Somebody asked, and the answer is no; not: nobody could answer.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::NotFound(_)
        | Error::Refused { .. }
        | Error::NotPossible(_)
        | Error::Invalid(_)
        | Error::NoWorker { .. } => true,
        Error::JobFailed { .. }
        | Error::Timeout { .. }
        | Error::Pending { .. }
        | Error::Unavailable { .. }
        | Error::Backend { .. } => false,
    }
}

async fn record_refusal(scope: &Scope, ask: Ask<'_>, error: &Error) -> Result<(), Error> {
    let (key, cluster) = match ask {
        Ask::Recover { failed, .. } => (Some(failed), ""),
        Ask::Failover { cluster_name }
        | Ask::TakeoverByForce { cluster_name, .. }
        | Ask::Takeover { cluster_name, .. } => (None, cluster_name),
    };
    let message = format!("refused: {error}");
    let mut conn = scope.connection().await?;
    scope.record(&mut conn, &Record { kind: ask.word(), key, cluster, message: &message }).await
}

async fn begin(scope: &Scope, ask: Ask<'_>, node: Node<'_>) -> Result<Started, Error> {
    let target = find(scope, ask).await?;
    refuse_locked(scope, &target).await?;
    let failed = operations::known(scope, &target.finding.key).await?;
    submission::check_workers(scope, Queue::Recovery, &failed.lane).await?;
    let entry = entry(&target, node)?;
    submission::retried(TRIES, || try_start(scope, &target, &entry, node)).await
}

/// Servers that the recovery is about must be free. Others of the cluster that are not are left out.
async fn refuse_locked(scope: &Scope, target: &Target) -> Result<(), Error> {
    let about = |key: &InstanceKey| *key == target.finding.key || target.candidate.as_ref() == Some(key);
    let held = store::maintenance::active(&scope.pool).await?;
    match held.into_iter().find(|one| about(&one.key)) {
        None => Ok(()),
        Some(one) => Err(Error::Refused {
            what: format!("maintenance of {}", one.key),
            holder: one.owner,
            reason: format!("{}; end-maintenance -i {} ends it", one.reason, one.key),
        }),
    }
}

/// The finding as it is kept: with the code that it counts as, and the word that asks.
fn entry(target: &Target, node: Node<'_>) -> Result<serde_json::Value, Error> {
    let cluster = target.listing.cluster(&target.finding);
    let record = ReplicationAnalysis::new(&target.finding, cluster, target.listing.now);
    let mut record = record.processed_by(node.name, node.token);
    target.code.name().clone_into(&mut record.analysis);
    target.code.description().clone_into(&mut record.description);
    target.hint.trim_end_matches("-auto").clone_into(&mut record.command_hint);
    record.is_actionable_recovery = true;
    serde_json::to_value(record).map_err(Error::invalid)
}

async fn try_start(
    scope: &Scope,
    target: &Target,
    entry: &serde_json::Value,
    node: Node<'_>,
) -> Result<Started, Error> {
    let finding = &target.finding;
    let failed = &finding.key;
    let alias = target.listing.cluster(finding).map_or("", |cluster| cluster.cluster_alias.as_str());
    let mut tx = scope.begin().await?;
    let comment = format!("{} asks for another recovery", scope.actor);
    store::recoveries::acknowledge(&mut tx, Which::EndedOf(failed), SELF, &comment).await?;
    let newest = store::detections::Filter { instance: Some(failed), active: true, ..Default::default() };
    let detection = store::detections::list(&mut *tx, &newest).await?.first().map(|one| one.id);
    let new = NewRecovery {
        kind: target.kind,
        code: target.code.name(),
        command_hint: target.hint,
        failed,
        cluster_name: &finding.cluster_name,
        cluster_alias: alias,
        detection_id: detection,
        force: true,
        suppress_hooks: !target.hooks,
        requested_candidate: target.candidate.as_ref(),
        entry,
        verdicts: &serde_json::Value::Null,
        actor: &scope.actor,
        node: node.name,
        node_token: node.token,
    };
    match open(&mut tx, &new).await.map_err(opening)? {
        Opened::New { recovery, operation, job } => {
            let word = if target.hint.is_empty() { "recover" } else { target.hint };
            let message = format!("{word}: recovery {recovery}, operation {operation}, job {job}");
            let record =
                Record { kind: "begin-recovery", key: Some(failed), cluster: &finding.cluster_name, message: &message };
            scope.commit_as(tx, &record).await?;
            Ok(Started { recovery, operation, job })
        }
        Opened::AlreadyOpen { recovery } => Err(Error::Refused {
            what: format!("cluster {}", finding.cluster_name),
            holder: format!("recovery {recovery}"),
            reason: format!("it is going on; orchestrator recovery {recovery} tells how"),
        }),
    }
}

fn opening(error: OpenError) -> Error {
    match error {
        OpenError::Store(error) => error.into(),
        OpenError::Queue(error) => error.into(),
    }
}

/// The recovery that an operation carries out.
pub async fn started(scope: &Scope, operation: u64) -> Result<Started, Error> {
    let found = store::recoveries::by_operation(&scope.pool, operation).await?;
    let recovery = found.ok_or_else(|| Error::NotFound(format!("operation {operation} carries out no recovery")))?;
    let job = operations::read(scope, operation).await?.job_id;
    Ok(Started { recovery: recovery.id, operation, job })
}

/// Waits until a recovery has ended, and tells `progress` of its steps. An error unless it recovered: with the reason.
pub async fn wait(
    scope: &Scope,
    started: Started,
    patience: Duration,
    progress: impl FnMut(&StepRow),
) -> Result<Recovery, Error> {
    let submitted = operations::Submitted { operation: started.operation, job: started.job };
    match operations::follow(scope, submitted, patience, progress).await {
        Ok(_) => {}
        // It ended together with its job: the row says how.
        Err(Error::JobFailed { job, text }) => {
            if look::read(scope, started.recovery).await?.outcome.is_none() {
                return Err(Error::JobFailed { job, text });
            }
        }
        Err(error) => return Err(error),
    }
    let recovery = look::read(scope, started.recovery).await?;
    match recovery.outcome {
        Some(Outcome::Recovered) => Ok(recovery),
        other => Err(Error::NotPossible(told(&recovery, other))),
    }
}

fn told(recovery: &Recovery, outcome: Option<Outcome>) -> String {
    let outcome = match outcome {
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Refused) => "was refused",
        Some(Outcome::NoLongerNeeded) => "was no longer needed",
        Some(Outcome::Cancelled) => "was cancelled",
        Some(Outcome::Recovered) => "succeeded",
        None => "has not ended",
    };
    let errors = if recovery.errors.is_empty() { String::new() } else { format!(": {}", recovery.errors.join("; ")) };
    format!("recovery {} of {} {outcome}{errors}", recovery.id, recovery.failed)
}
