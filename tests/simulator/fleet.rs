//! The fleet: layout of servers and clusters, the shared listener, and the commands that make servers slow or dead.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::change;
use crate::connection;
use crate::facts::flows;
use crate::role::{History, Role};
use crate::server::{Death, Dialect, Mode, Server};
use crate::sql::PlanCache;
use crate::stats::{Stats, UnknownLog};

/// Addresses per 127.x.y block: .1 to .250, so that .0 and .255 are never used.
const HOSTS_PER_BLOCK: usize = 250;
const BLOCKS: usize = 256;
/// First second octet; 127.0 to 127.9 are left to real servers.
const FIRST_NET: usize = 10;
const MOST_SERVERS: usize = HOSTS_PER_BLOCK * BLOCKS * 200;
/// Descriptors kept free for the listener, the runtime, the control port and its clients.
const SPARE_DESCRIPTORS: u64 = 64;
const BACKLOG: u32 = 4096;

/// What is wrong with the request for a fleet, or with the machine it should run on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the fleet must have 1 to {MOST_SERVERS} servers and at least one per cluster")]
    Size,
    #[error("depth must be 2 (primary, replicas) or 3 (with an intermediate source)")]
    Depth,
    #[error("shares must lie between 0 and 1")]
    Share,
    #[error(
        "the fleet needs {needed} file descriptors ({servers} servers x {per_server} connections + {SPARE_DESCRIPTORS}), \
         this process may hold {limit}: raise the limit (ulimit -n) or lower the number of servers"
    )]
    Descriptors { needed: u64, limit: u64, servers: usize, per_server: u32 },
    #[error("cannot listen on port {port}")]
    Listen {
        port: u16,
        #[source]
        cause: std::io::Error,
    },
    #[error("no server {0} in the fleet")]
    NoServer(String),
    #[error("no living server of cluster {0} takes writes")]
    Closed(usize),
}

/// What the fleet looks like. The default is small; take it and change what matters.
#[derive(Debug, Clone)]
pub struct FleetSpec {
    pub servers: usize,
    /// Servers per cluster: one primary and the rest replicas.
    pub cluster_size: usize,
    /// 2: all replicas under the primary. 3: the first replica is the source of about half of the others.
    pub depth: u8,
    /// Share of the clusters that are MariaDB.
    pub mariadb_share: f64,
    /// Share of the clusters that replicate semi-synchronously.
    pub semi_sync_share: f64,
    /// The members of a cluster are dealt out over these in turn.
    pub datacenters: Vec<String>,
    /// 0 takes a free port.
    pub port: u16,
    /// How many connections each server is expected to have, for the check of the descriptor limit.
    pub connections_per_server: u32,
    /// Share of the clusters that commit transactions; the others never change.
    pub busy_share: f64,
    /// How often a busy cluster commits one.
    pub busy_interval: Duration,
    /// How long replicas take to notice a silent source; a closed connection they notice at once.
    pub replica_net_timeout: Duration,
    /// For the choice of servers by share.
    pub seed: u64,
}

impl Default for FleetSpec {
    fn default() -> Self {
        Self {
            servers: 4,
            cluster_size: 4,
            depth: 2,
            mariadb_share: 0.0,
            semi_sync_share: 0.0,
            datacenters: vec!["dc1".to_owned(), "dc2".to_owned()],
            port: 0,
            connections_per_server: 1,
            busy_share: 0.0,
            busy_interval: Duration::from_secs(1),
            replica_net_timeout: Duration::from_secs(10),
            seed: 1,
        }
    }
}

/// Whom a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    All,
    Server(Ipv4Addr),
}

/// Everything the connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) spec: FleetSpec,
    pub(crate) servers: Vec<Server>,
    /// Of each cluster.
    pub(crate) histories: Vec<Mutex<History>>,
    pub(crate) port: u16,
    pub(crate) started: Instant,
    pub(crate) plans: Mutex<PlanCache>,
    pub(crate) unknown: Mutex<UnknownLog>,
    pub(crate) next_connection_id: AtomicU32,
    pub(crate) open_connections: AtomicUsize,
    /// Connections to addresses that belong to no server, or from elsewhere.
    pub(crate) strays: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
}

