//! The commands, one file per family. Each file has its table first, then one function per command.

pub(crate) mod analysis;
pub(crate) mod audit;
pub(crate) mod candidates;
pub(crate) mod clusters;
pub(crate) mod configuration;
pub(crate) mod discovery;
pub(crate) mod downtime;
pub(crate) mod explain;
pub(crate) mod hostnames;
pub(crate) mod inspections;
pub(crate) mod instances;
pub(crate) mod later;
pub(crate) mod meta;
pub(crate) mod nodes;
pub(crate) mod operations;
pub(crate) mod osc;
pub(crate) mod pools;
pub(crate) mod processes;
pub(crate) mod queue;
pub(crate) mod recoveries;
pub(crate) mod replication;
pub(crate) mod sandbox;
pub(crate) mod tags;
pub(crate) mod topology;

/// Commands with words of their own; to all others a word is a mistake.
pub(crate) const TAKE_WORDS: &[&str] =
    &["submit", "jobs", "config", "sandbox", "plan", "operations", "explain", "recovery", "ack-recovery"];

/// Processes that stay: they log at INFO.
pub(crate) const LONG_RUNNING: &[&str] = &["http", "worker"];

/// A row of a table for a command that runs once per instance of `-i`.
macro_rules! each {
    ($section:expr, $name:literal, $run:path, $summary:literal) => {
        $crate::commands::each!($section, $name, $run, $summary, "")
    };
    ($section:expr, $name:literal, $run:path, $summary:literal, $help:literal) => {
        $crate::catalogue::Command {
            name: $name,
            section: $section,
            summary: $summary,
            help: $help,
            run: $crate::catalogue::Run::Each(|session| Box::pin($run(session))),
        }
    };
}
pub(crate) use each;

/// A row for a command that needs no session with the backend.
macro_rules! alone {
    ($section:expr, $name:literal, $run:path, $summary:literal, $help:literal) => {
        $crate::catalogue::Command {
            name: $name,
            section: $section,
            summary: $summary,
            help: $help,
            run: $crate::catalogue::Run::Alone(|base| Box::pin($run(base))),
        }
    };
}
pub(crate) use alone;
