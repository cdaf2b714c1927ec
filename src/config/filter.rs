//! Lists of patterns on hosts, users and clusters. They answer with the entry that matched, so that whoever acts on it
//! can say why.

use std::net::IpAddr;

use regex::Regex;

/// An entry that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntry {
    /// Its place in the list, from 1.
    pub place: usize,
    pub entry: String,
    pub reason: String,
}

/// Hosts by pattern: an entry that is an IP address equals the host name exactly; any other is an unanchored regular
/// expression on `host:port`.
#[derive(Debug, Clone, Default)]
pub struct HostFilter(Vec<(String, Option<Regex>)>);

impl HostFilter {
    pub fn compile(entries: &[String]) -> Result<Self, Vec<BadEntry>> {
        compile_all(entries, |entry| {
            let pattern = if entry.parse::<IpAddr>().is_ok() { None } else { Some(regex(entry)?) };
            Ok((entry.to_string(), pattern))
        })
        .map(Self)
    }

    /// The first entry that matches.
    pub fn matching(&self, host: &str, port: u16) -> Option<&str> {
        let address = format!("{host}:{port}");
        self.0
            .iter()
            .find(|(entry, pattern)| match pattern {
                Some(pattern) => pattern.is_match(&address),
                None => entry == host,
            })
            .map(|(entry, _)| entry.as_str())
    }

    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.matching(host, port).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names (users, host names without port) by unanchored regular expression.
#[derive(Debug, Clone, Default)]
pub struct NameFilter(Vec<Regex>);

impl NameFilter {
    pub fn compile(entries: &[String]) -> Result<Self, Vec<BadEntry>> {
        compile_all(entries, regex).map(Self)
    }

    /// The first entry that matches.
    pub fn matching(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|pattern| pattern.is_match(name)).map(Regex::as_str)
    }

    pub fn matches(&self, name: &str) -> bool {
        self.matching(name).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Clusters by name or alias. An entry matches when it equals the name or the alias; `alias=NAME` when NAME is the
/// alias; `alias~=REGEX` when the expression matches the alias; `*` always; any other as an unanchored regular
/// expression on the name, never on the alias.
#[derive(Debug, Clone, Default)]
pub struct ClusterFilter(Vec<(String, ClusterRule)>);

#[derive(Debug, Clone)]
enum ClusterRule {
    All,
    Alias(String),
    AliasPattern(Regex),
    NamePattern(Regex),
}

impl ClusterFilter {
    pub fn compile(entries: &[String]) -> Result<Self, Vec<BadEntry>> {
        compile_all(entries, |entry| {
            let rule = if entry == "*" {
                ClusterRule::All
            } else if let Some(pattern) = entry.strip_prefix("alias~=") {
                ClusterRule::AliasPattern(regex(pattern)?)
            } else if let Some(alias) = entry.strip_prefix("alias=") {
                ClusterRule::Alias(alias.to_string())
            } else {
                ClusterRule::NamePattern(regex(entry)?)
            };
            Ok((entry.to_string(), rule))
        })
        .map(Self)
    }

    /// The first entry that matches.
    pub fn matching(&self, name: &str, alias: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(entry, rule)| {
                entry == name
                    || entry == alias
                    || match rule {
                        ClusterRule::All => true,
                        ClusterRule::Alias(wanted) => wanted == alias,
                        ClusterRule::AliasPattern(pattern) => pattern.is_match(alias),
                        ClusterRule::NamePattern(pattern) => pattern.is_match(name),
                    }
            })
            .map(|(entry, _)| entry.as_str())
    }

    pub fn matches(&self, name: &str, alias: &str) -> bool {
        self.matching(name, alias).is_some()
    }

    /// A plain expression that would match the alias if it looked at it: what an operator who expects a match should write
    /// as `alias~=` instead. Only worth asking when nothing matches.
    pub fn meant_for_alias(&self, alias: &str) -> Option<&str> {
        let meant = |rule: &ClusterRule| matches!(rule, ClusterRule::NamePattern(pattern) if pattern.is_match(alias));
        self.0.iter().find(|(_, rule)| meant(rule)).map(|(entry, _)| entry.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Compiles every entry, or tells about every bad one.
fn compile_all<T>(entries: &[String], compile: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Vec<BadEntry>> {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match compile(entry) {
            Ok(compiled) => good.push(compiled),
            Err(reason) => bad.push(BadEntry { place: index + 1, entry: entry.clone(), reason }),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// An empty expression would match everything, which nobody means in a list of filters.
pub(crate) fn regex(pattern: &str) -> Result<Regex, String> {
    if pattern.is_empty() {
        return Err("an empty entry would match everything".to_string());
    }
    // The message of the crate is several lines with the pattern drawn; its last line says what is wrong.
    Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        text.lines().last().unwrap_or_default().trim_start_matches("error:").trim().to_string()
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn strings(entries: &[&str]) -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    #[rstest]
    #[case("10.0.0.1", "10.0.0.1", true)]
    #[case("10.0.0.1", "10.0.0.11", false)]
    #[case("10.0.0", "10.0.0.11", true)]
    #[case("::1", "::1", true)]
    #[case("db[0-9]+", "a.db7.example", true)]
    #[case("^db", "adb", false)]
    #[case(":3307$", "any", false)]
    #[case("any:3306$", "any", true)]
    fn host_filter(#[case] entry: &str, #[case] host: &str, #[case] expected: bool) {
        let filter = HostFilter::compile(&strings(&[entry])).unwrap();
        assert_eq!(filter.matches(host, 3306), expected);
        assert_eq!(filter.matching(host, 3306), expected.then_some(entry));
    }

    #[rstest]
    #[case("*", true)]
    #[case("main", true)]
    #[case("m1:3306", true)]
    #[case("alias=main", true)]
    #[case("alias=mai", false)]
    #[case("alias~=^ma", true)]
    #[case("alias~=^ain", false)]
    #[case("^m[0-9]", true)]
    #[case("ain", false)] // the alias is never matched by a plain expression
    #[case(".*", true)]
    fn cluster_filter(#[case] entry: &str, #[case] expected: bool) {
        let filter = ClusterFilter::compile(&strings(&[entry])).unwrap();
        assert_eq!(filter.matches("m1:3306", "main"), expected);
    }

    #[test]
    fn the_first_matching_entry_is_named() {
        let filter = ClusterFilter::compile(&strings(&["alias=x", "alias~=a", "*"])).unwrap();
        assert_eq!(filter.matching("m1:3306", "main"), Some("alias~=a"));
    }

    #[test]
    fn an_expression_that_only_the_alias_would_match_is_named() {
        let filter = ClusterFilter::compile(&strings(&["alias=x", "^shop", "db9"])).unwrap();
        assert_eq!((filter.matching("m1:3306", "shop-eu"), filter.meant_for_alias("shop-eu")), (None, Some("^shop")));
        assert_eq!(filter.meant_for_alias("x"), None);
    }

    #[test]
    fn every_bad_entry_is_told() {
        let bad = HostFilter::compile(&strings(&["ok", "(", "", "["])).unwrap_err();
        assert_eq!(bad.iter().map(|b| b.place).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(bad[0].reason, "unclosed group");
        assert!(ClusterFilter::compile(&strings(&["alias~="])).is_err());
        assert!(NameFilter::compile(&strings(&["*"])).is_err());
    }
}
