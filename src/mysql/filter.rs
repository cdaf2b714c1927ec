//! Discovery filters: whom not to know. Compiled once, so that a bad expression is an error at start and not a filter
//! that silently never matches.

use domain::instance::InstanceKey;
use regex::Regex;

/// A filter that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("cannot read filter {filter:?}: it is not a regular expression")]
pub struct FilterError {
    /// The text of the filter.
    pub filter: String,
    /// What is wrong with it.
    #[source]
    pub cause: regex::Error,
}

/// Filters over `host:port`: an IP address must equal the host, anything else is an unanchored regular expression.
#[derive(Debug, Clone, Default)]
pub struct KeyFilters(Vec<KeyFilter>);

#[derive(Debug, Clone)]
enum KeyFilter {
    Address(String),
    Pattern(Regex),
}

/// Filters over a user name: unanchored regular expressions.
#[derive(Debug, Clone, Default)]
pub struct UserFilters(Vec<Regex>);

impl KeyFilters {
    /// Compiles a list and leaves out what cannot be compiled: for settings that have been checked, and whose problems
    /// have been reported.
    pub fn new<S: AsRef<str>>(filters: &[S]) -> Self {
        Self(
            filters.iter().filter_map(|filter| Self::compile(&[filter]).ok()).flat_map(|compiled| compiled.0).collect(),
        )
    }

    /// Compiles a list. Empty entries are dropped: they would match everything.
    pub fn compile<S: AsRef<str>>(filters: &[S]) -> Result<Self, FilterError> {
        let compile = |text: &str| {
            if text.parse::<std::net::IpAddr>().is_ok() {
                return Ok(KeyFilter::Address(text.to_owned()));
            }
            pattern(text).map(KeyFilter::Pattern)
        };
        filters
            .iter()
            .map(AsRef::as_ref)
            .filter(|text| !text.is_empty())
            .map(compile)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The filter that matches, as text.
    pub fn find(&self, key: &InstanceKey) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let name = key.to_string();
        self.0.iter().find_map(|filter| match filter {
            KeyFilter::Address(address) => (*address == key.hostname).then_some(address.as_str()),
            KeyFilter::Pattern(pattern) => pattern.is_match(&name).then_some(pattern.as_str()),
        })
    }
}

impl UserFilters {
    /// Compiles a list and leaves out what cannot be compiled: for settings that have been checked, and whose problems
    /// have been reported.
    pub fn new<S: AsRef<str>>(filters: &[S]) -> Self {
        Self(
            filters.iter().filter_map(|filter| Self::compile(&[filter]).ok()).flat_map(|compiled| compiled.0).collect(),
        )
    }

    /// Compiles a list. Empty entries are dropped: they would match everything.
    pub fn compile<S: AsRef<str>>(filters: &[S]) -> Result<Self, FilterError> {
        filters
            .iter()
            .map(AsRef::as_ref)
            .filter(|text| !text.is_empty())
            .map(pattern)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The filter that matches, as text.
    pub fn find(&self, user: &str) -> Option<&str> {
        self.0.iter().find(|pattern| pattern.is_match(user)).map(Regex::as_str)
    }
}

fn pattern(text: &str) -> Result<Regex, FilterError> {
    Regex::new(text).map_err(|cause| FilterError { filter: text.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_match_exactly_and_patterns_anywhere() {
        for (filter, host, hit) in [
            ("10.0.0.3", "10.0.0.38", false),
            ("10.0.0.3", "10.0.0.3", true),
            ("db-.*:3306", "db-1.x", true),
            ("db-.*:3307", "db-1.x", false),
            ("", "db-1.x", false),
        ] {
            let filters = KeyFilters::compile(&[filter]).expect("compiles");
            assert_eq!(filters.find(&InstanceKey::new(host, 3306)).is_some(), hit, "{filter} {host}");
        }
    }

    #[test]
    fn a_bad_expression_is_an_error() {
        assert!(KeyFilters::compile(&["("]).is_err());
        assert!(UserFilters::compile(&["["]).is_err());
        let rest = KeyFilters::new(&["(", "db"]);
        assert_eq!(rest.find(&InstanceKey::new("db1", 1)), Some("db"), "a bad one does not take the others with it");
        let users = UserFilters::compile(&["^repl_test"]).expect("compiles");
        assert_eq!(users.find("repl_test_1"), Some("^repl_test"));
        assert_eq!(users.find("repl"), None);
    }
}
