//! All kinds of jobs.

use queue::Registry;

use crate::{
    Context, DetectionHooks, Discover, Expire, ForgetUnseen, Inspect, Operate, ProbeDead, ProbeShard, ProbeUrgent,
    Recover, Rejoin, RestartReceivers, SnapshotTopologies, TrimAudit, TrimJobs,
};

/// Every kind a worker of this program can run.
pub fn registry() -> Registry<Context> {
    Registry::new()
        .with::<ProbeShard>()
        .with::<ProbeDead>()
        .with::<ProbeUrgent>()
        .with::<Recover>()
        .with::<Rejoin>()
        .with::<RestartReceivers>()
        .with::<DetectionHooks>()
        .with::<Discover>()
        .with::<Operate>()
        .with::<Inspect>()
        .with::<Expire>()
        .with::<ForgetUnseen>()
        .with::<SnapshotTopologies>()
        .with::<TrimAudit>()
        .with::<TrimJobs>()
}
