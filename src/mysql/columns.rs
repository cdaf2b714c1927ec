//! A row as texts by column name: what all mappings read, so that they are pure and can be tested on written-down rows.

use std::borrow::Cow;

use crate::wire::Row;

/// A row of a result.
pub(crate) trait Columns {
    /// The text of a column; `None` when there is no such column, or it is NULL.
    fn text(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The text of the column at a place.
    fn at(&self, index: usize) -> Option<Cow<'_, str>>;

    /// The text of the first of these columns that exists; empty when none does, or NULL.
    fn any(&self, names: [&str; 2]) -> String {
        self.maybe(names).unwrap_or_default()
    }

    /// The text of the first of these columns that exists and is not NULL.
    fn maybe(&self, names: [&str; 2]) -> Option<String> {
        names.iter().find_map(|name| self.text(name)).map(Cow::into_owned)
    }
}

impl Columns for Row {
    fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.text(name)
    }

    fn at(&self, index: usize) -> Option<Cow<'_, str>> {
        self.at(index)
    }
}

/// `1`, `ON`, `YES`, `TRUE` and the like are true; `0`, `OFF`, `NO`, nothing are false.
pub(crate) fn is_on(text: &str) -> bool {
    !["", "0", "OFF", "NO", "FALSE"].iter().any(|off| text.eq_ignore_ascii_case(off))
}

#[cfg(test)]
pub(crate) mod written {
    use super::*;

    /// A row written down in a test, as `name=value` lines; `name` alone is NULL.
    pub(crate) struct Written(Vec<(String, Option<String>)>);

    pub(crate) fn row(text: &str) -> Written {
        let column = |line: &str| match line.trim().split_once('=') {
            Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
            None => (line.trim().to_owned(), None),
        };
        Written(text.lines().filter(|line| !line.trim().is_empty()).map(column).collect())
    }

    impl Columns for Written {
        fn text(&self, name: &str) -> Option<Cow<'_, str>> {
            self.0.iter().find(|column| column.0 == name)?.1.as_deref().map(Cow::Borrowed)
        }

        fn at(&self, index: usize) -> Option<Cow<'_, str>> {
            self.0.get(index)?.1.as_deref().map(Cow::Borrowed)
        }
    }
}
