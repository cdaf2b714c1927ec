//! Every flag there is: one row each, from which the parser, the normaliser and `--help` are made.

/// What a flag is followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A value, shown under this name.
    Value(&'static str),
    /// Nothing; `=true` or `=false` may be attached.
    Switch,
}

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    /// Long name of a one-letter flag.
    pub(crate) long: &'static str,
    pub(crate) takes: Takes,
    pub(crate) help: &'static str,
    /// The commands it belongs to; empty: all. Given elsewhere it is an error, so that it is not ignored silently. Only
    /// flags that the original orchestrator does not have name their commands.
    pub(crate) only: &'static [&'static str],
}

const fn value(name: &'static str, shown: &'static str, help: &'static str) -> Flag {
    Flag { name, long: name, takes: Takes::Value(shown), help, only: &[] }
}

const fn letter(name: &'static str, long: &'static str, shown: &'static str, help: &'static str) -> Flag {
    Flag { name, long, takes: Takes::Value(shown), help, only: &[] }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, long: name, takes: Takes::Switch, help, only: &[] }
}

const fn of(flag: Flag, only: &'static [&'static str]) -> Flag {
    Flag { only, ..flag }
}

/// Stands for all operations, and for what is asked about servers.
pub(crate) const OPERATIONS: &str = "operations on servers";

/// What can be waited for, or not.
const ASYNC: &[&str] = &[
    OPERATIONS,
    "recover",
    "recover-lite",
    "force-master-failover",
    "force-master-takeover",
    "graceful-master-takeover",
    "graceful-master-takeover-auto",
];

/// The flags, in the order of `--help`.
pub(crate) const FLAGS: &[Flag] = &[
    letter("c", "command", "COMMAND", "The command to run; the same as giving it as a word"),
    letter(
        "i",
        "instance",
        "HOST:PORT",
        "Instance, or a list separated by commas or blanks; this host where a command needs one and none is given",
    ),
    letter("d", "destination", "HOST:PORT", "Destination instance"),
    letter("s", "sibling", "HOST:PORT", "The same as -d"),
    value("alias", "CLUSTER", "Cluster, by its alias or its name"),
    value("pool", "POOL", "Pool of instances"),
    value("pattern", "PATTERN", "Regular expression; a plain text for `search`; a moment for `topology`"),
    value("owner", "NAME", "Who does it: recorded with maintenance, downtime and audit; the OS user unless given"),
    value("reason", "TEXT", "Why"),
    value("duration", "DURATION", "How long: digits and one of s, m, h, d, w"),
    value("hostname", "HOST", "Virtual name for `register-hostname-unresolve`"),
    value("promotion-rule", "RULE", "prefer, neutral, prefer_not or must_not [default: prefer]"),
    value("tag", "TAG", "name, name=value, or with ~ for \"not\""),
    value("binlog", "FILE[:POS]", "Place in a binary log"),
    value("statement", "SQL", "Statement to inject (`restart-replica-statements`)"),
    value("config", "FILE", "Configuration file; then the only one read"),
    switch("strict", "Extra checks while reading binary logs"),
    switch("skip-binlog-search", "Match Pseudo-GTID in relay logs only"),
    switch("skip-unresolve", "Never translate a host to its registered virtual name"),
    switch("skip-unresolve-check", "Tolerate a virtual name that does not resolve back to its host"),
    switch("noop", "Change no server: operations print their plan"),
    switch("discovery", "Poll and recover in service mode; `--discovery=false` only serves [default: true]"),
    switch("grab-election", "Accepted; leadership is a lease that the first free node takes"),
    switch("ignore-raft-setup", "Accepted; commands never conflict with the service"),
    switch("skip-continuous-registration", "Accepted; commands do not register as nodes"),
    switch("enable-database-update", "Migrate the backend schema although SkipOrchestratorDatabaseUpdate is set"),
    switch("quiet", "Log errors only; wins over every other level"),
    switch("verbose", "Log at level INFO"),
    switch("debug", "Log at level DEBUG"),
    switch("stack", "Print a stack trace with each logged error"),
    switch("version", "Print the version"),
    letter_switch("h", "help", "Print this text"),
    switch("json", "Print results as JSON, one document per line"),
    of(
        value("datacenter", "DC", "Serve this datacenter's lanes (repeatable); without it all lanes"),
        &["http", "worker"],
    ),
    of(value("concurrency", "N", "Jobs at once; WorkerConcurrency unless given"), &["http", "worker"]),
    of(switch("no-worker", "Serve without the built-in worker"), &["http"]),
    of(switch("repair", "Complete a migration that was interrupted"), &["migrate", "redeploy-internal-db"]),
    of(value("jitter", "DURATION", "Let the job start at a random moment within this time"), &["submit"]),
    of(switch("async", "Print the number of the job and do not wait"), ASYNC),
    of(switch("local", "Let this process do it, under the same locks; needs no worker"), &[OPERATIONS]),
    of(value("seconds", "N", "Delay for `delay-replication`"), &["delay-replication", "plan", "submit"]),
    of(value("process", "ID", "Connection for `kill-query`"), &["kill-query", "plan", "submit"]),
    of(switch("durable", "The rule does not expire"), &["register-candidate"]),
    of(switch("force", "Purge logs that replicas still need"), &["purge-binary-logs", "plan", "submit"]),
    of(
        value("state", "STATE", "How jobs or operations stand; see `help jobs`, `help operations`"),
        &["jobs", "operations"],
    ),
    of(value("kind", "KIND", "Jobs of this kind"), &["jobs"]),
    of(value("lane", "LANE", "Jobs of this lane, queue/datacenter"), &["jobs"]),
    of(value("limit", "N", "Rows shown at most"), &["jobs", "leadership", "operations"]),
    of(value("page", "N", "Page of twenty rows, from 0"), &["recoveries", "detections", "audit"]),
    of(value("flavor", "FLAVOR", "mysql or mariadb [default: mysql]"), &["sandbox"]),
    of(value("replicas", "N", "Replicas below the primary [default: 3]"), &["sandbox"]),
    of(value("dir", "DIR", "Directory of the sandbox [default: orchestrator-sandbox]"), &["sandbox"]),
];

const fn letter_switch(name: &'static str, long: &'static str, help: &'static str) -> Flag {
    Flag { name, long, takes: Takes::Switch, help, only: &[] }
}

/// The flag of this name, without its dashes.
pub(crate) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name || flag.long == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for flag in FLAGS {
            assert_eq!(FLAGS.iter().filter(|other| other.name == flag.name || other.long == flag.long).count(), 1);
        }
    }
}
