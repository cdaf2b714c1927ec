//! What jobs are given: handles to the backend, to managed servers, and to the settings in force.

use std::sync::{Arc, PoisonError, RwLock};

use config::{Patterns, Settings};
use mysql::{ProbeSettings, Prober};
use queue::{Bell, DbClock};
use sqlx::MySqlPool;
use tokio::sync::Semaphore;

use crate::{Names, Recorder, Rules, Watches};

/// Settings with their compiled patterns, as one consistent version.
#[derive(Debug)]
pub struct Configuration {
    /// The values.
    pub settings: Settings,
    /// The regular expressions among them, compiled.
    pub patterns: Patterns,
}

/// The settings in force; a reload swaps them for whoever asks next.
#[derive(Debug, Clone)]
pub struct SharedSettings(Arc<RwLock<Arc<Configuration>>>);

impl SharedSettings {
    /// Settings that a loader has validated.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(configuration(settings)))))
    }

    /// The version in force now. Keep it for one piece of work, not longer.
    pub fn get(&self) -> Arc<Configuration> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in force.
    pub fn replace(&self, settings: Settings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(configuration(settings));
    }
}

fn configuration(settings: Settings) -> Configuration {
    // The loader refuses settings with a bad pattern: the problems list is empty here.
    let (patterns, _) = Patterns::compile(&settings);
    Configuration { settings, patterns }
}

/// The handles of a worker's jobs.
#[derive(Debug)]
pub struct Context {
    /// The backend.
    pub pool: MySqlPool,
    /// Managed servers.
    pub prober: Prober,
    /// The database's clock, estimated locally.
    pub clock: Arc<DbClock>,
    /// Settings in force.
    pub config: SharedSettings,
    /// What host names resolve to.
    pub names: Names,
    /// Permits for probes under way: each may need a connection beyond the warm ones, and a process that runs out of file
    /// descriptors would take living servers for dead.
    pub under_way: Semaphore,
    /// Promotion rules this process registered lately.
    pub rules: Rules,
    /// What this process last wrote for each instance.
    pub written: store::instances::Written,
    /// Where routine probes of this process meet to be written together.
    pub living: Recorder,
    /// The same for those of instances that were dead.
    pub dead: Recorder,
    /// Which sources this process watches between probes.
    pub watches: Watches,
    /// Rung when a failure was recorded that cannot wait for the leader's next look. Heard only by a leader of this process.
    pub news: Bell,
}

impl Context {
    /// Of a process that has done nothing yet. `under_way`: probes at once.
    pub fn new(
        pool: MySqlPool,
        clock: Arc<DbClock>,
        config: SharedSettings,
        probing: ProbeSettings,
        under_way: usize,
    ) -> Self {
        let now = Arc::clone(&clock);
        Self {
            pool,
            prober: Prober::new(probing, Arc::new(move || now.now_micros())),
            clock,
            config,
            names: Names::default(),
            under_way: Semaphore::new(under_way),
            rules: Rules::default(),
            written: store::instances::Written::default(),
            living: Recorder::default(),
            dead: Recorder::default(),
            watches: Watches::default(),
            news: Bell::default(),
        }
    }
}
