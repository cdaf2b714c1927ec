//! Everything a probe is told by the configuration, as plain data.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use crate::filter::{KeyFilters, UserFilters};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(empty)" } else { "(hidden)" })
    }
}

/// How to log in to managed servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectSettings {
    /// `MySQLTopologyUser`.
    pub user: String,
    /// `MySQLTopologyPassword`.
    pub password: Secret,
    /// Name resolution, TCP, TLS and login together must end within this.
    pub connect_timeout: Duration,
    /// One packet of statements must be answered completely within this.
    pub read_timeout: Duration,
    /// When and how to encrypt.
    pub tls: TlsSettings,
}

/// TLS towards managed servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// When to use TLS.
    pub mode: TlsMode,
    /// Accept any certificate (`MySQLTopologySSLSkipVerify`).
    pub skip_verify: bool,
    /// Certificate authority, trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Client certificate; sent in mode `Always` when certificates are verified.
    pub cert_file: Option<PathBuf>,
    /// Client key.
    pub key_file: Option<PathBuf>,
    /// In mixed mode: how long "this server demands TLS" is remembered.
    pub remember: Duration,
}

/// When to use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Off,
    /// Only with servers that refuse us without.
    Mixed,
    /// Always.
    Always,
}

/// Which name a server goes by (`MySQLHostnameResolveMethod`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostnameMethod {
    /// The name we used to connect.
    Given,
    /// `@@hostname`.
    Hostname,
    /// `@@report_host`.
    ReportHost,
}

impl HostnameMethod {
    /// From the setting's text. What is not known means: the name we used.
    pub fn from_setting(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "default" | "hostname" | "@@hostname" => Self::Hostname,
            "report_host" | "@@report_host" => Self::ReportHost,
            _ => Self::Given,
        }
    }
}

/// The operator's own queries; empty means "not configured".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DetectionQueries {
    /// `DetectDataCenterQuery`.
    pub data_center: String,
    /// `DetectRegionQuery`.
    pub region: String,
    /// `DetectPhysicalEnvironmentQuery`.
    pub physical_environment: String,
    /// `DetectInstanceAliasQuery`.
    pub instance_alias: String,
    /// `DetectClusterAliasQuery`.
    pub cluster_alias: String,
    /// `DetectClusterDomainQuery`.
    pub cluster_domain: String,
    /// `DetectPromotionRuleQuery`.
    pub promotion_rule: String,
    /// `DetectSemiSyncEnforcedQuery`.
    pub semi_sync_priority: String,
    /// `DetectPseudoGTIDQuery`.
    pub pseudo_gtid: String,
    /// `ReplicationLagQuery`.
    pub replication_lag: String,
}

/// Patterns over the host name; the first capture group is the value.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    /// `DataCenterPattern`.
    pub data_center: Option<Regex>,
    /// `RegionPattern`.
    pub region: Option<Regex>,
    /// `PhysicalEnvironmentPattern`.
    pub physical_environment: Option<Regex>,
}

/// Whom not to know.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// `DiscoveryIgnoreHostnameFilters`: servers never known.
    pub hosts: KeyFilters,
    /// `DiscoveryIgnoreReplicaHostnameFilters`: replicas not followed. Applied to the replicas a server lists.
    pub replicas: KeyFilters,
    /// `DiscoveryIgnoreMasterHostnameFilters`: sources not followed. For whoever follows sources; a probe reports
    /// the source all the same, because where a server replicates from is a fact about that server.
    pub sources: KeyFilters,
    /// `DiscoveryIgnoreReplicationUsernameFilters`.
    pub replication_users: UserFilters,
}

/// Everything a [`crate::Prober`] is told.
#[derive(Debug, Clone)]
pub struct ProbeSettings {
    /// How to log in.
    pub connect: ConnectSettings,
    /// `MySQLHostnameResolveMethod`.
    pub hostname_method: HostnameMethod,
    /// `DiscoverByShowSlaveHosts`.
    pub discover_by_show_replicas: bool,
    /// `SkipMaxScaleCheck`.
    pub skip_maxscale_check: bool,
    /// The operator's queries.
    pub queries: DetectionQueries,
    /// `ReplicationCredentialsQuery` is configured.
    pub has_credentials_query: bool,
    /// Classification by host name.
    pub patterns: Patterns,
    /// Whom not to know.
    pub filters: Filters,
    /// Facts that rarely change are read again after this long.
    pub slow_facts_every: Duration,
    /// Connections kept open; servers beyond that are connected to anew for each probe.
    pub max_connections: usize,
}

impl Default for ConnectSettings {
    fn default() -> Self {
        Self {
            user: String::new(),
            password: Secret::default(),
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            tls: TlsSettings::default(),
        }
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            mode: TlsMode::Mixed,
            skip_verify: false,
            ca_file: None,
            cert_file: None,
            key_file: None,
            remember: Duration::from_secs(500),
        }
    }
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            connect: ConnectSettings::default(),
            hostname_method: HostnameMethod::Hostname,
            discover_by_show_replicas: false,
            skip_maxscale_check: true,
            queries: DetectionQueries::default(),
            has_credentials_query: false,
            patterns: Patterns::default(),
            filters: Filters::default(),
            slow_facts_every: Duration::from_secs(300),
            // A process may often hold 20,000 descriptors at most, and needs some for other things.
            max_connections: 15_000,
        }
    }
}

impl Patterns {
    /// The first capture group of `pattern` in `host`; empty without a match. A pattern without a group gives nothing.
    pub(crate) fn value(pattern: Option<&Regex>, host: &str) -> String {
        pattern
            .and_then(|pattern| pattern.captures(host))
            .and_then(|captures| captures.get(1))
            .map_or_else(String::new, |group| group.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let settings = ConnectSettings { password: Secret::new("hunter2"), ..ConnectSettings::default() };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn hostname_methods_are_read_as_documented() {
        for (text, method) in [
            ("@@hostname", HostnameMethod::Hostname),
            ("Default", HostnameMethod::Hostname),
            ("REPORT_HOST", HostnameMethod::ReportHost),
            ("none", HostnameMethod::Given),
            ("", HostnameMethod::Given),
            ("what", HostnameMethod::Given),
        ] {
            assert_eq!(HostnameMethod::from_setting(text), method, "{text}");
        }
    }

    #[test]
    fn patterns_give_their_first_group() {
        let pattern = Regex::new("[.]([^.]+)[.][^.]+[.]com").ok();
        assert_eq!(Patterns::value(pattern.as_ref(), "db1.ny.example.com"), "ny");
        assert_eq!(Patterns::value(pattern.as_ref(), "db1"), "");
        assert_eq!(Patterns::value(Regex::new("db").ok().as_ref(), "db1"), "", "no group, no value");
        assert_eq!(Patterns::value(None, "db1"), "");
    }
}
