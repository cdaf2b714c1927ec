//! Which backend statements dominate: reads the backend's log of all statements and sums it up by kind.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// Kinds printed.
const MOST_KINDS: usize = 25;
/// Enough of a statement to recognise it.
const MOST_TEXT: usize = 170;

/// All statements that differ only in their values.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Kind {
    pub(crate) text: String,
    pub(crate) count: u64,
    pub(crate) seconds: f64,
    pub(crate) rows_examined: u64,
}

/// Reads the part of the log between two lengths.
pub(crate) fn read(path: &Path, from: u64, to: u64) -> Result<Vec<Kind>> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
    Ok(sum_up(&String::from_utf8_lossy(&bytes)))
}

/// Sorted by time, the dearest first.
fn sum_up(log: &str) -> Vec<Kind> {
    let mut kinds: HashMap<String, Kind> = HashMap::new();
    for entry in log.split("# Query_time: ").skip(1) {
        let (head, rest) = entry.split_once('\n').unwrap_or((entry, ""));
        let lines = rest
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("SET timestamp=") && !line.starts_with("use "));
        let text = shape(&lines.collect::<Vec<_>>().join(" "));
        let kind = kinds.entry(text.clone()).or_insert_with(|| Kind { text, ..Kind::default() });
        kind.count += 1;
        kind.seconds += head.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        kind.rows_examined += number_after(head, "Rows_examined:");
    }
    let mut kinds: Vec<Kind> = kinds.into_values().collect();
    kinds.sort_by(|left, right| right.seconds.total_cmp(&left.seconds).then_with(|| left.text.cmp(&right.text)));
    kinds
}

fn number_after(text: &str, word: &str) -> u64 {
    let rest = text.split_once(word).map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Replaces values by `?` and lists of values by `...`.
fn shape(statement: &str) -> String {
    let mut shaped = String::new();
    let mut rest = statement.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' => {
                while let Some(inner) = rest.next() {
                    if inner == '\\' {
                        rest.next();
                    } else if inner == c {
                        break;
                    }
                }
                shaped.push('?');
            }
            '0'..='9' if !shaped.ends_with(|before: char| before.is_alphanumeric() || before == '_') => {
                while rest.next_if(|next| next.is_ascii_alphanumeric() || *next == '.').is_some() {}
                shaped.push('?');
            }
            c if c.is_whitespace() => {
                if !shaped.ends_with(' ') {
                    shaped.push(' ');
                }
            }
            c => shaped.push(c),
        }
    }
    let mut shaped = shaped.replace("NULL", "?").replace("?, ", "?,");
    for list in ["?,?", "(?),(?)", "(?), (?)"] {
        let one = if list == "?,?" { "?" } else { "(?)" };
        while shaped.contains(list) {
            shaped = shaped.replace(list, one);
        }
    }
    shaped.trim().trim_end_matches(';').chars().take(MOST_TEXT).collect()
}

/// The dearest kinds, as text.
pub(crate) fn print(kinds: &[Kind], probes: f64) -> String {
    let mut text = String::from("per 1,000 probes or discoveries: statements, ms of elapsed time, rows examined\n");
    for kind in kinds.iter().take(MOST_KINDS) {
        let per = |value: f64| value * 1000.0 / probes;
        let _ = writeln!(
            text,
            "   {:8.2} {:9.2} {:10.0}  {}",
            per(kind.count as f64),
            per(kind.seconds * 1000.0),
            per(kind.rows_examined as f64),
            kind.text
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_make_kinds() {
        assert_eq!(
            shape("SELECT a1 FROM t WHERE b = 'it''s' AND\n c IN (1, 2, 0x1f)"),
            "SELECT a1 FROM t WHERE b = ?? AND c IN (?)"
        );
        assert_eq!(shape("INSERT INTO t VALUES (1, 'x'), (2, NULL)"), "INSERT INTO t VALUES (?)");
    }

    #[test]
    fn a_log_is_summed_up() {
        let log = "\
# User@Host: root[root] @ localhost [127.0.0.1]
# Query_time: 0.5  Lock_time: 0.000  Rows_sent: 1  Rows_examined: 10
SET timestamp=1;
SELECT 1;
# Query_time: 0.25  Lock_time: 0.000  Rows_sent: 1  Rows_examined: 5
# Rows_affected: 0  Bytes_sent: 60
SET timestamp=1;
SELECT 2;
";
        let kinds = sum_up(log);
        assert_eq!(kinds.len(), 1);
        assert_eq!((kinds[0].text.as_str(), kinds[0].count, kinds[0].rows_examined), ("SELECT ?", 2, 15));
    }
}
