//! What is done about findings: detections are registered, gates asked, recoveries opened.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use api::legacy::{ClusterInfo, ReplicationAnalysis};
use domain::analysis::{Finding, Handler};
use domain::instance::{Instance, InstanceKey};
use domain::recovery::gates::{DetectionHooks, Gate, Verdict, all_open};
use jobs::recover::Opened;
use jobs::{Configuration, DetectionHooks as RunHooks};
use queue::NewJob;
use serde_json::Value;
use store::detections::NewDetection;
use store::recoveries::{Kind, NewBlocked, NewRecovery};

use super::receivers;
use crate::gatekeeping::{Circumstances, Subject, hooks_of};
use crate::leader::{DutyError, Leading};

/// A recovery that is held back is said to be so again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// Hooks of a detection that have not all ended are asked for again: they may have been configured since, or their job is
/// lost. Each runs once, whoever asks.
const HOOKS_AGAIN: Duration = Duration::from_secs(2);

/// Clusters in which something is wrong are looked at every second: what was not found for this long is over. Long enough
/// for outages in which clusters have to wait for their turn.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Incidents(HashMap<InstanceKey, Incident>);

/// Something that holds.
#[derive(Debug)]
struct Incident {
    cluster_name: String,
    handler: Handler,
    since: Instant,
    /// When it was last found to hold.
    seen: Instant,
    detection: Option<u64>,
    /// How its hooks have ended, all of them; and when they were last asked for.
    hooks: Option<DetectionHooks>,
    hooks_at: Option<Instant>,
    /// The gates that were closed when this was last said, and when.
    said: Option<(Vec<Gate>, Instant)>,
}

impl Incidents {
    pub(super) async fn act(
        &mut self,
        leading: &Leading,
        config: &Configuration,
        clusters: &BTreeMap<String, Vec<Instance>>,
        findings: &[Finding],
    ) -> Result<(), DutyError> {
        let notable: Vec<&Finding> = findings.iter().filter(|one| one.code.handler() != Handler::Nothing).collect();
        self.keep_up(clusters, &notable, Instant::now());
        // Downtime: people know; nothing is registered, no hooks run.
        let notable: Vec<&Finding> = notable.into_iter().filter(|one| !one.skippable_due_to_downtime).collect();
        if notable.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = clusters.keys().cloned().collect();
        let mut circumstances = Circumstances::read(&leading.handles.pool, &names, config).await?;
        self.register(leading, &circumstances, clusters, &notable).await?;
        receivers::restart(leading, config, &circumstances, &notable).await?;
        for finding in notable {
            let Some(incident) = self.0.get_mut(&finding.key) else { continue };
            let hooks = hooks(leading, config, incident).await?;
            if !finding.code.is_actionable() {
                continue;
            }
            let members = clusters.get(&finding.cluster_name).map_or(&[][..], Vec::as_slice);
            let subject = Subject { finding, members, held: incident.since.elapsed(), hooks };
            let verdicts = circumstances.verdicts(subject, config);
            if !all_open(&verdicts) {
                self.hold_back(leading, &circumstances, finding, &verdicts).await?;
            } else if let Some(id) = self.open(leading, &circumstances, finding, members.len(), &verdicts).await? {
                circumstances.opened(id, &finding.key, &finding.cluster_name);
            }
        }
        Ok(())
    }

    /// Begins incidents, and ends those whose finding is gone.
    fn keep_up(&mut self, clusters: &BTreeMap<String, Vec<Instance>>, notable: &[&Finding], now: Instant) {
        let found: HashMap<&InstanceKey, &Finding> = notable.iter().map(|one| (&one.key, *one)).collect();
        self.0.retain(|key, incident| match found.get(key) {
            Some(one) => one.code.handler() == incident.handler && one.cluster_name == incident.cluster_name,
            // Its cluster may have another name by now, or none: then nobody looks at it under this one.
            None => {
                !clusters.contains_key(&incident.cluster_name) && now.duration_since(incident.seen) < FORGOTTEN_AFTER
            }
        });
        for one in notable {
            let incident = self.0.entry(one.key.clone()).or_insert_with(|| Incident {
                cluster_name: one.cluster_name.clone(),
                handler: one.code.handler(),
                since: now,
                seen: now,
                detection: None,
                hooks: None,
                hooks_at: None,
                said: None,
            });
            incident.seen = now;
        }
    }

