//! From canonical arguments to values.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::normalise;
use super::table::{FLAGS, OPERATIONS, Takes};

const ABOUT: &str = "Discovers and manages MySQL and MariaDB replication topologies.\n\n  \
    orchestrator http              run the service: API, web page, leadership, built-in worker\n  \
    orchestrator worker            run a worker\n  \
    orchestrator COMMAND [flags]   run one command (the same as -c COMMAND)\n  \
    orchestrator help [COMMAND]    list commands, or explain one";

const AFTER: &str = "A flag takes one dash or two, and its value after a blank or `=`; flags may stand before and after words.\n\n\
    Results go to stdout, talk to stderr. Exit status:\n  \
    0  success, including \"nothing to print\"\n  \
    1  the command failed: bad value, failed operation, unknown command, unusable configuration, no live worker\n  \
    2  the command line could not be read\n  \
    130, 143  interrupted; what was asked for goes on, or was put back";

/// The flags given.
#[derive(Debug, Clone)]
pub(crate) struct Flags {
    matches: ArgMatches,
    /// Positional words.
    pub(crate) words: Vec<String>,
}

/// Arguments that cannot be read: what to print on stderr. The exit status is 2.
#[derive(Debug)]
pub(crate) struct BadArguments(pub(crate) String);

/// Reads arguments without the program's name.
pub(crate) fn parse(arguments: &[String]) -> Result<Flags, BadArguments> {
    let arguments = std::iter::once("orchestrator".to_owned()).chain(normalise(arguments));
    let matches =
        command().try_get_matches_from(arguments).map_err(|error| BadArguments(format!("{error}\n{}", usage())))?;
    let words = matches.get_many::<String>("words").map(|words| words.cloned().collect()).unwrap_or_default();
    Ok(Flags { matches, words })
}

/// The text of `--help`.
pub(crate) fn usage() -> String {
    command().render_help().to_string()
}

impl Flags {
    /// The value of a flag; `None` when it was not given.
    pub(crate) fn get(&self, name: &'static str) -> Option<&str> {
        self.matches.get_many::<String>(name).and_then(Iterator::last).map(String::as_str)
    }

    /// The value of a flag; empty when it was not given.
    pub(crate) fn text(&self, name: &'static str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// All values of a repeatable flag.
    pub(crate) fn all(&self, name: &'static str) -> Vec<String> {
        self.matches.get_many::<String>(name).map(|values| values.cloned().collect()).unwrap_or_default()
    }

    /// A switch, off when it was not given.
    pub(crate) fn is_on(&self, name: &'static str) -> bool {
        self.switch(name).unwrap_or(false)
    }

    /// A switch; `None` when it was not given.
    pub(crate) fn switch(&self, name: &'static str) -> Option<bool> {
        self.matches.get_many::<bool>(name).and_then(Iterator::last).copied()
    }

    /// A number, or why there is none.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<u64>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| format!("--{name} must be a whole number, not {text:?}"))
    }

    /// Flags that were given and belong to none of these commands' names.
    pub(crate) fn foreign_to(
        &self,
        command: &str,
        operational: bool,
    ) -> Option<(&'static str, &'static [&'static str])> {
        let given = FLAGS.iter().filter(|flag| !flag.only.is_empty() && self.matches.contains_id(flag.name));
        let fits = |only: &[&str]| only.contains(&command) || (operational && only.contains(&OPERATIONS));
        given.map(|flag| (flag.name, flag.only)).find(|(_, only)| !fits(only))
    }
}

fn command() -> Command {
    let mut command = Command::new("orchestrator")
        .about(ABOUT)
        .after_help(AFTER)
        .override_usage("orchestrator [flags] [WORD]...")
        .no_binary_name(false)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .color(clap::ColorChoice::Never)
        .term_width(120)
        .arg(Arg::new("words").value_name("WORD").action(ArgAction::Append).num_args(0..).hide(true));
    for flag in FLAGS {
        let mut arg = Arg::new(flag.name).help(flag.help).long(flag.long).action(ArgAction::Append);
        if flag.name != flag.long {
            arg = arg.short(flag.name.chars().next()).alias(flag.name);
        }
        arg = match flag.takes {
            Takes::Value(shown) => arg.value_name(shown),
            Takes::Switch => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .hide_possible_values(true)
                .value_name("BOOL")
                .value_parser(ValueParser::from(parse_switch)),
        };
        command = command.arg(arg);
    }
    command
}

/// The words for true and false that the original takes.
fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("use true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Flags, BadArguments> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn values_arrive_wherever_and_however_they_are_written() {
        let flags = read(&["-i", "a:1", "http", "--alias=x", "-debug", "--discovery=false", "-d="]).expect("readable");
        assert_eq!((flags.text("i"), flags.text("alias"), flags.get("d")), ("a:1", "x", Some("")));
        assert!(flags.is_on("debug") && flags.switch("discovery") == Some(false) && !flags.is_on("quiet"));
        assert_eq!(flags.words, ["http"]);
        assert_eq!(flags.get("reason"), None);
        assert_eq!(read(&["--command", "x"]).expect("long name").text("c"), "x");
        assert_eq!(read(&["-i", "a", "-i", "b"]).expect("the last wins").text("i"), "b");
        assert_eq!(read(&["-reason", "-x --y"]).expect("dashes in a value").text("reason"), "-x --y");
    }

    #[test]
    fn what_cannot_be_read_shows_the_usage() {
        for words in [&["-nonsense"][..], &["--debug=maybe"], &["-i"], &["-a", "x"], &["-\u{0}"]] {
            let error = read(words).expect_err("unreadable");
            assert!(error.0.contains("orchestrator [flags]"), "{words:?}: {}", error.0);
        }
    }

    #[test]
    fn a_new_flag_is_not_ignored_where_it_means_nothing() {
        let flags = read(&["clusters", "--no-worker"]).expect("readable");
        assert_eq!(flags.foreign_to("clusters", false).map(|(name, _)| name), Some("no-worker"));
        assert_eq!(flags.foreign_to("http", false), None);
    }
}
