//! Notices failures: analyses every cluster in which something changed, asks for urgent probes where a primary is
//! suspected, registers detections, asks the gates, and opens recoveries.
//!
//! ```text
//!   inventory: clusters that changed ─▶ analyse ─▶ something wrong? ─▶ read these clusters afresh ─▶ analyse
//!        suspected: urgent probes of the primary and all its replicas        │
//!        changed: log of analyses ◀──────────────────────────────────────────┤
//!        notable: detection row (+ hooks) ─▶ gates ─┬─ closed: said when it changes, kept for the API
//!                                                   └─ all open: recovery, operation and job in one transaction
//! ```
//! Two looks at each cluster, because the leader's copy of the fleet is cheap and not exact: of an instance that says the
//! same as before it does not learn when it was last seen. What is to be decided is decided on what the backend has now.
//!
//! Idempotent: a detection is registered once (unique key), a recovery opened once (unique key per cluster). What this duty
//! remembers (since when something is seen) begins anew with a new leader, which only makes it wait longer.

mod housekeeping;
mod incidents;
mod receivers;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use domain::analysis::{AnalysisPolicy, Code, Finding, Sample, analyze};
use domain::instance::{BinlogCoordinates, Instance, InstanceKey};
use jobs::ProbeUrgent;
use queue::NewJob;
use store::analyses::Said;

use crate::leader::{Duty, DutyError, Leading};
use housekeeping::Housekeeping;
use incidents::Incidents;

/// How soon after a look its news are analysed.
const EVERY: Duration = Duration::from_millis(50);
/// All clusters are analysed now and then, changed or not: time alone makes some of what is known unknown.
const ALL_EVERY: Duration = Duration::from_secs(2);
/// Urgent probes of one cluster are asked for at most this often; a job of them goes on by itself for a while.
const URGENT_EVERY: Duration = Duration::from_millis(500);
/// What was not settled within this time is a state, not an incident: it is looked at more calmly.
const HURRY_FOR: Duration = Duration::from_secs(15);
const CALM_URGENT_EVERY: Duration = Duration::from_secs(5);
/// What is wrong and not urgent (a replica that does not replicate, say) is read afresh this often, or when it changes.
const CALM_EVERY: Duration = Duration::from_secs(1);
/// Clusters read afresh per tick: in a fleet-wide outage the rest waits for the next.
const MOST_CLUSTERS: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Detect {
    all_at: Option<Instant>,
    /// Clusters in which something is wrong.
    watched: BTreeMap<String, Watched>,
    /// When urgent probes were last asked for.
    urgent: HashMap<String, Instant>,
    /// Where semi-sync primaries that may be locked stood; `None`: none may be.
    samples: Option<(Instant, BTreeMap<InstanceKey, Sample>)>,
    /// The analyses last written down.
    noted: HashMap<InstanceKey, Code>,
    incidents: Incidents,
    housekeeping: Housekeeping,
}

#[derive(Debug, Clone, Copy, Default)]
struct Watched {
    /// Never, or something changed since.
    read_at: Option<Instant>,
    /// Since when answers are worth more than the next slot; `None`: they are not.
    urgent_since: Option<Instant>,
}

impl Watched {
    fn is_hurried(&self) -> bool {
        self.urgent_since.is_some_and(|since| since.elapsed() < HURRY_FOR)
    }
}

impl Duty for Detect {
    const NAME: &'static str = "detect";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let config = leading.handles.config.get();
        let policy = jobs::analysis_policy(&config);
        self.find_suspicious(leading, &policy).await;
        let due = self.due();
        if !due.is_empty() {
            let (clusters, findings) = self.look_closely(leading, &policy, &due).await?;
            self.ask_urgently(leading, &clusters, &findings).await?;
            self.note(leading, &findings).await?;
            self.incidents.act(leading, &config, &clusters, &findings).await?;
        }
        self.housekeeping.keep(leading, &config).await
    }
}

/// Members by cluster.
type Clusters = BTreeMap<String, Vec<Instance>>;

impl Detect {
    /// Looks through what changed in the leader's copy of the fleet.
    async fn find_suspicious(&mut self, leading: &Leading, policy: &AnalysisPolicy) {
        // Times in the copy are old for those that say the same as before: here they decide nothing.
        let timeless = AnalysisPolicy { stale_after_seconds: i64::MAX / 4_000_000, ..policy.clone() };
        let now = leading.handles.clock.now_micros();
        let mut inventory = leading.inventory.lock().await;
        if !inventory.is_loaded() {
            return;
        }
        let mut touched = inventory.take_touched();
        if self.all_at.is_none_or(|at| at.elapsed() >= ALL_EVERY) {
            self.all_at = Some(Instant::now());
            touched.extend(inventory.instances().map(|one| one.placement.cluster_name.clone()));
        }
        // Instances that were not placed yet.
        touched.remove("");
        let members = inventory.members(&touched);
        let none = BTreeMap::new();
        for name in &touched {
            let found = members.get(name.as_str()).map(|members| analyze(members, &none, &timeless, now));
            let is_wrong = found.is_some_and(|found| found.iter().any(|one| one.code != Code::NoProblem));
            if let Some(watched) = self.watched.get_mut(name) {
                watched.read_at = None;
            } else if is_wrong {
                self.watched.insert(name.clone(), Watched::default());
            }
        }
    }

    /// The clusters to be read afresh now, those longest waiting first.
    fn due(&self) -> Vec<String> {
        let is_due =
            |watched: &Watched| watched.is_hurried() || watched.read_at.is_none_or(|at| at.elapsed() >= CALM_EVERY);
        let mut due: Vec<(&String, &Watched)> = self.watched.iter().filter(|(_, watched)| is_due(watched)).collect();
        due.sort_by_key(|(_, watched)| watched.read_at);
        due.into_iter().take(MOST_CLUSTERS).map(|(name, _)| name.clone()).collect()
    }

