//! A backend and the processes that share it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{Flavor, Server};
use serde_json::{Value, json};
use sqlx::MySqlPool;
use sqlx::mysql::MySqlPoolOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::wait;

/// A process needs this long at most, from start to its first sign of life, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// One `orchestrator` process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Port of its HTTP API; 0 for a worker.
    pub port: u16,
}

/// What a command printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; -1 when killed.
    pub code: i32,
    /// Its results.
    pub stdout: String,
    /// Its talk.
    pub stderr: String,
}

/// A backend and the processes that share it.
#[derive(Debug)]
pub struct Fleet {
    /// The backend server.
    pub backend: Server,
    dir: tempfile::TempDir,
    settings: Value,
    processes: BTreeMap<String, Process>,
    binary: PathBuf,
}

impl Fleet {
    /// Starts a backend and prepares a configuration: `settings` are laid over the defaults for tests.
    pub async fn new(backend: Flavor, settings: Value) -> Result<Self> {
        let backend = Server::start(backend).await?;
        backend.execute("CREATE DATABASE orchestrator").await?;
        let dir = tempfile::Builder::new().prefix("orc-scenario-").tempdir()?;
        let mut merged = json!({
            "MySQLOrchestratorHost": backend.host(),
            "MySQLOrchestratorPort": backend.port(),
            "MySQLOrchestratorDatabase": "orchestrator",
            "MySQLOrchestratorUser": harness::ROOT.user,
            "MySQLOrchestratorPassword": harness::ROOT.password,
            "MySQLTopologyUser": harness::TOPOLOGY.user,
            "MySQLTopologyPassword": harness::TOPOLOGY.password,
            "MySQLHostnameResolveMethod": "none",
            "HostnameResolveMethod": "none",
            "InstancePollSeconds": 1,
            "DeadInstancePollSecondsMax": 5,
        });
        merge(&mut merged, settings);
        let fleet =
            Self { backend, dir, settings: merged, processes: BTreeMap::new(), binary: binary("ORCHESTRATOR_BIN")? };
        fleet.write_config("cli", 0)?;
        Ok(fleet)
    }

    /// Starts a service (with a built-in worker unless `args` say otherwise) and waits until it is ready.
    pub async fn service(&mut self, name: &str, args: &[&str]) -> Result<()> {
        let port = free_port()?;
        let config = self.write_config(name, port)?;
        self.spawn(name, port, &config, &[], &[&["http"], args].concat())?;
        wait::until(&format!("service {name} ready"), START_LIMIT, || async {
            let (status, _) = http_get(port, "/health/ready").await?;
            Ok((status == 200).then_some(()))
        })
        .await
        .with_context(|| self.log_tail(name))
    }

    /// Starts a worker and waits until it is registered.
    pub async fn worker(&mut self, name: &str, args: &[&str]) -> Result<()> {
        let config = self.write_config(name, 0)?;
        self.spawn(name, 0, &config, &[], &[&["worker"], args].concat())?;
        self.heard(name).await
    }

