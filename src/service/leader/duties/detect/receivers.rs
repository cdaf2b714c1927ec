//! A source that is silent while replicas still seem to hear it: has their receivers restarted, so that they notice at once
//! whether it is there (see `jobs::RestartReceivers`).
//!
//! Idempotent: the operations of the last minute are looked at, whoever led then.

use domain::analysis::{Code, Finding, Reach};
use domain::plan::Request;
use jobs::{Configuration, RestartReceivers};
use queue::NewJob;
use store::operations::NewOperation;

use crate::gatekeeping::Circumstances;
use crate::leader::{DutyError, Leading};

/// Who asks for it.
const OWNER: &str = "orchestrator";

/// Microseconds of silence within which the replicas of a source that was killed notice by themselves.
const NOTICED_BY_THEN: i64 = 300_000;
/// Asked for per look; the others with the next.
const MOST: usize = 4;

/// The codes whose answer is worth the disturbance.
const UNREACHABLE: &[Code] = &[
    Code::UnreachableMaster,
    Code::UnreachableMasterWithLaggingReplicas,
    Code::UnreachableCoMaster,
    Code::UnreachableIntermediateMaster,
    Code::UnreachableIntermediateMasterWithLaggingReplicas,
];

/// Asks for the restarts that these findings need.
pub(super) async fn restart(
    leading: &Leading,
    config: &Configuration,
    circumstances: &Circumstances,
    findings: &[&Finding],
) -> Result<(), DutyError> {
    // One that refuses us is alive: a replica that comes anew it might refuse as well.
    let wanted = |one: &&&Finding| {
        UNREACHABLE.contains(&one.code)
            && one.reach == Reach::Silent
            && one.counts.hearing > 0
            && circumstances.may_restart_receivers(one, config)
    };
    let lasts = |one: &&&Finding| one.silent_since.is_some_and(|since| circumstances.now() - since >= NOTICED_BY_THEN);
    for finding in findings.iter().filter(wanted).filter(lasts).take(MOST) {
        let request = Request::RestartReceivers { of: finding.key.clone() };
        let new = NewOperation { request: &request, dry_run: false, cluster_name: &finding.cluster_name, actor: OWNER };
        let mut transaction = leading.fenced().await?;
        let operation = store::operations::create(&mut transaction, &new).await?;
        let source = store::instances::read(&mut *transaction, &finding.key).await?;
        let lane = source.map(|one| one.lane).unwrap_or_default();
        let job = NewJob::of(&RestartReceivers::new(operation))?
            .datacenter(&lane)
            .term(leading.term.number)
            .submitted_by("leader");
        let enqueued = queue::enqueue(&mut transaction, &[job]).await?;
        let job = enqueued.first().map(|one| one.id()).unwrap_or_default();
        store::operations::set_job(&mut transaction, operation, job).await?;
        transaction.commit().await?;
        leading.handles.bells.work.ring();
        tracing::warn!(
            instance.key = %finding.key,
            cluster.name = finding.cluster_name,
            analysis = %finding.code,
            operation.id = operation,
            evidence = finding.evidence(circumstances.now()),
            "has the receivers of its replicas restarted"
        );
    }
    Ok(())
}
