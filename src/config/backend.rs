//! Section: the connection to our own database.

use crate::address::parse_host_port;
use crate::key::section;
use crate::secret::Secret;
use crate::value::text;

section! {
    /// The connection to our own database.
    pub struct Backend in backend, "Backend database";
    backend_db: String = text("mysql") => "BackendDB", Effective, Restart,
        "`mysql`: the backend is a MySQL-compatible server. sqlite is refused.";
    sqlite3_data_file: String = String::new() => "SQLite3DataFile", Unsupported("the backend is a MySQL-compatible server"), Restart,
        "Data file of a sqlite backend.";
    skip_database_update: bool = false => "SkipOrchestratorDatabaseUpdate", Effective, Restart,
        "Do not create or upgrade the schema at start.";
    panic_if_different_database_deploy: bool = false => "PanicIfDifferentDatabaseDeploy", Effective, Restart,
        "Refuse to start when the schema is not of this version, instead of upgrading it.";
    host: String = String::new() => "MySQLOrchestratorHost", Effective, Restart, "Backend host.";
    hosts: Vec<String> = Vec::new() => "MySQLOrchestratorHosts" (New), Effective, Restart,
        "Further backend addresses `host[:port]`, tried in turn after `MySQLOrchestratorHost`: the members of a replicated backend.";
    port: u16 = 3306 => "MySQLOrchestratorPort", Effective, Restart, "Backend port.";
    database: String = String::new() => "MySQLOrchestratorDatabase", Effective, Restart,
        "Schema; created at start where missing.";
    user: String = String::new() => "MySQLOrchestratorUser", Effective, Restart, "Backend user.";
    password: Secret = Secret::default() => "MySQLOrchestratorPassword", Effective, Restart, "Backend password.";
    credentials_config_file: String = String::new() => "MySQLOrchestratorCredentialsConfigFile", Effective, Restart,
        "File in the style of `my.cnf` whose `[client]` section gives user and password; replaces both keys.";
    max_pool_connections: u64 = 128 => "MySQLOrchestratorMaxPoolConnections", Effective, Restart,
        "Most connections to the backend that one process opens.";
    read_timeout_seconds: u64 = 30 => "MySQLOrchestratorReadTimeoutSeconds", Effective, Restart,
        "Longest wait for an answer of the backend.";
    reject_read_only: bool = false => "MySQLOrchestratorRejectReadOnly", Effective, Restart,
        "Drop a connection whose server turns out to be read-only, so that the next attempt goes elsewhere.";
    max_allowed_packet: i64 = -1 => "MySQLOrchestratorMaxAllowedPacket", Unused("the driver adapts to the server's packet size"), Restart,
        "Largest packet sent to the backend.";
    use_mutual_tls: bool = false => "MySQLOrchestratorUseMutualTLS", Effective, Restart,
        "Demand TLS of the backend, and verify its certificate: signed by `MySQLOrchestratorSSLCAFile` or an authority of the system, and made out for the host as written in `MySQLOrchestratorHost`. Without it TLS is used where the backend offers it, whoever answers.";
    ssl_skip_verify: bool = false => "MySQLOrchestratorSSLSkipVerify", Effective, Restart,
        "With `MySQLOrchestratorUseMutualTLS`: do not verify the backend's certificate; the client certificate is then not sent.";
    ssl_private_key_file: String = String::new() => "MySQLOrchestratorSSLPrivateKeyFile", Effective, Restart,
        "Client key for the backend (PEM), not encrypted.";
    ssl_cert_file: String = String::new() => "MySQLOrchestratorSSLCertFile", Effective, Restart,
        "Client certificate for the backend (PEM); sent with `MySQLOrchestratorUseMutualTLS` when the backend's is verified.";
    ssl_ca_file: String = String::new() => "MySQLOrchestratorSSLCAFile", Effective, Restart,
        "Certificate authority of the backend (PEM), trusted besides those of the system; used with `MySQLOrchestratorUseMutualTLS`.";
    connect_timeout_seconds: u64 = 2 => "MySQLConnectTimeoutSeconds", Effective, Restart,
        "Connect timeout of the backend, and of connections to managed servers other than probes.";
    connection_lifetime_seconds: u64 = 0 => "MySQLConnectionLifetimeSeconds", Effective, Restart,
        "Greatest age of a pooled connection; 0 = no limit.";
}

impl Backend {
    /// The addresses to try, in order, without repetition; empty when none is configured.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        let mut addresses = Vec::new();
        if !self.host.is_empty() {
            addresses.push((self.host.clone(), self.port));
        }
        for entry in &self.hosts {
            if let Some(address) = parse_host_port(entry, self.port)
                && !addresses.contains(&address)
            {
                addresses.push(address);
            }
        }
        addresses
    }
}
