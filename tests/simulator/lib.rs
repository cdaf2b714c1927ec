//! A simulated fleet: thousands of MySQL and MariaDB servers in one process, for benchmarks and tests.
//!
//! Each server has an address of its own (127.10.b.c) but all share one listening socket: the local address of an
//! accepted connection says which server was meant, so the fleet costs one file descriptor per *connection*, none
//! per server. The servers speak the MySQL protocol (handshake, text and prepared statements, several statements in
//! one packet) and answer what a topology manager asks: variables, replication status, replica lists, process lists.
//! They can be made slow, and killed in the many ways in which real servers die: see [`Death`]. They do what a failover asks
//! for: replication stopped, started, pointed elsewhere and forgotten, `read_only` and semi-sync switched; the others see it.
//!
//! Deliberately not here: data, SQL beyond expressions over server facts, TLS, positions in logs and divergence. An unknown
//! statement gets a proper error and is counted, so a prober that asks something new is noticed ([`Stats::unknown`]).
//!
//! Invariants:
//! - only loopback peers are served;
//! - a server's answers are a function of its place in the fleet, its role, its cluster's history and the deaths
//!   around it: two equal fleets that were told the same answer equally;
//! - an idle connection owns no buffer.
//!
//! To add a variable: a row in `variables.rs`. A statement that changes a server: `change.rs`. A status counter: a row in `status.rs`. A table or `SHOW`: `tables.rs`.

mod change;
mod connection;
mod control;
mod facts;
mod fleet;
mod role;
mod server;
mod session;
mod sql;
mod stats;
mod status;
mod tables;
mod variables;
mod wire;

pub use control::{Control, execute as execute_command};
pub use fleet::{Error, Fleet, FleetSpec, Target, parse_duration};
pub use server::{Death, Dialect};
pub use stats::{Stats, UnknownStatement};
