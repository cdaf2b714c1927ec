//! A simulated fleet: thousands of MySQL and MariaDB servers in one process, for benchmarks and tests.
//!
//! Each server has an address of its own (127.10.b.c) but all share one listening socket: the local address of an
//! accepted connection says which server was meant, so the fleet costs one file descriptor per *connection*, none
//! per server. The servers speak the MySQL protocol (handshake, text and prepared statements, several statements in
//! one packet) and answer what a topology manager asks: variables, replication status, replica lists, process lists.
//! They can be made slow, and killed in the many ways in which real servers die: see [`Death`].
//!
//! Deliberately not here: data, SQL beyond expressions over server facts, TLS, and changes of the topology. An unknown
//! statement gets a proper error and is counted, so a prober that asks something new is noticed ([`Stats::unknown`]).
//!
//! Invariants:
//! - only loopback peers are served;
//! - a server's answers are a function of its place in the fleet, its cluster's transaction counter and the deaths
//!   around it: two equal fleets answer equally;
//! - an idle connection owns no buffer.
//!
//! To add a variable: a row in `variables.rs`. A status counter: a row in `status.rs`. A table or `SHOW`: `tables.rs`.

mod connection;
mod control;
mod facts;
mod fleet;
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