    /// Reads these clusters as the backend has them now, and analyses them.
    async fn look_closely(
        &mut self,
        leading: &Leading,
        policy: &AnalysisPolicy,
        due: &[String],
    ) -> Result<(Clusters, Vec<Finding>), DutyError> {
        let fresh = store::instances::read_clusters(&leading.handles.pool, due).await?;
        let mut clusters: Clusters = due.iter().map(|name| (name.clone(), Vec::new())).collect();
        for one in fresh.instances {
            clusters.entry(one.placement.cluster_name.clone()).or_default().push(one);
        }
        let none = BTreeMap::new();
        let samples = self.samples.as_ref().map_or(&none, |(_, samples)| samples);
        let mut findings = Vec::new();
        for (name, members) in &clusters {
            let members: Vec<&Instance> = members.iter().collect();
            let found = analyze(&members, samples, policy, fresh.now);
            if found.iter().all(|one| one.code == Code::NoProblem) {
                self.watched.remove(name);
            } else {
                let is_urgent = found.iter().any(|one| one.code.suspects_primary());
                let since = self.watched.get(name).and_then(|watched| watched.urgent_since);
                let urgent_since = is_urgent.then(|| since.unwrap_or_else(Instant::now));
                self.watched.insert(name.clone(), Watched { read_at: Some(Instant::now()), urgent_since });
            }
            findings.extend(found);
        }
        self.sample(leading, &findings).await?;
        Ok((clusters, findings))
    }

    /// Asks for urgent probes of suspects, of their replicas, and of the sources that replicas cannot reach.
    async fn ask_urgently(
        &mut self,
        leading: &Leading,
        clusters: &Clusters,
        findings: &[Finding],
    ) -> Result<(), DutyError> {
        let watched = &self.watched;
        self.urgent.retain(|name, at| {
            let is_hurried = watched.get(name).is_some_and(Watched::is_hurried);
            at.elapsed() < if is_hurried { URGENT_EVERY } else { CALM_URGENT_EVERY }
        });
        let mut wanted: BTreeMap<&str, Vec<InstanceKey>> = BTreeMap::new();
        for one in findings.iter().filter(|one| one.code.suspects_primary() && !one.is_downtimed) {
            if self.urgent.contains_key(&one.cluster_name) {
                continue;
            }
            let keys = wanted.entry(&one.cluster_name).or_default();
            keys.push(one.key.clone());
            keys.extend(one.replicas.iter().cloned());
            if one.code == Code::FirstTierReplicaFailingToConnectToMaster {
                keys.extend(one.source.clone());
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut new_jobs = Vec::with_capacity(wanted.len());
        for (name, mut keys) in wanted {
            keys.sort();
            keys.dedup();
            let lane = clusters.get(name).and_then(|members| members.iter().find(|one| one.key == keys[0]));
            let lane = lane.map(|one| one.lane.clone()).unwrap_or_default();
            new_jobs.push(NewJob::of(&ProbeUrgent::new(name, keys))?.datacenter(&lane).term(leading.term.number));
            self.urgent.insert(name.to_owned(), Instant::now());
        }
        let mut transaction = leading.fenced().await?;
        queue::enqueue(&mut transaction, &new_jobs).await?;
        transaction.commit().await?;
        leading.handles.bells.work.ring();
        Ok(())
    }

    /// Keeps the log of what analyses said.
    async fn note(&mut self, leading: &Leading, findings: &[Finding]) -> Result<(), DutyError> {
        let with_replicas = findings.iter().filter(|one| !one.replicas.is_empty());
        let changed: Vec<&Finding> = with_replicas.filter(|one| self.noted.get(&one.key) != Some(&one.code)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let said: Vec<Said<'_>> = changed
            .iter()
            .map(|one| Said { key: &one.key, cluster_name: &one.cluster_name, code: one.code.name() })
            .collect();
        let mut transaction = leading.fenced().await?;
        store::analyses::note(&mut transaction, &said).await?;
        transaction.commit().await?;
        for one in changed {
            let before = self.noted.insert(one.key.clone(), one.code);
            if before.is_some() || one.code != Code::NoProblem {
                tracing::info!(
                    instance.key = %one.key,
                    cluster.name = one.cluster_name,
                    analysis = %one.code,
                    was = before.map_or("", Code::name),
                    "the analysis of an instance changed"
                );
            }
        }
        Ok(())
    }

    /// Samples where semi-sync primaries stand that wait for acknowledgements: one that does not move is locked.
    async fn sample(&mut self, leading: &Leading, findings: &[Finding]) -> Result<(), DutyError> {
        let waits =
            |one: &&Finding| matches!(one.code, Code::LockedSemiSyncMasterHypothesis | Code::LockedSemiSyncMaster);
        let waiting: Vec<(InstanceKey, BinlogCoordinates)> =
            findings.iter().filter(waits).map(|one| (one.key.clone(), one.coordinates.clone())).collect();
        if waiting.is_empty() || self.samples.as_ref().is_some_and(|(at, _)| at.elapsed() < CALM_EVERY) {
            return Ok(());
        }
        let mut transaction = leading.fenced().await?;
        store::samples::note(&mut transaction, &waiting).await?;
        transaction.commit().await?;
        let read = store::samples::read_all(&leading.handles.pool).await?;
        let samples = read.into_iter().map(|(key, seen)| (key, Sample { at: seen.at, first_seen: seen.first_seen }));
        self.samples = Some((Instant::now(), samples.collect()));
        Ok(())
    }
}
