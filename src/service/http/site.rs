//! What all handlers share.

use std::sync::Arc;
use std::time::Duration;

use config::OrcIdentity;

use super::Options;
use super::health::HealthCache;
use super::metrics::Scraped;
use crate::Handles;
use crate::actions::Scope;

/// Where the health check is served unless configured otherwise.
const DEFAULT_STATUS_ENDPOINT: &str = "/api/status";

/// State of the API.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) handles: Arc<Handles>,
    pub(super) options: Options,
    /// `URLPrefix`: empty, or with a slash in front and none behind.
    pub(super) prefix: String,
    /// Put before messages of envelopes; empty: nothing is.
    pub(super) identity: String,
    /// Path of the health check for load balancers.
    pub(super) status_endpoint: String,
    /// Health as of a moment ago.
    pub(super) health: HealthCache,
    /// Fleet metrics as of a moment ago.
    pub(super) scraped: Scraped,
}

impl Site {
    pub(super) fn new(handles: Arc<Handles>, options: Options) -> Self {
        let config = handles.config.get();
        let (general, http) = (&config.settings.general, &config.settings.http);
        let identity = match general.prepend_messages_with_orc_identity {
            OrcIdentity::None => String::new(),
            OrcIdentity::Fqdn | OrcIdentity::Hostname => handles.identity.hostname.clone(),
            OrcIdentity::Custom => general.custom_orc_identity.clone(),
        };
        Self {
            prefix: http.url_prefix.trim_end_matches('/').to_owned(),
            status_endpoint: http.status_endpoint.clone(),
            identity,
            health: HealthCache::default(),
            scraped: Scraped::default(),
            options,
            handles,
        }
    }

    /// A status endpoint other than the default is served literally, outside the prefix, and instead of the default.
    pub(super) fn literal_status_endpoint(&self) -> Option<&str> {
        let endpoint = self.status_endpoint.as_str();
        (endpoint != DEFAULT_STATUS_ENDPOINT && endpoint.starts_with('/') && endpoint.len() > 1).then_some(endpoint)
    }

    /// Is this the health check for load balancers? The whole path counts: an end that looks like it is not enough.
    pub(super) fn is_status_path(&self, path: &str) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        match self.literal_status_endpoint() {
            Some(endpoint) => path == endpoint.trim_end_matches('/'),
            None => path.strip_prefix(self.prefix.as_str()) == Some(DEFAULT_STATUS_ENDPOINT),
        }
    }

    /// Is this a question for the health of this process? Those are answered when nothing else is.
    pub(super) fn is_health_check(&self, path: &str) -> bool {
        let is_health = path.strip_prefix(self.prefix.as_str()).is_some_and(|path| path.starts_with("/health/"));
        is_health || self.is_status_path(path)
    }

    /// The scope of one request.
    pub(super) fn scope(&self, actor: &str) -> Scope {
        Scope::new(self.handles.pool.clone(), self.handles.config.get(), actor)
    }

    /// Term in which this node leads.
    pub(super) fn leading(&self) -> Option<u64> {
        *self.handles.leadership.borrow()
    }

    /// How long a lease lasts.
    pub(super) fn lease_ttl(&self) -> Duration {
        Duration::from_secs(self.handles.config.get().settings.worker.leader_lease_seconds.max(1))
    }
}
