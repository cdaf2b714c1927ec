//! Schedules probes: one job per shard and slot for the living, batches of the due for the dead.
//!
//! Idempotent: a shard has at most one waiting job (unique key), and so has each batch of the dead, so that an hour
//! without workers leaves no more jobs behind than a minute without them. A dead instance is not enqueued again while its
//! last try can still be under way.
//!
//! Slots come in a few groups per interval, so that a small fleet is not asked for one shard at a time: what comes together
//! is enqueued, claimed, recorded and finished together, each in a handful of statements.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use domain::cadence::{self, Cadence};
use domain::instance::{DbMicros, Instance, InstanceKey, ThreadState};
use jobs::{ProbeDead, ProbeShard, Target};
use queue::{Enqueuer, LiveWorker, NewJob};

use crate::leader::{Duty, DutyError, Leading};

/// Shards per group of slots, if the interval has room for so many groups: each group costs the backend some ten statements.
const GROUP_SHARDS: usize = 5;
/// Groups follow each other at this distance, at least and at most: longer than what a group's probes take, and not so long
/// that what is due outside the order waits.
const SHORTEST_STEP_MICROS: i64 = 1_000_000;
const LONGEST_STEP_MICROS: i64 = 5_000_000;
/// Pause while there is nothing to schedule yet, and after a tick that failed.
const SOON: Duration = Duration::from_millis(250);
/// A tick aims behind the beginning of its slot, lest the slot has not come by a hair.
const HAIR: Duration = Duration::from_millis(5);
/// The dead are looked through this often, and at least once an interval.
const DEAD_EVERY_MICROS: DbMicros = 5_000_000;
/// How long a shard's job waits for the worker it sticks to before any other may take it: a few polls of a live worker,
/// little against the poll interval.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Dead instances per job: each may take a connect deadline, and they are tried side by side.
const DEAD_BATCH: usize = 100;
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
    /// When the dead were looked through last.
    dead_at: Option<DbMicros>,
    /// Groups of slots per interval; unknown before there is anything to schedule, and after a failure.
    groups: Option<u32>,
    enqueuer: Enqueuer,
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

    fn every(&self, leading: &Leading) -> Duration {
        let Some(groups) = self.groups else { return SOON };
        let interval = leading.handles.cadence().interval_micros;
        until_next_group(interval, groups, leading.handles.clock.now_micros()) + HAIR
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        self.groups = None;
        let handles = &leading.handles;
        let cadence = handles.cadence();
        let now = leading.now().await?;
        let (due, groups) = {
            let inventory = leading.inventory.lock().await;
            if !inventory.is_loaded() {
                return Ok(());
            }
            let live = lanes(inventory.instances().filter(|one| one.check.failures == 0));
            let groups = groups(&cadence, live.values().map(Vec::len));
            let dead = self.due_dead(&cadence, inventory.instances(), now);
            (Due { shards: self.due_shards(&cadence, live, groups, now), dead: batches(dead) }, groups)
        };
        if due.shards.is_empty() && due.dead.is_empty() {
            self.groups = Some(groups);
            return Ok(());
        }
        match enqueue(leading, &mut self.enqueuer, &due).await {
            Ok(waited) => {
                self.groups = Some(groups);
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
async fn enqueue(leading: &Leading, enqueuer: &mut Enqueuer, due: &Due) -> Result<Vec<bool>, DutyError> {
    let term = leading.term.number;
    let workers = leading.upkeep.borrow().workers.clone();
    let mut new_jobs = Vec::with_capacity(due.shards.len() + due.dead.len());
    for shard in &due.shards {
        new_jobs.push(probe_job(shard, &workers, term)?);
    }
    for DeadBatch { lane, number, job } in &due.dead {
        let job = NewJob::of(job)?.datacenter(lane).unique_key(&format!("dead:{lane}:{number}"));
        new_jobs.push(job.term(term));
    }
    let mut transaction = leading.fenced().await?;
    let enqueued = enqueuer.enqueue(&mut transaction, &new_jobs).await?;
    transaction.commit().await?;
    enqueuer.committed();
    Ok(enqueued.iter().skip(due.shards.len()).map(|one| !one.is_new()).collect())
}

/// Groups of slots per interval for lanes of these sizes.
fn groups(cadence: &Cadence, lanes: impl Iterator<Item = usize>) -> u32 {
    let shards: usize = lanes.map(|size| cadence.shard_count(size) as usize).sum();
    let wanted = u32::try_from(shards.div_ceil(GROUP_SHARDS)).unwrap_or(u32::MAX).max(2);
    let possible = |step: i64| u32::try_from(cadence.interval_micros / step).unwrap_or(u32::MAX).max(1);
    wanted.clamp(possible(LONGEST_STEP_MICROS), possible(SHORTEST_STEP_MICROS))
}

/// Time until the slot of the next group begins, counted as [`Cadence::slot`] does.
fn until_next_group(interval: i64, groups: u32, now: DbMicros) -> Duration {
    let (interval, groups) = (i128::from(interval.max(1)), i128::from(groups.max(1)));
    let at = i128::from(now).rem_euclid(interval);
    let next = (at * groups / interval + 1) * interval / groups;
    // Rounded down, it may be now: then the one after it.
    let next = if next > at { next } else { next + interval / groups };
    Duration::from_micros(u64::try_from(next - at).unwrap_or(0).max(1))
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
        groups: u32,
        now: DbMicros,
    ) -> Vec<ProbeShard> {
        let mut due = Vec::new();
        self.slots.retain(|(lane, _), _| lanes.contains_key(lane));
        // Dealt out over all lanes, so that many small lanes do not all come together.
        let mut dealt = (0..groups.max(1)).cycle();
        for (lane, members) in lanes {
            let count = cadence.shard_count(members.len());
            let mut wanted: BTreeMap<u32, Vec<Target>> = BTreeMap::new();
            for (shard, group) in (0..count).zip(dealt.by_ref()) {
                let slot = cadence.slot(group, groups, now);
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
        self.dead_at = None;
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
        let every = cadence.interval_micros.min(DEAD_EVERY_MICROS);
        // Half a step of slack: ticks come in steps, and one of them may be a little early.
        if self.dead_at.is_some_and(|at| now - at < every - SHORTEST_STEP_MICROS / 2) {
            return BTreeMap::new();
        }
        self.dead_at = Some(now);
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
            // Due before the next time we look: better early than late.
            let is_due = cadence.next_try(&check).is_some_and(|at| at <= now + every);
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn cadence(interval: i64) -> Cadence {
        Cadence { interval_micros: interval * SECOND, shard_size: 100, dead_factor: 2.0, dead_max_micros: 60 * SECOND }
    }

    #[test]
    fn small_fleets_are_asked_in_few_groups_and_large_ones_every_second() {
        let groups = |interval, lanes: &[usize]| groups(&cadence(interval), lanes.iter().copied());
        assert_eq!(groups(5, &[]), 2);
        assert_eq!(groups(5, &[1000]), 2);
        assert_eq!(groups(5, &[100, 1000, 50, 300]), 3);
        assert_eq!(groups(5, &[10_000]), 5);
        assert_eq!(groups(1, &[10_000]), 1);
        assert_eq!(groups(60, &[4]), 12, "what is due outside the order does not wait for a minute");
    }

    #[test]
    fn ticks_follow_the_groups_and_each_shard_comes_once_an_interval() {
        for (interval, groups) in [(5, 2_u32), (5, 3), (7, 4), (60, 13)] {
            let cadence = cadence(interval);
            let mut now = 1_234_567_891_234_567;
            let began = now;
            let mut last: Vec<i64> = (0..groups).map(|group| cadence.slot(group, groups, now)).collect();
            let mut came = vec![0_u32; groups as usize];
            for _ in 0..groups * 10 {
                let pause = until_next_group(cadence.interval_micros, groups, now);
                now += micros(pause) + 5_000;
                let slots: Vec<i64> = (0..groups).map(|group| cadence.slot(group, groups, now)).collect();
                let new: Vec<usize> = (0..slots.len()).filter(|group| slots[*group] != last[*group]).collect();
                assert_eq!(new.len(), 1, "{interval} s in {groups}: one group each tick");
                came[new[0]] += 1;
                last = slots;
            }
            assert!(came.iter().all(|times| *times == 10), "{came:?}");
            assert!(now - began <= interval * SECOND * 10 + 5_000);
        }
    }

    fn micros(duration: Duration) -> i64 {
        i64::try_from(duration.as_micros()).unwrap()
    }
}
