//! What the leader does each tick: one duty, one file.

mod cron_jobs;
mod detect;
mod look;
mod place;
mod probes;
mod registry;
mod rejoin;
mod rescue;
mod seeds;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Leading, keep};

/// Starts every duty.
pub(super) fn start_all(set: &mut JoinSet<()>, leading: &Arc<Leading>, stop: &CancellationToken) {
    set.spawn(keep(look::Look, Arc::clone(leading), stop.clone()));
    set.spawn(keep(place::Place::default(), Arc::clone(leading), stop.clone()));
    set.spawn(keep(detect::Detect::default(), Arc::clone(leading), stop.clone()));
    set.spawn(keep(probes::ScheduleProbes::default(), Arc::clone(leading), stop.clone()));
    set.spawn(keep(rejoin::Rejoin::default(), Arc::clone(leading), stop.clone()));
    set.spawn(keep(rescue::Rescue::default(), Arc::clone(leading), stop.clone()));
    set.spawn(keep(cron_jobs::CronJobs::default(), Arc::clone(leading), stop.clone()));
    set.spawn(keep(registry::NodeRegistry, Arc::clone(leading), stop.clone()));
    set.spawn(keep(seeds::Seeds::default(), Arc::clone(leading), stop.clone()));
}
