//! The kinds of background work: one file per kind, holding its payload, its limits and what it does.
//!
//! What this is: everything that runs in workers. What it is not: scheduling (the leader's duties enqueue), storage (the
//! `queue` and `store` crates), talking MySQL (the `mysql` crate).
//!
//! Invariants: a payload holds identifiers, not copies of rows, and is a wire format: fields are added with a default,
//! a kind that is renamed keeps a consumer for one release. A job may run twice, late, or on two workers at once, and
//! its module comment says why that does no harm.
//!
//! To add a kind: a file with `impl Job`, one line in [`registry()`]; if it is periodic, a duty in
//! `service/leader/duties`.

mod acting;
mod context;
mod detection_hooks;
mod discover;
mod expire;
mod forget_unseen;
mod hooks;
mod inspect;
mod lost;
mod names;
mod operate;
mod policies;
mod probe_dead;
mod probe_shard;
mod probe_urgent;
mod probing;
mod recorder;
pub mod recover;
mod registry;
mod rejoin;
mod restart_receivers;
mod rounds;
mod rules;
mod snapshot_topologies;
mod trim_audit;
mod trim_jobs;
mod watch;

pub use context::{Configuration, Context, SharedSettings};
pub use detection_hooks::DetectionHooks;
pub use discover::Discover;
pub use expire::Expire;
pub use forget_unseen::ForgetUnseen;
pub use inspect::{Inspect, LONGEST_WAIT, Question};
pub use names::Names;
pub use operate::Operate;
pub use policies::{analysis_policy, banned, planner_policy, recovery_policy};
pub use probe_dead::ProbeDead;
pub use probe_shard::{ProbeShard, Target};
pub use probe_urgent::ProbeUrgent;
pub use probing::neighbours;
pub use recorder::Recorder;
pub use recover::Recover;
pub use registry::registry;
pub use rejoin::Rejoin;
pub use restart_receivers::RestartReceivers;
pub use rules::Rules;
pub use snapshot_topologies::SnapshotTopologies;
pub use trim_audit::TrimAudit;
pub use trim_jobs::TrimJobs;
pub use watch::{Watches, watch_sources};
