//! A durable job queue on MySQL 8.0+ and MariaDB 10.6+, and the worker that runs it.
//!
//! # What this is
//! Jobs are rows; workers on any host claim them with `FOR UPDATE SKIP LOCKED`, run them outside any transaction and write how they
//! ended. Generic: it knows nothing of what the jobs do.
//! ```text
//! impl Job for Probe { type Context = Context; const KIND: &'static str = "probe"; const LIMITS: Limits = ...; async fn run(...) }
//! let jobs = [NewJob::of(&Probe { .. })?.datacenter("dc1").worker_hint(token, patience).submitted_by("leader")];
//! queue::enqueue(&mut tx, &jobs).await?;                       // in the transaction that made the work necessary
//! let runner = Runner::new(pool, WorkerConfig::new("host:pid"), Registry::new().with::<Probe>(), Arc::new(context));
//! runner.run(shutdown_token).await?;                           // until the token is cancelled, then drains
//! let answer = queue::await_outcome(&pool, id, timeout).await?; // for jobs with .wants_outcome()
//! ```
//! Who enqueues in the process of a worker may ring its [`WorkerConfig::bell`] after the commit. The leader calls [`promote_due`] and [`rescue`] when [`Upkeep`] says so, or every second or so; [`trim_outcomes`],
//! [`trim_failed`] and [`forget_dead_workers`] now and then. One who enqueues a little all the time keeps an [`Enqueuer`].
//!
//! # What this is not
//! - No scheduler: recurring work is enqueued by whoever leads.
//! - No exactly-once: a job may run twice (its worker died, or was cut off) and must do no harm. Claim tokens stop late *results*, not
//!   late *work*.
//! - No store for results: outcomes are for those who await them, and are trimmed.
//!
//! # Invariants
//! 1. A job is in one of the tables `job_ready`, `job_scheduled`, `job_claimed`, `job_failed`, or has ended; every move is one
//!    transaction. Ids are unique across the tables and never reused.
//! 2. At most one waiting job has a given unique key; what would be a second one ends as `merged` into the first, and those
//!    who await it follow.
//! 3. Only the holder of the claim token changes a claimed job.
//! 4. No transaction is open while a job runs.
//! 5. Time is the database's, in SQL or through [`DbClock`]; a worker trusts its own claims by its own monotonic clock.
//! 6. Only `apalis_backend.rs` names apalis.
//!
//! # How to add
//! - a job kind: not here; implement [`Job`] and add it to a [`Registry`];
//! - a queue: a variant of [`Queue`] at its place in the order, its name, its share in [`Concurrency::split`];
//! - a column of jobs: a migration for all four tables, `CARRIED` in `moves.rs`, the column lists in `claim.rs` and `enqueue.rs`.
//!
//! The claim protocol, its state diagram and its failure cases are in `claim.rs`; unique keys in `enqueue.rs`; lanes in `worker.rs`.

mod error;
mod lane;

mod job;
mod registry;

mod new_job;

mod enqueue;
mod inspect;
mod outcome;

mod claim;
mod finish;
mod maintenance;
mod moves;
mod sql;
mod upkeep;

mod bell;
pub mod clock;
mod worker;

mod apalis_backend;
mod claims;
mod engine;
mod finisher;
mod link;
mod runner;
mod slots;

pub use bell::Bell;
pub use clock::DbClock;
pub use enqueue::{Enqueued, Enqueuer, enqueue, submit};
pub use error::Error;
pub use inspect::{Cancelled, Depth, Filter, JobView, State, cancel, depth, list, retry, show};
pub use job::{Attempt, Backoff, Job, JobError, Limits};
pub use lane::{Lane, Queue, datacenter_name};
pub use maintenance::{
    MAX_RESCUES, Promoted, Rescued, forget_dead_workers, promote_due, rescue, trim_failed, trim_outcomes,
};
pub use new_job::NewJob;
pub use outcome::{Awaited, Outcome, await_outcome};
pub use registry::Registry;
pub use runner::{Runner, WorkerConfig};
pub use slots::Concurrency;
pub use sql::{IDLE_LIMIT, connect_options, is_in_step, pool_options, session_setup};
pub use upkeep::{UPKEEP_COLUMNS, Upkeep};
pub use worker::{DEAD_AFTER, HEARTBEAT, LiveWorker, TRUST_WINDOW, live_workers};
