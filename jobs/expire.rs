//! Drops what has expired: downtime, maintenance, promotion rules, pools, aliases, resolved names, access tokens, equal
//! positions. Operations whose job is gone are taken care of, servers lost in a recovery that are of use again are heard again.
//!
//! Safe to run twice: the second run finds nothing left to do.

use std::sync::Arc;
use std::time::Duration;

use queue::{Attempt, Backoff, Job, JobError, Limits, Queue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Context, lost, operate};

/// One round of expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expire {}

impl Job for Expire {
    type Context = Context;
    const KIND: &'static str = "expire";
    const LIMITS: Limits =
        Limits { queue: Queue::Cleanup, timeout: Duration::from_secs(60), attempts: 3, backoff: Backoff::DEFAULT };

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }

    async fn run(self, ctx: Arc<Context>, _: Attempt) -> Result<serde_json::Value, JobError> {
        let config = ctx.config.get();
        let settings = &config.settings;
        let minutes = |minutes: u64| Duration::from_secs(minutes.max(1) * 60);
        let aliases = Duration::from_secs(settings.discovery.unseen_instance_forget_hours.max(1) * 3600);
        let names = minutes(settings.hostnames.expiry_hostname_resolves_minutes);
        let candidates = minutes(settings.classification.candidate_instance_expire_minutes);
        let pools = minutes(settings.classification.instance_pool_expiry_minutes);
        let tokens = minutes(settings.auth.access_token_expiry_minutes);
        let mut conn = ctx.pool.acquire().await.map_err(JobError::retry)?;
        let mut dropped = 0;
        dropped += store::downtime::expire(&mut conn).await.map_err(JobError::retry)?;
        dropped += store::maintenance::expire(&mut conn).await.map_err(JobError::retry)?;
        dropped += store::candidates::expire(&mut conn, candidates).await.map_err(JobError::retry)?;
        dropped += store::pools::expire(&mut conn, pools).await.map_err(JobError::retry)?;
        dropped += store::clusters::expire_aliases(&mut conn, aliases).await.map_err(JobError::retry)?;
        dropped += store::clusters::expire_domains(&mut conn, names).await.map_err(JobError::retry)?;
        dropped += store::hostnames::expire(&mut conn, names).await.map_err(JobError::retry)?;
        dropped += store::access_tokens::expire(&mut conn, tokens).await.map_err(JobError::retry)?;
        dropped += store::instances::expire_forgotten(&mut conn).await.map_err(JobError::retry)?;
        let lifetime = store::equivalences::LIFETIME;
        dropped += store::equivalences::expire(&mut conn, lifetime).await.map_err(JobError::retry)?;
        drop(conn);
        let orphans = operate::adopt(&ctx.pool).await?;
        let of_use = lost::end_downtime(&ctx.pool).await?;
        Ok(json!({ "dropped": dropped, "orphans": orphans, "of_use_again": of_use }))
    }
}
