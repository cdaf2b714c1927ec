//! Whole fleets for scenario tests: a real backend, real `orchestrator` processes, and the means to hurt them.
//!
//! What it is not: a place for assertions; those are in `tests/`.
//!
//! Invariant: every process started here ends with the [`Fleet`] that started it, also when the test is killed.

pub mod backend;
pub mod counting;
mod executor;
mod fleet;
pub mod incident;
pub mod namespace;
pub mod playground;
pub mod proc;
pub mod storm;
pub mod wait;

pub use executor::{Executor, credentials_query, key, worker_context};
pub use fleet::{Fleet, Output, Process, binary, http_get};
pub use incident::Incident;
pub use namespace::Namespace;
pub use playground::Playground;
pub use storm::Storm;
