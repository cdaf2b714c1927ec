//! The managed servers: how we reach them, what we ask them, and what their answers mean.
//!
//! What this is: the only crate that writes SQL for a managed server. [`Prober`] reads one server and returns an
//! [`domain::instance::Observation`]; [`connect`] opens connections of our own making ([`wire`]); [`resolve`] asks the
//! name service. [`apply`] carries out orders that change a server. What it deliberately is not: it decides nothing (that
//! is `domain`) and remembers nothing that matters (that is `store`).
//!
//! Invariants: every await on a socket has a deadline; a probe never fails, it observes a failure; nothing a server
//! sends makes us panic; no secret appears in a message, a log line or a `Debug` output.
//!
//! To read one more fact: a field of `domain::instance::ServerFacts`, then its variable in `variables.rs`, or its column
//! in `replica_status.rs`, or a statement of its own in `dialect.rs` with its mapping beside the others.

pub mod apply;
mod assemble;
mod batch;
pub mod binlogs;
mod columns;
pub mod commits;
pub mod connect;
mod dialect;
mod failure;
mod filter;
mod group;
pub mod heard;
mod learn;
pub mod probe;
mod relay_log;
mod replica_status;
mod replicas;
pub mod replication;
pub mod resolve;
mod semi_sync;
pub mod settings;
mod slot;
mod variables;
mod watch;
pub mod wire;

pub use connect::Connector;
pub use filter::{FilterError, KeyFilters, UserFilters};
pub use probe::{ProbeStats, Prober};
pub use settings::{
    ConnectSettings, DetectionQueries, Filters, HostnameMethod, Patterns, ProbeSettings, Secret, TlsMode, TlsSettings,
};
pub use watch::Noticed;
