//! Schedules probes: one job per shard and slot for the living, batches of the due for the dead.
//!
//! Idempotent: a shard has at most one waiting job (unique key), and so has each batch of the dead, so that an hour
//! without workers leaves no more jobs behind than a minute without them. A dead instance is not enqueued again while its
//! last try can still be under way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use domain::cadence::{self, Cadence};
use domain::instance::{DbMicros, Instance, InstanceKey, ThreadState};
use jobs::{ProbeDead, ProbeShard, Target};
use queue::{LiveWorker, NewJob};

use crate::leader::{Duty, DutyError, Leading};

/// Slots are looked at this often. Every shard whose slot came since goes into one transaction, so that a tick of a small
/// fleet costs the backend no more than one of a large fleet.
const EVERY: Duration = Duration::from_secs(1);
/// How long a shard's job waits for the worker it sticks to before any other may take it: a few polls of a live worker,
/// little against the poll interval.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Dead instances per job: each may take a connect deadline, and they are tried side by side.
const DEAD_BATCH: usize = 50;
/// A dead instance is not enqueued again within this time unless it was checked since: its job may wait, or be under way.
const DEAD_GRACE_MICROS: DbMicros = 15_000_000;
/// When a batch could not be enqueued because one of its number waits already, its members are due again after this time.
const DEAD_MERGED_MICROS: DbMicros = 2_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ScheduleProbes {
    /// Last slot enqueued by lane and shard, with the number of shards it was computed for.
    slots: HashMap<(String, u32), (u32, i64)>,
    /// The last try of each dead instance.
    tried: HashMap<u64, Tried>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    at: DbMicros,
    /// Not again before, unless its check ended meanwhile.
    until: DbMicros,
}

/// What is due at one tick.
#[derive(Debug, Default)]
struct Due {
    shards: Vec<ProbeShard>,
    dead: Vec<DeadBatch>,
}

/// Dead instances of one lane that are tried together.
#[derive(Debug)]
struct DeadBatch {
    lane: String,
    /// Its place among the batches of its lane.
    number: usize,
    job: ProbeDead,
}

impl Duty for ScheduleProbes {
    const NAME: &'static str = "schedule_probes";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let handles = &leading.handles;
        let cadence = handles.cadence();
        let now = leading.now().await?;
        let due = {
            let inventory = leading.inventory.lock().await;
            let live = lanes(inventory.instances().filter(|one| one.check.failures == 0));
            let dead = self.due_dead(&cadence, inventory.instances(), now);
            Due { shards: self.due_shards(&cadence, live, now), dead: batches(dead) }
        };
        if due.shards.is_empty() && due.dead.is_empty() {
            return Ok(());
        }
        match enqueue(leading, &due).await {
            Ok(waited) => {
                for (batch, _) in due.dead.iter().zip(waited).filter(|(_, waited)| *waited) {
                    self.put_off(&batch.job, now);
                }
                Ok(())
            }
            Err(error) => {
                self.take_back(&due);
                Err(error)
            }
        }
    }
}

/// Enqueues what is due; tells for each batch of the dead whether an equal one was waiting.
async fn enqueue(leading: &Leading, due: &Due) -> Result<Vec<bool>, DutyError> {
    let term = leading.term.number;
    let workers = queue::live_workers(&mut *leading.handles.connection("read the live workers").await?).await?;
    let mut new_jobs = Vec::with_capacity(due.shards.len() + due.dead.len());
    for shard in &due.shards {
        new_jobs.push(probe_job(shard, &workers, term)?);
    }
    for DeadBatch { lane, number, job } in &due.dead {
        let job = NewJob::of(job)?.datacenter(lane).unique_key(&format!("dead:{lane}:{number}"));
        new_jobs.push(job.term(term));
    }
    let mut transaction = leading.fenced().await?;
    let enqueued = queue::enqueue(&mut transaction, &new_jobs).await?;
    transaction.commit().await?;
    Ok(enqueued.iter().skip(due.shards.len()).map(|one| !one.is_new()).collect())
}

fn batches(dead: BTreeMap<String, Vec<Target>>) -> Vec<DeadBatch> {
    let mut batches = Vec::new();
    for (lane, targets) in dead {
        for (number, batch) in targets.chunks(DEAD_BATCH).enumerate() {
            batches.push(DeadBatch { lane: lane.clone(), number, job: ProbeDead { targets: batch.to_vec() } });
        }
    }
    batches
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

    /// Nothing of this was enqueued: it is due again.
    fn take_back(&mut self, due: &Due) {
        for shard in &due.shards {
            self.slots.remove(&(shard.lane.clone(), shard.shard));
        }
        for target in due.dead.iter().flat_map(|batch| &batch.job.targets) {
            self.tried.remove(&target.id);
        }
    }

    /// Another batch waits in this one's place.
    fn put_off(&mut self, batch: &ProbeDead, now: DbMicros) {
        for target in &batch.targets {
            self.tried.insert(target.id, Tried { at: now, until: now + DEAD_MERGED_MICROS });
        }
    }

    /// The dead instances whose next try has come, by lane.
    fn due_dead<'a>(
        &mut self,
        cadence: &Cadence,
        instances: impl Iterator<Item = &'a Instance>,
        now: DbMicros,
    ) -> BTreeMap<String, Vec<Target>> {
        self.tried.retain(|_, tried| tried.until > now);
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
            let may_be_under_way =
                self.tried.get(&one.id).is_some_and(|tried| one.check.last_checked_at.is_none_or(|at| at < tried.at));
            if is_due && !may_be_under_way {
                self.tried.insert(one.id, Tried { at: now, until: now + DEAD_GRACE_MICROS });
                due.entry(one.lane.clone()).or_default().push(target(one));
            }
        }
        due
    }
}
