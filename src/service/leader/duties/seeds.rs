//! Makes known what should be known: configured seeds once per process, and sources that replicas name.
//!
//! Idempotent: `Discover` jobs are unique per instance, and a source that cannot be discovered is asked for ever more
//! seldom.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::instance::InstanceKey;
use jobs::Discover;
use queue::NewJob;

use super::place::unknown_sources;
use crate::leader::{Duty, DutyError, Leading};

/// A new source is noticed by the probe that saw it first; this is the safety net.
const EVERY: Duration = Duration::from_secs(5);
/// Pause after the first and the longest pause between tries of a source that nobody can reach.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    seeded: bool,
    asked: HashMap<InstanceKey, (Instant, Duration)>,
}

impl Duty for Seeds {
    const NAME: &'static str = "seeds";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let mut wanted = unknown_sources(&*leading.inventory.lock().await);
        self.asked.retain(|key, _| wanted.iter().any(|(source, _)| source == key));
        wanted
            .retain(|(source, _)| self.asked.get(source).is_none_or(|(asked_at, pause)| asked_at.elapsed() >= *pause));
        if !self.seeded {
            wanted.extend(configured(leading));
        }
        if !wanted.is_empty() {
            let term = leading.term.number;
            let jobs: Result<Vec<NewJob>, queue::Error> = wanted
                .iter()
                .map(|(key, lane)| {
                    Ok(NewJob::of(&Discover::new(key))?.datacenter(lane).term(term).submitted_by("leader"))
                })
                .collect();
            let mut transaction = leading.fenced().await?;
            queue::enqueue(&mut transaction, &jobs?).await?;
            transaction.commit().await?;
        }
        self.seeded = true;
        for (source, _) in wanted {
            let pause = self.asked.get(&source).map_or(FIRST_PAUSE, |(_, pause)| (*pause * 2).min(LONGEST_PAUSE));
            self.asked.insert(source, (Instant::now(), pause));
        }
        Ok(())
    }
}

fn configured(leading: &Leading) -> Vec<(InstanceKey, String)> {
    let config = leading.handles.config.get();
    let port = config.settings.topology.default_instance_port;
    let seeds = config.settings.discovery.discovery_seeds.iter();
    seeds
        .filter_map(|seed| match InstanceKey::parse(seed, port) {
            Ok(key) => Some((key, String::new())),
            Err(error) => {
                tracing::error!(error = %error, "DiscoverySeeds has an entry that is no instance name; skipped");
                None
            }
        })
        .collect()
}
