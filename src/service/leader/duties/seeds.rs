//! Makes known what should be known: configured seeds, and servers that known servers mention.
//!
//! Idempotent: looks at the whole inventory, `Discover` jobs are unique per instance, and a server that cannot be
//! discovered is asked for ever more seldom. The worker that sees a new server mentioned asks for it at once; this finds
//! what was lost on that way. A seed may be an alias: what probes learned about its name counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use domain::instance::InstanceKey;
use jobs::{Configuration, Discover};
use queue::NewJob;
use sqlx::MySqlPool;

use crate::leader::{Duty, DutyError, Inventory, Leading};

/// A new server is asked for by the probe that saw it first; this is the safety net.
const EVERY: Duration = Duration::from_secs(5);
/// Pause while the inventory has not been read yet.
const UNTIL_LOADED: Duration = Duration::from_millis(100);
/// Pause after the first and the longest pause between tries of a server that nobody can reach.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    asked: HashMap<InstanceKey, (Instant, Duration)>,
    /// The last tick had an inventory to look at.
    looked: bool,
}

impl Duty for Seeds {
    const NAME: &'static str = "seeds";

    fn every(&self, _: &Leading) -> Duration {
        if self.looked { EVERY } else { UNTIL_LOADED }
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let config = leading.handles.config.get();
        let seeds = configured(&config);
        let wanted = {
            let inventory = leading.inventory.lock().await;
            self.looked = inventory.is_loaded();
            if !self.looked {
                return Ok(());
            }
            wanted(&inventory, &config, &seeds)
        };
        let mentioned: Vec<InstanceKey> = wanted.keys().cloned().collect();
        if mentioned.is_empty() {
            self.asked.clear();
            return Ok(());
        }
        // Asks the backend, because the inventory may be a moment old, and people may have said "forget".
        let mut unknown = store::instances::unknown_of(&leading.handles.pool, &mentioned).await?;
        for alias in known_otherwise(&leading.handles.pool, unknown.iter().filter(|key| seeds.contains(key))).await? {
            unknown.retain(|key| *key != alias);
        }
        self.asked.retain(|key, _| unknown.contains(key));
        unknown.retain(|key| self.asked.get(key).is_none_or(|(asked_at, pause)| asked_at.elapsed() >= *pause));
        if unknown.is_empty() {
            return Ok(());
        }
        let jobs: Result<Vec<NewJob>, queue::Error> = unknown
            .iter()
            .map(|key| {
                let lane = wanted.get(key).map_or("", String::as_str);
                Ok(NewJob::of(&Discover::new(key))?.datacenter(lane).term(leading.term.number).submitted_by("leader"))
            })
            .collect();
        let sources = sources(&*leading.inventory.lock().await);
        let mut transaction = leading.fenced().await?;
        for key in unknown.iter().filter(|key| self.asked.contains_key(key) && sources.contains(key)) {
            // Asked for before, and still unknown: people must see that there is a source which nobody can reach.
            let lane = wanted.get(key).map_or("", String::as_str);
            store::instances::insert_minimal(&mut transaction, key, lane).await?;
        }
        queue::enqueue(&mut transaction, &jobs?).await?;
        transaction.commit().await?;
        for key in unknown {
            let pause = self.asked.get(&key).map_or(FIRST_PAUSE, |(_, pause)| (*pause * 2).min(LONGEST_PAUSE));
            self.asked.insert(key, (Instant::now(), pause));
        }
        Ok(())
    }
}

/// Whom replicas read from.
fn sources(inventory: &Inventory) -> HashSet<InstanceKey> {
    let replicas = inventory.instances().filter(|one| one.facts.is_replica());
    replicas.filter_map(|one| one.facts.source().cloned()).collect()
}

/// Servers that known servers mention or that are seeds, and that the inventory lacks; with the lane of who mentions them.
fn wanted(inventory: &Inventory, config: &Configuration, seeds: &[InstanceKey]) -> BTreeMap<InstanceKey, String> {
    let known: HashSet<&InstanceKey> = inventory.instances().map(|one| &one.key).collect();
    let seeds = seeds.iter().filter(|seed| !known.contains(seed));
    let mut wanted: BTreeMap<InstanceKey, String> = seeds.map(|seed| (seed.clone(), String::new())).collect();
    for one in inventory.instances() {
        for neighbour in jobs::neighbours(config, &one.facts) {
            if neighbour.is_valid() && !known.contains(&neighbour) {
                wanted.insert(neighbour, one.lane.clone());
            }
        }
    }
    wanted
}

/// Those of `seeds` whose host goes by another name under which the server is known, or was told to be forgotten.
async fn known_otherwise(
    pool: &MySqlPool,
    seeds: impl Iterator<Item = &InstanceKey>,
) -> Result<Vec<InstanceKey>, store::Error> {
    let mut found = Vec::new();
    for seed in seeds {
        if let Some(hostname) = store::hostnames::resolved(pool, &seed.hostname).await?
            && store::instances::unknown_of(pool, &[InstanceKey::new(hostname, seed.port)]).await?.is_empty()
        {
            found.push(seed.clone());
        }
    }
    Ok(found)
}

/// `DiscoverySeeds`.
fn configured(config: &Configuration) -> Vec<InstanceKey> {
    let port = config.settings.topology.default_instance_port;
    let seeds = config.settings.discovery.discovery_seeds.iter();
    seeds
        .filter_map(|seed| match InstanceKey::parse(seed, port) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::error!(error = %error, "DiscoverySeeds has an entry that is no instance name; skipped");
                None
            }
        })
        .collect()
}
