//! Checks that need more than the settings themselves: files on this machine, or knowing what will be done.

use std::fs::File;

use crate::problem::Problem;
use crate::settings::Settings;

impl Settings {
    /// Files that the settings name and use, but that cannot be opened. Apart from loading, so that settings can be
    /// read on another machine than the one they are for.
    pub fn check_files(&self) -> Vec<Problem> {
        let (http, backend, topology) = (&self.http, &self.backend, &self.topology);
        let backend_certificate = backend.use_mutual_tls && !backend.ssl_skip_verify;
        let topology_certificate = topology.use_mutual_tls && !topology.ssl_skip_verify;
        let topology_tls = topology.use_mutual_tls || topology.use_mixed_tls;
        let rows = [
            ("SSLPrivateKeyFile", http.use_ssl, &http.ssl_private_key_file),
            ("SSLCertFile", http.use_ssl, &http.ssl_cert_file),
            ("SSLCAFile", http.use_ssl && http.use_mutual_tls, &http.ssl_ca_file),
            ("MySQLOrchestratorSSLPrivateKeyFile", backend_certificate, &backend.ssl_private_key_file),
            ("MySQLOrchestratorSSLCertFile", backend_certificate, &backend.ssl_cert_file),
            ("MySQLOrchestratorSSLCAFile", backend_certificate, &backend.ssl_ca_file),
            ("MySQLTopologySSLPrivateKeyFile", topology_certificate, &topology.ssl_private_key_file),
            ("MySQLTopologySSLCertFile", topology_certificate, &topology.ssl_cert_file),
            ("MySQLTopologySSLCAFile", topology_tls && !topology.ssl_skip_verify, &topology.ssl_ca_file),
        ];
        rows.into_iter()
            .filter(|(_, used, file)| *used && !file.is_empty())
            .filter_map(|(key, _, file)| {
                let error = File::open(file).err()?;
                let text = format!("names a file that cannot be opened: {error}");
                Some(Problem::key(key, text, "mend the path or its permissions").in_file(file))
            })
            .collect()
    }

    /// What is missing to reach the backend. Apart from loading, because some commands need no backend.
    pub fn check_backend(&self) -> Vec<Problem> {
        let backend = &self.backend;
        let mut problems = Vec::new();
        if backend.addresses().is_empty() {
            problems.push(Problem::key("MySQLOrchestratorHost", "is not set", "name the server of the backend"));
        }
        if backend.database.is_empty() {
            problems.push(Problem::key("MySQLOrchestratorDatabase", "is not set", "name the schema of the backend"));
        }
        if backend.user.is_empty() {
            problems.push(Problem::key("MySQLOrchestratorUser", "is not set", "name the user on the backend"));
        }
        problems
    }
}
