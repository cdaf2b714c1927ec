//! Makes one server known: resolves its name, probes it, records it; its neighbours follow.
//!
//! Safe to run twice: the second run is one more observation.

use std::sync::Arc;
use std::time::Duration;

use domain::instance::{Answer, FailureKind, InstanceKey};
use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Context;
use crate::probing;

/// Discovery of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discover {
    /// Host as given.
    pub hostname: String,
    /// Port.
    pub port: u16,
    /// A person asked for it: a server that was told to be forgotten is known again.
    #[serde(default)]
    pub by_person: bool,
}

impl Discover {
    /// Discovery of a server that another server mentioned.
    pub fn new(key: &InstanceKey) -> Self {
        Self { hostname: key.hostname.clone(), port: key.port, by_person: false }
    }

    /// Discovery that a person asked for.
    pub fn by_person(key: &InstanceKey) -> Self {
        Self { by_person: true, ..Self::new(key) }
    }
}

impl Job for Discover {
    type Context = Context;
    const KIND: &'static str = "discover";
    // A person who asks wants to see the failure at once; a mentioned server is tried again, for it may just be starting.
    const LIMITS: Limits = Limits {
        queue: Queue::Discovery,
        timeout: Duration::from_secs(15),
        attempts: 3,
        backoff: Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(30) },
    };

    fn unique_key(&self) -> Option<String> {
        let key = format!("discover:{}:{}", self.hostname, self.port);
        // The queue keeps 255 characters; a longer name is no host and fails when probed.
        Some(key.chars().take(255).collect())
    }

    async fn run(self, ctx: Arc<Context>, _: Attempt) -> Result<serde_json::Value, JobError> {
        let config = ctx.config.get();
        let asked = InstanceKey::reported(&self.hostname, self.port).map_err(JobError::give_up)?;
        let resolved = ctx.names.resolve_key(&ctx.pool, &config, &asked).await;
        if config.patterns.discovery_ignore.matches(&resolved.hostname, resolved.port) {
            return Err(JobError::give_up(format!("{resolved} matches DiscoveryIgnoreHostnameFilters")));
        }
        if self.by_person {
            store::instances::remember(&ctx.pool, &resolved).await.map_err(JobError::retry)?;
        }
        let observation = probing::probe_one(&ctx, &resolved).await;
        match observation.answer.clone() {
            Answer::Facts { key, .. } => {
                probing::record(&ctx, &config, vec![observation]).await?;
                Ok(json!({ "hostname": key.hostname, "port": key.port }))
            }
            Answer::Filtered { filter } => Err(JobError::give_up(format!("{resolved} is left out by {filter}"))),
            Answer::Failed(failure) if failure.kind == FailureKind::Local => Err(JobError::retry(format!(
                "cannot discover {resolved}: {} ({})",
                failure.message,
                failure.kind.name()
            ))),
            Answer::Failed(failure) => {
                // A known server's failure is a fact about it; of an unknown one nothing is stored.
                probing::record(&ctx, &config, vec![observation]).await?;
                let text = format!("cannot discover {resolved}: {} ({})", failure.message, failure.kind.name());
                Err(if self.by_person { JobError::give_up(text) } else { JobError::retry(text) })
            }
        }
    }
}
