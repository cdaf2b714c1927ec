//! JSON as readers of the compatibility API expect it: compact, `<`, `>` and `&` escaped so that a reply can stand
//! inside HTML, floating-point numbers in the notation of the original (integral ones without `.0`, exponents only for
//! the very small and the very large).

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// Below this magnitude a number is written with an exponent.
const SMALLEST_PLAIN: f64 = 1e-6;
/// From this magnitude on a number is written with an exponent.
const LARGEST_PLAIN: f64 = 1e21;

/// One compact line, without a line feed at its end.
///
/// # Errors
/// Only if a type's own `Serialize` fails; the types of this crate do not.
pub fn to_legacy_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, LegacyFormatter))?;
    Ok(bytes)
}

/// For the lists that the original answers as `null` when they are empty.
pub fn or_null<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

struct LegacyFormatter;

impl Formatter for LegacyFormatter {
    fn write_f32<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        // Widening would show digits that a 32-bit number does not have: go through its own shortest text.
        write_float(writer, value.to_string().parse().unwrap_or(f64::from(value)))
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write_float(writer, value)
    }

    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| needs_escape(c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: io::Write + ?Sized>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let text: &[u8] = match escape {
            CharEscape::Quote => b"\\\"",
            CharEscape::ReverseSolidus => b"\\\\",
            CharEscape::Solidus => b"\\/",
            CharEscape::LineFeed => b"\\n",
            CharEscape::CarriageReturn => b"\\r",
            CharEscape::Tab => b"\\t",
            // No short form for these two in the original.
            CharEscape::Backspace => b"\\u0008",
            CharEscape::FormFeed => b"\\u000c",
            CharEscape::AsciiControl(byte) => return write!(writer, "\\u{byte:04x}"),
        };
        writer.write_all(text)
    }
}

/// Characters that must not reach HTML or JavaScript as they are.
fn needs_escape(c: char) -> bool {
    matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// Finite numbers only: `serde_json` writes the others as null.
fn write_float<W: io::Write + ?Sized>(writer: &mut W, value: f64) -> io::Result<()> {
    let magnitude = value.abs();
    if magnitude == 0.0 || (SMALLEST_PLAIN..LARGEST_PLAIN).contains(&magnitude) {
        return write!(writer, "{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => write!(writer, "{digits}e+{exponent}"),
        _ => writer.write_all(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn written<T: Serialize + ?Sized>(value: &T) -> String {
        String::from_utf8(to_legacy_bytes(value).expect("plain data")).expect("JSON is UTF-8")
    }

    #[test]
    fn numbers_look_like_those_of_the_original() {
        for (number, text) in [
            (0.0, "0"),
            (100.0, "100"),
            (-1.0, "-1"),
            (0.25, "0.25"),
            (9e9, "9000000000"),
            (0.000_001, "0.000001"),
            (3.866e-6, "0.000003866"),
            (9.459e-7, "9.459e-7"),
            (1.5e-10, "1.5e-10"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e22, "-2.5e+22"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            assert_eq!(written(&number), text);
        }
        assert_eq!(written(&0.1_f32), "0.1");
    }

    #[test]
    fn strings_may_stand_inside_html() {
        assert_eq!(written("<a href=\"x\">&</a>"), r#""\u003ca href=\"x\"\u003e\u0026\u003c/a\u003e""#);
        assert_eq!(written("a\u{2028}b\u{2029}c"), r#""a\u2028b\u2029c""#);
        assert_eq!(written("\n\r\t\u{8}\u{c}\u{1}\\/é"), r#""\n\r\t\u0008\u000c\u0001\\/é""#);
    }

    #[test]
    fn an_empty_list_can_be_null() {
        assert_eq!(written(&or_null(Vec::<u8>::new())), "null");
        assert_eq!(written(&or_null(vec![1, 2])), "[1,2]");
        assert_eq!(written(&json!({"a": [], "b": {}})), r#"{"a":[],"b":{}}"#);
    }

    proptest! {
        #[test]
        fn any_text_survives_and_never_carries_markup(text in any::<String>()) {
            let json = written(&text);
            prop_assert!(!json.contains(needs_escape), "{}", json);
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("valid JSON"), text);
        }

        #[test]
        fn any_number_survives(number in any::<f64>()) {
            let json = written(&number);
            match serde_json::from_str::<Value>(&json).expect("valid JSON") {
                Value::Null => prop_assert!(!number.is_finite()),
                value => {
                    let read: f64 = json.parse().expect("a number");
                    prop_assert!(value.is_number());
                    prop_assert_eq!(read.to_bits(), number.to_bits());
                }
            }
        }
    }
}
