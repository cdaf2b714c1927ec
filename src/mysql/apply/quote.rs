//! How a value gets into a statement: the only place where text from outside becomes SQL.

/// A text that no statement of ours may contain. It is not repeated: it may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {what} contains a control character, which no statement of ours may carry")]
pub(crate) struct Unquotable {
    what: &'static str,
}

/// A string literal. Its reading is settled by [`super::session`], which gives every connection a known `sql_mode` and
/// character set: with `NO_BACKSLASH_ESCAPES`, or in a character set whose characters may end in the byte of a backslash,
/// the same literal would be another text (page "String Literals").
///
/// Control characters are refused: no host, file, user, cipher or GTID has one, and terminals and logs suffer from them.
pub(crate) fn quote(what: &'static str, text: &str) -> Result<String, Unquotable> {
    if text.chars().any(char::is_control) {
        return Err(Unquotable { what });
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('\'');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_from_a_literal() {
        for (text, literal) in [
            ("db1.example.com", "'db1.example.com'"),
            ("", "''"),
            ("//db1", "'//db1'"),
            ("o'brien", r"'o\'brien'"),
            (r"C:\keys\x.pem", r"'C:\\keys\\x.pem'"),
            (r"\'; DROP TABLE t; -- ", r"'\\\'; DROP TABLE t; -- '"),
            ("\"`$(x)", "'\"`$(x)'"),
            ("ключ", "'ключ'"),
        ] {
            assert_eq!(quote("host", text).as_deref(), Ok(literal));
        }
    }

    #[test]
    fn control_characters_are_refused_and_not_repeated() {
        for text in ["a\0b", "a\nb", "a\u{1a}b", "a\u{7f}b", "a\u{85}b", "hunter2\r"] {
            let error = quote("password", text).expect_err("refused").to_string();
            assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
        }
    }
}
