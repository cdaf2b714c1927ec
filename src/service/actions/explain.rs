//! Why a cluster would, or would not, be recovered: as it is now, and if its primary died this moment. Asks the very gates
//! that the leader asks.

use std::collections::BTreeMap;
use std::time::Duration;

use api::v2::{Explanation, ExplanationCase, GateVerdict};
use domain::analysis::{Code, Finding, analyze};
use domain::instance::{DbMicros, FailureKind, Instance, InstanceKey, ThreadState};
use domain::recovery::gates::{DetectionHooks, Gate, Verdict, all_open};
use domain::recovery::{Choice, Verdict as Judged};

use store::detections::Filter;

use super::{Error, Scope, instances};
use crate::gatekeeping::{Circumstances, Subject, candidate, confirmation_of, hooks_of};

/// What is said of a failure that is only supposed.
const SUPPOSED: &str = "not seen: supposed";

/// Explains the cluster of this exact name.
pub async fn explain(scope: &Scope, cluster_name: &str) -> Result<Explanation, Error> {
    let members = instances::of_cluster(scope, cluster_name).await?;
    let circumstances = Circumstances::read(&scope.pool, &[cluster_name.to_owned()], &scope.config).await?;
    let now = circumstances.now();
    let found = findings(&members, scope, now);
    let case = |subject: Subject<'_>, supposed: bool| explained(subject, supposed, &circumstances, scope);
    let mut present = Vec::new();
    for finding in found.iter().filter(|one| one.code != Code::NoProblem) {
        let hooks = hooks(scope, finding).await?;
        present.push(case(Subject { finding, members: &members, held: Duration::ZERO, hooks }, false));
    }
    let primary = found.iter().find(|one| one.is_primary).map(|one| one.key.clone());
    let supposed = primary.as_ref().and_then(|primary| {
        let dead = without(&members, primary, now);
        let found = findings(&dead, scope, now);
        let finding = found.iter().find(|one| one.key == *primary)?;
        Some(case(Subject { finding, members: &dead, held: Duration::ZERO, hooks: DetectionHooks::Clear }, true))
    });
    Ok(Explanation {
        cluster: cluster_name.to_owned(),
        alias: circumstances.alias(cluster_name).to_owned(),
        primary: primary.map(|key| key.to_string()),
        present,
        if_primary_died: supposed,
    })
}

fn findings(members: &[Instance], scope: &Scope, now: DbMicros) -> Vec<Finding> {
    let members: Vec<&Instance> = members.iter().collect();
    analyze(&members, &BTreeMap::new(), &jobs::analysis_policy(&scope.config), now)
}

/// How the hooks of its detection stand, if it is registered.
async fn hooks(scope: &Scope, finding: &Finding) -> Result<DetectionHooks, Error> {
    let filter = Filter { instance: Some(&finding.key), active: true, ..Filter::default() };
    let registered = store::detections::list(&scope.pool, &filter).await?;
    let detection = registered.into_iter().find(|one| one.is_actionable == finding.code.is_actionable());
    match detection {
        Some(detection) => Ok(hooks_of(&scope.pool, &scope.config, detection.id).await?),
        None => Ok(DetectionHooks::Clear),
    }
}

fn explained(subject: Subject<'_>, supposed: bool, circumstances: &Circumstances, scope: &Scope) -> ExplanationCase {
    let (finding, now) = (subject.finding, circumstances.now());
    let confirmation = confirmation_of(finding, circumstances, &scope.config);
    // How long the leader has seen it is known to the leader alone; what is supposed is supposed to last.
    let since = finding.silent_since.filter(|_| !supposed);
    let seen = since.map(|since| Duration::from_micros(u64::try_from(now - since).unwrap_or_default()));
    let held = if supposed { confirmation } else { seen.unwrap_or(confirmation) };
    let subject = Subject { held, ..subject };
    let mut verdicts = circumstances.verdicts(subject, &scope.config);
    if supposed && let Some(verdict) = verdicts.iter_mut().find(|one| one.gate == Gate::Confirmation) {
        verdict.reason = format!("it would have to be seen for {:.1} s", confirmation.as_secs_f64());
    }
    let choice = candidate(subject, &scope.config, now);
    ExplanationCase {
        instance: finding.key.to_string(),
        analysis: finding.code.name().to_owned(),
        description: finding.code.description().to_owned(),
        evidence: if supposed { SUPPOSED.to_owned() } else { finding.evidence(now) },
        acts: all_open(&verdicts),
        gates: verdicts.into_iter().map(verdict).collect(),
        successor: choice.as_ref().and_then(|found| found.as_ref().ok()).map(|choice| choice.successor.to_string()),
        candidates: choice.and_then(Result::ok).map(considered).unwrap_or_default(),
    }
}

