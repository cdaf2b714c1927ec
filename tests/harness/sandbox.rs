//! A topology that outlives the process that started it: `orchestrator sandbox up`, `status`, `down`.
//!
//! Everything is in one directory: `sandbox.json` and a directory per server. A server is recognised by the pid in its
//! pid file *and* by its data directory on that process's command line, so that a recycled pid is never touched.

use crate::accounts::ROOT;
use crate::flavor::Flavor;
use crate::options::Options;
use crate::replication::{Link, ReplicaStatus, replica_status, replicate};
use crate::server::{HOST, Server, connect};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More would not be a sandbox, and would not fit into the memory of a laptop.
pub const MAX_REPLICAS: usize = 20;
/// From SIGTERM to SIGKILL. Nobody will miss the data.
const STOP_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
const STATE_FILE: &str = "sandbox.json";

/// The state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    pub flavor: Flavor,
    pub servers: Vec<SandboxServer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxServer {
    /// `primary`, `replica-1`, ...; also the name of its directory.
    pub name: String,
    /// 0 while it is being started.
    pub port: u16,
    pub pid: u32,
    /// In clock ticks since boot: tells a process from a later one with the same pid.
    pub started_ticks: u64,
}

impl SandboxServer {
    pub fn address(&self) -> String {
        format!("{HOST}:{}", self.port)
    }
}

/// One server as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct SandboxServerStatus {
    pub name: String,
    pub address: String,
    /// `None`: it does not run.
    pub pid: Option<u32>,
    pub read_only: Option<bool>,
    /// `None`: it follows nobody, or does not answer.
    pub replication: Option<ReplicaStatus>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// Starts one primary and its replicas in `dir`, which must not exist, be empty, or hold a sandbox that is down.
/// On failure nothing stays behind.
pub async fn up(flavor: Flavor, replicas: usize, dir: &Path) -> Result<Sandbox> {
    if replicas > MAX_REPLICAS {
        bail!("a sandbox has at most {MAX_REPLICAS} replicas, not {replicas}");
    }
    // Before the directory is touched: a missing program is the most likely failure.
    flavor.program()?;
    let dir = prepare_directory(dir)?;
    let sandbox = claim(flavor, replicas, &dir)?;
    // From here on the directory is ours to clean up.
    match start_all(sandbox, &dir).await {
        Ok(sandbox) => Ok(sandbox),
        Err(error) => {
            if let Err(second) = down(&dir).await {
                return Err(error.context(format!("cannot clean up {} either: {second:#}", dir.display())));
            }
            Err(error)
        }
    }
}

/// The sandbox recorded in `dir`.
pub fn load(dir: &Path) -> Result<Sandbox> {
    let file = dir.join(STATE_FILE);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("no sandbox in {}", dir.display()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    serde_json::from_slice(&text).with_context(|| format!("{} is not a sandbox's state file", file.display()))
}

/// Asks every server of the sandbox how it is.
pub async fn status(dir: &Path) -> Result<Vec<SandboxServerStatus>> {
    let sandbox = load(dir)?;
    let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
    let asked = sandbox.servers.iter().map(|server| server_status(sandbox.flavor, server, &dir));
    Ok(futures::future::join_all(asked).await)
}

/// Stops the sandbox's servers and removes what `up` has made. Returns the names of the servers that were running.
pub async fn down(dir: &Path) -> Result<Vec<String>> {
    let sandbox = load(dir)?;
    let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
    let stopping = sandbox.servers.iter().map(|server| stop(server, &dir));
    let stopped = futures::future::try_join_all(stopping).await?;
    for server in &sandbox.servers {
        remove_if_there(fs::remove_dir_all(dir.join(&server.name)))?;
    }
    remove_if_there(fs::remove_file(dir.join(STATE_FILE)))?;
    // The directory itself only if nobody put anything else there.
    if let Err(error) = fs::remove_dir(&dir)
        && !matches!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::NotFound)
    {
        return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
    }
    Ok(stopped.into_iter().flatten().collect())
}

fn prepare_directory(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    if let Ok(existing) = load(&dir) {
        bail!(
            "there is a sandbox of {} servers in {} already; take it down first: orchestrator sandbox down",
            existing.servers.len(),
            dir.display()
        );
    }
    if fs::read_dir(&dir)?.next().is_some() {
        bail!("{} is not empty; choose another directory for the sandbox", dir.display());
    }
    Ok(dir)
}

