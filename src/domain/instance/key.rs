//! The name of an instance: host and port.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest host name we store, in bytes: the width of the backend column, and of a DNS name.
pub const MAX_HOSTNAME_BYTES: usize = 255;

/// Prefix of a source host that was made unreachable on purpose ("detached"), reversible by removing it.
const DETACHED_PREFIX: &str = "//";

/// Host and port of a server. Ordered by host, then port; compared exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct InstanceKey {
    /// Host name or address, without brackets.
    pub hostname: String,
    /// TCP port; 0 means "none".
    pub port: u16,
}

/// A text that is not an instance name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read instance name {text:?}: {reason}; write host, host:port, [ipv6]:port or ipv6")]
pub struct KeyError {
    /// The text, shortened.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl InstanceKey {
    /// A key from its parts, unchecked: for names that come from our own tables.
    pub fn new(hostname: impl Into<String>, port: u16) -> Self {
        Self { hostname: hostname.into(), port }
    }

    /// Reads `host:port`, `host`, `[ipv6]:port` or bare IPv6; `default_port` where none is given.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, KeyError> {
        let fail = |reason| KeyError { text: shorten(text), reason };
        let trimmed = text.trim();
        let (host, port) = split(trimmed).ok_or_else(|| fail("malformed"))?;
        let port = match port {
            None => default_port,
            Some(digits) => parse_port(digits).ok_or_else(|| fail("the port must be a number from 1 to 65535"))?,
        };
        check_hostname(host).map_err(fail)?;
        if port == 0 {
            return Err(fail("the port must be a number from 1 to 65535"));
        }
        Ok(Self::new(host, port))
    }

    /// A key from a host and a port that some server reported; refuses what could not be a host name.
    pub fn reported(hostname: &str, port: u16) -> Result<Self, KeyError> {
        let hostname = hostname.trim();
        let fail = |reason| KeyError { text: shorten(hostname), reason };
        check_hostname(hostname).map_err(fail)?;
        if port == 0 {
            return Err(fail("the port is 0"));
        }
        Ok(Self::new(hostname, port))
    }

    /// A name one can connect to: not empty, not `_`, not detached, with a port.
    pub fn is_valid(&self) -> bool {
        !self.hostname.is_empty() && self.hostname != "_" && !self.is_detached() && self.port > 0
    }

    /// The host carries the "detached" mark.
    pub fn is_detached(&self) -> bool {
        self.hostname.starts_with(DETACHED_PREFIX)
    }

    /// Four dot-separated decimal groups.
    pub fn is_ipv4(&self) -> bool {
        let mut groups = 0;
        self.hostname.split('.').all(|group| {
            groups += 1;
            !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit())
        }) && groups == 4
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hostname, self.port)
    }
}

impl FromStr for InstanceKey {
    type Err = KeyError;

    /// Reads a key; 3306 where no port is given. Use [`InstanceKey::parse`] where a default port is configured.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text, 3306)
    }
}

/// Splits into host and port text; `None` if the shape is wrong.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        if !is_ipv6_text(host) {
            return None;
        }
        return match tail {
            "" => Some((host, None)),
            _ => Some((host, Some(tail.strip_prefix(':')?))),
        };
    }
    match text.matches(':').count() {
        0 => Some((text, None)),
        1 => text.split_once(':').map(|(host, port)| (host, Some(port))),
        _ if is_ipv6_text(text) => Some((text, None)),
        _ => None,
    }
}

fn is_ipv6_text(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn parse_port(digits: &str) -> Option<u16> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) { None } else { digits.parse().ok() }
}

/// Host names are kept verbatim in tables, drawn in trees and split from lists: what would break those is refused.
fn check_hostname(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("the host is empty");
    }
    if host.len() > MAX_HOSTNAME_BYTES {
        return Err("the host is longer than 255 bytes");
    }
    if host.chars().any(|c| c.is_control() || c.is_whitespace() || "<>\"'`\\,;|&".contains(c)) {
        return Err("the host contains a character that no host name has");
    }
    Ok(())
}

fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<(String, u16)> {
        InstanceKey::parse(text, 3306).ok().map(|key| (key.hostname, key.port))
    }

    #[test]
    fn reads_every_documented_form() {
        for (text, host, port) in [
            ("db1.example.com:3307", "db1.example.com", 3307),
            ("db1", "db1", 3306),
            ("[2001:db8::7]:3308", "2001:db8::7", 3308),
            ("2001:db8::7", "2001:db8::7", 3306),
            ("[::1]", "::1", 3306),
            (" db1:3306\n", "db1", 3306),
            ("//db1:3306", "//db1", 3306),
        ] {
            assert_eq!(parsed(text), Some((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        for text in ["", ":3306", "db1:33x6", "db1:0", "db1:70000", "a:b:c", "[db1]:1", "<b>x</b>", "a b", "x\u{0}y"] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
        assert_eq!(parsed(&"x".repeat(10_000)), None);
        let error = InstanceKey::parse(&"y".repeat(10_000), 3306).expect_err("too long").to_string();
        assert!(error.len() < 300, "an error does not repeat 10 kB: {}", error.len());
    }

    #[test]
    fn tells_detached_and_invalid_names() {
        assert!(InstanceKey::new("//db1", 3306).is_detached());
        assert!(!InstanceKey::new("//db1", 3306).is_valid());
        assert!(!InstanceKey::new("_", 3306).is_valid());
        assert!(InstanceKey::new("10.0.0.3", 1).is_ipv4());
        assert!(!InstanceKey::new("10.0.0", 1).is_ipv4());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn never_panics_and_what_it_accepts_prints_back(text in ".{0,40}") {
            if let Ok(key) = InstanceKey::parse(&text, 3306) {
                prop_assert!(key.port > 0);
                let brackets = key.hostname.contains(':');
                let printed = if brackets { format!("[{}]:{}", key.hostname, key.port) } else { key.to_string() };
                prop_assert_eq!(InstanceKey::parse(&printed, 3306), Ok(key));
            }
        }
    }
}