    /// Waits until the other processes hear a worker (again).
    pub async fn heard(&self, name: &str) -> Result<()> {
        let pool = self.pool().await?;
        wait::until(&format!("worker {name} registered"), START_LIMIT, || async {
            let live: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM queue_worker WHERE name = ? AND heartbeat_at > NOW(6) - INTERVAL 6 SECOND",
            )
            .bind(name)
            .fetch_one(&pool)
            .await?;
            Ok((live > 0).then_some(()))
        })
        .await
        .with_context(|| self.log_tail(name))
    }

    /// Starts a process and waits for nothing: `settings` are laid over those of the fleet, `wrapper` is a command that
    /// runs another (`prlimit`). `{"NodeName": ...}` gives it another name than the one it has here.
    pub fn start(&mut self, name: &str, settings: Value, wrapper: &[&str], args: &[&str]) -> Result<()> {
        let config = self.write_config_with(name, 0, settings)?;
        self.spawn(name, 0, &config, wrapper, args)
    }

    fn spawn(&mut self, name: &str, port: u16, config: &Path, wrapper: &[&str], args: &[&str]) -> Result<()> {
        let log = self.dir.path().join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        // setpriv: the process dies with this test, even when the test is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(wrapper)
            .arg(&self.binary)
            .arg("--config")
            .arg(config)
            .args(["--verbose"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start the orchestrator executable")?;
        self.processes.insert(name.to_owned(), Process { child, log, port });
        Ok(())
    }

    /// Changes settings of a running process, and of every command and process from now on; returns when it has taken
    /// them up.
    pub async fn reload(&mut self, name: &str, settings: Value) -> Result<()> {
        const SAID: &str = "reloaded the configuration";
        let before = self.log(name)?.matches(SAID).count();
        merge(&mut self.settings, settings);
        self.write_config("cli", 0)?;
        self.write_config(name, self.port(name)?)?;
        self.signal(name, "HUP")?;
        wait::until(&format!("{name} reloads"), START_LIMIT, || async {
            Ok((self.log(name)?.matches(SAID).count() > before).then_some(()))
        })
        .await
    }

    /// Runs one command against the backend.
    pub async fn run(&self, args: &[&str]) -> Result<Output> {
        self.run_configured(&self.config_path("cli"), args).await
    }

    /// The same with `settings` laid over those of the fleet.
    pub async fn run_with(&self, settings: Value, args: &[&str]) -> Result<Output> {
        let config = self.write_config_with("other", 0, settings)?;
        self.run_configured(&config, args).await
    }

    /// The same with the configuration in a file.
    pub async fn run_configured(&self, config: &Path, args: &[&str]) -> Result<Output> {
        let output = tokio::process::Command::new(&self.binary)
            .arg("--config")
            .arg(config)
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a script that calls `$ORCHESTRATOR`.
    pub async fn run_script(&self, script: &Path, args: &[&str]) -> Result<Output> {
        let orchestrator = format!("{} --config {}", self.binary.display(), self.config_path("cli").display());
        let output = tokio::process::Command::new(script)
            .env("ORCHESTRATOR", orchestrator)
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run {}", script.display()))?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs one command that must succeed; gives what it printed.
    pub async fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args).await?;
        if output.code != 0 {
            bail!("orchestrator {args:?} exited with {}: {}", output.code, output.stderr);
        }
        Ok(output.stdout)
    }

    /// `GET` from a service.
    pub async fn get(&self, service: &str, path: &str) -> Result<(u16, String)> {
        http_get(self.processes.get(service).context("no such service")?.port, path).await
    }

    /// A pool on the backend's schema.
    pub async fn pool(&self) -> Result<MySqlPool> {
        let options = self.backend.connect_options(harness::ROOT).database("orchestrator");
        Ok(MySqlPoolOptions::new().max_connections(4).connect_with(options).await?)
    }

    /// Port of a service's HTTP API.
    pub fn port(&self, name: &str) -> Result<u16> {
        Ok(self.processes.get(name).with_context(|| format!("no process {name}"))?.port)
    }

    /// Process id of a process.
    pub fn pid(&self, name: &str) -> Result<u32> {
        Ok(self.processes.get(name).with_context(|| format!("no process {name}"))?.child.id())
    }

    /// Sends a signal (`KILL`, `STOP`, `CONT`, `TERM`, `HUP`).
    pub fn signal(&self, name: &str, signal: &str) -> Result<()> {
        let pid = self.pid(name)?.to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status()?;
        if status.success() { Ok(()) } else { bail!("cannot send {signal} to {name}") }
    }

    /// Kills a process and forgets it.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let mut process = self.processes.remove(name).with_context(|| format!("no process {name}"))?;
        process.child.kill()?;
        process.child.wait()?;
        Ok(())
    }

    /// Is the process still running?
    pub fn is_running(&mut self, name: &str) -> Result<bool> {
        let process = self.processes.get_mut(name).with_context(|| format!("no process {name}"))?;
        Ok(process.child.try_wait()?.is_none())
    }

    /// Waits for a process to end; gives its exit code.
    pub async fn ended(&mut self, name: &str, limit: Duration) -> Result<i32> {
        let mut process = self.processes.remove(name).with_context(|| format!("no process {name}"))?;
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = process.child.try_wait()? {
                return Ok(status.code().unwrap_or(-1));
            }
            if begun.elapsed() > limit {
                process.child.kill()?;
                process.child.wait()?;
                bail!("{name} did not end within {limit:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a process has said so far.
    pub fn log(&self, name: &str) -> Result<String> {
        let process = self.processes.get(name).with_context(|| format!("no process {name}"))?;
        Ok(std::fs::read_to_string(&process.log)?)
    }

    /// The end of a process's log, for messages.
    pub fn log_tail(&self, name: &str) -> String {
        let Some(process) = self.processes.get(name) else { return format!("{name}: not running") };
        let text = std::fs::read_to_string(&process.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("log of {name}:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
    }

    fn config_path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.conf.json"))
    }

    fn write_config(&self, name: &str, port: u16) -> Result<PathBuf> {
        self.write_config_with(name, port, json!({}))
    }

    fn write_config_with(&self, name: &str, port: u16, over: Value) -> Result<PathBuf> {
        let mut settings = self.settings.clone();
        merge(&mut settings, json!({ "NodeName": name }));
        if port != 0 {
            merge(&mut settings, json!({ "ListenAddress": format!("127.0.0.1:{port}") }));
        }
        merge(&mut settings, over);
        let path = self.config_path(name);
        std::fs::write(&path, serde_json::to_vec_pretty(&settings)?)?;
        Ok(path)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            process.child.kill().ok();
            process.child.wait().ok();
        }
    }
}

/// An executable of this workspace: named by the environment, or in the target directory.
pub fn binary(variable: &str) -> Result<PathBuf> {
    let default = if variable == "SIMULATOR_BIN" { "simulator" } else { "orchestrator" };
    let path = std::env::var_os(variable)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug").join(default), PathBuf::from);
    if path.is_file() {
        Ok(path)
    } else {
        bail!("{} not found: run `cargo build -p orchestrator -p simulator` first", path.display())
    }
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A plain HTTP request to a service on loopback.
pub async fn http_get(port: u16, path: &str) -> Result<(u16, String)> {
    let work = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let (head, body) = reply.split_once("\r\n\r\n").context("no HTTP reply")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        anyhow::Ok((status, body.to_owned()))
    };
    tokio::time::timeout(Duration::from_secs(5), work).await.context("no HTTP reply within 5 s")?
}
