//! Our own database: what the fleet looks like, what people said about it, who leads, what was done.
//!
//! What this is: one file per table family, each a handful of plain functions over `&mut MySqlConnection` with one
//! statement per function wherever that is possible, plus the connection itself ([`Backend`]) and the schema
//! ([`schema`]). What it deliberately is not: a cache, a place for decisions (those are in `domain`), a repository
//! trait, or a way to reach managed servers. The job queue's tables belong to crate `queue`.
//!
//! Invariants:
//! - Time compared between processes is the database's: every "now" is `NOW(6)` in the statement.
//! - A state change is a compare-and-set; zero affected rows is an outcome with a name, never ignored.
//! - The newest observation of an instance wins, whatever the order of arrival.
//! - Values are bound. The only statement built from values holds nothing but integers and one of our own timestamps.
//! - Works alike on MySQL 8.0+ and MariaDB 10.6+, under READ COMMITTED, UTC and strict mode ([`Backend`] sets them).
//! - No error text contains a password.
//!
//! To add a table: a migration, a file here named after the table family, functions that take a connection, and tests in
//! `tests/store/` that run on both flavours.

pub mod access_tokens;
pub mod analyses;
pub mod audit;
pub mod candidates;
pub mod clusters;
pub mod detections;
pub mod downtime;
pub mod equivalences;
pub mod former_primaries;
pub mod hook_runs;
pub mod hostnames;
pub mod instances;
pub mod leases;
pub mod maintenance;
pub mod nodes;
pub mod operations;
pub mod pools;
pub mod recoveries;
pub mod recovery_switch;
pub mod samples;
pub mod schedules;
pub mod schema;
pub mod snapshots;
pub mod tags;

mod backend;
mod error;
mod sql;

pub use backend::{Address, Backend, BackendOptions, BackendTls, TlsMode};
pub use error::{Error, chain};
pub use sql::database_now;
