//! Schedules probes: one job per shard and slot for the living, batches of the due for the dead.
//!
//! Idempotent: a shard has at most one waiting job (unique key), and a dead instance is not enqueued again while its last
//! try can still be under way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use domain::cadence::{self, Cadence};
use domain::instance::{DbMicros, Instance, InstanceKey, ThreadState};
use jobs::{ProbeDead, ProbeShard, Target};
use queue::{LiveWorker, NewJob};

use crate::leader::{Duty, DutyError, Leading};

/// Slots are looked at this often. Every shard whose slot came since goes into one transaction.
const EVERY: Duration = Duration::from_millis(500);
/// How long a shard's job waits for the worker it sticks to before any other may take it: a few polls of a live worker,
/// little against the poll interval.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Dead instances per job: each may take a connect deadline, and they are tried side by side.
const DEAD_BATCH: usize = 50;
/// A dead instance is not enqueued again within this time, whatever the backend says of its last check: its job may wait.
const DEAD_GRACE_MICROS: DbMicros = 15_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ScheduleProbes {
    /// Last slot enqueued by lane and shard, with the number of shards it was computed for.
    slots: HashMap<(String, u32), (u32, i64)>,
    /// When each dead instance was last enqueued.
    tried: HashMap<u64, DbMicros>,
}

impl Duty for ScheduleProbes {
    const NAME: &'static str = "schedule_probes";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let handles = &leading.handles;
        let cadence = handles.cadence();
        let now = handles.clock.now_micros();
        let (shards, dead) = {
            let inventory = leading.inventory.lock().await;
            let live = lanes(inventory.instances().filter(|one| one.check.failures == 0));
            (self.due_shards(&cadence, live, now), self.due_dead(&cadence, inventory.instances(), now))
        };
        if shards.is_empty() && dead.is_empty() {
            return Ok(());
        }
        let workers = queue::live_workers(&mut *handles.connection("read the live workers").await?).await?;
        let mut new_jobs = Vec::with_capacity(shards.len() + dead.len());
        for shard in &shards {
            new_jobs.push(probe_job(shard, &workers, leading.term.number)?);
        }
        for (lane, targets) in dead {
            for batch in targets.chunks(DEAD_BATCH) {
                let job = ProbeDead { targets: batch.to_vec() };
                new_jobs.push(NewJob::of(&job)?.datacenter(&lane).term(leading.term.number));
            }
        }
        let enqueued = enqueue(leading, &new_jobs).await;
        if enqueued.is_err() {
            // Nothing was enqueued: all of it is due again.
            self.slots.clear();
            self.tried.clear();
        }
        enqueued
    }
}

async fn enqueue(leading: &Leading, new_jobs: &[NewJob]) -> Result<(), DutyError> {
    let mut transaction = leading.fenced().await?;
    queue::enqueue(&mut transaction, new_jobs).await?;
    transaction.commit().await?;
    Ok(())
}

fn probe_job(shard: &ProbeShard, workers: &[LiveWorker], term: u64) -> Result<NewJob, queue::Error> {
    let work = format!("{}/{}", shard.lane, shard.shard);
    let serving = workers.iter().filter(|worker| serves(worker, &shard.lane)).map(|worker| worker.token.as_str());
    let anyone = workers.iter().map(|worker| worker.token.as_str());
    let job = NewJob::of(shard)?.datacenter(&shard.lane).term(term);
    Ok(match cadence::preferred(serving, &work).or_else(|| cadence::preferred(anyone, &work)) {
        Some(token) => job.worker_hint(token, PATIENCE),
        None => job,
    })
}

/// Workers without datacenters serve every lane, the lane without datacenter is everyone's.
fn serves(worker: &LiveWorker, lane: &str) -> bool {
    let name = queue::datacenter_name(lane);
    worker.datacenters.is_empty() || name.is_empty() || worker.datacenters.contains(&name)
}

fn lanes<'a>(instances: impl Iterator<Item = &'a Instance>) -> BTreeMap<String, Vec<&'a Instance>> {
    let mut lanes: BTreeMap<String, Vec<&Instance>> = BTreeMap::new();
    for one in instances {
        lanes.entry(one.lane.clone()).or_default().push(one);
    }
    lanes
}

/// Servers that living ones are connected to now: their replicas, and the sources their receivers read from.
fn heard_of<'a>(living: &[&'a Instance]) -> HashSet<&'a InstanceKey> {
    let replicas = living.iter().flat_map(|one| &one.facts.replicas);
    let sources = living.iter().filter(|one| one.facts.threads().0 == ThreadState::Running);
    replicas.chain(sources.filter_map(|one| one.facts.source())).collect()
}

fn target(instance: &Instance) -> Target {
    Target { id: instance.id, hostname: instance.key.hostname.clone(), port: instance.key.port }
}

impl ScheduleProbes {
    /// The shards whose slot has come since they were last enqueued.
    fn due_shards(
        &mut self,
        cadence: &Cadence,
        lanes: BTreeMap<String, Vec<&Instance>>,
        now: DbMicros,
    ) -> Vec<ProbeShard> {
        let mut due = Vec::new();
        self.slots.retain(|(lane, _), _| lanes.contains_key(lane));
        for (lane, members) in lanes {
            let count = cadence.shard_count(members.len());
            let mut wanted: BTreeMap<u32, Vec<Target>> = BTreeMap::new();
            for shard in 0..count {
                let slot = cadence.slot(shard, count, now);
                let last = self.slots.insert((lane.clone(), shard), (count, slot));
                if last.is_none_or(|(last_count, last_slot)| last_count != count || last_slot != slot) {
                    wanted.insert(shard, Vec::new());
                }
            }
            if wanted.is_empty() {
                continue;
            }
            for member in members {
                if let Some(targets) = wanted.get_mut(&cadence::shard_of(member.id, count)) {
                    targets.push(target(member));
                }
            }
            let shards = wanted.into_iter().filter(|(_, targets)| !targets.is_empty());
            due.extend(shards.map(|(shard, targets)| ProbeShard { lane: lane.clone(), shard, targets }));
        }
        due
    }

    /// The dead instances whose next try has come, by lane.
    fn due_dead<'a>(
        &mut self,
        cadence: &Cadence,
        instances: impl Iterator<Item = &'a Instance>,
        now: DbMicros,
    ) -> BTreeMap<String, Vec<Target>> {
        self.tried.retain(|_, at| *at + DEAD_GRACE_MICROS > now);
        let (living, dead): (Vec<&Instance>, Vec<&Instance>) = instances.partition(|one| one.check.failures == 0);
        if dead.is_empty() {
            return BTreeMap::new();
        }
        let heard = heard_of(&living);
        let mut due: BTreeMap<String, Vec<Target>> = BTreeMap::new();
        for one in dead {
            let mut check = one.check.clone();
            if heard.contains(&one.key) {
                // Others are connected to it: no reason to wait longer than for the first try.
                check.failures = 1;
            }
            let is_due = cadence.next_try(&check).is_some_and(|at| at <= now);
            if is_due && !self.tried.contains_key(&one.id) {
                self.tried.insert(one.id, now);
                due.entry(one.lane.clone()).or_default().push(target(one));
            }
        }
        due
    }
}
