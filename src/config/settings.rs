//! All settings, by section, and the table of all keys.

use serde_json::Value;

use crate::key::{Key, Reload};
use crate::{
    agents, audit, auth, backend, classification, derive, detection, discovery, general, hooks, hostnames, http, kv,
    metrics, probe, pseudo_gtid, queue, raft, recovery, schedules, topology, worker,
};

/// All settings, by section. `Default` is what an empty file gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub general: general::General,
    pub http: http::Http,
    pub auth: auth::Auth,
    pub backend: backend::Backend,
    pub topology: topology::Topology,
    pub discovery: discovery::Discovery,
    pub probe: probe::Probe,
    pub hostnames: hostnames::Hostnames,
    pub classification: classification::Classification,
    pub worker: worker::Worker,
    pub queue: queue::Queue,
    pub schedules: schedules::Schedules,
    pub detection: detection::Detection,
    pub recovery: recovery::Recovery,
    pub hooks: hooks::Hooks,
    pub kv: kv::Kv,
    pub audit: audit::Audit,
    pub metrics: metrics::Metrics,
    pub raft: raft::Raft,
    pub agents: agents::Agents,
    pub pseudo_gtid: pseudo_gtid::PseudoGtid,
}

/// The sections in the order of the documentation.
const SECTIONS: &[&[Key]] = &[
    general::KEYS,
    http::KEYS,
    auth::KEYS,
    backend::KEYS,
    topology::KEYS,
    discovery::KEYS,
    probe::KEYS,
    hostnames::KEYS,
    classification::KEYS,
    worker::KEYS,
    queue::KEYS,
    schedules::KEYS,
    detection::KEYS,
    recovery::KEYS,
    hooks::KEYS,
    kv::KEYS,
    audit::KEYS,
    metrics::KEYS,
    raft::KEYS,
    agents::KEYS,
    pseudo_gtid::KEYS,
];

/// Every known key, section by section. Obsolete ones are in [`crate::OBSOLETE`].
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.iter())
}

/// The key of this name, without regard to case.
pub fn find_key(name: &str) -> Option<&'static Key> {
    let lower = name.to_lowercase();
    keys().find(|key| key.name.eq_ignore_ascii_case(&lower))
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self::underived();
        derive::apply(&mut settings);
        settings
    }
}

impl Settings {
    /// The plain defaults of the table, before anything is derived: what files are laid over.
    pub(crate) fn underived() -> Self {
        Self {
            general: general::General::default(),
            http: http::Http::default(),
            auth: auth::Auth::default(),
            backend: backend::Backend::default(),
            topology: topology::Topology::default(),
            discovery: discovery::Discovery::default(),
            probe: probe::Probe::default(),
            hostnames: hostnames::Hostnames::default(),
            classification: classification::Classification::default(),
            worker: worker::Worker::default(),
            queue: queue::Queue::default(),
            schedules: schedules::Schedules::default(),
            detection: detection::Detection::default(),
            recovery: recovery::Recovery::default(),
            hooks: hooks::Hooks::default(),
            kv: kv::Kv::default(),
            audit: audit::Audit::default(),
            metrics: metrics::Metrics::default(),
            raft: raft::Raft::default(),
            agents: agents::Agents::default(),
            pseudo_gtid: pseudo_gtid::PseudoGtid::default(),
        }
    }

    /// All keys with their values as one JSON object, in the order of the table, secrets masked.
    pub fn dump(&self) -> Vec<(&'static str, Value)> {
        keys().map(|key| (key.name, key.shown(self))).collect()
    }

    /// The values of all secret keys that are set, whatever section they are in: what must be kept from outputs and from
    /// programs that we start.
    pub fn secrets(&self) -> Vec<String> {
        let secret = |key: &Key| (key.read)(self).raw().as_str().map(str::to_owned);
        keys().filter(|key| key.is_secret()).filter_map(secret).filter(|text| !text.is_empty()).collect()
    }

    /// Keys that differ in `new` but are read only at start: they need a restart to take effect.
    pub fn restart_needed(&self, new: &Settings) -> Vec<&'static str> {
        self.changed(new).into_iter().filter(|key| key.reload == Reload::Restart).map(|key| key.name).collect()
    }

    /// Keys whose values differ in `new`.
    pub fn changed(&self, new: &Settings) -> Vec<&'static Key> {
        keys().filter(|key| !key.same(self, new)).collect()
    }
}
