//! One run: arguments in; stdout, stderr and exit status out. 0: done. 1: anything else.

use std::fmt::Write as _;
use std::io::Write;

use crate::api::Api;
use crate::arguments::{self, Arguments, FLAGS};
use crate::catalogue::{self, Run};
use crate::own::{self, Answer, Session};
use crate::problem::Problem;
use crate::settings::{Environment, Settings};
use crate::template::Values;

const FAILED: u8 = 1;

/// Runs the program.
pub(crate) fn run(words: &[String], environment: &Environment, out: &mut impl Write, err: &mut impl Write) -> u8 {
    for name in &environment.not_understood {
        talk(err, &format!("{name} in {} needs a shell, and is ignored", crate::profile::PATH));
    }
    let (text, code) = match answer(words, environment) {
        Ok((answer, as_json)) => (if as_json { answer.json + "\n" } else { answer.text }, answer.code),
        Err(problem) => (complain(&problem, err), FAILED),
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        // Whoever reads has seen enough, as in `... | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => code,
        Err(error) => {
            talk(err, &format!("cannot write: {error}"));
            FAILED
        }
    }
}

/// Says what went wrong; gives what belongs on stdout nevertheless.
fn complain(problem: &Problem, err: &mut impl Write) -> String {
    match problem {
        Problem::Refused { message, details, .. } => {
            let _ = writeln!(err, "{message}");
            details.as_ref().map(|details| format!("{details}\n")).unwrap_or_default()
        }
        Problem::Usage(text) | Problem::Unanswered(text) => {
            talk(err, text);
            String::new()
        }
    }
}

pub(crate) fn talk(err: &mut impl Write, text: &str) {
    // Nowhere is left to say that this failed.
    let _ = writeln!(err, "orchestrator-client[{}]: {text}", std::process::id());
}

/// The answer, and whether it is wanted as JSON.
fn answer(words: &[String], environment: &Environment) -> Result<(Answer, bool), Problem> {
    let arguments = arguments::parse(words)?;
    if arguments.has("version") {
        let text = concat!("orchestrator-client ", env!("CARGO_PKG_VERSION"), "\n").to_owned();
        return Ok((
            Answer { text, json: format!("\"{}\"", env!("CARGO_PKG_VERSION")), code: 0 },
            arguments.has("json"),
        ));
    }
    let (name, rest) = split(&arguments);
    let name = if arguments.has("help") { "help" } else { name };
    let rest = if arguments.has("help") { &arguments.words } else { rest };
    if name.is_empty() {
        return Err(Problem::usage("a command must be provided: -c COMMAND; see orchestrator-client --help"));
    }
    let unknown = || Problem::usage(format!("Unknown command: {name}; see orchestrator-client --help"));
    let command = catalogue::find(name).ok_or_else(unknown)?;
    if let (false, Some(word)) = (command.name == "help", rest.first()) {
        return Err(Problem::usage(format!("what does {word:?} mean? {} takes flags only", command.name)));
    }
    if let Run::Missing(instead) = command.run {
        return Err(Problem::usage(format!("{} is not offered over HTTP. {instead}", command.name)));
    }
    let values = Values { arguments: &arguments, environment };
    let api = Api::new(Settings::new(&arguments, environment)?)?;
    let session = Session { values, words: rest, api: &api };
    let answer = match command.run {
        Run::Call(call) => own::request(&session, call),
        Run::Own(_, function) => function(&session),
        Run::Missing(_) => Err(unknown()),
    };
    Ok((answer?, arguments.has("json")))
}

/// The command, by flag or as the first word, and the words after it.
fn split(arguments: &Arguments) -> (&str, &[String]) {
    match (arguments.get("command"), arguments.words.split_first()) {
        (Some(name), _) => (name, &arguments.words),
        (None, Some((name, rest))) => (name, rest),
        (None, None) => ("", &[]),
    }
}

/// What `help` prints.
pub(crate) fn usage() -> String {
    let mut text = String::from(
        "Usage: orchestrator-client -c COMMAND [flags]\n       orchestrator-client COMMAND [flags]\n\n\
         Runs commands of orchestrator over its HTTP API. Of several services in ORCHESTRATOR_API the leader is asked.\n\n\
         Flags:\n",
    );
    for flag in FLAGS {
        let mut named = String::new();
        for letter in flag.letters {
            let _ = write!(named, "-{letter}, ");
        }
        let _ = write!(named, "--{} {}", flag.name, flag.value);
        let _ = writeln!(text, "  {named:<36} {}", flag.help);
    }
    text.push_str("\nCommands:\n");
    text + &catalogue::listing()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::environment;

    fn ran(line: &[&str]) -> (u8, String, String) {
        let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&words, &environment(&[]), &mut out, &mut err);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (code, text(out), text(err).replace(&std::process::id().to_string(), "PID"))
    }

    #[test]
    fn help_needs_no_service() {
        insta::assert_snapshot!(ran(&["-c", "help"]).1);
        assert_eq!(ran(&["--help"]), ran(&["help"]));
        assert_eq!(ran(&["--help"]).0, 0);
        let (code, text, _) = ran(&["help", "relocate-slaves"]);
        assert_eq!(code, 0);
        assert!(text.starts_with("relocate-replicas -i INSTANCE -d DESTINATION [--pattern REGEX]\n"), "{text}");
        assert_eq!(ran(&["relocate", "-h"]).1, ran(&["help", "relocate"]).1);
        assert!(ran(&["-V"]).1.starts_with("orchestrator-client "));
    }

    #[test]
    fn mistakes_are_found_before_anything_is_sent() {
        let cases: &[&[&str]] = &[
            &[],
            &["xyzzy"],
            &["--nonsense"],
            &["-c", "relocate", "-i", "a"],
            &["-c", "clusters", "extra"],
            &["-c", "help", "xyzzy"],
            &["-c", "jobs"],
            &["-c", "instance-status", "-i", "a"],
            &["-c", "repoint-replicas", "-i", "a", "-d", "b"],
            &["-c", "register-candidate", "-i", "a"],
            &["-c", "find", "--pattern", "("],
            &["-c", "api"],
            &["-c", "clusters", "-U", "ftp://a"],
            &["-c", "clusters", "-e", "no header"],
        ];
        let mut record = String::new();
        for line in cases {
            let (code, out, err) = ran(line);
            assert_eq!((code, out.as_str()), (1, ""), "{line:?}");
            let _ = write!(record, "{} => {err}", line.join(" "));
        }
        insta::assert_snapshot!(record);
    }
}
