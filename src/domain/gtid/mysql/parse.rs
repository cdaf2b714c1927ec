//! Reads the text form of a MySQL GTID set.
//!
//! ```text
//! set      = [ entry { "," entry } ]             empty entries are skipped, white space is allowed around every token
//! entry    = uuid ":" run { ":" run }
//! run      = [ tag ":" ] interval                a tag stays in force until the next tag or the end of the entry
//! interval = number [ "-" number ]               from 1 to 2^63-2, the end not before the start
//! ```

use std::collections::BTreeMap;

use super::{GtidSet, MAX_TRANSACTION, Origin, Tag, Uuid};
use crate::gtid::cursor::Cursor;
use crate::gtid::error::{ParseError, Problem};

type Pairs = BTreeMap<Origin, Vec<(u64, u64)>>;

pub(super) fn parse(text: &str) -> Result<GtidSet, ParseError> {
    let mut cursor = Cursor::new("MySQL GTID set", text);
    let mut pairs = Pairs::new();
    loop {
        cursor.skip_space();
        if cursor.eat(b',') {
            continue;
        }
        if cursor.peek().is_none() {
            return Ok(GtidSet::from_pairs(pairs));
        }
        entry(&mut cursor, &mut pairs)?;
        cursor.skip_space();
        if !matches!(cursor.peek(), None | Some(b',')) {
            return Err(cursor.error(Problem::Separator));
        }
    }
}

/// One `uuid:...` up to the comma, the end, or the first thing that fits neither.
fn entry(cursor: &mut Cursor<'_>, pairs: &mut Pairs) -> Result<(), ParseError> {
    let uuid = Uuid::parse_next(cursor)?;
    let mut tag: Option<Tag> = None;
    cursor.skip_space();
    if cursor.peek() != Some(b':') {
        return Err(cursor.error(Problem::NoInterval));
    }
    // The runs since the last tag; looked up in the map once per tag, not once per interval.
    let mut runs: Vec<(u64, u64)> = Vec::new();
    while cursor.eat(b':') {
        cursor.skip_space();
        if cursor.peek().is_some_and(Tag::starts_with) {
            flush(pairs, uuid, tag.take(), &mut runs);
            tag = Some(Tag::parse_next(cursor)?);
            cursor.skip_space();
            if !cursor.eat(b':') {
                return Err(cursor.error(Problem::TagWithoutInterval));
            }
            cursor.skip_space();
        }
        runs.push(interval(cursor)?);
        cursor.skip_space();
    }
    flush(pairs, uuid, tag, &mut runs);
    Ok(())
}

fn flush(pairs: &mut Pairs, uuid: Uuid, tag: Option<Tag>, runs: &mut Vec<(u64, u64)>) {
    if !runs.is_empty() {
        pairs.entry((uuid, tag)).or_default().append(runs);
    }
}

fn interval(cursor: &mut Cursor<'_>) -> Result<(u64, u64), ParseError> {
    let at = cursor.at();
    let first = transaction(cursor)?;
    cursor.skip_space();
    if !cursor.eat(b'-') {
        return Ok((first, first));
    }
    cursor.skip_space();
    let last = transaction(cursor)?;
    if last < first {
        return Err(cursor.error_at(Problem::ReversedInterval, at));
    }
    Ok((first, last))
}

fn transaction(cursor: &mut Cursor<'_>) -> Result<u64, ParseError> {
    let at = cursor.at();
    match cursor.number(MAX_TRANSACTION, Problem::TransactionRange)? {
        0 => Err(cursor.error_at(Problem::TransactionRange, at)),
        number => Ok(number),
    }
}
