//! What host names resolve to, cached in this process and shared through the backend.
//!
//! Two servers call one machine by different names: a replica names its source by address, the source calls itself by
//! `@@hostname`. A probe of a server teaches the mapping from the name we used to the name it goes by; everyone else
//! learns it from the backend.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::HostnameResolveMethod;
use domain::instance::{InstanceKey, ServerFacts};
use mysql::resolve;
use sqlx::MySqlPool;

use crate::context::Configuration;

/// A name without a mapping is looked up again after this long: mappings appear when a server is first probed.
const FORGET_MISS: Duration = Duration::from_secs(10);
/// Names kept at most; beyond it the cache starts anew. Ten times the largest fleet we plan for.
const MAX_NAMES: usize = 100_000;

/// The cache.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    resolved: String,
    until: Instant,
}

impl Names {
    /// The name `hostname` resolves to; itself when nothing is known. Detached names are never resolved.
    pub async fn resolve(&self, pool: &MySqlPool, config: &Configuration, hostname: &str) -> String {
        if hostname.starts_with("//") || hostname.is_empty() {
            return hostname.to_owned();
        }
        if let Some(found) = self.cached(hostname) {
            return found;
        }
        let lifetime = Duration::from_secs(config.settings.hostnames.expiry_hostname_resolves_minutes.max(1) * 60);
        let method = config.settings.hostnames.hostname_resolve_method;
        if method != HostnameResolveMethod::None {
            match store::hostnames::resolved(pool, hostname).await {
                Ok(Some(resolved)) => return self.keep(hostname, resolved, lifetime),
                Ok(None) => {}
                Err(error) => tracing::debug!(error = %error, "cannot read a resolved name; using it as it is"),
            }
        }
        match lookup(method, config, hostname).await {
            Some(resolved) if resolved != hostname => {
                if let Err(error) = store::hostnames::save(pool, hostname, &resolved).await {
                    tracing::debug!(error = %error, "cannot save a resolved name");
                }
                self.keep(hostname, resolved, lifetime)
            }
            _ => self.keep(hostname, hostname.to_owned(), FORGET_MISS),
        }
    }

    /// Resolves the host of a key.
    pub async fn resolve_key(&self, pool: &MySqlPool, config: &Configuration, key: &InstanceKey) -> InstanceKey {
        InstanceKey::new(self.resolve(pool, config, &key.hostname).await, key.port)
    }

    /// Resolves every name a server mentioned: its source, replicas and group members.
    pub async fn resolve_facts(&self, pool: &MySqlPool, config: &Configuration, facts: &mut ServerFacts) {
        if let Some(replica) = &mut facts.replica {
            replica.source = self.resolve_key(pool, config, &replica.source).await;
        }
        let mut replicas = std::collections::BTreeSet::new();
        for key in std::mem::take(&mut facts.replicas) {
            replicas.insert(self.resolve_key(pool, config, &key).await);
        }
        facts.replicas = replicas;
        if let Some(group) = &mut facts.group {
            let mut members = std::collections::BTreeSet::new();
            for key in std::mem::take(&mut group.members) {
                members.insert(self.resolve_key(pool, config, &key).await);
            }
            group.members = members;
            if let Some(primary) = group.primary.take() {
                group.primary = Some(self.resolve_key(pool, config, &primary).await);
            }
        }
    }

    /// Learns that `asked` goes by `resolved`.
    pub fn learn(&self, asked: &str, resolved: &str, lifetime: Duration) {
        self.keep(asked, resolved.to_owned(), lifetime);
    }

    fn cached(&self, hostname: &str) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(hostname).filter(|entry| entry.until > Instant::now()).map(|entry| entry.resolved.clone())
    }

    fn keep(&self, hostname: &str, resolved: String, lifetime: Duration) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_NAMES {
            known.clear();
        }
        known.insert(hostname.to_owned(), Entry { resolved: resolved.clone(), until: Instant::now() + lifetime });
        resolved
    }
}

/// Asks the name service, by the configured method. `None`: no answer, or one that the operator rejects.
async fn lookup(method: HostnameResolveMethod, config: &Configuration, hostname: &str) -> Option<String> {
    let method = match method {
        HostnameResolveMethod::None | HostnameResolveMethod::Default => return None,
        HostnameResolveMethod::Cname => resolve::Method::Cname,
        HostnameResolveMethod::Ip => resolve::Method::Ip,
    };
    let reject = config.patterns.reject_hostname_resolve.clone();
    match resolve::Resolver::new(method, reject).resolve(hostname).await {
        Ok(resolved) => Some(resolved),
        Err(error) => {
            tracing::debug!(error = %error, "cannot resolve a host name; using it as it is");
            None
        }
    }
}
