//! The table of commands: every word there is, what it asks for, and how the reply is printed. Dispatch, the listing and
//! `help` all read it.

mod general;
mod information;
mod management;
mod missing;
mod recovery;
mod relocation;
mod replication;

use std::fmt::Write as _;

use crate::api::Sends;
use crate::own;
use crate::print::Printed;
use crate::reply::Reply;
use crate::template::{flag, holes};

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// One line for the listing.
    pub(crate) summary: &'static str,
    pub(crate) run: Run,
}

/// How a command runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// One request.
    Call(Call),
    /// In its own way. The text is what it takes, for the listing.
    Own(&'static str, own::Function),
    /// Known to `orchestrator`, but not offered over HTTP; the text says what to do instead.
    Missing(&'static str),
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) sends: Sends,
    /// Its path, see [`crate::template`].
    pub(crate) path: &'static str,
    /// The path to use when a value does not fit into the other one.
    pub(crate) otherwise: &'static str,
    /// Why `-d` is refused; empty where it is not.
    pub(crate) no_destination: &'static str,
    pub(crate) print: fn(&Reply) -> Printed,
}

type Print = fn(&Reply) -> Printed;

const fn call(sends: Sends, name: &'static str, path: &'static str, print: Print, summary: &'static str) -> Command {
    Command { name, summary, run: Run::Call(Call { sends, path, otherwise: "", no_destination: "", print }) }
}

/// A command that asks for something.
const fn read(name: &'static str, path: &'static str, print: Print, summary: &'static str) -> Command {
    call(Sends::Read, name, path, print, summary)
}

/// A command that changes something.
const fn change(name: &'static str, path: &'static str, print: Print, summary: &'static str) -> Command {
    call(Sends::Change, name, path, print, summary)
}

impl Command {
    /// With another path for values that do not fit into the first.
    const fn or(self, otherwise: &'static str) -> Self {
        let Run::Call(call) = self.run else { return self };
        Self { run: Run::Call(Call { otherwise, ..call }), ..self }
    }

    /// Without a destination.
    const fn alone(self, no_destination: &'static str) -> Self {
        let Run::Call(call) = self.run else { return self };
        Self { run: Run::Call(Call { no_destination, ..call }), ..self }
    }

    /// The flags it takes.
    fn flags(&self) -> String {
        let call = match self.run {
            Run::Call(call) => call,
            Run::Own(flags, _) => return flags.to_owned(),
            Run::Missing(_) => return String::new(),
        };
        let mut flags: Vec<String> = Vec::new();
        let mut optional = false;
        for part in call.path.split_inclusive(['[', ']']) {
            for hole in holes(part) {
                // Those have defaults.
                let is_optional = optional || matches!(hole, "owner" | "duration");
                flags.push(if is_optional { format!("[{}]", flag(hole)) } else { flag(hole).to_owned() });
            }
            optional = part.ends_with('[');
        }
        flags.join(" ")
    }
}

/// Sections of the listing.
const SECTIONS: &[(&str, &[Command])] = &[
    ("This client", general::COMMANDS),
    ("Information", information::COMMANDS),
    ("Instances: discovery, tags, pools, downtime", management::COMMANDS),
    ("Moving replicas", relocation::COMMANDS),
    ("Replication on one instance", replication::COMMANDS),
    ("Recovery", recovery::COMMANDS),
];

/// Every command that is offered.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    SECTIONS.iter().flat_map(|(_, commands)| commands.iter())
}

/// Other names: those of `orchestrator`, where the original client had its own.
const SYNONYMS: &[(&str, &str)] = &[
    ("relocate-below", "relocate"),
    ("match-below", "match"),
    ("enslave-siblings", "take-siblings"),
    ("enslave-master", "take-master"),
    ("move-below-gtid", "move-gtid"),
    ("enable-semi-sync-source", "enable-semi-sync-master"),
    ("disable-semi-sync-source", "disable-semi-sync-master"),
    ("which-downtimed-instances", "downtimed"),
    ("audit-recovery", "recoveries"),
    ("audit-failure-detection", "detections"),
];

