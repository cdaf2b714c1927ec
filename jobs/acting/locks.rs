//! Locks of servers, taken for the run of an operation.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::InstanceKey;
use queue::JobError;
use store::maintenance::Maintenance;
use tokio::time::Instant;

use super::{ARRIVAL, Tokens, Work};

/// Between two tries for locks that others hold: most are held for the length of a few statements.
const PAUSE: Duration = Duration::from_millis(50);

impl Work<'_> {
    /// Takes those of these locks that are missing: all or none. The inner error says who holds one.
    pub(crate) async fn lock(&self, keys: &[InstanceKey], tokens: &mut Tokens) -> Result<Result<(), String>, JobError> {
        let missing: Vec<InstanceKey> = keys.iter().filter(|key| !tokens.contains_key(key)).cloned().collect();
        if missing.is_empty() {
            return Ok(Ok(()));
        }
        match store::maintenance::begin_for_operation(&self.ctx.pool, self.run, &missing, self.claim).await {
            Ok(Some(taken)) => {
                tokens.extend(taken);
                self.wait_for_others(&missing).await?;
                Ok(Ok(()))
            }
            Ok(None) => self.still_ours(Ok(false)).map(Ok),
            Err(error @ store::Error::Refused { .. }) => Ok(Err(error.to_string())),
            Err(error @ store::Error::Invalid { .. }) => Err(JobError::give_up(error)),
            Err(error) => Err(JobError::retry(error)),
        }
    }

    /// Whoever had these locks may have been allowed to send something a moment ago, and a person took the locks away: what it
    /// still sends must have arrived before we look.
    async fn wait_for_others(&self, keys: &[InstanceKey]) -> Result<(), JobError> {
        let pending = store::operations::pending_of_others(&self.ctx.pool, self.operation.id, keys).await;
        let pending = pending.map_err(JobError::retry)?;
        if !pending.is_zero() {
            tokio::time::sleep(pending + ARRIVAL).await;
        }
        Ok(())
    }

    /// Takes as many of these locks as can be had; who holds the others, by server. Operations are waited for, for as long as
    /// `patience`; people are not: they do not hurry.
    pub(crate) async fn lock_what_is_free(
        &self,
        keys: &[InstanceKey],
        tokens: &mut Tokens,
        patience: Duration,
    ) -> Result<BTreeMap<InstanceKey, String>, JobError> {
        let until = Instant::now() + patience;
        loop {
            if self.lock(keys, tokens).await?.is_ok() {
                return Ok(BTreeMap::new());
            }
            let held = self.held(keys).await?;
            let free: Vec<InstanceKey> = keys.iter().filter(|key| !held.contains_key(*key)).cloned().collect();
            // What was taken under our eyes is met again in the next round.
            let all_free = self.lock(&free, tokens).await?.is_ok();
            let worth_waiting = !all_free || held.is_empty() || held.values().any(|lock| lock.operation.is_some());
            if !worth_waiting || Instant::now() >= until {
                let missing = keys.iter().filter(|key| !tokens.contains_key(*key));
                let by = |key: &InstanceKey| {
                    held.get(key).map_or_else(|| format!("{key} is held by others in turn"), holder)
                };
                return Ok(missing.map(|key| (key.clone(), by(key))).collect());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Who else holds these servers.
    async fn held(&self, keys: &[InstanceKey]) -> Result<BTreeMap<InstanceKey, Maintenance>, JobError> {
        let active = store::maintenance::active(&self.ctx.pool).await.map_err(JobError::retry)?;
        let others = active.into_iter().filter(|lock| lock.operation != Some(self.operation.id));
        Ok(others.filter(|lock| keys.contains(&lock.key)).map(|lock| (lock.key.clone(), lock)).collect())
    }
}

fn holder(lock: &Maintenance) -> String {
    format!("{} is under maintenance by {}: {}", lock.key, lock.owner, lock.reason)
}
