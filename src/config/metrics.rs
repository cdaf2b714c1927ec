//! Section: sending figures to Graphite. Prometheus figures are always at `/metrics`.

use crate::key::section;

section! {
    /// Sending figures to Graphite.
    pub struct Metrics in metrics, "Metrics";
    graphite_addr: String = String::new() => "GraphiteAddr", NotYet("Graphite"), Restart, "`host:port`; empty = off.";
    graphite_path: String = String::new() => "GraphitePath", NotYet("Graphite"), Restart,
        "Prefix of the figures; `{hostname}` is replaced. Required with `GraphiteAddr`.";
    graphite_convert_hostname_dots_to_underscores: bool = true => "GraphiteConvertHostnameDotsToUnderscores", NotYet("Graphite"), Restart,
        "Write dots of that host name as `_`.";
    graphite_poll_seconds: i64 = 60 => "GraphitePollSeconds", NotYet("Graphite"), Restart, "Time between two sendings.";
}
