//! Section: what a server is called.

use crate::key::section;
use crate::value::choice;

choice! {
    /// How a given host name is normalised.
    pub enum HostnameResolveMethod {
        /// As it is; stored mappings are not consulted.
        None = "none",
        /// As it is; stored mappings are consulted.
        Default = "default" | "",
        /// The canonical name in DNS.
        Cname = "cname",
        /// An IP address of the host.
        Ip = "ip",
    }
}

choice! {
    /// Which name a server reports about itself.
    pub enum MySQLHostnameResolveMethod {
        /// Keep the given name.
        None = "none" | "",
        Hostname = "@@hostname" | "default" | "hostname",
        ReportHost = "@@report_host" | "report_host",
    }
}

section! {
    /// What a server is called.
    pub struct Hostnames in hostnames, "Host names";
    hostname_resolve_method: HostnameResolveMethod = HostnameResolveMethod::Default => "HostnameResolveMethod", Effective, Live,
        "How a given name is normalised: `none` and `default` leave it alone (`default` consults stored mappings), `cname` asks DNS for the canonical name, `ip` for an address.";
    mysql_hostname_resolve_method: MySQLHostnameResolveMethod = MySQLHostnameResolveMethod::Hostname => "MySQLHostnameResolveMethod", Effective, Live,
        "Which name a server reports about itself: `none` keeps the given one, `@@hostname` (also `default`, `hostname`), `@@report_host` (also `report_host`).";
    skip_binlog_server_unresolve_check: bool = true => "SkipBinlogServerUnresolveCheck", NotYet("binlog servers"), Live,
        "Do not check unresolved names twice for binlog servers.";
    expiry_hostname_resolves_minutes: u64 = 60 => "ExpiryHostnameResolvesMinutes", Effective, Live,
        "Lifetime of resolved names.";
    reject_hostname_resolve_pattern: String = String::new() => "RejectHostnameResolvePattern", Effective, Live,
        "Regular expression: resolved names that match are refused and the given name stays.";
}