/// The command of this name. In older names the first `slave` means `replica`.
pub(crate) fn find(word: &str) -> Option<&'static Command> {
    let word = word.trim();
    let synonym = |word: &str| SYNONYMS.iter().find(|(old, _)| *old == word).map(|(_, current)| *current);
    let name = synonym(word).map_or_else(|| word.replacen("slave", "replica", 1), ToOwned::to_owned);
    all().chain(missing::COMMANDS).find(|command| command.name == name)
}

/// The listing.
pub(crate) fn listing() -> String {
    let mut text = String::new();
    for (title, commands) in SECTIONS {
        let _ = writeln!(text, "{title}:");
        for command in *commands {
            let _ = writeln!(text, "    {:<40}{}", command.name, command.summary);
            let flags = command.flags();
            if !flags.is_empty() {
                let _ = writeln!(text, "    {:<40}  {flags}", "");
            }
        }
    }
    text
}

/// What `help <command>` prints.
pub(crate) fn explain(command: &Command) -> String {
    let mut text = format!("{} {}", command.name, command.flags()).trim_end().to_owned();
    let _ = write!(text, "\n\n{}", command.summary);
    match command.run {
        Run::Call(call) => {
            let how = match call.sends {
                Sends::Read => "Asks for",
                Sends::Change => "Changes something, by",
                Sends::Unknown => "Sends",
            };
            let _ = write!(text, ".\n{how} /api/{}", call.path);
        }
        Run::Own(..) => text.push('.'),
        Run::Missing(instead) => {
            let _ = write!(text, " {instead}.");
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_synonyms_lead_somewhere() {
        let every: Vec<&Command> = all().chain(missing::COMMANDS).collect();
        for command in &every {
            assert_eq!(every.iter().filter(|other| other.name == command.name).count(), 1, "{}", command.name);
            assert!(!command.summary.is_empty(), "{}", command.name);
            assert!(!command.name.contains("slave"), "{}", command.name);
        }
        for (old, current) in SYNONYMS {
            assert!(every.iter().all(|command| command.name != *old), "{old} is listed too");
            assert_eq!(find(old).map(|command| command.name), Some(*current));
        }
    }

    #[test]
    fn every_word_of_the_original_client_is_offered() {
        for word in include_str!("catalogue/original_words.txt").split_whitespace() {
            let found = find(word);
            assert!(found.is_some_and(|command| !matches!(command.run, Run::Missing(_))), "{word}");
        }
        assert_eq!(find("stop-slave").map(|command| command.name), Some("stop-replica"));
        assert_eq!(find("which-cluster-osc-slaves").map(|command| command.name), Some("which-cluster-osc-replicas"));
        assert_eq!(find("detach-slave-master-host").map(|command| command.name), Some("detach-replica-master-host"));
        assert!(find("xyzzy").is_none());
    }

    #[test]
    fn every_template_is_made_of_known_holes() {
        for command in all() {
            let Run::Call(call) = command.run else { continue };
            for hole in holes(call.path).chain(holes(call.otherwise)) {
                assert_ne!(flag(hole), hole, "{}: {{{hole}}}", command.name);
            }
            assert_eq!(call.path.matches('[').count(), call.path.matches(']').count(), "{}", command.name);
        }
    }

    #[test]
    fn the_listing_is_as_it_was() {
        insta::assert_snapshot!(listing());
    }

    #[test]
    fn paths_are_as_they_were() {
        let mut text = String::new();
        for command in all() {
            if let Run::Call(call) = command.run {
                let _ = writeln!(text, "{} {:?} {} {}", command.name, call.sends, call.path, call.otherwise);
            }
        }
        insta::assert_snapshot!(text);
    }
}
