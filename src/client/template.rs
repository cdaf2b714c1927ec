//! Paths with holes: `relocate/{i}/{d}[?pattern={pattern}]`.
//!
//! A hole is filled with what the user gave, encoded. What stands in brackets is left out when one of its holes has
//! nothing to fill it; elsewhere that is an error which names what is missing. `{i}` and `{d}` become host and port.

use std::time::Duration;

use domain::instance::InstanceKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::arguments::Arguments;
use crate::problem::Problem;
use crate::settings::Environment;

/// All but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const DEFAULT_PORT: &str = "3306";
const DEFAULT_DURATION: &str = "10m";

/// Values for holes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) environment: &'a Environment,
}

impl<'a> Values<'a> {
    /// `-i`, or the instance of the environment.
    pub(crate) fn instance_text(&self) -> Option<&'a str> {
        self.arguments.get("instance").or_else(|| self.environment.get("ORCHESTRATOR_INSTANCE"))
    }

    /// The instance of `-i`.
    pub(crate) fn instance(&self) -> Result<InstanceKey, Problem> {
        self.key(self.instance_text().ok_or_else(|| Problem::missing(called("i")))?)
    }

    /// How long to wait for an operation that the service did not wait for; `None`: until it has ended.
    pub(crate) fn wait(&self) -> Result<Option<Duration>, Problem> {
        let given = self.arguments.get("wait").or_else(|| self.environment.get("ORCHESTRATOR_WAIT"));
        let seconds = given.map(|text| {
            text.parse::<u32>().map_err(|_| {
                Problem::usage(format!("--wait and ORCHESTRATOR_WAIT take a number of seconds, not {text:?}"))
            })
        });
        Ok(seconds.transpose()?.map(|seconds| Duration::from_secs(u64::from(seconds))))
    }

    fn key(&self, text: &str) -> Result<InstanceKey, Problem> {
        let port = self.arguments.get("port").unwrap_or(DEFAULT_PORT);
        let port =
            port.parse().map_err(|_| Problem::usage(format!("the default port (-D) is a number, not {port:?}")))?;
        InstanceKey::parse(text, port).map_err(|error| Problem::usage(error.to_string()))
    }

    /// The texts that fill a hole: one, or host and port.
    fn fill(&self, hole: &str) -> Result<Option<Vec<String>>, Problem> {
        let arguments = self.arguments;
        let text = match hole {
            "i" => return self.pair(self.instance_text()),
            "d" => return self.pair(arguments.get("destination")),
            "hint" => arguments.get("alias").or_else(|| self.instance_text()),
            "instances" => self.instance_text(),
            "text" => arguments.get("pattern").or_else(|| self.instance_text()),
            "owner" => arguments.get("owner").or(Some(&self.environment.user)),
            "duration" => arguments.get("duration").or(Some(DEFAULT_DURATION)),
            other => arguments.get(other),
        };
        Ok(text.map(|text| vec![text.to_owned()]))
    }

    fn pair(&self, text: Option<&str>) -> Result<Option<Vec<String>>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let key = self.key(text)?;
        Ok(Some(vec![key.hostname, key.port.to_string()]))
    }

    /// A path with its holes filled.
    pub(crate) fn path(&self, template: &str) -> Result<String, Problem> {
        let mut path = String::new();
        let mut rest = template;
        while let Some(open) = rest.find('[') {
            let close = open + rest[open..].find(']').unwrap_or(rest.len() - open);
            self.add(&mut path, &rest[..open])?;
            self.add_optional(&mut path, rest.get(open + 1..close).unwrap_or_default())?;
            rest = rest.get(close + 1..).unwrap_or_default();
        }
        self.add(&mut path, rest)?;
        Ok(path)
    }

    fn add_optional(&self, path: &mut String, part: &str) -> Result<(), Problem> {
        for hole in holes(part) {
            if self.fill(hole)?.is_none() {
                return Ok(());
            }
        }
        self.add(path, part)
    }

    fn add(&self, path: &mut String, part: &str) -> Result<(), Problem> {
        let mut rest = part;
        while let Some((before, hole, after)) = next_hole(rest) {
            path.push_str(before);
            let values = self.fill(hole)?.ok_or_else(|| Problem::missing(called(hole)))?;
            let in_query = path.contains('?');
            for (place, value) in values.iter().enumerate() {
                // The service splits a path after decoding it.
                if !in_query && value.contains(['/', '?', '#']) {
                    let name = called(hole);
                    return Err(Problem::usage(format!("{name} must not contain /, ? or #: {value:?}")));
                }
                if place > 0 {
                    path.push('/');
                }
                path.extend(utf8_percent_encode(value, ENCODED));
            }
            rest = after;
        }
        path.push_str(rest);
        Ok(())
    }

    /// Does a value for the path of this template have to go elsewhere?
    pub(crate) fn fits(&self, template: &str) -> Result<bool, Problem> {
        let path = template.split('?').next().unwrap_or_default();
        for hole in holes(path) {
            if self.fill(hole)?.is_some_and(|values| values.iter().any(|value| value.contains(['/', '?', '#']))) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn next_hole(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (hole, after) = rest.split_once('}')?;
    Some((before, hole, after))
}

/// The holes of a template, in order.
pub(crate) fn holes(template: &str) -> impl Iterator<Item = &str> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let (_, hole, after) = next_hole(rest)?;
        rest = after;
        Some(hole)
    })
}

