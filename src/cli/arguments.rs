//! Command line arguments, in the syntax that users of the original orchestrator type, parsed by clap.
//!
//! The original followed the habits of Go: `-alias x`, `-alias=x`, `--alias x` and `--alias=x` are the same, booleans take
//! a value only after `=`, and a flag that takes a value takes the next word whatever it looks like. [`normalise`]
//! rewrites all of that into the one form `--name=value` which clap reads without doubt. Unlike the original, flags are
//! also read after the positional word; there they had no meaning before.

mod duration;
mod flags;
mod request;
mod table;

pub(crate) use duration::parse_duration;
pub(crate) use flags::{Flags, parse, usage};
pub(crate) use request::{Mistake, Request, request};

use table::{Takes, find};

/// Rewrites arguments (without the program's name) into the canonical form. Never fails: what it does not know it hands
/// on, for clap to complain about.
pub(crate) fn normalise(arguments: &[String]) -> Vec<String> {
    let mut canonical = Vec::with_capacity(arguments.len());
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            words.extend(rest.by_ref().cloned());
            break;
        }
        let Some((name, value)) = split_flag(argument) else {
            words.push(argument.clone());
            continue;
        };
        let value = match (value, find(name).map(|flag| flag.takes)) {
            (Some(value), _) => Some(value),
            (None, Some(Takes::Value(_))) => rest.next().map(String::as_str),
            (None, Some(Takes::Switch)) => Some("true"),
            (None, None) => None,
        };
        canonical.push(match value {
            Some(value) => format!("--{name}={value}"),
            None => format!("--{name}"),
        });
    }
    if !words.is_empty() {
        canonical.push("--".to_owned());
        canonical.extend(words);
    }
    canonical
}

/// Name and attached value of a flag; `None` for a positional word (a lone `-` is one).
fn split_flag(argument: &str) -> Option<(&str, Option<&str>)> {
    let bare = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    if bare.is_empty() {
        return None;
    }
    Some(match bare.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare, None),
    })
}

/// The instances of `-i`: separated by any run of blanks, commas, tabs and line ends.
pub(crate) fn split_instances(text: &str) -> Vec<&str> {
    text.split([' ', ',', '\r', '\n', '\t']).filter(|piece| !piece.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[rstest]
    #[case(&["-alias", "x"], &["--alias=x"])]
    #[case(&["--alias", "x"], &["--alias=x"])]
    #[case(&["-alias=x"], &["--alias=x"])]
    #[case(&["--alias=x=y"], &["--alias=x=y"])]
    #[case(&["-alias="], &["--alias="])]
    #[case(&["-c", "clusters"], &["--c=clusters"])]
    #[case(&["-c=clusters", "cli"], &["--c=clusters", "--", "cli"])]
    #[case(&["clusters"], &["--", "clusters"])]
    #[case(&["cli", "-c", "clusters"], &["--c=clusters", "--", "cli"])]
    #[case(&["http", "--debug"], &["--debug=true", "--", "http"])]
    #[case(&["-debug", "http"], &["--debug=true", "--", "http"])]
    #[case(&["--discovery=false", "http"], &["--discovery=false", "--", "http"])]
    #[case(&["--discovery", "false"], &["--discovery=true", "--", "false"])]
    #[case(&["-reason", "-debug"], &["--reason=-debug"])]
    #[case(&["-reason", "--"], &["--reason=--"])]
    #[case(&["-i"], &["--i"])]
    #[case(&["-i", ""], &["--i="])]
    #[case(&["-nonsense", "x"], &["--nonsense", "--", "x"])]
    #[case(&["-nonsense=x"], &["--nonsense=x"])]
    #[case(&["-"], &["--", "-"])]
    #[case(&["--", "-i"], &["--", "-i"])]
    #[case(&["help", "relocate"], &["--", "help", "relocate"])]
    #[case(&["-h"], &["--h=true"])]
    #[case(&["worker", "--datacenter", "a", "-datacenter=b"], &["--datacenter=a", "--datacenter=b", "--", "worker"])]
    #[case(&[], &[])]
    fn every_spelling_becomes_one(#[case] given: &[&str], #[case] expected: &[&str]) {
        assert_eq!(normalise(&strings(given)), strings(expected));
    }

    #[test]
    fn lists_are_split_at_any_run_of_separators() {
        assert_eq!(split_instances(" a:1,b:2  c\r\n\td,,"), ["a:1", "b:2", "c", "d"]);
        assert!(split_instances(" ,").is_empty());
    }

    proptest! {
        #[test]
        fn no_arguments_make_it_panic_and_normal_ones_stay(words in prop::collection::vec("(-{0,3})[a-z=]{0,9}|.{0,12}", 0..8)) {
            let once = normalise(&words);
            if let Ok(flags) = parse(&words) {
                drop(request(&flags));
                prop_assert!(parse(&once).is_ok(), "{:?} -> {:?}", words, once);
            }
        }
    }
}