    /// Registers what is new, in one transaction.
    async fn register(
        &mut self,
        leading: &Leading,
        circumstances: &Circumstances,
        clusters: &BTreeMap<String, Vec<Instance>>,
        notable: &[&Finding],
    ) -> Result<(), DutyError> {
        let is_new = |one: &&&Finding| self.0.get(&one.key).is_some_and(|incident| incident.detection.is_none());
        let new: Vec<&Finding> = notable.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let identity = &leading.handles.identity;
        let mut registered = Vec::with_capacity(new.len());
        let mut transaction = leading.fenced().await?;
        for finding in new {
            let actionable = finding.code.is_actionable();
            let members = clusters.get(&finding.cluster_name).map_or(0, Vec::len);
            let entry = entry(leading, finding, circumstances, members);
            let id = store::detections::register(
                &mut transaction,
                &NewDetection {
                    key: &finding.key,
                    code: finding.code.name(),
                    cluster_name: &finding.cluster_name,
                    cluster_alias: circumstances.alias(&finding.cluster_name),
                    is_actionable: actionable,
                    replicas: &finding.replicas,
                    entry: &entry,
                    node: &identity.name,
                    node_token: &identity.token,
                },
            )
            .await?;
            let id = match id {
                Some(id) => {
                    tracing::warn!(
                        instance.key = %finding.key,
                        cluster.name = finding.cluster_name,
                        analysis = %finding.code,
                        detection.id = id,
                        evidence = finding.evidence(circumstances.now()),
                        "detected a failure"
                    );
                    Some(id)
                }
                None => active(&mut transaction, finding, actionable).await?,
            };
            registered.push((finding.key.clone(), id));
        }
        transaction.commit().await?;
        for (key, id) in registered {
            if let Some(incident) = self.0.get_mut(&key) {
                incident.detection = id;
            }
        }
        Ok(())
    }

