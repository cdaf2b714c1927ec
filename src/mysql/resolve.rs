//! The name service: what a host name stands for (`HostnameResolveMethod`). What it answered is cached elsewhere.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use regex::Regex;
use tokio::time::timeout;

/// What to ask the name service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Nothing, and remembered names do not count either.
    None,
    /// Nothing.
    #[default]
    Default,
    /// The canonical name.
    Cname,
    /// An address, IPv4 preferred.
    Ip,
}

impl Method {
    /// From the setting's text; what is not known counts as `default`.
    pub fn from_setting(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "none" => Self::None,
            "cname" => Self::Cname,
            "ip" => Self::Ip,
            _ => Self::Default,
        }
    }
}

/// Why a name was not resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The text is no host name.
    #[error("{hostname:?} is no host name")]
    NotAName {
        /// The text, shortened.
        hostname: String,
    },
    /// The name service knows no such name, or gave an error.
    #[error("cannot resolve {hostname}: {cause}")]
    Unknown {
        /// The name.
        hostname: String,
        /// What the name service says.
        cause: String,
    },
    /// The name service gave no answer in time.
    #[error("cannot resolve {hostname}: no answer within {} ms", limit.as_millis())]
    Timeout {
        /// The name.
        hostname: String,
        /// The deadline.
        limit: Duration,
    },
}

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks the name service.
#[derive(Debug, Clone)]
pub struct Resolver {
    method: Method,
    reject: Option<Regex>,
    limit: Duration,
}

impl Resolver {
    /// `reject` is `RejectHostnameResolvePattern`: an answer that matches is not used.
    pub fn new(method: Method, reject: Option<Regex>) -> Self {
        Self { method, reject, limit: LIMIT }
    }

    /// What the name stands for. A detached name (`//host`) stands for itself.
    pub async fn resolve(&self, hostname: &str) -> Result<String, ResolveError> {
        let hostname = hostname.trim();
        if hostname.is_empty() || hostname.contains(',') {
            return Err(ResolveError::NotAName { hostname: hostname.chars().take(80).collect() });
        }
        if hostname.starts_with("//") || hostname.parse::<IpAddr>().is_ok() {
            return Ok(hostname.to_owned());
        }
        let answer = match timeout(self.limit, self.ask(hostname)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(ResolveError::Timeout { hostname: hostname.to_owned(), limit: self.limit }),
        };
        let is_rejected = self.reject.as_ref().is_some_and(|reject| reject.is_match(&answer));
        Ok(if is_rejected { hostname.to_owned() } else { answer })
    }

    async fn ask(&self, hostname: &str) -> Result<String, ResolveError> {
        let unknown = |cause: String| ResolveError::Unknown { hostname: hostname.to_owned(), cause };
        match self.method {
            Method::None | Method::Default => Ok(hostname.to_owned()),
            Method::Ip => {
                let addresses =
                    tokio::net::lookup_host((hostname, 0)).await.map_err(|error| unknown(error.to_string()))?;
                let addresses: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
                let chosen = addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
                chosen.map(ToString::to_string).ok_or_else(|| unknown("no address".to_owned()))
            }
            Method::Cname => {
                let dns = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
                let dns = dns.map_err(|error| unknown(format!("the system's resolver settings: {error}")))?;
                canonical_name(&dns, hostname).await.map_err(unknown)
            }
        }
    }
}

/// Follows aliases to their end. A name that has an address and no alias is its own canonical name.
async fn canonical_name(dns: &TokioResolver, hostname: &str) -> Result<String, String> {
    let answer = dns.lookup(hostname, RecordType::A).await.map_err(|error| error.to_string())?;
    let mut name = hostname.trim_end_matches('.').to_owned();
    for record in answer.answers() {
        if let RData::CNAME(target) = &record.data {
            target.0.to_utf8().trim_end_matches('.').clone_into(&mut name);
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(method: &str, reject: Option<&str>) -> Resolver {
        let reject = reject.map(|text| Regex::new(text).expect("compiles"));
        Resolver::new(Method::from_setting(method), reject)
    }

    #[tokio::test]
    async fn names_resolve_by_method() {
        for (method, name, expected) in [
            ("none", "db1", "db1"),
            ("default", " db1 ", "db1"),
            ("whatever", "db1", "db1"),
            ("ip", "localhost", "127.0.0.1"),
            ("ip", "//localhost", "//localhost"),
            ("ip", "::1", "::1"),
            ("cname", "10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(resolver(method, None).resolve(name).await.ok().as_deref(), Some(expected), "{method} {name}");
        }
    }

    #[tokio::test]
    async fn rejected_answers_and_bad_names_change_nothing() {
        assert_eq!(resolver("ip", Some("^127")).resolve("localhost").await.ok().as_deref(), Some("localhost"));
        for name in ["", "a,b"] {
            assert!(matches!(resolver("default", None).resolve(name).await, Err(ResolveError::NotAName { .. })));
        }
        let unknown = resolver("ip", None).resolve("no-such-host.invalid").await;
        assert!(matches!(unknown, Err(ResolveError::Unknown { .. } | ResolveError::Timeout { .. })));
    }
}
