//! The table of commands: every word there is, what it does, and whether it is built. Dispatch, the listing and `help`
//! all read it.

use std::fmt::Write as _;

use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::commands;
use crate::commands::operations::Prints;
use crate::session::{Base, Session};

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// Title under which it is listed.
    pub(crate) section: &'static str,
    /// One line for the listing.
    pub(crate) summary: &'static str,
    /// What `help <command>` prints; empty where the summary says it all.
    pub(crate) help: &'static str,
    pub(crate) run: Run,
}

/// How a command runs.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// By itself: no backend, or one of its own making.
    Alone(for<'a> fn(&'a Base) -> LocalBoxFuture<'a, anyhow::Result<Answer>>),
    /// On the backend, once for each instance in `-i`.
    Each(for<'a> fn(&'a Session<'a>) -> LocalBoxFuture<'a, anyhow::Result<Answer>>),
    /// The same, by functions that limit their waiting themselves.
    Patient(for<'a> fn(&'a Session<'a>) -> LocalBoxFuture<'a, anyhow::Result<Answer>>),
    /// An operation on managed servers, once for each instance in `-i`; the request follows from the word.
    Operation(Prints),
    /// On the backend, once, with the undivided list in `-i`.
    Whole(for<'a> fn(&'a Session<'a>) -> LocalBoxFuture<'a, anyhow::Result<Answer>>),
    /// Known, but to be built yet.
    Later,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Run::Alone(_) => "Alone",
            Run::Each(_) => "Each",
            Run::Patient(_) => "Patient",
            Run::Operation(_) => "Operation",
            Run::Whole(_) => "Whole",
            Run::Later => "Later",
        })
    }
}

/// The tables of all families, in the order of the listing.
const FAMILIES: &[&[Command]] = &[
    commands::processes::COMMANDS,
    commands::operations::RELOCATION,
    commands::operations::REPLICATION,
    commands::replication::COMMANDS,
    commands::operations::INSTANCE,
    commands::pools::COMMANDS,
    commands::tags::COMMANDS,
    commands::instances::COMMANDS,
    commands::clusters::COMMANDS,
    commands::topology::COMMANDS,
    commands::explain::COMMANDS,
    commands::osc::COMMANDS,
    commands::later::KEY_VALUE,
    commands::discovery::COMMANDS,
    commands::downtime::COMMANDS,
    commands::recoveries::COMMANDS,
    commands::recoveries::RECORDS,
    commands::analysis::COMMANDS,
    commands::candidates::COMMANDS,
    commands::hostnames::COMMANDS,
    commands::audit::COMMANDS,
    commands::meta::COMMANDS,
    commands::configuration::COMMANDS,
    commands::operations::PLAN,
    commands::operations::RECORDS,
    commands::queue::COMMANDS,
    commands::nodes::COMMANDS,
    commands::sandbox::COMMANDS,
    commands::later::OTHER,
];

/// Names of earlier releases and of paths of the API, accepted and not listed.
const SYNONYMS: &[(&str, &str)] = &[
    ("audit-recovery", "recoveries"),
    ("audit-failure-detection", "detections"),
    ("stop-slave", "stop-replica"),
    ("start-slave", "start-replica"),
    ("restart-slave", "restart-replica"),
    ("reset-slave", "reset-replica"),
    ("restart-slave-statements", "restart-replica-statements"),
    ("relocate-slaves", "relocate-replicas"),
    ("regroup-slaves", "regroup-replicas"),
    ("move-up-slaves", "move-up-replicas"),
    ("repoint-slaves", "repoint-replicas"),
    ("enslave-siblings", "take-siblings"),
    ("enslave-master", "take-master"),
    ("get-candidate-slave", "get-candidate-replica"),
    ("move-slaves-gtid", "move-replicas-gtid"),
    ("regroup-slaves-gtid", "regroup-replicas-gtid"),
    ("match-slaves", "match-replicas"),
    ("match-up-slaves", "match-up-replicas"),
    ("regroup-slaves-pgtid", "regroup-replicas-pgtid"),
    ("which-cluster-osc-slaves", "which-cluster-osc-replicas"),
    ("which-cluster-gh-ost-slaves", "which-cluster-gh-ost-replicas"),
    ("which-slaves", "which-replicas"),
    ("detach-slave", "detach-replica-master-host"),
    ("detach-replica", "detach-replica-master-host"),
    ("detach-slave-master-host", "detach-replica-master-host"),
    ("reattach-slave", "reattach-replica-master-host"),
    ("reattach-replica", "reattach-replica-master-host"),
    ("reattach-slave-master-host", "reattach-replica-master-host"),
];

