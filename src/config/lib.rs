//! Settings: the JSON configuration file, its keys, defaults, checks and documentation.
//!
//! Not here: command line switches, the process's environment (handed in as [`Environment`]), signals, and what any
//! setting does. No global state: a [`Loader`] gives values, whoever owns the process shares and swaps them.
//!
//! ```
//! use config::{Environment, Loader, Settings, check};
//!
//! let loader = Loader::new(None, Environment::empty()); // None: the search path; Some(file): `--config file`
//! let loaded = Settings::from_json(r#"{ "InstancePollSeconds": 3 }"#)?; // in production: loader.load()?
//! assert_eq!(loaded.settings.discovery.instance_poll_seconds, 3); // Arc<Settings>, one struct per section
//! assert!(!loaded.patterns.discovery_ignore.matches("db1", 3306)); // its regular expressions, compiled
//! println!("{}", check(&loaded)); // what `orchestrator config check` says; also Serialize
//! # drop(loader);
//! # Ok::<(), config::ConfigError>(())
//! ```
//!
//! - [`Loader::load`] reads, merges, reads secrets from outside, derives, checks; it tells all problems at once
//!   ([`ConfigError::problems`]). [`Loader::load_with`] puts one more file on top.
//! - [`Loader::reload`] does the same again, from the defaults on; on an error the caller keeps what it has.
//!   [`Settings::restart_needed`] lists changed keys that are read only at start.
//! - [`Settings::check_files`] and [`Settings::check_backend`] look at what loading leaves open.
//! - [`keys`], [`find_key`], [`OBSOLETE`]: the table of keys. [`Settings::dump`]: all values, secrets masked.
//!   [`markdown`]: `docs/configuration.md`.
//! - [`HostFilter`], [`NameFilter`], [`ClusterFilter`]: lists of patterns; [`Patterns`] has all of the settings'.
//!
//! Invariants: a [`Secret`] is never printed, and no message repeats the value of a key other than words, numbers,
//! addresses and patterns. No input panics. A key is declared in one row of one section file, and nowhere else.
//!
//! To add a key: one row in its section's file; a row in `validate.rs` if it has bounds; a rule in `derive.rs` if others
//! follow from it; then `cargo run -p config --example configuration_docs`.

mod address;
mod agents;
mod audit;
mod auth;
mod backend;
mod check;
mod classification;
mod credentials;
mod derive;
mod detection;
mod discovery;
mod document;
mod documentation;
mod doubts;
mod expand;
mod filter;
mod general;
mod hooks;
mod hostnames;
mod http;
mod key;
mod kv;
mod loader;
mod metrics;
mod obsolete;
mod patterns;
mod probe;
mod problem;
mod pseudo_gtid;
mod queue;
mod raft;
mod recovery;
mod requirements;
mod schedules;
mod secret;
mod settings;
mod suggest;
mod topology;
mod validate;
mod value;
mod worker;

pub use address::{parse_host_port, parse_listen_address};
pub use agents::Agents;
pub use audit::Audit;
pub use auth::{Auth, AuthMethod};
pub use backend::Backend;
pub use check::{Entry, Report, check};
pub use classification::Classification;
pub use credentials::{Credentials, parse_credentials};
pub use detection::Detection;
pub use discovery::Discovery;
pub use documentation::markdown;
pub use expand::Environment;
pub use filter::{BadEntry, ClusterFilter, HostFilter, NameFilter};
pub use general::{General, OrcIdentity};
pub use hooks::Hooks;
pub use hostnames::{HostnameResolveMethod, Hostnames, MySQLHostnameResolveMethod};
pub use http::Http;
pub use key::{Deviation, Key, Origin, Reload, Status};
pub use kv::{ConsulKVStoreProvider, ConsulScheme, Kv};
pub use loader::{Loaded, Loader, SEARCH_PATH, SetKey, load_bytes};
pub use metrics::Metrics;
pub use obsolete::{OBSOLETE, Obsolete};
pub use patterns::{Patterns, first_group};
pub use probe::Probe;
pub use problem::{ConfigError, Problem, Warning};
pub use pseudo_gtid::PseudoGtid;
pub use queue::Queue;
pub use raft::Raft;
pub use recovery::Recovery;
pub use schedules::{MissedTickPolicy, Schedules};
pub use secret::Secret;
pub use settings::{Settings, find_key, keys};
pub use topology::Topology;
pub use value::Kind;
pub use worker::Worker;