fn verdict(one: Verdict) -> GateVerdict {
    GateVerdict { gate: one.gate.name().to_owned(), open: one.passed, reason: one.reason, setting: one.setting }
}

fn considered(choice: Choice) -> Vec<api::v2::Candidate> {
    let candidate = |one: domain::recovery::Considered| {
        let (verdict, reason) = match one.verdict {
            Judged::Chosen => ("chosen", choice.because.clone()),
            Judged::Eligible => ("eligible", String::new()),
            Judged::Rejected { reason, .. } => ("rejected", reason),
        };
        api::v2::Candidate { instance: one.key.to_string(), verdict: verdict.to_owned(), reason, rank: one.rank }
    };
    choice.considered.iter().cloned().map(candidate).collect()
}

/// The cluster as it would be seen a moment after this server died: silent to us, and lost by whoever answers.
fn without(members: &[Instance], dead: &InstanceKey, now: DbMicros) -> Vec<Instance> {
    const MOMENT: DbMicros = 1_000_000;
    let mut members = members.to_vec();
    for one in &mut members {
        if one.key == *dead {
            one.check.last_checked_at = Some(now);
            one.check.last_attempted_at = Some(now);
            one.check.last_seen_at = Some(now - 2 * MOMENT);
            one.check.partial_success = false;
            one.check.failures = 1;
            one.check.silent_since = Some(now - MOMENT);
            one.check.failure = Some(FailureKind::Refused);
        } else if one.check.is_valid() {
            one.check.last_attempted_at = Some(now);
            one.check.last_checked_at = Some(now);
            one.check.last_seen_at = Some(now);
            if one.facts.source() == Some(dead)
                && let Some(replica) = &mut one.facts.replica
            {
                replica.io_thread = ThreadState::Other;
            }
        }
    }
    members
}

/// For people: a line per gate, closed ones marked.
pub fn text(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    let name = &explanation.cluster;
    let alias = if explanation.alias == *name { String::new() } else { format!(" ({})", explanation.alias) };
    let primary = explanation.primary.as_deref().unwrap_or("unknown");
    lines.push(format!("cluster {name}{alias}, primary {primary}"));
    if explanation.present.is_empty() {
        lines.push("now: no problem is seen, nothing is to be recovered".to_owned());
    }
    for case in &explanation.present {
        let acts = if case.acts { "a recovery begins" } else { "nothing is done by itself" };
        lines.push(format!("now: {} of {}: {acts}", case.analysis, case.instance));
        lines.push(format!("  {}", case.evidence));
        gates(case, &mut lines);
    }
    match &explanation.if_primary_died {
        None => lines.push("no primary is known: nobody can say what its death would mean".to_owned()),
        Some(case) => {
            let acts = match (&case.successor, case.acts) {
                (Some(successor), true) => format!("{successor} would be promoted"),
                (_, true) => "a recovery would begin".to_owned(),
                (_, false) => "nothing would be done by itself".to_owned(),
            };
            lines.push(format!("if {} died now ({}): {acts}", case.instance, case.analysis));
            gates(case, &mut lines);
        }
    }
    lines.join("\n")
}

fn gates(case: &ExplanationCase, lines: &mut Vec<String>) {
    for gate in &case.gates {
        let mark = if gate.open { "open  " } else { "CLOSED" };
        let setting = if gate.setting.is_empty() { String::new() } else { format!("  [{}]", gate.setting) };
        lines.push(format!("  {mark} {:<19} {}{setting}", gate.gate, gate.reason));
    }
    for one in &case.candidates {
        let rank = if one.rank.is_empty() { String::new() } else { format!(" ({})", one.rank) };
        let reason = if one.reason.is_empty() { String::new() } else { format!(": {}", one.reason) };
        lines.push(format!("  {:<8} {}{rank}{reason}", one.verdict, one.instance));
    }
}
