//! Looking at the configuration.

use std::fmt::Write as _;

use anyhow::bail;
use config::{Key, Origin, Reload, Status};
use serde_json::{Map, Value, json};

use super::alone;
use crate::answer::{Answer, Failed};
use crate::catalogue::Command;
use crate::session::Base;

pub(crate) const COMMANDS: &[Command] = &[
    alone!(
        "Meta, internal",
        "dump-config",
        dump,
        "Print the configuration in force, passwords masked",
        "Prints every key with its value as one line of JSON. Unlike the original, which printed them, passwords and other\n\
         secrets are masked. Needs no backend."
    ),
    alone!(
        "Meta",
        "config",
        config,
        "Check, dump or explain the configuration: config check|dump|keys",
        "config check    what is set and what it does: effective, not yet effective, without effect; misspelt keys with\n\
         \x20               the nearest known name; files that cannot be opened. Exit status 1 when something is wrong\n\
         config dump     every key with its value as one line of JSON, passwords masked\n\
         config keys     every key there is, its type and meaning\n\n\
         Needs no backend. --config names another file than those of the search path."
    ),
];

async fn config(base: &Base) -> anyhow::Result<Answer> {
    match base.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check"] => check(base),
        ["dump"] => dump(base).await,
        ["keys"] => keys(),
        _ => bail!("say which: orchestrator config check|dump|keys"),
    }
}

fn check(base: &Base) -> anyhow::Result<Answer> {
    let mut report = config::check(&base.loaded);
    report.problems.extend(base.settings().check_backend());
    let answer = Answer { text: report.to_string(), json: serde_json::to_value(&report)? };
    match report.problems.len() {
        0 => Ok(answer),
        1 => Err(Failed::with(answer, "the configuration has a problem")),
        count => Err(Failed::with(answer, format!("the configuration has {count} problems"))),
    }
}

async fn dump(base: &Base) -> anyhow::Result<Answer> {
    let all: Map<String, Value> =
        base.settings().dump().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let json = Value::Object(all);
    Ok(Answer { text: format!("{json}\n"), json })
}

fn keys() -> anyhow::Result<Answer> {
    let mut text = String::new();
    let mut rows = Vec::new();
    let mut section = "";
    for key in config::keys() {
        if key.section != section {
            section = key.section;
            let _ = writeln!(text, "{}{section}", if text.is_empty() { "" } else { "\n" });
        }
        let _ = writeln!(text, "  {} ({}{})\n      {}", key.name, key.kind.name(), status(key), key.meaning);
        rows.push(json!({
            "key": key.name,
            "section": key.section,
            "type": key.kind.name(),
            "status": status(key).trim_start_matches(", "),
            "meaning": key.meaning,
            "restart": key.reload == Reload::Restart,
            "new": key.origin == Origin::New,
        }));
    }
    Ok(Answer { text, json: Value::Array(rows) })
}

/// What setting a key does, where it is not simply effective.
fn status(key: &Key) -> String {
    match key.status {
        Status::Effective => String::new(),
        Status::NotYet(feature) => format!(", not yet effective: {feature}"),
        Status::Unused(reason) => format!(", no effect: {reason}"),
        Status::Superseded(by) => format!(", superseded by {by}"),
        Status::Unsupported(instead) => format!(", not supported: {instead}"),
        Status::Synonym(of) => format!(", older name of {of}"),
    }
}
