//! Section: the listener of the web pages and the API, and its TLS.

use crate::key::section;
use crate::value::text;

section! {
    /// The listener of the web pages and the API.
    pub struct Http in http, "HTTP listener";
    listen_address: String = text(":3000") => "ListenAddress", Effective, Restart,
        "TCP address to listen on, `host:port`; without a host: all addresses.";
    listen_socket: String = String::new() => "ListenSocket", Effective, Restart,
        "Path of a unix socket to listen on instead of TCP; TLS is not used there.";
    http_max_connections: u64 = 1024 => "HTTPMaxConnections" (New), Effective, Restart,
        "Most client connections that are served at once, and most requests under way. Those beyond get the answer 503, but for `/health/...` and `StatusEndpoint`. Less where the limit on open files is low.";
    http_advertise: String = String::new() => "HTTPAdvertise", Unsupported("nodes share the backend and do not call each other; a follower answers by itself"), Restart,
        "`scheme://host:port` under which other raft nodes reach this one; must be well formed.";
    url_prefix: String = String::new() => "URLPrefix", Effective, Restart,
        "Path prefix of all pages and API paths; made to start with `/` and not to end with one.";
    status_endpoint: String = text("/api/status") => "StatusEndpoint", Effective, Restart,
        "Path of the health check for load balancers. The default is served under `URLPrefix`, any other value literally.";
    status_ou_verify: bool = false => "StatusOUVerify", Effective, Restart,
        "With mutual TLS: ask the health check for a client certificate of a valid unit too.";
    use_ssl: bool = false => "UseSSL", Effective, Restart, "Serve HTTPS on `ListenAddress`.";
    use_mutual_tls: bool = false => "UseMutualTLS", Effective, Restart,
        "Require a client certificate signed by `SSLCAFile` whose organisational unit is in `SSLValidOUs`. Needs `UseSSL`.";
    ssl_skip_verify: bool = false => "SSLSkipVerify", Unused("only concerned calls between raft nodes"), Restart,
        "Do not verify certificates of raft nodes.";
    ssl_private_key_file: String = String::new() => "SSLPrivateKeyFile", Effective, Restart,
        "Private key of the listener (PEM).";
    ssl_cert_file: String = String::new() => "SSLCertFile", Effective, Restart, "Certificate of the listener (PEM).";
    ssl_ca_file: String = String::new() => "SSLCAFile", Effective, Restart,
        "Certificate authority of the client certificates (PEM).";
    ssl_valid_ous: Vec<String> = Vec::new() => "SSLValidOUs", Effective, Restart,
        "Organisational units of client certificates that are let in.";
    web_message: String = String::new() => "WebMessage", NotYet("web interface"), Live,
        "Text shown at the top of every page.";
    remove_text_from_hostname_display: String = String::new() => "RemoveTextFromHostnameDisplay",
        NotYet("web interface"), Live, "Text left out of host names on the pages.";
}
