//! Why a text is not a GTID set. Texts come from servers, from our own stored documents and from people, so the message
//! must be safe to print and must point at the place, however long or strange the input is.

use std::fmt::Write as _;

/// Longest excerpt of a bad input that we quote, in printed characters. Executed sets reach megabytes; logs must not.
const EXCERPT_CHARS: usize = 80;
/// How much of the excerpt may lie before the offending byte, so that the reader sees what led to it.
const LEAD_IN_BYTES: usize = 40;

/// A text that is not a GTID set, position or identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {kind}: {problem} at byte {at}, near \"{excerpt}\"")]
pub struct ParseError {
    /// What we tried to read, for example `MySQL GTID set`.
    pub kind: &'static str,
    /// What is wrong.
    pub problem: Problem,
    /// Byte offset into the input.
    pub at: usize,
    /// The neighbourhood of the offending byte: at most 80 characters, everything but printable ASCII escaped.
    pub excerpt: String,
}

/// The ways in which a GTID text can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("expected a server UUID of the form 8-4-4-4-12 hexadecimal digits")]
    Uuid,
    #[error("expected ':' and an interval after the server UUID")]
    NoInterval,
    #[error("expected a transaction number")]
    Number,
    #[error("transaction numbers go from 1 to 9223372036854775806")]
    TransactionRange,
    #[error("the interval ends before it starts")]
    ReversedInterval,
    #[error("expected ':', ',' or the end")]
    Separator,
    #[error("a tag is a letter or '_' followed by at most 31 letters, digits or '_'")]
    Tag,
    #[error("expected an interval after the tag")]
    TagWithoutInterval,
    #[error("expected '-'")]
    Dash,
    #[error("a domain id or server id goes from 0 to 4294967295")]
    IdRange,
    #[error("a sequence number goes from 0 to 18446744073709551615")]
    SequenceRange,
    #[error("a replication domain may appear only once in a position")]
    DuplicateDomain,
    #[error("a pair of replication domain and server id may appear only once in a binlog state")]
    DuplicateOrigin,
}

impl ParseError {
    pub(super) fn new(kind: &'static str, problem: Problem, input: &str, at: usize) -> Self {
        Self { kind, problem, at, excerpt: excerpt(input, at) }
    }
}

/// A printable window of `input` around byte `at`.
fn excerpt(input: &str, at: usize) -> String {
    let mut start = at.saturating_sub(LEAD_IN_BYTES).min(input.len());
    while !input.is_char_boundary(start) {
        start -= 1; // ends at 0 at the latest, which is a boundary
    }
    let mut shown = String::new();
    if start > 0 {
        shown.push_str("...");
    }
    for c in input[start..].chars() {
        let mut piece = String::new();
        if c != '"' && c != '\\' && (c == ' ' || c.is_ascii_graphic()) {
            piece.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(piece, "{}", c.escape_default());
        }
        // Three characters are kept for the closing dots.
        if shown.len() + piece.len() > EXCERPT_CHARS - 3 {
            shown.push_str("...");
            return shown;
        }
        shown.push_str(&piece);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_printable_and_near_the_place() {
        assert_eq!(excerpt("abc", 1), "abc");
        assert_eq!(excerpt("a\nb\u{202e}\"\\", 0), "a\\nb\\u{202e}\\\"\\\\");
        let long = format!("{}X{}", "a".repeat(1000), "b".repeat(1000));
        let shown = excerpt(&long, 1000);
        assert!(shown.starts_with("...a") && shown.ends_with("b...") && shown.contains('X'), "{shown}");
        assert!(shown.len() <= EXCERPT_CHARS);
        assert_eq!(excerpt("ab", 700), "...");
        // Offsets inside a character and beyond the end are harmless.
        for at in 0..200 {
            assert!(excerpt(&"é€😀".repeat(20), at).len() <= EXCERPT_CHARS);
        }
    }
}
