//! The parts of one MySQL GTID: server UUID, tag, transaction number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::gtid::cursor::Cursor;
use crate::gtid::error::{ParseError, Problem};

/// `@@server_uuid`, a replication group name, or any other UUID that names the origin of transactions.
///
/// Written `8-4-4-4-12`; read in either case and written in lower case, as the server does. Ordered by its bytes, which is
/// the order in which the server prints a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// Positions of the dashes in the text form.
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    const TEXT_LEN: usize = 36;

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads exactly the canonical form; `None` if `text` is anything else.
    fn read(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != Self::TEXT_LEN {
            return None;
        }
        let mut bytes = [0u8; 16];
        let mut nibbles = 0usize;
        for (i, &b) in text.iter().enumerate() {
            if Self::DASHES.contains(&i) {
                if b != b'-' {
                    return None;
                }
                continue;
            }
            let digit = char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())?;
            bytes[nibbles / 2] = (bytes[nibbles / 2] << 4) | digit;
            nibbles += 1;
        }
        Some(Self(bytes))
    }

    pub(super) fn parse_next(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let at = cursor.at();
        let text = cursor.take_while(|b| b.is_ascii_hexdigit() || b == b'-');
        Self::read(text).ok_or_else(|| cursor.error_at(Problem::Uuid, at))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::read(text.trim()).ok_or_else(|| ParseError::new("server UUID", Problem::Uuid, text, 0))
    }
}

impl TryFrom<String> for Uuid {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> Self {
        uuid.to_string()
    }
}

/// The tag of a tagged GTID (MySQL 8.3 and later), in lower case as the server stores it.
///
/// A tag is `[a-z_][a-z0-9_]{0,31}`; see "GTID Format and Storage" in the MySQL manual
/// (<https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html>).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The manual's limit, in characters.
    const MAX_LEN: usize = 32;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn starts_with(byte: u8) -> bool {
        byte.is_ascii_alphabetic() || byte == b'_'
    }

    fn read(text: &str) -> Option<Self> {
        let first = text.bytes().next()?;
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (Self::starts_with(first) && rest && text.len() <= Self::MAX_LEN)
            .then(|| Self(text.to_ascii_lowercase().into_boxed_str()))
    }

    pub(super) fn parse_next(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let at = cursor.at();
        let text = cursor.take_while(|b| b.is_ascii_alphanumeric() || b == b'_');
        Self::read(text).ok_or_else(|| cursor.error_at(Problem::Tag, at))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::read(text).ok_or_else(|| ParseError::new("GTID tag", Problem::Tag, text, 0))
    }
}

/// One transaction: `uuid:number` or `uuid:tag:number`. Printed as `SET gtid_next` takes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    pub uuid: Uuid,
    pub tag: Option<Tag>,
    pub number: u64,
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{}:{tag}:{}", self.uuid, self.number),
            None => write!(f, "{}:{}", self.uuid, self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_in_any_case_and_written_in_lower_case() {
        let uuid: Uuid = " 3E11FA47-71ca-11e1-9E33-C80AA9429562 ".parse().unwrap();
        assert_eq!(uuid.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562");
        assert_eq!(uuid.as_bytes()[..3], [0x3e, 0x11, 0xfa]);
        assert_eq!(serde_json::to_string(&uuid).unwrap(), "\"3e11fa47-71ca-11e1-9e33-c80aa9429562\"");
        assert_eq!(serde_json::from_str::<Uuid>("\"3E11fa47-71ca-11e1-9e33-c80aa9429562\"").unwrap(), uuid);
        for bad in [
            "",
            "No",
            "3e11fa47-71ca-11e1-9e33-c80aa942956",
            "3e11fa47-71ca-11e1-9e33-c80aa942956g",
            "3e11fa4771ca11e19e33c80aa9429562",
        ] {
            assert!(bad.parse::<Uuid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_has_the_manuals_shape() {
        assert_eq!("Backup_1".parse::<Tag>().unwrap().as_str(), "backup_1");
        assert_eq!("_".parse::<Tag>().unwrap().as_str(), "_");
        assert!("a".repeat(32).parse::<Tag>().is_ok());
        for bad in ["", "1a", "a-b", "a b", "é", &"a".repeat(33)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }
}
