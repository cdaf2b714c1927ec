//! Section: connections to the managed servers.

use crate::key::section;
use crate::secret::Secret;

section! {
    /// Connections to the managed servers.
    pub struct Topology in topology, "Connections to managed servers";
    user: String = String::new() => "MySQLTopologyUser", Effective, Live, "User on all managed servers.";
    password: Secret = Secret::default() => "MySQLTopologyPassword", Effective, Live, "Its password.";
    credentials_config_file: String = String::new() => "MySQLTopologyCredentialsConfigFile", Effective, Live,
        "File in the style of `my.cnf` whose `[client]` section gives user and password; replaces both keys.";
    use_mutual_tls: bool = false => "MySQLTopologyUseMutualTLS", Effective, Restart, "Always use TLS to managed servers.";
    use_mixed_tls: bool = true => "MySQLTopologyUseMixedTLS", Effective, Restart,
        "Try without TLS, and use it for servers that demand it; the answer is remembered.";
    tls_cache_ttl_factor: u64 = 100 => "TLSCacheTTLFactor", Effective, Restart,
        "How long that answer is remembered, in units of `InstancePollSeconds`.";
    ssl_skip_verify: bool = false => "MySQLTopologySSLSkipVerify", Effective, Restart,
        "Do not verify certificates of managed servers; the client certificate is then not sent.";
    ssl_private_key_file: String = String::new() => "MySQLTopologySSLPrivateKeyFile", Effective, Restart,
        "Client key (PEM).";
    ssl_cert_file: String = String::new() => "MySQLTopologySSLCertFile", Effective, Restart,
        "Client certificate (PEM); sent with `MySQLTopologyUseMutualTLS` when certificates are verified.";
    ssl_ca_file: String = String::new() => "MySQLTopologySSLCAFile", Effective, Restart,
        "Certificate authority of the managed servers (PEM), trusted besides those of the system.";
    max_allowed_packet: i64 = -1 => "MySQLTopologyMaxAllowedPacket", Unused("the driver adapts to the server's packet size"), Restart,
        "Largest packet sent to managed servers.";
    discovery_read_timeout_seconds: u64 = 10 => "MySQLDiscoveryReadTimeoutSeconds", Superseded("ProbeReadTimeoutMilliseconds"), Live,
        "Longest wait for an answer to a discovery query.";
    read_timeout_seconds: u64 = 600 => "MySQLTopologyReadTimeoutSeconds", Unused("every statement of an operation has a limit of its own, and every step one for its effect"), Live,
        "Longest wait for an answer to a statement that changes a managed server.";
    default_instance_port: u16 = 3306 => "DefaultInstancePort", Effective, Live,
        "Port assumed where none is given: commands, seeds, API arguments.";
}
