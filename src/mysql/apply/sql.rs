//! A statement, and how it may be shown.

use std::fmt;

/// A statement. Shown (logs, errors, `Debug`) without what is secret in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sql {
    text: String,
    /// How it is shown, if it contains a secret.
    shown: Option<String>,
    /// Whatever the server answers with a piece of these in it is not shown.
    secrets: Vec<String>,
}

/// What a secret is shown as: MySQL's own word for it in its logs.
const HIDDEN: &str = "<secret>";
/// A server that cannot read a statement repeats the place where it gave up: any part of it.
const SYNTAX_ERROR: u16 = 1064;

impl Sql {
    /// A statement made around a secret literal.
    pub(crate) fn with_secret(make: impl Fn(&str) -> String, literal: &str, secret: &str) -> Self {
        let secrets = [literal, secret].into_iter().filter(|text| !text.is_empty()).map(str::to_owned).collect();
        Self { text: make(literal), shown: Some(make(HIDDEN)), secrets }
    }

    /// A statement of somebody else's, who may have written a secret into it: it is shown by its name.
    pub(crate) fn named(name: &str, text: &str) -> Self {
        Self { text: text.to_owned(), shown: Some(name.to_owned()), secrets: literals(text) }
    }

    /// A long one, in few words.
    pub(crate) fn in_short(text: String, shown: String) -> Self {
        Self { text, shown: Some(shown), secrets: Vec::new() }
    }

    /// For the one place that sends it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// For people.
    pub(crate) fn shown(&self) -> &str {
        self.shown.as_deref().unwrap_or(&self.text)
    }

    /// What the server said about it, fit to be shown.
    pub(crate) fn cleaned(&self, number: Option<u16>, message: &str) -> String {
        let may_repeat = number == Some(SYNTAX_ERROR) || self.secrets.iter().any(|secret| repeats(message, secret));
        if may_repeat && !self.secrets.is_empty() {
            return "(its words are withheld: they may repeat a secret)".to_owned();
        }
        message.to_owned()
    }
}

/// A piece of the secret is in the message. Servers cut long values short: the whole need not be there.
fn repeats(message: &str, secret: &str) -> bool {
    const PIECE: usize = 4;
    let pieces: Vec<char> = secret.chars().collect();
    pieces.windows(PIECE.min(pieces.len()).max(1)).any(|piece| message.contains(&piece.iter().collect::<String>()))
}

/// What stands between quotes.
fn literals(text: &str) -> Vec<String> {
    let between = |quote: char| text.split(quote).skip(1).step_by(2).filter(|piece| !piece.is_empty());
    between('\'').chain(between('"')).map(str::to_owned).collect()
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self { text, shown: None, secrets: Vec::new() }
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sent_and_never_shown() {
        let make = |literal: &str| format!("CHANGE MASTER TO MASTER_PASSWORD = {literal}");
        let sql = Sql::with_secret(make, "'hun\\'ter2'", "hun'ter2");
        assert_eq!(sql.text(), "CHANGE MASTER TO MASTER_PASSWORD = 'hun\\'ter2'");
        assert_eq!(format!("{sql:?} {}", sql.shown()).matches("<secret>").count(), 2);
        let cleaned = [
            sql.cleaned(Some(1064), "error 1064: near 'r2'' at line 1"),
            sql.cleaned(Some(1470), "String 'hun'ter2' is too long"),
            sql.cleaned(Some(1470), "String 'hun'ter...' is too long"),
            sql.cleaned(None, "'hun\\'ter2'"),
            format!("{sql:?}"),
        ];
        assert!(cleaned.iter().all(|text| !text.contains("ter") && !text.contains("r2'")), "{cleaned:?}");
    }

    #[test]
    fn somebody_elses_statement_is_shown_by_name() {
        let sql = Sql::named("TheQuery", "SELECT 'repl', 'hunter2' FORM x");
        let cleaned = sql.cleaned(Some(1064), "near 'ter2' FORM x' at line 1");
        assert!(!format!("{sql:?} {cleaned}").contains("ter2"), "{cleaned}");
        assert_eq!(sql.cleaned(Some(1146), "no table x"), "no table x");
        assert!(sql.cleaned(Some(1292), "Incorrect value: 'hunter2'").contains("withheld"));
    }

    #[test]
    fn other_statements_are_shown_as_they_are() {
        let sql = Sql::from("STOP REPLICA");
        assert_eq!(Sql::in_short("x; y".to_owned(), "both".to_owned()).shown(), "both");
        assert_eq!((sql.shown(), sql.cleaned(Some(1064), "near 'x'").as_str()), ("STOP REPLICA", "near 'x'"));
    }
}
