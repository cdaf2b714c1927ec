//! Downtime of servers that a recovery left behind: it ends when the server is of use again.
//!
//! It lasts a year and is renewed, because what was lost must not speak for its cluster by the passing of time alone.

use std::collections::HashMap;
use std::time::Duration;

use domain::instance::{Instance, InstanceKey};
use queue::JobError;
use sqlx::MySqlPool;
use store::clusters::LOST_IN_RECOVERY;
use store::former_primaries::FormerState;

const LASTS: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Renewed when less than this is left of it.
const RENEWED_BELOW: Duration = Duration::from_secs(364 * 24 * 3_600);
/// Right after a recovery the facts may still be those from before.
const AT_LEAST: Duration = Duration::from_secs(60);

/// Ends the downtime of those that replicate again, or that are primaries nobody else's alias stands against; how many.
pub(crate) async fn end_downtime(pool: &MySqlPool) -> Result<usize, JobError> {
    let active = store::downtime::active(pool).await.map_err(JobError::retry)?;
    let lost: Vec<_> = active.into_iter().filter(|(_, downtime)| downtime.reason == LOST_IN_RECOVERY).collect();
    if lost.is_empty() {
        return Ok(0);
    }
    let now = store::database_now(pool).await.map_err(JobError::retry)?;
    let keys: Vec<InstanceKey> = lost.iter().map(|(key, _)| key.clone()).collect();
    let known = store::instances::read_many(pool, &keys).await.map_err(JobError::retry)?;
    let known: HashMap<&InstanceKey, &Instance> = known.iter().map(|one| (&one.key, one)).collect();
    let former = store::former_primaries::of(pool).await.map_err(JobError::retry)?;
    let clusters = store::clusters::read_all(pool).await.map_err(JobError::retry)?;
    let mut ended = 0;
    let mut conn = pool.acquire().await.map_err(JobError::retry)?;
    for (key, downtime) in &lost {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let old_enough = now - downtime.begins_at >= micros(AT_LEAST);
        let instance = known.get(key).filter(|one| one.check.is_valid());
        let claimed = |one: &Instance| {
            let alias = &one.placement.suggested_cluster_alias;
            clusters.iter().any(|cluster| cluster.alias == *alias && cluster.name != one.placement.cluster_name)
        };
        // A replaced primary that is alone is none, whatever it suggests.
        let replaced = former.iter().any(|one| one.key == *key && one.state != FormerState::Rejoined);
        let is_primary = |one: &Instance| {
            !replaced && one.placement.replication_depth == 0 && !one.facts.is_replica() && !claimed(one)
        };
        let of_use = instance.is_some_and(|one| one.facts.is_replica_running() || is_primary(one));
        if old_enough && of_use {
            store::downtime::end(&mut conn, key).await.map_err(JobError::retry)?;
            tracing::info!(instance.key = %key, "a server lost in a recovery is of use again");
            ended += 1;
        } else if downtime.ends_at - now < micros(RENEWED_BELOW) {
            let renewed = store::downtime::begin(&mut conn, key, &downtime.owner, LOST_IN_RECOVERY, LASTS).await;
            renewed.map_err(JobError::retry)?;
        }
    }
    Ok(ended)
}
