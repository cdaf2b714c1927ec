//! When clients last committed on the old primary and first on the new one, for the outage that is reported. Both are asked beside
//! the recovery, which does not wait for them while clients do: what is not known in time is left out.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::instance::{DbMicros, Instance, InstanceKey};
use mysql::commits::{first_own_commit, last_received};
use tokio::task::JoinHandle;

use crate::Context;
use crate::acting::Gathered;

/// Replicas have this long to say when they last received anything. They have just answered.
const ANSWER: Duration = Duration::from_millis(150);
/// How exactly the first commit is told.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Clients that were gone for longer are not what a recovery is judged by.
const LOOK_FOR: Duration = Duration::from_secs(30);

/// Asks the replicas of a failed server when its last transaction reached them, from here on. To be begun once they receive nothing
/// more, and before the successor forgets its source.
#[derive(Debug)]
pub(super) struct LastCommit(JoinHandle<Option<(DbMicros, InstanceKey)>>);

impl LastCommit {
    pub(super) fn ask(ctx: &Arc<Context>, failed: &InstanceKey, gathered: &Gathered) -> Self {
        let reads_from_it =
            |one: &&Instance| one.facts.replica.as_ref().is_some_and(|replica| replica.source == *failed);
        let answering = gathered.instances.values().filter(|one| one.check.is_valid());
        let readers: Vec<Instance> = answering.filter(reads_from_it).cloned().collect();
        let ctx = Arc::clone(ctx);
        Self(tokio::spawn(async move {
            let connector = ctx.prober.connector();
            let asked = readers.iter().map(|one| last_received(&connector, &one.key, &one.facts, ANSWER));
            let told = futures::future::join_all(asked).await;
            let now = ctx.clock.now_micros();
            let moments = readers.iter().zip(told).filter_map(|(one, told)| {
                let ago = i64::try_from(told.ok().flatten()?.as_micros()).ok()?;
                Some((now - ago, one.key.clone()))
            });
            moments.max()
        }))
    }

    /// The moment, and who told it; at most [`ANSWER`] after it was asked.
    pub(super) async fn told(mut self) -> Option<(DbMicros, InstanceKey)> {
        (&mut self.0).await.ok().flatten()
    }
}

impl Drop for LastCommit {
    fn drop(&mut self) {
        self.0.abort();
    }
}

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
