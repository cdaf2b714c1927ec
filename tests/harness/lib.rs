//! Throw-away MySQL and MariaDB servers on loopback, for tests and for `orchestrator sandbox`.
//!
//! | Use | For |
//! |---|---|
//! | [`backend`]`(flavor)` → [`Backend::schema`] → [`Schema::pool`] | tests of our own tables: one server per test process, one empty schema per test |
//! | [`Server::start`], [`Server::start_with`] + [`Options`] | one server: `stop`, `kill`, `freeze`/`thaw`, `start_again`, `restart`, `execute`, `connect` |
//! | [`Topology::start`]`(flavor, text)`, `topology["name"]` | replicating servers, described by indented text ([`parse`]) |
//! | [`Group`]`::start(size)` | MySQL servers in one replication group |
//! | [`replicate`], [`replica_status`], [`wait_running`], [`catch_up`] | changing and watching replication by hand |
//! | [`Topology::start_lossless`] | the same with semi-sync that never gives up waiting |
//! | [`Writer`] (`start`, `start_on_any`), [`Outage`], [`missing_rows`], [`table_checksum`] | a steady write load with a ledger of acknowledged rows: what is lost, how long nobody could write |
//! | [`Proxy`] + [`Mode`] | a network that refuses, stalls, delays, or ends in the middle of an answer |
//! | [`sandbox`]`::{up, status, down}` | a topology that outlives its process |
//! | [`ROOT`], [`TOPOLOGY`], [`REPLICATION`], [`APPLICATION`] | the accounts every server has |
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use harness::{Flavor, Topology};
//!
//! let topology = Topology::start(Flavor::MySql, "
//!     a semisync=source
//!       b semisync=replica
//!       c delay=3600
//! ").await?;
//! topology["a"].kill()?;
//! # Ok(())
//! # }
//! ```
//!
//! What it is not: a mock, or a way to manage servers that somebody else started.
//!
//! Invariants:
//! - A server ends and its files go with the value that owns it, at the latest with the process that started it, even
//!   when that is killed (`watchdog`). Only sandboxes stay, and `down` ends exactly their own processes.
//! - Servers listen on 127.0.0.1 only, on ports that no other process of the harness uses (`ports`).
//! - A missing server program is an error that names the command which installs it. Nothing is skipped.
//!
//! Environment: `ORCHESTRATOR_MYSQL_PREFIX` is where `scripts/install-servers` has put MySQL,
//! `ORCHESTRATOR_HARNESS_DIR` moves templates and server directories away from the temporary directory (`scripts/test` does it).
//!
//! To add a server option: a field of [`Options`], its line in `options.rs`, and if tests should say it in text, a word
//! in [`parse`].

mod accounts;
mod backend;
mod flavor;
mod group;
mod options;
mod ports;
mod proxy;
mod replication;
pub mod sandbox;
mod server;
mod template;
mod topology;
mod watchdog;
mod workspace;
mod writer;

pub use accounts::{APPLICATION, Account, REPLICATION, ROOT, TOPOLOGY};
pub use backend::{Backend, Schema, backend};
pub use flavor::Flavor;
pub use group::Group;
pub use options::{Options, SemiSync};
pub use proxy::{Mode, Proxy};
pub use replication::{Link, ReplicaStatus, catch_up, replica_status, replicate, wait_running};
pub use sandbox::{Sandbox, SandboxServer, SandboxServerStatus};
pub use server::{HOST, Server};
pub use topology::{Member, Topology, lossless, parse};
pub use writer::{Outage, Row, Writer, missing_rows, table_checksum};
