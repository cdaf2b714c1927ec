//! Keeps the beginning and the end of an output of any length, without secrets.

use std::collections::VecDeque;

/// A shorter password is blotted out nowhere: it would be found in words that have nothing to do with it, and is no secret.
const SHORTEST_SECRET: usize = 4;
const BLOT: &[u8] = b"***";

/// What has been read so far, as much of it as is kept.
#[derive(Debug)]
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    read: u64,
    longest: usize,
    secrets: Vec<Vec<u8>>,
    /// So much more than asked for is kept on both sides of the gap, so that half a secret can be told from no secret.
    margin: usize,
}

impl Capture {
    pub(super) fn new(longest: usize, secrets: &[String]) -> Self {
        let secrets = sorted(secrets);
        let margin = secrets.first().map_or(0, Vec::len);
        Self { head: Vec::new(), tail: VecDeque::new(), read: 0, longest, secrets, margin }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        let room = (self.front() + self.margin).saturating_sub(self.head.len());
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(self.back() + self.margin);
        self.tail.drain(..surplus);
    }

    pub(super) fn finish(mut self) -> String {
        let tail: Vec<u8> = self.tail.drain(..).collect();
        let kept = (self.head.len() + tail.len()) as u64;
        if kept == self.read {
            let whole = self.without_secrets(&[self.head.as_slice(), tail.as_slice()].concat());
            if whole.len() <= self.longest {
                return String::from_utf8_lossy(&whole).into_owned();
            }
            return self.with_gap(&whole, &whole);
        }
        // What is left of a secret that lies across the gap is shorter than the margin.
        let (head, tail) = (self.without_secrets(&self.head), self.without_secrets(&tail));
        self.with_gap(&head[..head.len().saturating_sub(self.margin)], &tail[self.margin.min(tail.len())..])
    }

    fn with_gap(&self, head: &[u8], tail: &[u8]) -> String {
        let head = &head[..self.front().min(head.len())];
        let tail = &tail[tail.len().saturating_sub(self.back())..];
        let gap = self.read.saturating_sub((head.len() + tail.len()) as u64);
        let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
        format!("{head}\n[{gap} bytes left out]\n{tail}")
    }

    fn front(&self) -> usize {
        self.longest / 2
    }

    fn back(&self) -> usize {
        self.longest - self.front()
    }

    fn without_secrets(&self, bytes: &[u8]) -> Vec<u8> {
        blotted(bytes, &self.secrets)
    }
}

/// A text that is not output.
pub(super) fn without_secrets(text: &str, secrets: &[String]) -> String {
    String::from_utf8_lossy(&blotted(text.as_bytes(), &sorted(secrets))).into_owned()
}

/// Longest first: one may be a part of another.
fn sorted(secrets: &[String]) -> Vec<Vec<u8>> {
    let long_enough = secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET);
    let mut secrets: Vec<Vec<u8>> = long_enough.map(|secret| secret.clone().into()).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

fn blotted(bytes: &[u8], secrets: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, others)) = rest.split_first() {
        match secrets.iter().find(|secret| rest.starts_with(secret)) {
            Some(secret) => {
                out.extend_from_slice(BLOT);
                rest = &rest[secret.len()..];
            }
            None => {
                out.push(*first);
                rest = others;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(longest: usize, secrets: &[&str], pieces: &[&str]) -> String {
        let secrets: Vec<String> = secrets.iter().map(ToString::to_string).collect();
        let mut capture = Capture::new(longest, &secrets);
        for piece in pieces {
            capture.push(piece.as_bytes());
        }
        capture.finish()
    }

    #[test]
    fn what_fits_is_kept_whole() {
        assert_eq!(captured(10, &[], &[]), "");
        assert_eq!(captured(10, &[], &["01234", "56789"]), "0123456789");
    }

    #[test]
    fn of_more_the_beginning_and_the_end_are_kept() {
        assert_eq!(captured(10, &[], &["0123456789a"]), "01234\n[1 bytes left out]\n6789a");
        let lines: Vec<String> = (0..100_000).map(|n| format!("{n}\n")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(captured(12, &[], &lines), "0\n1\n2\n\n[588878 bytes left out]\n99999\n");
    }

    #[test]
    fn secrets_are_blotted_out_also_where_the_gap_cuts_them() {
        assert_eq!(captured(99, &["secret", "top secret!"], &["a sec", "ret, top secret!."]), "a ***, ***.");
        assert_eq!(captured(99, &["a"], &["banana"]), "banana");
        for before in 0..40 {
            for after in 0..40 {
                let text = format!("{}hunter2{}", "-".repeat(before), "-".repeat(after));
                let out = captured(20, &["hunter2"], &[&text]);
                let without = out.replace(" bytes left out", "");
                assert!(!without.contains(|c: char| "hunter".contains(c)), "{before} {after}: {out}");
            }
        }
    }

    #[test]
    fn what_is_no_utf8_is_kept_as_well_as_may_be() {
        let mut capture = Capture::new(10, &[]);
        capture.push(b"a\xffb\xc3");
        assert_eq!(capture.finish(), "a\u{fffd}b\u{fffd}");
    }
}
