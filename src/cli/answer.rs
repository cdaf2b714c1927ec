//! What commands answer: plain text in the format that scripts cut, or with `--json` one document per line.
//!
//! Shapes of the documents, by what a command answers in plain text:
//!
//! | Plain text | Document |
//! |---|---|
//! | one instance by its key (`discover`, `begin-downtime`, `which-master`, ...) | `{"Hostname": ..., "Port": ...}`; `null` where the plain text is empty |
//! | a list of known instances (`search`, `which-replicas`, `problems`, ...) | list of instance records as in the compatibility API |
//! | one known instance (`instance`, `which-instance`, `which-cluster-master`) | one instance record |
//! | other lists (`clusters`, `tags`, `nodes`, `jobs list`, ...) | list of strings or objects |
//! | a text (`topology`, `which-cluster`, `tag-value`, ...) | a string; a number for `get-cluster-heuristic-lag` |
//! | nothing (`snapshot-topologies`, ...) | `null`, or an object with what was done |
//!
//! With several instances in `-i` each gives one document. Errors stay text on stderr, whatever the format.

use api::View;
use api::legacy;
use domain::instance::{Instance, InstanceKey};
use serde::Serialize;
use serde_json::{Value, json};

/// One answer in both forms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// Exactly what goes to stdout, line ends included.
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// Nothing to print.
    pub(crate) fn nothing() -> Self {
        Self { text: String::new(), json: Value::Null }
    }

    /// One line of text.
    pub(crate) fn line(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { json: Value::String(text.clone()), text: format!("{text}\n") }
    }

    /// One text, with its own document.
    pub(crate) fn line_as(text: impl std::fmt::Display, json: Value) -> Self {
        Self { text: format!("{text}\n"), json }
    }

    /// Several lines; nothing at all when there are none.
    pub(crate) fn lines<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Self {
        let lines: Vec<String> = lines.into_iter().map(|line| line.as_ref().to_owned()).collect();
        Self { text: ended(&lines), json: json!(lines) }
    }

    /// Several lines that were joined: an empty line when there are none.
    pub(crate) fn joined<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Self {
        let lines: Vec<String> = lines.into_iter().map(|line| line.as_ref().to_owned()).collect();
        Self { text: format!("{}\n", lines.join("\n")), json: json!(lines) }
    }

    /// One row per item, each in its own words, and the items as they are.
    pub(crate) fn rows<T: Serialize>(items: &[T], line: impl Fn(&T) -> String) -> anyhow::Result<Self> {
        let lines: Vec<String> = items.iter().map(line).collect();
        Ok(Self { text: ended(&lines), json: serde_json::to_value(items)? })
    }

    /// `host:port`.
    pub(crate) fn key(key: &InstanceKey) -> Self {
        Self { text: format!("{key}\n"), json: json!(legacy::Key::from(key)) }
    }

    /// `host:port`, or nothing.
    pub(crate) fn maybe_key(key: Option<&InstanceKey>) -> Self {
        key.map_or_else(Self::nothing, Self::key)
    }

    /// `host:port` per line.
    pub(crate) fn keys<'a>(keys: impl IntoIterator<Item = &'a InstanceKey>) -> Self {
        let keys: Vec<&InstanceKey> = keys.into_iter().collect();
        let lines: Vec<String> = keys.iter().map(ToString::to_string).collect();
        Self { text: ended(&lines), json: json!(legacy::Key::list(keys)) }
    }

    /// `host:port` per line, full records as JSON.
    pub(crate) fn instances<'a>(
        instances: impl IntoIterator<Item = &'a Instance>,
        view: &View,
    ) -> anyhow::Result<Self> {
        let instances: Vec<&Instance> = instances.into_iter().collect();
        let lines: Vec<String> = instances.iter().map(|one| one.key.to_string()).collect();
        let records: Vec<Value> = instances.iter().map(|one| record(one, view)).collect::<Result<_, _>>()?;
        Ok(Self { text: ended(&lines), json: Value::Array(records) })
    }

    /// One instance: `host:port`, its record as JSON.
    pub(crate) fn instance(instance: &Instance, view: &View) -> anyhow::Result<Self> {
        Ok(Self { text: format!("{}\n", instance.key), json: record(instance, view)? })
    }

    /// What goes to stdout.
    pub(crate) fn render(&self, as_json: bool) -> String {
        if as_json { format!("{}\n", self.json) } else { self.text.clone() }
    }
}

/// An answer that is printed like any other, and yet is a failure: `config check` of a configuration with problems, an
/// operation of which a part failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) answer: Answer,
    pub(crate) problem: String,
}

impl Failed {
    pub(crate) fn with(answer: Answer, problem: impl Into<String>) -> anyhow::Error {
        Self { answer, problem: problem.into() }.into()
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Failed {}

/// The record of an instance as the compatibility API shows it.
fn record(instance: &Instance, view: &View) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(legacy::Instance::stored(instance, view))?)
}

/// Each line with its end.
pub(crate) fn ended<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> String {
    lines.into_iter().fold(String::new(), |text, line| text + line.as_ref() + "\n")
}

/// Columns side by side for people, two blanks apart, without blanks at the ends of lines.
pub(crate) fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lists_print_nothing_and_joined_ones_an_empty_line() {
        assert_eq!(Answer::lines(Vec::<String>::new()).text, "");
        assert_eq!(Answer::joined(Vec::<String>::new()).text, "\n");
        assert_eq!(Answer::keys([]).render(true), "[]\n");
        assert_eq!(Answer::nothing().render(true), "null\n");
        assert_eq!(Answer::nothing().render(false), "");
        let key = InstanceKey::new("2001:db8::7", 3308);
        assert_eq!(Answer::key(&key).text, "2001:db8::7:3308\n");
        assert_eq!(Answer::key(&key).render(true), "{\"Hostname\":\"2001:db8::7\",\"Port\":3308}\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["1".to_owned(), "long".to_owned()], vec!["22".to_owned(), String::new()]];
        assert_eq!(columns(&["a", "b"], &rows), "a   b\n1   long\n22\n");
    }
}
