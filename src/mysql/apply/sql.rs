//! A statement, and how it may be shown.

use std::fmt;

/// A statement. Shown (logs, errors, `Debug`) without what is secret in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sql {
    text: String,
    /// How it is shown, if it contains a secret.
    shown: Option<String>,
    /// Taken out of whatever the server answers.
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
        Self { text: text.to_owned(), shown: Some(name.to_owned()), secrets: vec![text.to_owned()] }
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
        if self.secrets.is_empty() {
            return message.to_owned();
        }
        if number == Some(SYNTAX_ERROR) {
            return format!("error {SYNTAX_ERROR} (the server's text is withheld: it may repeat a secret)");
        }
        self.secrets.iter().fold(message.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }
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
            sql.cleaned(Some(1470), "error 1470: String 'hun'ter2' is too long"),
            sql.cleaned(None, "'hun\\'ter2'"),
            format!("{sql:?}"),
        ];
        assert!(cleaned.iter().all(|text| !text.contains("ter2") && !text.contains("r2'")), "{cleaned:?}");
    }

    #[test]
    fn somebody_elses_statement_is_shown_by_name() {
        let sql = Sql::named("TheQuery", "SELECT 'repl', 'hunter2' FORM x");
        let cleaned = sql.cleaned(Some(1064), "near 'ter2' FORM x' at line 1");
        assert!(!format!("{sql:?} {cleaned}").contains("ter2"), "{cleaned}");
        assert_eq!(sql.cleaned(Some(1146), "error 1146: no table x"), "error 1146: no table x");
    }

    #[test]
    fn other_statements_are_shown_as_they_are() {
        let sql = Sql::from("STOP REPLICA");
        assert_eq!((sql.shown(), sql.cleaned(Some(1064), "near 'x'").as_str()), ("STOP REPLICA", "near 'x'"));
    }
}
