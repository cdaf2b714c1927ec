//! When clients last committed on the old primary and first on the new one, for the outage that is reported. Nothing waits for it:
//! what is not known in time is left out.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::instance::{DbMicros, Instance, InstanceKey};
use mysql::commits::{first_own_commit, last_received};
use tokio::task::JoinHandle;

use super::Recovering;
use crate::Context;
use crate::acting::Gathered;

/// Replicas have this long to say when they last received anything. They have just answered.
const ANSWER: Duration = Duration::from_millis(150);
/// How exactly the first commit is told.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Clients that were gone for longer are not what a recovery is judged by.
const LOOK_FOR: Duration = Duration::from_secs(30);

/// Waits for the first commit on a new primary, beside the rest of the recovery; ends with it.
#[derive(Debug)]
pub(super) struct FirstCommit {
    seen: Arc<OnceLock<DbMicros>>,
    task: JoinHandle<()>,
}

impl FirstCommit {
    /// `before`: the successor before it was opened.
    pub(super) fn wait(ctx: &Arc<Context>, before: &Instance) -> Self {
        let seen: Arc<OnceLock<DbMicros>> = Arc::default();
        let (ctx, before, tell) = (Arc::clone(ctx), before.clone(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let connector = ctx.prober.connector();
            let found = first_own_commit(&connector, &before.key, &before.facts, LOOK_EVERY, LOOK_FOR).await;
            match found {
                Ok(true) => {
                    tell.set(ctx.clock.now_micros()).ok();
                }
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "the first commit is not known"),
            }
        });
        Self { seen, task }
    }

    /// The moment, if it has been seen by now.
    pub(super) fn seen(&self) -> Option<DbMicros> {
        self.seen.get().copied()
    }
}

impl Drop for FirstCommit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recovering<'_> {
    /// When the last transaction of the failed server reached a replica that answers, and which.
    pub(super) async fn last_commit(&self, gathered: &Gathered) -> Option<(DbMicros, InstanceKey)> {
        let reads_from_it =
            |one: &&Instance| one.facts.replica.as_ref().is_some_and(|replica| replica.source == self.row.failed);
        let readers: Vec<&Instance> =
            gathered.instances.values().filter(|one| one.check.is_valid()).filter(reads_from_it).collect();
        let connector = self.work.ctx.prober.connector();
        let asked = readers.iter().map(|one| last_received(&connector, &one.key, &one.facts, ANSWER));
        let told = futures::future::join_all(asked).await;
        let now = self.work.ctx.clock.now_micros();
        let moments = readers.iter().zip(told).filter_map(|(one, told)| {
            let ago = i64::try_from(told.ok().flatten()?.as_micros()).ok()?;
            Some((now - ago, one.key.clone()))
        });
        moments.max()
    }
}
