//! Notices replaced primaries that answer again, and has each closed to writes and settled by a job.
//!
//! Idempotent: looks at all of them, and at most one job for each waits. One that could not be settled is asked for again,
//! seldom: its cluster may have no primary at the moment.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::instance::InstanceKey;
use jobs::Rejoin as RejoinJob;
use queue::NewJob;
use store::former_primaries::FormerState;

use crate::leader::{Duty, DutyError, Leading};

/// As often as the leader looks at the fleet; more seldom while nobody is waited for.
const EVERY: Duration = Duration::from_millis(500);
const WHEN_NONE: Duration = Duration::from_secs(2);
/// Between two jobs for one that is open to writes, and for one that is only to be settled.
const OPEN_AGAIN: Duration = Duration::from_secs(2);
const CLOSED_AGAIN: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rejoin {
    /// There are some.
    waits: bool,
    asked: HashMap<InstanceKey, Instant>,
}

impl Duty for Rejoin {
    const NAME: &'static str = "rejoin";

    fn every(&self, _: &Leading) -> Duration {
        if self.waits { EVERY } else { WHEN_NONE }
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let mut former = store::former_primaries::of(&leading.handles.pool).await?;
        former.retain(|one| matches!(one.state, FormerState::Lost | FormerState::Fenced));
        self.asked.retain(|key, _| former.iter().any(|one| one.key == *key));
        self.waits = !former.is_empty();
        if former.is_empty() {
            return Ok(());
        }
        let keys: Vec<InstanceKey> = former.iter().map(|one| one.key.clone()).collect();
        let known = store::instances::read_many(&leading.handles.pool, &keys).await?;
        let mut jobs = Vec::new();
        for one in former {
            let Some(instance) = known.iter().find(|known| known.key == one.key) else { continue };
            let seen_since = instance.check.last_seen_at.is_some_and(|at| at > one.marked_at);
            let pause = if one.state == FormerState::Lost { OPEN_AGAIN } else { CLOSED_AGAIN };
            let asked_lately = self.asked.get(&one.key).is_some_and(|at| at.elapsed() < pause);
            if instance.check.is_valid() && seen_since && !asked_lately {
                self.asked.insert(one.key.clone(), Instant::now());
                let job = NewJob::of(&RejoinJob::new(one.key, one.recovery_id))?;
                jobs.push(job.datacenter(&instance.lane).term(leading.term.number).submitted_by("leader"));
            }
        }
        if !jobs.is_empty() {
            let mut transaction = leading.fenced().await?;
            queue::enqueue(&mut transaction, &jobs).await?;
            transaction.commit().await?;
            leading.handles.bells.work.ring();
        }
        Ok(())
    }
}
