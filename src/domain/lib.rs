//! Decisions about MySQL topologies, as pure functions over plain data.
//!
//! What this is: the vocabulary (instances, observations, GTID sets, versions) and every decision the product takes
//! (who replicates from whom, what is due, how a topology is drawn). What it deliberately is not: anything that waits,
//! reads a clock, rolls dice or talks to a server. Whatever a function needs, `now` included, is an argument.
//!
//! Invariants: no tokio, sqlx, axum or tracing here (the `Cargo.toml` is the proof); the same input gives the same
//! output; no function panics on data a server sent.
//!
//! To add a fact read from a server: a field of [`instance::ServerFacts`] (with a serde default, because stored
//! documents live longer than binaries), then `mysql::probe`, then the views that show it.

pub mod analysis;
pub mod cadence;
pub mod gtid;
pub mod health;
pub mod instance;
pub mod operation;
pub mod plan;
pub mod promotion;
pub mod recovery;
pub mod search;
pub mod tag;
pub mod term;
pub mod text;
pub mod topology;
pub mod version;