impl Shared {
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn at(&self, address: Ipv4Addr) -> Option<&Server> {
        index_of(address).and_then(|index| self.servers.get(index))
    }

    pub(crate) fn members(&self, cluster: usize) -> &[Server] {
        let size = self.spec.cluster_size;
        let first = (cluster * size).min(self.servers.len());
        &self.servers[first..(first + size).min(self.servers.len())]
    }
}

/// A running fleet. It ends when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Fleet {
    /// Lays out the servers, binds the shared port and begins to serve. Must be called inside a tokio runtime.
    pub fn new(spec: FleetSpec) -> Result<Self, Error> {
        check(&spec)?;
        let listener = listen(spec.port).map_err(|cause| Error::Listen { port: spec.port, cause })?;
        let port = listener.local_addr().map_err(|cause| Error::Listen { port: spec.port, cause })?.port();
        let servers = lay_out(&spec);
        let clusters = spec.servers.div_ceil(spec.cluster_size);
        let shared = Arc::new(Shared {
            servers,
            histories: (0..clusters)
                .map(|cluster| Mutex::new(History::new(cluster * spec.cluster_size, first_transactions(cluster))))
                .collect(),
            port,
            started: Instant::now(),
            plans: Mutex::default(),
            unknown: Mutex::default(),
            next_connection_id: AtomicU32::new(100),
            open_connections: AtomicUsize::new(0),
            strays: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            spec,
        });
        let mut tasks = vec![tokio::spawn(connection::accept(listener, Arc::clone(&shared)))];
        if shared.spec.busy_share > 0.0 {
            tasks.push(tokio::spawn(commit_transactions(Arc::clone(&shared))));
        }
        Ok(Self { shared, tasks })
    }

    /// The port all servers share.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    pub fn server_count(&self) -> usize {
        self.shared.servers.len()
    }

    /// The address of the n-th server.
    pub fn address(&self, index: usize) -> Option<SocketAddrV4> {
        self.shared.servers.get(index).map(|server| self.socket(server))
    }

    pub fn dialect(&self, index: usize) -> Option<Dialect> {
        self.shared.servers.get(index).map(|server| server.dialect)
    }

    pub fn datacenter(&self, index: usize) -> Option<&str> {
        let server = self.shared.servers.get(index)?;
        self.shared.spec.datacenters.get(server.datacenter).map(String::as_str)
    }

    /// All server addresses, cluster by cluster, each cluster's primary first.
    pub fn addresses(&self) -> Vec<SocketAddrV4> {
        self.shared.servers.iter().map(|server| self.socket(server)).collect()
    }

    /// One address per cluster: its primary (the first one, where there are several).
    pub fn seeds(&self) -> Vec<SocketAddrV4> {
        let clusters = 0..self.shared.histories.len();
        let primary = |cluster| {
            let members = self.shared.members(cluster);
            members.iter().find(|server| !server.role.is_replica()).or(members.first())
        };
        clusters.filter_map(primary).map(|server| self.socket(server)).collect()
    }

    /// Number of a server's cluster.
    pub fn cluster(&self, index: usize) -> Option<usize> {
        Some(self.shared.servers.get(index)?.cluster)
    }

    /// How long the fleet has been there.
    pub fn age(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// The living members of a cluster that take writes, each with the age of the fleet at which it began to: zero if it
    /// always has.
    pub fn writable(&self, cluster: usize) -> Vec<(SocketAddrV4, Duration)> {
        let members = self.shared.members(cluster).iter();
        members
            .filter(|server| server.mode().replicates() && server.role.takes_writes())
            .map(|server| {
                (self.socket(server), Duration::from_millis(server.role.opened_at_ms.load(Ordering::Relaxed)))
            })
            .collect()
    }

    /// Is every living member of a cluster either this server or a replica below it that receives and applies?
    pub fn follows(&self, cluster: usize, primary: SocketAddrV4) -> bool {
        let mut members = self.shared.members(cluster).iter().filter(|server| server.mode().replicates());
        members.all(|server| {
            let source = server.role.source().map(|source| &self.shared.servers[source]);
            self.socket(server) == primary || source.is_some_and(|source| flows(source, server))
        })
    }

    /// Delays every answer, greetings included.
    pub fn set_latency(&self, target: Target, latency: Duration) -> Result<usize, Error> {
        self.each(target, |server| server.set_latency(latency))
    }

    pub fn kill(&self, target: Target, death: &Death) -> Result<usize, Error> {
        let now = self.shared.now_ms();
        self.each(target, |server| server.set_death(Some(death), now))
    }

    pub fn revive(&self, target: Target) -> Result<usize, Error> {
        let now = self.shared.now_ms();
        self.each(target, |server| {
            if server.mode() != Mode::Alive {
                server.set_death(None, now);
            }
        })
    }

    /// Kills this share of the whole fleet among the living; the same seed takes the same servers. Returns whom.
    pub fn kill_share(&self, share: f64, death: &Death) -> Result<Vec<SocketAddrV4>, Error> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::Share);
        }
        let mut living: Vec<&Server> =
            self.shared.servers.iter().filter(|server| server.mode() == Mode::Alive).collect();
        living.shuffle(&mut StdRng::seed_from_u64(self.shared.spec.seed));
        let count = part(share, self.shared.servers.len());
        let now = self.shared.now_ms();
        Ok(living
            .into_iter()
            .take(count)
            .map(|server| {
                server.set_death(Some(death), now);
                self.socket(server)
            })
            .collect())
    }

    /// Commits transactions in one server's cluster, on the member that takes writes, so that the members change.
    pub fn commit(&self, address: Ipv4Addr, count: u64) -> Result<(), Error> {
        let server = self.shared.at(address).ok_or_else(|| Error::NoServer(address.to_string()))?;
        if change::commit(&self.shared, server.cluster, count) { Ok(()) } else { Err(Error::Closed(server.cluster)) }
    }

    pub fn stats(&self) -> Stats {
        Stats::collect(&self.shared)
    }

    /// Sets the counters of work done to zero; open connections stay counted.
    pub fn reset_stats(&self) {
        for server in &self.shared.servers {
            server.statements.store(0, Ordering::Relaxed);
            server.round_trips.store(0, Ordering::Relaxed);
            server.pings.store(0, Ordering::Relaxed);
            server.connects.store(0, Ordering::Relaxed);
        }
        *self.shared.unknown.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = UnknownLog::default();
    }

    fn socket(&self, server: &Server) -> SocketAddrV4 {
        SocketAddrV4::new(server.address, self.shared.port)
    }

    fn each(&self, target: Target, act: impl Fn(&Server)) -> Result<usize, Error> {
        match target {
            Target::All => {
                self.shared.servers.iter().for_each(&act);
                Ok(self.shared.servers.len())
            }
            Target::Server(address) => {
                act(self.shared.at(address).ok_or_else(|| Error::NoServer(address.to_string()))?);
                Ok(1)
            }
        }
    }
}

