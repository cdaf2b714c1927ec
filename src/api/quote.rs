//! Error texts of servers as the compatibility API shows them: an ASCII literal in double quotes, everything else
//! escaped with a backslash.

use std::fmt::Write as _;

/// Quotes a text; an empty text stays empty, because "no error" is written as nothing at all.
pub fn quote_error(text: &str) -> String {
    if text.is_empty() { String::new() } else { quote_ascii(text) }
}

/// Quotes a text, empty or not.
pub fn quote_ascii(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_escaped(&mut quoted, c);
    }
    quoted.push('"');
    quoted
}

fn push_escaped(quoted: &mut String, c: char) {
    let short = match c {
        '\u{07}' => "\\a",
        '\u{08}' => "\\b",
        '\u{0c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{0b}' => "\\v",
        '"' => "\\\"",
        '\\' => "\\\\",
        ' '..='~' => {
            quoted.push(c);
            return;
        }
        _ => {
            let code = u32::from(c);
            // Writing to a String cannot fail.
            let _ = match code {
                0..=0x7f => write!(quoted, "\\x{code:02x}"),
                0x80..=0xffff => write!(quoted, "\\u{code:04x}"),
                _ => write!(quoted, "\\U{code:08x}"),
            };
            return;
        }
    };
    quoted.push_str(short);
}

/// Reads a quoted text back; `None` if it is none. An empty text is an empty text.
pub fn unquote(quoted: &str) -> Option<String> {
    if quoted.is_empty() {
        return Some(String::new());
    }
    let inner = quoted.strip_prefix('"')?.strip_suffix('"').filter(|_| quoted.len() >= 2)?;
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let read = match c {
            '"' => return None,
            '\\' => read_escape(&mut chars)?,
            other => other,
        };
        text.push(read);
    }
    Some(text)
}

fn read_escape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let digits = match chars.next()? {
        'a' => return Some('\u{07}'),
        'b' => return Some('\u{08}'),
        'f' => return Some('\u{0c}'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\u{0b}'),
        c @ ('"' | '\\') => return Some(c),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let mut code = 0_u32;
    for _ in 0..digits {
        code = code.checked_mul(16)?.checked_add(chars.next()?.to_digit(16)?)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_the_literals_that_scripts_know() {
        for (text, quoted) in [
            ("", ""),
            (
                "error connecting to source 'repl@127.0.0.1:16001'",
                "\"error connecting to source 'repl@127.0.0.1:16001'\"",
            ),
            ("say \"hi\" \\ bye", r#""say \"hi\" \\ bye""#),
            ("a\u{7}\u{8}\u{c}\n\r\t\u{b}z", r#""a\a\b\f\n\r\t\vz""#),
            ("\u{0}\u{1b}\u{7f}", r#""\x00\x1b\x7f""#),
            ("é日\u{feff}\u{a0}", r#""\u00e9\u65e5\ufeff\u00a0""#),
            ("😀\u{10ffff}", r#""\U0001f600\U0010ffff""#),
        ] {
            assert_eq!(quote_error(text), quoted);
        }
        assert_eq!(quote_ascii(""), "\"\"");
    }

    #[test]
    fn refuses_what_is_no_literal() {
        for quoted in ["\"", "x", "\"a\"b\"", "\"\\", "\"\\q\"", "\"\\x1\"", "\"\\ud800\"", "\"\\Uffffffff\"", "\"\\\""]
        {
            assert_eq!(unquote(quoted), None, "{quoted}");
        }
        assert_eq!(unquote("\"\""), Some(String::new()));
    }

    /// The rules once more, as a table by code point instead of by pattern.
    fn model(text: &str) -> String {
        let body: String = text
            .chars()
            .map(|c| match (u32::from(c), "\x07\x08\x0c\n\r\t\x0b\"\\".find(c)) {
                (_, Some(at)) => format!("\\{}", &"abfnrtv\"\\"[at..=at]),
                (0x20..=0x7e, None) => c.to_string(),
                (code @ 0..=0x7f, None) => format!("\\x{code:02x}"),
                (code @ 0..=0xffff, None) => format!("\\u{code:04x}"),
                (code, None) => format!("\\U{code:08x}"),
            })
            .collect();
        format!("\"{body}\"")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]
        #[test]
        fn agrees_with_the_model_and_reads_back(text in any::<String>()) {
            let quoted = quote_ascii(&text);
            prop_assert_eq!(&quoted, &model(&text));
            prop_assert!(quoted.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(unquote(&quoted), Some(text));
        }

        #[test]
        fn never_panics_on_foreign_text(text in "[\"\\\\xuUa-f0-9é]{0,12}") {
            let _ = unquote(&text);
        }
    }
}
