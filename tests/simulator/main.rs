//! `simulator`: runs a fleet until it is told to stop, by signal or by `quit` on the control port.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use simulator::{Control, Fleet, FleetSpec, parse_duration};
use tokio::signal::unix::{SignalKind, signal};

/// Simulates thousands of MySQL and MariaDB servers in one process, on loopback.
///
/// Prints one line of JSON with the ports when it is ready. Needs one file descriptor per connection it serves.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[arg(long, default_value_t = 1000)]
    servers: usize,
    /// Servers per cluster: one primary and replicas
    #[arg(long, default_value_t = 4)]
    cluster_size: usize,
    /// 2: flat; 3: half of the replicas hang below the first one
    #[arg(long, default_value_t = 2)]
    depth: u8,
    /// Share of clusters that are MariaDB
    #[arg(long, default_value_t = 0.3)]
    mariadb_share: f64,
    /// Share of clusters with semi-synchronous replication
    #[arg(long, default_value_t = 0.2)]
    semi_sync_share: f64,
    /// Names of the datacenters over which each cluster is spread
    #[arg(long, value_delimiter = ',', default_value = "dc1,dc2")]
    datacenters: Vec<String>,
    /// Port shared by all servers; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the line protocol on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Connections expected per server, for the check of the descriptor limit
    #[arg(long, default_value_t = 1)]
    connections_per_server: u32,
    /// Share of clusters that commit transactions
    #[arg(long, default_value_t = 0.0)]
    busy_share: f64,
    /// How often a busy cluster commits, such as 500ms
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    busy_interval: Duration,
    /// Latency of every answer from the start, such as 5ms
    #[arg(long, default_value = "0", value_parser = parse_duration)]
    latency: Duration,
    /// How long replicas take to notice a silent source
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    replica_net_timeout: Duration,
    /// For the choice of servers by share
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Options {
    fn spec(&self) -> FleetSpec {
        FleetSpec {
            servers: self.servers,
            cluster_size: self.cluster_size,
            depth: self.depth,
            mariadb_share: self.mariadb_share,
            semi_sync_share: self.semi_sync_share,
            datacenters: self.datacenters.clone(),
            port: self.port,
            connections_per_server: self.connections_per_server,
            busy_share: self.busy_share,
            busy_interval: self.busy_interval,
            replica_net_timeout: self.replica_net_timeout,
            seed: self.seed,
        }
    }
}

// One thread on purpose: the fleet shares the machine with the system under test and must never take a second core.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let spec = options.spec();
    let (needed, limit) = spec.descriptors();
    tracing::info!(needed, limit, servers = spec.servers, "file descriptors needed and allowed");

    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    let fleet = Arc::new(Fleet::new(spec)?);
    fleet.set_latency(simulator::Target::All, options.latency)?;
    let control = Control::bind(options.control_port).await.context("cannot bind the control port")?;
    let seeds = fleet.seeds();
    let ready = serde_json::json!({
        "port": fleet.port(),
        "control_port": control.port()?,
        "servers": fleet.server_count(),
        "clusters": seeds.len(),
        "seeds": seeds.iter().take(10).collect::<Vec<_>>(),
        "descriptors_needed": needed,
    });
    println!("{ready}");

    tokio::select! {
        () = control.serve(Arc::clone(&fleet)) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let stats = fleet.stats();
    for unknown in &stats.unknown {
        tracing::warn!(count = unknown.count, "not answered: {}", unknown.text);
    }
    eprintln!("{}", serde_json::to_string(&stats)?);
    Ok(())
}