async fn start_all(mut sandbox: Sandbox, dir: &Path) -> Result<Sandbox> {
    let starting = sandbox.servers.iter().enumerate().map(|(index, server)| {
        let options = Options { read_only: index > 0, ..Options::default() };
        Server::start_detached(sandbox.flavor, options, dir.join(&server.name))
    });
    // Wait for all, even if one fails: cleaning up must not race with those that are still starting.
    let servers: Vec<Server> = futures::future::join_all(starting).await.into_iter().collect::<Result<_>>()?;
    if let Some((primary, replicas)) = servers.split_first() {
        let linking = replicas.iter().map(|replica| replicate(replica, primary, Link::default()));
        futures::future::try_join_all(linking).await?;
    }
    for (entry, server) in sandbox.servers.iter_mut().zip(&servers) {
        entry.port = server.port();
        entry.pid = server.pid().with_context(|| format!("{} has ended: {}", entry.name, server.log_tail()))?;
        entry.started_ticks = started_ticks(entry.pid).context("cannot read the server's start time")?;
    }
    save(&sandbox, dir)?;
    Ok(sandbox)
}

/// Writes the first state file; fails when another `up` was faster. It has the names only: if we are killed before the
/// servers run, `down` still finds every one by its pid file.
fn claim(flavor: Flavor, replicas: usize, dir: &Path) -> Result<Sandbox> {
    let names = std::iter::once("primary".to_owned()).chain((1..=replicas).map(|n| format!("replica-{n}")));
    let unstarted = |name| SandboxServer { name, port: 0, pid: 0, started_ticks: 0 };
    let sandbox = Sandbox { flavor, servers: names.map(unstarted).collect() };
    let file = File::create_new(dir.join(STATE_FILE)).context("another sandbox is being started here")?;
    serde_json::to_writer_pretty(file, &sandbox).context("cannot write the state file")?;
    Ok(sandbox)
}

fn save(sandbox: &Sandbox, dir: &Path) -> Result<()> {
    let new = dir.join("sandbox.json.new");
    fs::write(&new, serde_json::to_vec_pretty(sandbox)?)?;
    fs::rename(&new, dir.join(STATE_FILE)).context("cannot replace the state file")
}

async fn server_status(flavor: Flavor, server: &SandboxServer, dir: &Path) -> SandboxServerStatus {
    let mut status = SandboxServerStatus {
        name: server.name.clone(),
        address: server.address(),
        pid: running_pid(server, dir),
        read_only: None,
        replication: None,
        error: None,
    };
    if status.pid.is_none() {
        return status;
    }
    match ask(flavor, server.port).await {
        Ok((read_only, replication)) => {
            status.read_only = Some(read_only);
            status.replication = replication;
        }
        Err(error) => status.error = Some(format!("{error:#}")),
    }
    status
}

async fn ask(flavor: Flavor, port: u16) -> Result<(bool, Option<ReplicaStatus>)> {
    let asking = async {
        let mut connection = connect(flavor, port, ROOT).await?;
        let read_only: i64 = sqlx::query_scalar("SELECT @@GLOBAL.read_only").fetch_one(&mut connection).await?;
        Ok((read_only != 0, replica_status(flavor, &mut connection).await?))
    };
    tokio::time::timeout(Duration::from_secs(5), asking).await.context("it does not answer")?
}

/// The server's name if it was running.
async fn stop(server: &SandboxServer, dir: &Path) -> Result<Option<String>> {
    let Some(pid) = running_pid(server, dir) else { return Ok(None) };
    send(pid, Signal::TERM)?;
    // A frozen server cannot obey.
    send(pid, Signal::CONT)?;
    let start = Instant::now();
    let mut killed = false;
    while running_pid(server, dir) == Some(pid) {
        if !killed && start.elapsed() > STOP_LIMIT {
            send(pid, Signal::KILL)?;
            killed = true;
        }
        if start.elapsed() > STOP_LIMIT * 2 {
            bail!("{} (process {pid}) does not end", server.name);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(Some(server.name.clone()))
}

fn send(pid: u32, signal: Signal) -> Result<()> {
    let target = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id out of range")?;
    match kill_process(target, signal) {
        // It ended by itself meanwhile.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot signal process {pid}")),
    }
}

/// The pid of the process that is this server, and no other process.
fn running_pid(server: &SandboxServer, dir: &Path) -> Option<u32> {
    let server_dir = dir.join(&server.name);
    let pid: u32 = fs::read_to_string(server_dir.join("pid")).ok()?.trim().parse().ok()?;
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let datadir = format!("--datadir={}", server_dir.join("data").display());
    let is_ours = command_line.split(|byte| *byte == 0).any(|argument| argument == datadir.as_bytes());
    // A restart by hand has another pid; the same pid must be the same process.
    let is_same = server.pid != pid || started_ticks(pid) == Some(server.started_ticks);
    (is_ours && is_same).then_some(pid)
}

/// Field 22 of `/proc/PID/stat`, see proc(5). The name in field 2 may contain anything, so count from its end.
fn started_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19)?.parse().ok()
}

fn remove_if_there(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot remove sandbox files"),
        _ => Ok(()),
    }
}
