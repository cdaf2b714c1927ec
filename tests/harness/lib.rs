//! Throw-away MySQL and MariaDB servers.

mod accounts;
mod backend;
mod flavor;
mod options;
mod ports;
mod server;
mod template;
mod watchdog;
mod workspace;

pub use accounts::{APPLICATION, Account, REPLICATION, ROOT, TOPOLOGY};
pub use backend::{Backend, Schema, backend};
pub use flavor::Flavor;
pub use options::{Options, SemiSync};
pub use server::{HOST, Server};
