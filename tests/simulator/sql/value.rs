//! Values and their types on the wire.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::io::Write;

use time::OffsetDateTime;

use crate::wire::lenenc_text;

/// What an expression yields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    UInt(u64),
    Real(f64),
    /// An exact number as text.
    Decimal(String),
    Text(Cow<'static, str>),
    /// Microseconds since 1970.
    Time(i64),
}

/// The type of a column, fixed when its statement is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With the greatest length in bytes.
    Text(u32),
    Blob,
    Bool,
    Int,
    UInt,
    Int32,
    UInt32,
    Real,
    /// With its digits after the point.
    Decimal(u8),
    Time(u8),
    Null,
}

pub(crate) struct WireFacts {
    pub(crate) code: u8,
    pub(crate) length: u32,
    pub(crate) flags: u16,
    pub(crate) decimals: u8,
    pub(crate) text: bool,
}

const UNSIGNED: u16 = 32;
const BLOB: u16 = 16;
const BINARY: u16 = 128;

impl Kind {
    /// Type code, display length and flags, as real servers send them.
    pub(crate) fn wire(self) -> WireFacts {
        let number =
            |code, length, flags, decimals| WireFacts { code, length, flags: flags | BINARY, decimals, text: false };
        match self {
            Self::Text(length) => WireFacts { code: 0xfd, length, flags: 0, decimals: 31, text: true },
            Self::Blob => WireFacts { code: 0xfc, length: u32::MAX, flags: BLOB, decimals: 0, text: true },
            Self::Bool => number(0x08, 1, 0, 0),
            Self::Int => number(0x08, 21, 0, 0),
            Self::UInt => number(0x08, 21, UNSIGNED, 0),
            Self::Int32 => number(0x03, 11, 0, 0),
            Self::UInt32 => number(0x03, 10, UNSIGNED, 0),
            Self::Real => number(0x05, 23, 0, 31),
            Self::Decimal(scale) => number(0xf6, 24, 0, scale),
            Self::Time(scale) => number(0x0c, 26, 0, scale),
            Self::Null => number(0x06, 0, 0, 0),
        }
    }

    /// The type of a choice between two values.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Blob, _) | (_, Self::Blob) => Self::Blob,
            (Self::Text(a), Self::Text(b)) => Self::Text(a.max(b)),
            (Self::Text(a), _) | (_, Self::Text(a)) => Self::Text(a.max(64)),
            (Self::Real, _) | (_, Self::Real) => Self::Real,
            (Self::Decimal(a), _) | (_, Self::Decimal(a)) => Self::Decimal(a),
            (Self::Time(_), _) | (_, Self::Time(_)) => Self::Text(26),
            (Self::UInt | Self::UInt32, Self::UInt | Self::UInt32) => Self::UInt,
            _ => Self::Int,
        }
    }
}

impl Value {
    pub(crate) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn bool(truth: bool) -> Self {
        Self::Int(i64::from(truth))
    }

    pub(crate) fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Int(n) => n.to_string().into(),
            Self::UInt(n) => n.to_string().into(),
            Self::Real(n) => n.to_string().into(),
            Self::Decimal(text) => text.as_str().into(),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Time(micros) => date_time(*micros).into(),
        }
    }

    /// Leading digits count, as in MySQL; other text is 0.
    pub(crate) fn as_number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Int(n) => *n as f64,
            Self::UInt(n) => *n as f64,
            Self::Real(n) => *n,
            Self::Time(micros) => *micros as f64 / 1e6,
            Self::Decimal(_) | Self::Text(_) => {
                let text = self.as_text();
                let end = text.find(|c: char| !c.is_ascii_digit() && !".-+".contains(c)).unwrap_or(text.len());
                text[..end].parse().unwrap_or(0.0)
            }
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        self.as_number() != 0.0
    }

    /// Text is compared without case when both are text, otherwise as numbers. `None` with NULL.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Text(a), Self::Text(b)) => {
                Some(a.bytes().map(|c| c.to_ascii_lowercase()).cmp(b.bytes().map(|c| c.to_ascii_lowercase())))
            }
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::UInt(a), Self::UInt(b)) => Some(a.cmp(b)),
            (a, b) => a.as_number().partial_cmp(&b.as_number()),
        }
    }

    pub(crate) fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0xfb),
            Self::Int(n) => short(out, format_args!("{n}")),
            Self::UInt(n) => short(out, format_args!("{n}")),
            other => lenenc_text(out, other.as_text().as_bytes()),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the column's type says what fits")]
    pub(crate) fn write_binary(&self, kind: Kind, out: &mut Vec<u8>) {
        match kind {
            Kind::Text(_) | Kind::Blob | Kind::Decimal(_) => lenenc_text(out, self.as_text().as_bytes()),
            Kind::Bool | Kind::Int | Kind::UInt => {
                let bits = match self {
                    Self::UInt(n) => *n,
                    Self::Int(n) => *n as u64,
                    other => (other.as_number() as i64) as u64,
                };
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Kind::Int32 | Kind::UInt32 => {
                out.extend_from_slice(&((self.as_number() as i64) as u32).to_le_bytes());
            }
            Kind::Real => out.extend_from_slice(&self.as_number().to_le_bytes()),
            Kind::Time(_) => match self {
                Self::Time(micros) => write_binary_time(*micros, out),
                _ => out.push(0),
            },
            Kind::Null => {}
        }
    }
}

/// A number of at most 20 digits: its length fits one byte, which is filled in afterwards.
fn short(out: &mut Vec<u8>, number: std::fmt::Arguments<'_>) {
    let at = out.len();
    out.push(0);
    out.write_fmt(number).expect("writing to memory does not fail");
    out[at] = u8::try_from(out.len() - at - 1).unwrap_or(0);
}

fn calendar(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn date_time(micros: i64) -> String {
    let t = calendar(micros);
    let (month, micro) = (u8::from(t.month()), t.microsecond());
    let (hour, minute, second) = t.to_hms();
    format!("{:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}.{micro:06}", t.year(), t.day())
}

fn write_binary_time(micros: i64, out: &mut Vec<u8>) {
    let t = calendar(micros);
    let (hour, minute, second) = t.to_hms();
    out.push(11);
    out.extend_from_slice(&u16::try_from(t.year()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&[u8::from(t.month()), t.day(), hour, minute, second]);
    out.extend_from_slice(&t.microsecond().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_servers_do() {
        assert_eq!(date_time(1_000_000_123_456), "1970-01-12 13:46:40.123456");
    }

    #[test]
    fn text_and_numbers_compare_as_in_mysql() {
        let text = |text: &'static str| Value::text(text);
        assert_eq!(text("Uptime").compare(&text("UPTIME")), Some(Ordering::Equal));
        assert_eq!(text("12abc").compare(&Value::Int(12)), Some(Ordering::Equal));
        assert_eq!(Value::Null.compare(&Value::Int(1)), None);
    }
}