impl FleetSpec {
    /// Descriptors the fleet needs, and how many this process may hold (`None` where /proc does not say).
    pub fn descriptors(&self) -> (u64, Option<u64>) {
        let needed = self.servers as u64 * u64::from(self.connections_per_server) + SPARE_DESCRIPTORS;
        (needed, descriptor_limit())
    }
}

fn descriptor_limit() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn check(spec: &FleetSpec) -> Result<(), Error> {
    if spec.servers == 0 || spec.servers > MOST_SERVERS || spec.cluster_size == 0 {
        return Err(Error::Size);
    }
    if !matches!(spec.depth, 2 | 3) {
        return Err(Error::Depth);
    }
    for share in [spec.mariadb_share, spec.semi_sync_share, spec.busy_share] {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::Share);
        }
    }
    if let (needed, Some(limit)) = spec.descriptors()
        && needed > limit
    {
        let (servers, per_server) = (spec.servers, spec.connections_per_server);
        return Err(Error::Descriptors { needed, limit, servers, per_server });
    }
    Ok(())
}

/// The wildcard address is needed because the servers are told apart by the address the client asked for.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
    socket.listen(BACKLOG)
}

fn lay_out(spec: &FleetSpec) -> Vec<Server> {
    (0..spec.servers)
        .map(|index| {
            let (cluster, member) = (index / spec.cluster_size, index % spec.cluster_size);
            let dialect = if chosen(spec.mariadb_share, cluster) { Dialect::MariaDb } else { Dialect::MySql };
            let primary = index - member;
            let source = match member {
                0 => None,
                _ if spec.depth == 3 && member > spec.cluster_size / 2 => Some(primary + 1),
                _ => Some(primary),
            };
            // Shifted by half a period so that both dialects have semi-sync clusters.
            let semi_sync = chosen(spec.semi_sync_share, cluster * 7 + 3);
            let role = Role::new(source, semi_sync, first_transactions(cluster));
            let mut server = Server::new(index, address_of(index), dialect, cluster, role);
            server.datacenter =
                if spec.datacenters.is_empty() { 0 } else { (cluster + member) % spec.datacenters.len() };
            server
        })
        .collect()
}

