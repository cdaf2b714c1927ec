//! Command line arguments, in the syntax that users of the original client type, parsed by clap.
//!
//! Long names take one dash or two, as a separate word or after `=` (the original knew only the former), and may be
//! abbreviated as long as they are unique; one-letter names may have their value attached. A flag that takes a value takes
//! the next word whatever it looks like. [`normalise`] rewrites all of that into `--name=value`, which clap reads without
//! doubt.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction};

use crate::problem::Problem;

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) letters: &'static [char],
    /// How its value is shown; empty for a switch.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
}

const fn flag(name: &'static str, letters: &'static [char], value: &'static str, help: &'static str) -> Flag {
    Flag { name, letters, value, help }
}

/// The flags, in the order of the usage text.
pub(crate) const FLAGS: &[Flag] = &[
    flag("command", &['c'], "COMMAND", "the command; the same as giving it as a word"),
    flag("instance", &['i'], "HOST[:PORT]", "the instance [environment: ORCHESTRATOR_INSTANCE]"),
    flag("destination", &['d', 's'], "HOST[:PORT]", "the destination: where a replica is to go, who is to be promoted"),
    flag("alias", &['a'], "CLUSTER", "a cluster: its alias, its name, or one of its instances"),
    flag("port", &['D'], "PORT", "port of instances given without one [default: 3306]"),
    flag(
        "api",
        &['U'],
        "URL",
        "the service, or several separated by blanks [environment: ORCHESTRATOR_API; default: http://localhost:3000]",
    ),
    flag("owner", &['o'], "NAME", "who does it [default: the OS user]"),
    flag("reason", &['r'], "TEXT", "why"),
    flag("duration", &['u'], "DURATION", "how long: digits and one of s, m, h, d, w [default: 10m]"),
    flag("promotion-rule", &['R'], "RULE", "prefer, neutral, prefer_not or must_not"),
    flag("tag", &['t'], "TAG", "name or name=value; a list, with ~ for \"not\", for tagged"),
    flag("pool", &['l'], "POOL", "a pool of instances"),
    flag("hostname", &['H'], "HOST", "a host name"),
    flag("path", &['P'], "PATH", "path below /api/ for the command api"),
    flag("query", &['q'], "STATEMENT", "statement for restart-replica-statements"),
    flag("binlog", &['n'], "FILE", "a binary log file"),
    flag("seconds", &['S'], "SECONDS", "a number of seconds"),
    flag("pattern", &[], "REGEX", "restricts bulk operations and find to instances whose host:port matches"),
    flag("process", &[], "ID", "connection for kill-query"),
    flag(
        "auth",
        &['b'],
        "USER:PASSWORD",
        "HTTP basic credentials; better in ORCHESTRATOR_AUTH_USER and ORCHESTRATOR_AUTH_PASSWORD, which ps does not show",
    ),
    flag(
        "headers-auth",
        &['e'],
        "HEADER",
        "a header for an authenticating proxy [environment: ORCHESTRATOR_AUTH_USER_HEADER]",
    ),
    flag(
        "wait",
        &[],
        "SECONDS",
        "how long to wait for an operation that takes longer than a request [environment: ORCHESTRATOR_WAIT; default: until it ends]",
    ),
    flag("json", &[], "", "print the data of the reply as one line of JSON"),
    flag("version", &['V'], "", "print the version"),
    flag("help", &['h'], "", "print usage and commands; help COMMAND explains one"),
];

/// What was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    values: BTreeMap<&'static str, String>,
    switches: Vec<&'static str>,
    /// What is no flag.
    pub(crate) words: Vec<String>,
}

impl Arguments {
    /// The value of a flag; `None` also when it is empty: scripts pass empty variables.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    pub(crate) fn has(&self, switch: &str) -> bool {
        self.switches.contains(&switch)
    }
}

/// Reads arguments, without the program's name.
pub(crate) fn parse(arguments: &[String]) -> Result<Arguments, Problem> {
    let matches = parser().try_get_matches_from(normalise(arguments)).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Problem::usage(format!("{}; see orchestrator-client --help", first.trim_start_matches("error: ")))
    })?;
    let mut given = Arguments::default();
    for flag in FLAGS {
        if flag.value.is_empty() {
            if matches.get_flag(flag.name) {
                given.switches.push(flag.name);
            }
        } else if let Some(value) = matches.get_one::<String>(flag.name) {
            given.values.insert(flag.name, value.clone());
        }
    }
    given.words = matches.get_many::<String>("words").into_iter().flatten().cloned().collect();
    Ok(given)
}

fn parser() -> clap::Command {
    let arg = |flag: &Flag| {
        let action = if flag.value.is_empty() { ArgAction::SetTrue } else { ArgAction::Set };
        // As with any getopt, the last one wins.
        Arg::new(flag.name).long(flag.name).action(action).overrides_with(flag.name)
    };
    clap::Command::new("orchestrator-client")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(FLAGS.iter().map(arg))
        .arg(Arg::new("words").num_args(0..).action(ArgAction::Append))
}

