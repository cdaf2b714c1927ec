//! How a server is to be configured, and the command line that says so to each flavour.

use std::time::Duration;

use crate::flavor::Flavor;

/// Which semi-synchronous roles a server starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SemiSync {
    /// MySQL: the plugins are not loaded. MariaDB has the roles built in, switched off.
    #[default]
    Off,
    /// The plugins are loaded, both roles are off.
    Loaded,
    Source,
    Replica,
    Both,
}

/// Settings of one server. The defaults make an ordinary member of a GTID topology, kept small.
#[derive(Debug, Clone)]
pub struct Options {
    /// Default: the port, which is unique on this machine.
    pub server_id: Option<u32>,
    /// Default: a free port.
    pub port: Option<u16>,
    /// What the server calls itself towards its source (`report_port`). Default: the port; a proxy's port makes
    /// discovery go through that proxy.
    pub report_port: Option<u16>,
    /// MySQL only; MariaDB always has GTIDs.
    pub gtid: bool,
    pub log_bin: bool,
    pub log_replica_updates: bool,
    pub read_only: bool,
    pub semi_sync: SemiSync,
    /// A source with semi-sync waits for acknowledgements for this long, then goes on without. Default: the server's own, ten
    /// seconds.
    pub semi_sync_timeout: Option<Duration>,
    /// Costs about 150 MB of a MySQL server.
    pub performance_schema: bool,
    /// MySQL only: offers TLS with its self-signed certificate. Our MariaDB servers have no certificate.
    pub tls: bool,
    pub buffer_pool_mb: u32,
    /// Appended last, so they win.
    pub extra_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            server_id: None,
            port: None,
            report_port: None,
            gtid: true,
            log_bin: true,
            log_replica_updates: true,
            read_only: false,
            semi_sync: SemiSync::Off,
            semi_sync_timeout: None,
            performance_schema: false,
            tls: true,
            buffer_pool_mb: 16,
            extra_args: Vec::new(),
        }
    }
}

impl Options {
    /// Everything but the directories and the user.
    pub(crate) fn arguments(&self, flavor: Flavor, port: u16) -> Vec<String> {
        let mut arguments = self.common(port);
        match flavor {
            Flavor::MySql => arguments.extend(self.mysql()),
            Flavor::MariaDb => arguments.extend(self.mariadb()),
        }
        arguments.extend(self.extra_args.iter().cloned());
        arguments
    }

    fn common(&self, port: u16) -> Vec<String> {
        let mut arguments = vec![
            // Relative to the data directory: a socket's path may have 107 bytes, and nobody uses this one.
            "--socket=server.sock".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={port}"),
            format!("--server-id={}", self.server_id.unwrap_or(u32::from(port))),
            "--report-host=127.0.0.1".to_owned(),
            format!("--report-port={}", self.report_port.unwrap_or(port)),
            "--skip-name-resolve".to_owned(),
            "--max-connections=500".to_owned(),
            format!("--innodb-buffer-pool-size={}M", self.buffer_pool_mb),
            // The machine's asynchronous requests are few (fs.aio-max-nr, often 65536), and a MySQL server takes up to 2,300 of them:
            // the one that gets none does not start.
            "--innodb-use-native-aio=OFF".to_owned(),
            // `kill -9` of a server loses nothing by this: the operating system holds the pages. Only power loss would.
            "--innodb-flush-log-at-trx-commit=2".to_owned(),
            "--sync-binlog=0".to_owned(),
            format!("--performance-schema={}", on_off(self.performance_schema)),
            format!("--read-only={}", on_off(self.read_only)),
        ];
        if self.log_bin {
            arguments.push("--log-bin=binlog".to_owned());
        } else {
            arguments.push("--skip-log-bin".to_owned());
        }
        arguments
    }

    fn mysql(&self) -> Vec<String> {
        let mut arguments = vec![
            "--mysqlx=OFF".to_owned(),
            // The compiled-in directory belongs to an installed package and need not exist.
            "--secure-file-priv=NULL".to_owned(),
            "--innodb-redo-log-capacity=16M".to_owned(),
            // The default, 64 MB, is touched at the start: memory and a tenth of what a start costs.
            "--innodb-log-buffer-size=1M".to_owned(),
            // Servers this small need no more.
            "--innodb-read-io-threads=1".to_owned(),
            "--innodb-write-io-threads=1".to_owned(),
            "--relay-log=relay".to_owned(),
            "--replica-net-timeout=4".to_owned(),
            format!("--log-replica-updates={}", on_off(self.log_replica_updates && self.log_bin)),
        ];
        // Said in any case: the default differs between versions (9.7: on).
        arguments.push(format!("--gtid-mode={}", on_off(self.gtid)));
        arguments.push(format!("--enforce-gtid-consistency={}", on_off(self.gtid)));
        if !self.tls {
            arguments.push("--tls-version=".to_owned());
        }
        if self.semi_sync != SemiSync::Off {
            arguments.push("--plugin-load-add=semisync_source.so".to_owned());
            arguments.push("--plugin-load-add=semisync_replica.so".to_owned());
        }
        if matches!(self.semi_sync, SemiSync::Source | SemiSync::Both) {
            arguments.push("--rpl-semi-sync-source-enabled=ON".to_owned());
        }
        if matches!(self.semi_sync, SemiSync::Replica | SemiSync::Both) {
            arguments.push("--rpl-semi-sync-replica-enabled=ON".to_owned());
        }
        if let Some(timeout) = self.semi_sync_timeout.filter(|_| self.semi_sync != SemiSync::Off) {
            arguments.push("--rpl-semi-sync-source-wait-for-replica-count=1".to_owned());
            arguments.push(format!("--rpl-semi-sync-source-timeout={}", timeout.as_millis()));
        }
        arguments
    }

    fn mariadb(&self) -> Vec<String> {
        let mut arguments = vec![
            "--innodb-log-file-size=16M".to_owned(),
            "--aria-pagecache-buffer-size=8M".to_owned(),
            "--key-buffer-size=1M".to_owned(),
            "--relay-log=relay".to_owned(),
            "--slave-net-timeout=4".to_owned(),
            "--gtid-strict-mode=ON".to_owned(),
            // The default is MIXED; MySQL's is ROW.
            "--binlog-format=ROW".to_owned(),
            format!("--log-slave-updates={}", on_off(self.log_replica_updates)),
        ];
        if matches!(self.semi_sync, SemiSync::Source | SemiSync::Both) {
            arguments.push("--rpl-semi-sync-master-enabled=ON".to_owned());
        }
        if matches!(self.semi_sync, SemiSync::Replica | SemiSync::Both) {
            arguments.push("--rpl-semi-sync-slave-enabled=ON".to_owned());
        }
        if let Some(timeout) = self.semi_sync_timeout {
            // It always waits for one. The default commits first and waits then: others see rows that may be lost.
            arguments.push("--rpl-semi-sync-master-wait-point=AFTER_SYNC".to_owned());
            arguments.push(format!("--rpl-semi-sync-master-timeout={}", timeout.as_millis()));
        }
        arguments
    }
}

fn on_off(value: bool) -> &'static str {
    if value { "ON" } else { "OFF" }
}