/// Every cluster has a history of its own length, so that mixed-up answers show.
fn first_transactions(cluster: usize) -> u64 {
    1000 + cluster as u64
}

/// Spreads a share evenly over numbered things.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count is a small count")]
fn chosen(share: f64, number: usize) -> bool {
    let below = |n: usize| (share * n as f64 + 1e-9) as u64;
    below(number + 1) > below(number)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count is a small count")]
fn part(share: f64, of: usize) -> usize {
    (share * of as f64).round() as usize
}

fn address_of(index: usize) -> Ipv4Addr {
    let (block, host) = (index / HOSTS_PER_BLOCK, index % HOSTS_PER_BLOCK + 1);
    let octet = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, octet(FIRST_NET + block / BLOCKS), octet(block % BLOCKS), octet(host))
}

fn index_of(address: Ipv4Addr) -> Option<usize> {
    let [127, net, block, host] = address.octets() else { return None };
    let (net, block, host) = (usize::from(net), usize::from(block), usize::from(host));
    if net < FIRST_NET || !(1..=HOSTS_PER_BLOCK).contains(&host) {
        return None;
    }
    Some(((net - FIRST_NET) * BLOCKS + block) * HOSTS_PER_BLOCK + host - 1)
}

async fn commit_transactions(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(shared.spec.busy_interval.max(Duration::from_millis(1)));
    loop {
        tick.tick().await;
        for cluster in 0..shared.histories.len() {
            if chosen(shared.spec.busy_share, cluster) {
                change::commit(&shared, cluster, 1);
            }
        }
    }
}

/// `5ms`, `2s`, `300us`; a bare `0` too.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let bad = || format!("{text:?} is not a duration such as 300us, 5ms or 2s");
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    match &text[digits..] {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "" if number == 0 => Ok(Duration::ZERO),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_are_one_to_one() {
        for index in [0, 1, 249, 250, 9_999, 63_999, 64_000, MOST_SERVERS - 1] {
            assert_eq!(index_of(address_of(index)), Some(index));
        }
        assert_eq!(address_of(0).to_string(), "127.10.0.1");
        assert_eq!(index_of(Ipv4Addr::new(127, 10, 0, 255)), None);
        assert_eq!(index_of(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn shares_are_spread_evenly() {
        assert_eq!((0..1000).filter(|n| chosen(0.3, *n)).count(), 300);
        assert_eq!((0..1000).filter(|n| chosen(0.0, *n)).count(), 0);
        assert_eq!((0..1000).filter(|n| chosen(1.0, *n)).count(), 1000);
    }

    #[test]
    fn a_third_level_hangs_below_the_first_replica() {
        let servers = lay_out(&FleetSpec { servers: 8, depth: 3, ..FleetSpec::default() });
        let sources: Vec<_> = servers.iter().map(|server| server.role.source()).collect();
        assert_eq!(sources, [None, Some(0), Some(0), Some(1), None, Some(4), Some(4), Some(5)]);
    }

    #[test]
    fn too_many_servers_for_the_descriptors_is_said_clearly() {
        let spec = FleetSpec { servers: 1_000_000, connections_per_server: 1000, ..FleetSpec::default() };
        let text = check(&spec).unwrap_err().to_string();
        assert!(text.contains("file descriptors"), "{text}");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert!(parse_duration("5").is_err() && parse_duration("ms").is_err());
    }
}