/// Rewrites arguments into the canonical form. Never fails: what it does not know it hands on, for clap to complain about.
fn normalise(arguments: &[String]) -> Vec<String> {
    let mut canonical = Vec::with_capacity(arguments.len());
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            words.extend(rest.by_ref().cloned());
            break;
        }
        let bare = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).unwrap_or_default();
        if bare.is_empty() {
            words.push(argument.clone());
            continue;
        }
        let (name, attached) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (bare, None),
        };
        let found = match named(name) {
            Some(flag) => Some((flag, attached)),
            // `-idb1:3306`, but not `--idb1`.
            None if !argument.starts_with("--") => lettered(bare),
            None => None,
        };
        canonical.push(match found {
            None => argument.clone(),
            Some((flag, _)) if flag.value.is_empty() => format!("--{}", flag.name),
            Some((flag, Some(value))) => format!("--{}={value}", flag.name),
            Some((flag, None)) => match rest.next() {
                Some(value) => format!("--{}={value}", flag.name),
                None => format!("--{}", flag.name),
            },
        });
    }
    if !words.is_empty() {
        canonical.push("--".to_owned());
        canonical.extend(words);
    }
    canonical
}

/// The flag of this name, letter, or unique abbreviation.
fn named(name: &str) -> Option<&'static Flag> {
    let mut letters = name.chars();
    if let (Some(letter), None) = (letters.next(), letters.next()) {
        return FLAGS.iter().find(|flag| flag.letters.contains(&letter));
    }
    let exact = FLAGS.iter().find(|flag| flag.name == name);
    exact.or_else(|| {
        let mut like = FLAGS.iter().filter(|flag| flag.name.starts_with(name));
        like.next().filter(|_| like.next().is_none())
    })
}

/// The flag of the first letter, and its value: the other letters.
fn lettered(bare: &str) -> Option<(&'static Flag, Option<&str>)> {
    let letter = bare.chars().next()?;
    let flag = FLAGS.iter().find(|flag| flag.letters.contains(&letter) && !flag.value.is_empty())?;
    Some((flag, Some(&bare[letter.len_utf8()..])))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[rstest]
    #[case(&["-c", "clusters"], &["--command=clusters"])]
    #[case(&["clusters"], &["--", "clusters"])]
    #[case(&["-i", "a", "-s", "b"], &["--instance=a", "--destination=b"])]
    #[case(&["-ia:1"], &["--instance=a:1"])]
    #[case(&["-i=a:1"], &["--instance=a:1"])]
    #[case(&["-alias", "x"], &["--alias=x"])]
    #[case(&["--alias=x=y"], &["--alias=x=y"])]
    #[case(&["--ali", "x"], &["--alias=x"])]
    #[case(&["-promotion-rule", "prefer"], &["--promotion-rule=prefer"])]
    #[case(&["-r", "-c"], &["--reason=-c"])]
    #[case(&["-S", "-5"], &["--seconds=-5"])]
    #[case(&["-i", ""], &["--instance="])]
    #[case(&["-i"], &["--instance"])]
    #[case(&["-h"], &["--help"])]
    #[case(&["--help", "relocate"], &["--help", "--", "relocate"])]
    #[case(&["-x"], &["-x"])]
    #[case(&["--p", "x"], &["--p", "--", "x"])]
    #[case(&["--nonsense", "x"], &["--nonsense", "--", "x"])]
    #[case(&["--", "-i"], &["--", "-i"])]
    #[case(&["-"], &["--", "-"])]
    fn every_spelling_becomes_one(#[case] given: &[&str], #[case] expected: &[&str]) {
        assert_eq!(normalise(&strings(given)), strings(expected));
    }

    #[test]
    fn values_switches_and_words_are_told_apart() {
        let given =
            parse(&strings(&["-c", "x", "-i", "a", "-i", "b", "--json", "word", "-d", " "])).expect("arguments");
        assert_eq!(
            (given.get("command"), given.get("instance"), given.get("destination")),
            (Some("x"), Some("b"), None)
        );
        assert!(given.has("json") && !given.has("help"));
        assert_eq!(given.words, ["word"]);
    }

    #[test]
    fn mistakes_are_named() {
        let fails = |words: &[&str]| parse(&strings(words)).expect_err("a mistake").to_string();
        assert!(fails(&["--nonsense"]).contains("--nonsense"));
        assert!(fails(&["-i"]).contains("--instance"));
        assert!(fails(&["-x"]).contains("-x"));
    }

    #[test]
    fn names_and_letters_are_unique() {
        for (place, flag) in FLAGS.iter().enumerate() {
            for other in &FLAGS[..place] {
                assert_ne!(flag.name, other.name);
                assert!(flag.letters.iter().all(|letter| !other.letters.contains(letter)), "{}", flag.name);
            }
        }
    }
}