    /// Says which gates are closed: in the log when it changes, in the backend again and again while it lasts.
    async fn hold_back(
        &mut self,
        leading: &Leading,
        circumstances: &Circumstances,
        finding: &Finding,
        verdicts: &[Verdict],
    ) -> Result<(), DutyError> {
        let closed: Vec<&Verdict> = verdicts.iter().filter(|one| !one.passed).collect();
        let gates: Vec<Gate> = closed.iter().map(|one| one.gate).collect();
        // It is being recovered, or will be in a moment: no news.
        if gates.contains(&Gate::UnderWay) || gates == [Gate::Confirmation] {
            return Ok(());
        }
        let Some(incident) = self.0.get_mut(&finding.key) else { return Ok(()) };
        let is_same = incident.said.as_ref().is_some_and(|(said, _)| *said == gates);
        if is_same && incident.said.as_ref().is_some_and(|(_, at)| at.elapsed() < SAY_AGAIN) {
            return Ok(());
        }
        let tell = |one: &&Verdict| {
            let setting = if one.setting.is_empty() { String::new() } else { format!(" [{}]", one.setting) };
            format!("{}: {}{setting}", one.gate.name(), one.reason)
        };
        let reason = closed.iter().map(tell).collect::<Vec<_>>().join("; ");
        if !is_same {
            tracing::warn!(
                instance.key = %finding.key,
                cluster.name = finding.cluster_name,
                analysis = %finding.code,
                reason,
                "not recovered automatically"
            );
            metrics::counter!("orchestrator_recoveries_held_back_total").increment(1);
        }
        incident.said = Some((gates, Instant::now()));
        let mut transaction = leading.fenced().await?;
        store::recoveries::block(
            &mut transaction,
            &NewBlocked {
                key: &finding.key,
                code: finding.code.name(),
                cluster_name: &finding.cluster_name,
                blocking: circumstances.blocking(finding),
                reason: &reason,
            },
        )
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Opens the recovery, with its operation and its job; `None`: another was faster.
    async fn open(
        &self,
        leading: &Leading,
        circumstances: &Circumstances,
        finding: &Finding,
        members: usize,
        verdicts: &[Verdict],
    ) -> Result<Option<u64>, DutyError> {
        let Some(kind) = Kind::answering(finding.code.handler()) else { return Ok(None) };
        let entry = entry(leading, finding, circumstances, members);
        let verdicts = serde_json::to_value(verdicts).unwrap_or(Value::Null);
        let identity = &leading.handles.identity;
        let new = NewRecovery {
            kind,
            code: finding.code.name(),
            command_hint: "",
            failed: &finding.key,
            cluster_name: &finding.cluster_name,
            cluster_alias: circumstances.alias(&finding.cluster_name),
            detection_id: self.0.get(&finding.key).and_then(|incident| incident.detection),
            force: false,
            suppress_hooks: false,
            requested_candidate: None,
            entry: &entry,
            verdicts: &verdicts,
            actor: "",
            node: &identity.name,
            node_token: &identity.token,
        };
        let mut transaction = leading.fenced().await?;
        let Opened::New { recovery: id, .. } = jobs::recover::open(&mut transaction, &new).await? else {
            return Ok(None);
        };
        transaction.commit().await?;
        leading.handles.bells.work.ring();
        tracing::warn!(
            instance.key = %finding.key,
            cluster.name = finding.cluster_name,
            analysis = %finding.code,
            recovery.id = id,
            "recovers automatically"
        );
        metrics::counter!("orchestrator_recoveries_opened_total").increment(1);
        Ok(Some(id))
    }
}

/// The detection that is active already.
async fn active(
    conn: &mut sqlx::MySqlConnection,
    finding: &Finding,
    actionable: bool,
) -> Result<Option<u64>, DutyError> {
    let filter = store::detections::Filter { instance: Some(&finding.key), active: true, ..Default::default() };
    let all = store::detections::list(conn, &filter).await?;
    Ok(all.into_iter().find(|one| one.is_actionable == actionable).map(|one| one.id))
}

/// How the hooks of a detection stand; asks for those that have not run.
async fn hooks(
    leading: &Leading,
    config: &Configuration,
    incident: &mut Incident,
) -> Result<DetectionHooks, DutyError> {
    let has_hooks = !config.settings.hooks.on_failure_detection_processes.is_empty();
    let Some(detection) = incident.detection.filter(|_| has_hooks) else { return Ok(DetectionHooks::Clear) };
    if let Some(ended) = incident.hooks {
        return Ok(ended);
    }
    let found = hooks_of(&leading.handles.pool, config, detection).await?;
    if found != DetectionHooks::Pending {
        incident.hooks = Some(found);
        return Ok(found);
    }
    if incident.hooks_at.is_none_or(|at| at.elapsed() >= HOOKS_AGAIN) {
        incident.hooks_at = Some(Instant::now());
        let job = NewJob::of(&RunHooks::new(detection))?.term(leading.term.number);
        let mut transaction = leading.fenced().await?;
        queue::enqueue(&mut transaction, std::slice::from_ref(&job)).await?;
        transaction.commit().await?;
        leading.handles.bells.work.ring();
    }
    Ok(DetectionHooks::Pending)
}

/// The finding as it is kept, shown, and told to hooks.
fn entry(leading: &Leading, finding: &Finding, circumstances: &Circumstances, members: usize) -> Value {
    let identity = &leading.handles.identity;
    let config = leading.handles.config.get();
    let (name, alias) = (&finding.cluster_name, circumstances.alias(&finding.cluster_name));
    let mut cluster = ClusterInfo::new(name, alias, finding.cluster_domain.clone(), members as u64);
    cluster.has_automated_master_recovery = config.patterns.recover_masters.matches(name, alias);
    cluster.has_automated_intermediate_master_recovery =
        config.patterns.recover_intermediate_masters.matches(name, alias);
    let mut record = ReplicationAnalysis::new(finding, Some(&cluster), circumstances.now())
        .processed_by(&identity.hostname, &identity.token);
    record.is_actionable_recovery = finding.code.is_actionable();
    serde_json::to_value(record).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use domain::analysis::{AnalysisPolicy, analyze};
    use domain::instance::{CheckState, Placement, ServerFacts};
    use domain::promotion::PromotionRule;

    use super::*;

    /// A server that does not answer, in this cluster.
    fn silent(cluster_name: &str) -> Finding {
        let server = Instance {
            id: 1,
            key: InstanceKey::new("db1", 3306),
            lane: String::new(),
            facts: ServerFacts::default(),
            placement: Placement { cluster_name: cluster_name.to_owned(), ..Placement::default() },
            check: CheckState { last_checked_at: Some(1), failures: 3, ..CheckState::default() },
            downtime: None,
            promotion_rule: PromotionRule::Neutral,
            unresolved_hostname: String::new(),
        };
        let policy = AnalysisPolicy {
            poll_seconds: 5,
            check_seconds: 1,
            lag_seconds: 10,
            locked_semi_sync_seconds: 0,
            enforce_exact_semi_sync: false,
            recover_non_writeable: false,
            stale_after_seconds: 60,
        };
        analyze(&[&server], &BTreeMap::new(), &policy, 2).pop().expect("a finding")
    }

    #[test]
    fn what_holds_goes_on_and_what_is_gone_ends() {
        let looked_at = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        let (shop, begun) = (silent("shop"), Instant::now());
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut incidents = Incidents::default();
        let since = |incidents: &Incidents| incidents.0.get(&shop.key).map(|one| one.since);
        incidents.keep_up(&looked_at(&["shop"]), &[&shop], begun);
        incidents.keep_up(&looked_at(&["shop"]), &[&shop], after(1));
        assert_eq!(since(&incidents), Some(begun), "it is the same all the time");
        // Nobody looked at its cluster: it may hold still, for a while.
        incidents.keep_up(&looked_at(&["blog"]), &[], after(30));
        assert_eq!(since(&incidents), Some(begun));
        incidents.keep_up(&looked_at(&["blog"]), &[], after(31));
        assert_eq!(since(&incidents), None);
        // Somebody looked, and it is over; what comes then is new.
        incidents.keep_up(&looked_at(&["shop"]), &[&shop], after(40));
        incidents.keep_up(&looked_at(&["shop"]), &[], after(41));
        assert_eq!(since(&incidents), None);
        incidents.keep_up(&looked_at(&["shop"]), &[&shop], after(42));
        assert_eq!(since(&incidents), Some(after(42)));
        // Of another cluster it is another incident: who confirms it looks at other servers.
        incidents.keep_up(&looked_at(&["blog"]), &[&silent("blog")], after(43));
        assert_eq!(since(&incidents), Some(after(43)));
    }
}