/// Every command.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The current name of a command.
pub(crate) fn current_name(word: &str) -> &str {
    SYNONYMS.iter().find(|(old, _)| *old == word).map_or(word, |(_, current)| current)
}

/// The command of this name, or of this name's successor.
pub(crate) fn find(word: &str) -> Option<&'static Command> {
    let name = current_name(word);
    all().find(|command| command.name == name)
}

/// May flags of operations stand with this command?
pub(crate) fn is_operational(command: &Command) -> bool {
    matches!(command.run, Run::Operation(_) | Run::Patient(_)) || command.name == "submit"
}

/// The listing: sections in order of first appearance.
pub(crate) fn listing() -> String {
    let mut sections: Vec<&str> = Vec::new();
    for command in all() {
        if !sections.contains(&command.section) {
            sections.push(command.section);
        }
    }
    let mut text = String::from("Available commands (-c):\n");
    for section in sections {
        let _ = writeln!(text, "{section}:");
        for command in all().filter(|command| command.section == section) {
            let later = if matches!(command.run, Run::Later) { " (not built yet)" } else { "" };
            let _ = writeln!(text, "\t{:<40}{}{later}", command.name, command.summary);
        }
    }
    text
}

/// The listing as data.
pub(crate) fn listing_as_json() -> Value {
    let entry = |command: &Command| {
        json!({
            "command": command.name,
            "section": command.section,
            "summary": command.summary,
            "built": !matches!(command.run, Run::Later),
        })
    };
    all().map(entry).collect()
}

/// What `help <topic>` prints: the topic's name in any case, then what is known of it.
pub(crate) fn explain(topic: &str) -> Answer {
    let help = find(topic).map_or("", |command| if command.help.is_empty() { command.summary } else { command.help });
    Answer { text: format!("{topic}:\n{help}\n"), json: json!({ "command": topic, "help": help }) }
}

/// The known word most like this one, if any is like it.
pub(crate) fn nearest(word: &str) -> Option<&'static str> {
    let known = all().map(|command| command.name).chain(SYNONYMS.iter().map(|(old, _)| *old));
    let scored = known.map(|name| (strsim::damerau_levenshtein(word, name), name));
    let (distance, name) = scored.min()?;
    // A third of the letters may be wrong; more is no slip of the finger.
    (distance <= (name.len() / 3).max(1)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_synonyms_lead_somewhere() {
        for command in all() {
            assert_eq!(all().filter(|other| other.name == command.name).count(), 1, "{}", command.name);
            assert!(!command.summary.is_empty() && !command.summary.contains('\n'), "{}", command.name);
        }
        for (old, current) in SYNONYMS {
            assert!(find(old).is_some_and(|command| command.name == *current), "{old}");
            assert!(all().all(|command| command.name != *old), "{old} is listed too");
        }
    }

    #[test]
    fn every_word_of_the_original_is_known() {
        for word in include_str!("commands/original_words.txt").split_whitespace() {
            assert!(find(word).is_some(), "{word} is unknown");
        }
    }

    #[test]
    fn slips_of_the_finger_are_recognised() {
        assert_eq!(nearest("topolgy"), Some("topology"));
        assert_eq!(nearest("which-replcia"), Some("which-replicas"));
        assert_eq!(nearest("xyzzy"), None);
    }

    #[test]
    fn help_names_the_topic_even_when_nothing_is_known() {
        assert_eq!(explain("nonsense").text, "nonsense:\n\n");
        assert!(explain("stop-slave").text.starts_with("stop-slave:\n"));
    }
}
