//! Commands that are known but wait for their stage: they say so, instead of being called unknown.

use crate::catalogue::{Command, Run};

pub(super) const fn later(section: &'static str, name: &'static str, summary: &'static str) -> Command {
    Command { name, section, summary, help: "", run: Run::Later }
}

pub(crate) const KEY_VALUE: &[Command] = &[
    later("Key-value", "submit-masters-to-kv-stores", "Publish the primaries in the key-value stores"),
    later("Instance, meta", "set-heuristic-domain-instance", "Record the primary for the cluster's domain name"),
];

pub(crate) const OTHER: &[Command] = &[
    later("Meta", "continuous", "Run discovery in the foreground; see http and worker"),
    later("Internal", "internal-suggest-promoted-replacement", "Print which instance is to replace a promoted one"),
    later("Agent", "custom-command", "Run a command on an agent"),
];
