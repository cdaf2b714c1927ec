//! The parsers against hostile text: nothing panics, whatever is accepted survives printing, every error can be shown.

use proptest::prelude::*;
use proptest::sample::select;

use super::{GtidSet, ParseError, mariadb, mysql};

/// Pieces of which almost-valid texts are made; random characters alone would never get past the first token.
const PIECES: &[&str] = &[
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "3E11FA47-71CA-11E1-9E33-C80AA9429563",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "3e11fa47-71ca-11e1-9e33-c80aa942956",
    ":",
    ":",
    ":",
    "-",
    "-",
    ",",
    ",",
    " ",
    "\n",
    "\t",
    "\0",
    "0",
    "1",
    "5",
    "007",
    "1-5",
    "5-1",
    ":1-5",
    ":7",
    "9223372036854775806",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "4294967295",
    "4294967296",
    "tag",
    ":TAG:",
    "_",
    "abcdefghijklmnopqrstuvwxyz012345",
    "abcdefghijklmnopqrstuvwxyz0123456",
    "0-1-5",
    "1-1-1",
    "0-2-5",
    "0-1-0",
    "é",
    "😀",
    "\u{202e}",
    "{",
    "+",
    "NULL",
];

fn almost_valid() -> impl Strategy<Value = String> {
    proptest::collection::vec(select(PIECES), 0..16).prop_map(|pieces| pieces.concat())
}

/// A valid text with one byte replaced, removed or doubled.
fn mutated() -> impl Strategy<Value = String> {
    const VALID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:tag:1-9223372036854775806,\nffffffff-71ca-11e1-9e33-c80aa9429562:_:3";
    (0..VALID.len(), any::<u8>(), 0..3u8).prop_map(|(at, byte, kind)| {
        let mut bytes = VALID.as_bytes().to_vec();
        match kind {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn check_error(error: &ParseError, text: &str) {
    assert!(error.at <= text.len());
    assert!(error.excerpt.len() <= 80, "{}", error.excerpt);
    assert!(error.to_string().bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{error}");
}

fn check(text: &str) {
    match text.parse::<mysql::GtidSet>() {
        Ok(set) => {
            let printed = set.to_string();
            assert_eq!(printed.parse::<mysql::GtidSet>().as_ref(), Ok(&set), "{text:?}");
            assert_eq!(set.intervals().next().is_none(), set.is_empty());
            assert!(set.intervals().all(|i| 1 <= i.first && i.first <= i.last && i.last <= mysql::MAX_TRANSACTION));
            assert!(set.count() >= set.intervals().count() as u64);
            assert!(set.subtract(&set).is_empty() && set.contains(&set));
            let _ = (set.transactions(100), set.next_gtid(), set.shared_uuids(&set));
        }
        Err(error) => check_error(&error, text),
    }
    match text.parse::<mariadb::GtidPosition>() {
        Ok(position) => {
            assert_eq!(position.to_string().parse::<mariadb::GtidPosition>().as_ref(), Ok(&position), "{text:?}");
            assert!(position.subtract(&position).is_empty() && position.contains(&position));
            let _ = (position.conflicts(), position.transactions_ahead_of(&mariadb::GtidPosition::new()));
        }
        Err(error) => check_error(&error, text),
    }
    match text.parse::<mariadb::BinlogState>() {
        Ok(state) => assert_eq!(state.to_string().parse::<mariadb::BinlogState>().as_ref(), Ok(&state), "{text:?}"),
        Err(error) => check_error(&error, text),
    }
    match text.parse::<GtidSet>() {
        Ok(set) => assert_eq!(set.to_string().parse::<GtidSet>().as_ref(), Ok(&set), "{text:?}"),
        Err(error) => check_error(&error, text),
    }
    let errors =
        [text.parse::<mysql::Uuid>().err(), text.parse::<mysql::Tag>().err(), text.parse::<mariadb::Gtid>().err()];
    for error in errors.iter().flatten() {
        check_error(error, text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn arbitrary_characters(chars in proptest::collection::vec(any::<char>(), 0..64)) {
        check(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn almost_valid_texts(text in almost_valid()) {
        check(&text);
    }

    #[test]
    fn valid_texts_with_one_flaw(text in mutated()) {
        check(&text);
    }
}

/// Megabytes of executed set are real (clusters with many former primaries); parsing must stay linear.
#[test]
fn a_large_set_is_read_and_printed() {
    let text: Vec<String> = (0..20_000).map(|n| format!(":{}-{}", n * 10 + 1, n * 10 + 5)).collect();
    let text = format!("3e11fa47-71ca-11e1-9e33-c80aa9429562{}", text.concat());
    let set: mysql::GtidSet = text.parse().unwrap();
    assert_eq!(set.to_string(), text);
    assert_eq!((set.intervals().count(), set.count()), (20_000, 100_000));
    // Many entries of one UUID are merged once, not once per entry.
    let entries: Vec<String> =
        (0..20_000).map(|n| format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:{}", 40_000 - 2 * n)).collect();
    assert_eq!(entries.join(",").parse::<mysql::GtidSet>().unwrap().intervals().count(), 20_000);
}
