//! One measurement: counters before and after, and the age of every living instance twice a second in between.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::fleet::{Simulated, Stats};
use scenario::backend::{Sample, Watcher};
use scenario::proc;

/// Poll ages are sampled this often: ten times an interval of 5 s, so that every probe is also noticed once.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Whose costs are counted as orchestrator's own.
#[derive(Debug)]
pub(crate) struct Processes {
    pub(crate) service: u32,
    pub(crate) workers: Vec<u32>,
}

/// All counters at one moment; processor times in milliseconds.
#[derive(Debug)]
pub(crate) struct Counters {
    at: Instant,
    pub(crate) service_ms: f64,
    pub(crate) workers_ms: f64,
    pub(crate) backend_ms: f64,
    pub(crate) simulator_ms: f64,
    /// Of this driver, and of the backend on its behalf.
    pub(crate) driver_ms: f64,
    pub(crate) machine_busy_ms: f64,
    pub(crate) machine_possible_ms: f64,
    watcher_statements: u64,
    pub(crate) backend: BTreeMap<String, f64>,
    pub(crate) simulator: Stats,
}

impl Counters {
    async fn read(processes: &Processes, watcher: &mut Watcher, simulated: &mut Simulated) -> Result<Self> {
        let backend = watcher.counters().await?;
        let simulator = simulated.stats().await?;
        let (machine_busy_ms, machine_possible_ms) = proc::machine_ms();
        Ok(Self {
            at: Instant::now(),
            service_ms: proc::cpu_ms(processes.service),
            workers_ms: processes.workers.iter().map(|pid| proc::cpu_ms(*pid)).sum(),
            backend_ms: watcher.backend_cpu_ms(),
            simulator_ms: proc::cpu_ms(simulated.pid()),
            driver_ms: proc::cpu_ms(std::process::id()) + watcher.own_cpu_ms(),
            machine_busy_ms,
            machine_possible_ms,
            watcher_statements: watcher.statements,
            backend,
            simulator,
        })
    }
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) before: Counters,
    pub(crate) after: Counters,
    /// Probes that a living server answered.
    pub(crate) probes: u64,
    /// Failed tries of servers.
    pub(crate) failed: i64,
    /// Ages of all living instances in all samples, in milliseconds, sorted.
    pub(crate) ages: Vec<u32>,
}

impl Window {
    pub(crate) fn seconds(&self) -> f64 {
        self.after.at.duration_since(self.before.at).as_secs_f64()
    }

    /// How much one counter of the backend grew, less what this driver added.
    pub(crate) fn statements(&self) -> f64 {
        let own = self.after.watcher_statements - self.before.watcher_statements;
        self.backend_growth("Questions") - own as f64
    }

    pub(crate) fn backend_growth(&self, name: &str) -> f64 {
        let value = |counters: &Counters| counters.backend.get(name).copied().unwrap_or(0.0);
        value(&self.after) - value(&self.before)
    }

    /// The age below which this share of all samples lie, in seconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length is an index")]
    pub(crate) fn age(&self, share: f64) -> f64 {
        let rank = (self.ages.len() as f64 * share).ceil() as usize;
        let index = rank.saturating_sub(1).min(self.ages.len().saturating_sub(1));
        self.ages.get(index).map_or(0.0, |age| f64::from(*age) / 1000.0)
    }
}

/// Measures for this long.
pub(crate) async fn window(
    length: Duration,
    living: &HashSet<u64>,
    processes: &Processes,
    watcher: &mut Watcher,
    simulated: &mut Simulated,
) -> Result<Window> {
    let failed_before = watcher.failures().await?;
    let mut ages = Ages::new(living);
    let before = Counters::read(processes, watcher, simulated).await?;
    let mut tick = tokio::time::interval(SAMPLE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    ages.add(&watcher.sample().await?);
    while before.at.elapsed() < length {
        tick.tick().await;
        ages.add(&watcher.sample().await?);
    }
    let after = Counters::read(processes, watcher, simulated).await?;
    let failed = watcher.failures().await? - failed_before;
    ages.list.sort_unstable();
    Ok(Window { before, after, probes: ages.probes, failed, ages: ages.list })
}

/// Collects ages, and counts probes: each moves the time at which its server was seen.
#[derive(Debug)]
struct Ages<'a> {
    living: &'a HashSet<u64>,
    last: HashMap<u64, i64>,
    list: Vec<u32>,
    probes: u64,
}

impl<'a> Ages<'a> {
    fn new(living: &'a HashSet<u64>) -> Self {
        Self { living, last: HashMap::with_capacity(living.len()), list: Vec::new(), probes: 0 }
    }

    fn add(&mut self, sample: &Sample) {
        for &(id, seen) in &sample.seen {
            if self.living.contains(&id) {
                self.probes += u64::from(self.last.insert(id, seen).is_some_and(|last| last != seen));
                self.list.push(u32::try_from((sample.now - seen).max(0) / 1000).unwrap_or(u32::MAX));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_living_count_and_each_probe_once() {
        let living = HashSet::from([1, 2]);
        let mut ages = Ages::new(&living);
        let sample = |now, seen: &[(u64, i64)]| Sample { now, seen: seen.to_vec() };
        ages.add(&sample(5_000_000, &[(1, 1_000_000), (2, 2_000_000), (3, 0)]));
        ages.add(&sample(5_500_000, &[(1, 5_200_000), (2, 2_000_000), (3, 5_400_000)]));
        assert_eq!(ages.probes, 1);
        assert_eq!(ages.list, [4000, 3000, 300, 3500]);
    }
}