/// What people call the value of a hole.
fn called(hole: &str) -> &str {
    match hole {
        "i" | "instances" | "text" => "instance",
        "d" => "destination",
        "hint" => "instance or alias",
        other => other,
    }
}

/// The flag that fills a hole.
pub(crate) fn flag(hole: &str) -> &str {
    match hole {
        "i" => "-i INSTANCE",
        "d" => "-d DESTINATION",
        "hint" => "-a CLUSTER|-i INSTANCE",
        "instances" => "-i INSTANCE,...",
        "text" => "-i TEXT",
        "alias" => "-a CLUSTER",
        "owner" => "-o OWNER",
        "reason" => "-r REASON",
        "duration" => "-u DURATION",
        "promotion-rule" => "-R RULE",
        "tag" => "-t TAG",
        "pool" => "-l POOL",
        "hostname" => "-H HOST",
        "path" => "-P PATH",
        "query" => "-q STATEMENT",
        "binlog" => "-n FILE",
        "seconds" => "-S SECONDS",
        "pattern" => "--pattern REGEX",
        "process" => "--process ID",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::settings::tests::environment;

    fn path(template: &str, words: &str, pairs: &[(&str, &str)]) -> Result<String, String> {
        let words: Vec<String> = words.split_whitespace().map(|word| word.replace('_', " ")).collect();
        let arguments = crate::arguments::parse(&words).expect("arguments");
        let environment = environment(pairs);
        Values { arguments: &arguments, environment: &environment }.path(template).map_err(|error| error.to_string())
    }

    #[rstest]
    #[case("clusters", "", "clusters")]
    #[case("instance/{i}", "-i db1", "instance/db1/3306")]
    #[case("instance/{i}", "-i db1 -D 5", "instance/db1/5")]
    #[case("instance/{i}", "-i [::1]:7", "instance/%3A%3A1/7")]
    #[case("relocate/{i}/{d}[?pattern={pattern}]", "-i a:1 -d b:2", "relocate/a/1/b/2")]
    #[case("relocate/{i}/{d}[?pattern={pattern}]", "-i a:1 -s b:2 --pattern ^x|y", "relocate/a/1/b/2?pattern=%5Ex%7Cy")]
    #[case("cluster/{hint}", "-i a:1 -a shop", "cluster/shop")]
    #[case("cluster/{hint}", "-i a:1", "cluster/a%3A1")]
    #[case("downtimed[/{hint}]", "", "downtimed")]
    #[case("b/{i}/{owner}/{reason}/{duration}", "-i a:1 -r a_long_reason", "b/a/1/dba/a%20long%20reason/10m")]
    #[case("tag/{i}?tag={tag}", "-i a:1 -t role=a/b", "tag/a/1?tag=role%3Da%2Fb")]
    fn holes_are_filled(#[case] template: &str, #[case] words: &str, #[case] expected: &str) {
        assert_eq!(path(template, words, &[]).as_deref(), Ok(expected));
    }

    #[test]
    fn the_environment_names_an_instance() {
        let pairs = [("ORCHESTRATOR_INSTANCE", "env:9")];
        assert_eq!(path("instance/{i}", "", &pairs).as_deref(), Ok("instance/env/9"));
        assert_eq!(path("instance/{i}", "-i a:1", &pairs).as_deref(), Ok("instance/a/1"));
    }

    #[rstest]
    #[case("instance/{i}", "", "instance must be provided")]
    #[case("relocate/{i}/{d}", "-i a:1", "destination must be provided")]
    #[case("cluster/{hint}", "", "instance or alias must be provided")]
    #[case("p/{promotion-rule}", "", "promotion-rule must be provided")]
    #[case("cluster/{hint}", "-a a/b", "instance or alias must not contain /, ? or #: \"a/b\"")]
    #[case("instance/{i}", "-i a:x", "the port must be a number")]
    #[case("instance/{i}", "-i a -D x", "the default port (-D) is a number, not \"x\"")]
    #[case("downtimed[/{i}]", "-i a:0", "the port must be a number")]
    fn what_is_missing_or_malformed_is_named(#[case] template: &str, #[case] words: &str, #[case] expected: &str) {
        let said = path(template, words, &[]).expect_err("a mistake");
        assert!(said.contains(expected), "{said}");
    }
}
