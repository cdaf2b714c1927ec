//! A reader over the bytes of a GTID text. It only ever moves forward and never allocates, so every parser built on it
//! is linear in the length of its input.

use super::error::{ParseError, Problem};

/// Reads one text from left to right.
pub(super) struct Cursor<'a> {
    kind: &'static str,
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(kind: &'static str, text: &'a str) -> Self {
        Self { kind, text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips what the servers skip: spaces, tabs and line ends (`\x0b` and `\x0c` too, as C's `isspace` does).
    pub(super) fn skip_space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace() || b == 0x0b) {
            self.at += 1;
        }
    }

    /// Consumes `byte` if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        if hit {
            self.at += 1;
        }
        hit
    }

    /// Consumes the longest run of bytes that `keep` accepts. `keep` must accept ASCII only.
    pub(super) fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&keep) {
            self.at += 1;
        }
        // `keep` accepts ASCII only, so both ends are character boundaries; an empty piece is the harmless answer.
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// A decimal number of at least one digit, at most `max`. Leading zeros are fine, as on the servers; signs are not.
    pub(super) fn number(&mut self, max: u64, too_large: Problem) -> Result<u64, ParseError> {
        let start = self.at;
        let digits = self.take_while(|b| b.is_ascii_digit());
        if digits.is_empty() {
            return Err(self.error_at(Problem::Number, start));
        }
        match digits.parse::<u64>() {
            Ok(n) if n <= max => Ok(n),
            _ => Err(self.error_at(too_large, start)),
        }
    }

    pub(super) fn error(&self, problem: Problem) -> ParseError {
        self.error_at(problem, self.at)
    }

    pub(super) fn error_at(&self, problem: Problem, at: usize) -> ParseError {
        ParseError::new(self.kind, problem, self.text, at)
    }
}
