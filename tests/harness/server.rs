//! One throw-away server: a process, its port and its directory.

use crate::accounts::{Account, ROOT};
use crate::flavor::{Flavor, Program};
use crate::options::Options;
use crate::ports::{self, PortLease};
use crate::watchdog::Watchdog;
use crate::{template, workspace};
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Connection};
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// All servers listen here and nowhere else.
pub const HOST: &str = "127.0.0.1";

/// From process start to the first answered query. Generous: a machine may be starting twenty at once.
const START_LIMIT: Duration = Duration::from_secs(90);
/// From SIGTERM to the end of the process.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// One connection attempt, login included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const LOG_TAIL_LINES: usize = 30;

/// Writes its own pid down and becomes the server, so that the pid file is never behind the process.
const LAUNCH: &str = r#"echo $$ >"$0" && exec "$@""#;

/// A server process. Dropping it kills that process and removes its directory, unless it was started detached.
#[derive(Debug)]
pub struct Server {
    flavor: Flavor,
    gtid: bool,
    tls: bool,
    port: PortLease,
    dir: PathBuf,
    arguments: Vec<String>,
    program: Program,
    child: Mutex<Option<Child>>,
    watchdog: Option<Watchdog>,
}

impl Server {
    /// Starts a server with default options and waits until it answers queries.
    pub async fn start(flavor: Flavor) -> Result<Server> {
        Server::start_with(flavor, Options::default()).await
    }

    pub async fn start_with(flavor: Flavor, options: Options) -> Result<Server> {
        let dir = workspace::directory("servers")?.join(workspace::unique_name());
        let server = Server::create(flavor, options, dir, Lifetime::Ours).await?;
        server.launch().await?;
        Ok(server)
    }

    /// Starts a server in a directory of the caller's that goes on after this process: see [`crate::Sandbox`].
    pub(crate) async fn start_detached(flavor: Flavor, options: Options, dir: PathBuf) -> Result<Server> {
        let server = Server::create(flavor, options, dir, Lifetime::Detached).await?;
        server.launch().await?;
        Ok(server)
    }

    async fn create(flavor: Flavor, options: Options, dir: PathBuf, lifetime: Lifetime) -> Result<Server> {
        let prepare = move || {
            let program = flavor.program()?;
            let port = match options.port {
                Some(port) => ports::lease(port)?,
                None => ports::lease_any()?,
            };
            fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
            let watchdog = match lifetime {
                Lifetime::Ours => Some(Watchdog::start(&dir)?),
                Lifetime::Detached => None,
            };
            fs::create_dir(dir.join("tmp")).with_context(|| format!("cannot create {}/tmp", dir.display()))?;
            template::copy_to(flavor, &program, &dir.join("data"))?;
            let arguments = options.arguments(flavor, port.port);
            Ok(Server {
                flavor,
                gtid: options.gtid,
                tls: options.tls,
                port,
                dir,
                arguments,
                program,
                child: Mutex::new(None),
                watchdog,
            })
        };
        tokio::task::spawn_blocking(prepare).await.context("preparing a server panicked")?
    }

    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// As `mysqld --version` says, e.g. `9.7.4-2`.
    pub fn version(&self) -> &str {
        &self.program.version
    }

    pub(crate) fn offers_tls(&self) -> bool {
        self.tls
    }

    pub(crate) fn uses_gtid(&self) -> bool {
        self.gtid
    }

    pub fn host(&self) -> &'static str {
        HOST
    }

    pub fn port(&self) -> u16 {
        self.port.port
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{HOST}:{}", self.port())
    }

    /// Holds `data/`, `server.log` and `pid`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id while a process is there, running or frozen.
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        match child.as_mut()?.try_wait() {
            Ok(None) => child.as_ref().map(Child::id),
            Ok(Some(_)) | Err(_) => None,
        }
    }

    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// A connection URL for sqlx; the database may be empty.
    pub fn url(&self, account: Account, database: &str) -> String {
        let Account { user, password } = account;
        let secret = if password.is_empty() { String::new() } else { format!(":{password}") };
        format!("mysql://{user}{secret}@{}/{database}", self.address())
    }

    pub fn connect_options(&self, account: Account) -> MySqlConnectOptions {
        connect_options(self.port(), account)
    }

    pub async fn connect(&self, account: Account) -> Result<MySqlConnection> {
        connect(self.flavor, self.port(), account).await
    }

    pub async fn connect_root(&self) -> Result<MySqlConnection> {
        self.connect(ROOT).await
    }

    /// Runs statements as root over a connection of its own.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        let mut connection = self.connect_root().await?;
        sqlx::raw_sql(sql)
            .execute(&mut connection)
            .await
            .with_context(|| format!("{} refused: {sql}", self.address()))?;
        connection.close().await?;
        Ok(())
    }

    /// One value as root, as text; empty: NULL.
    pub async fn value(&self, expression: &str) -> Result<String> {
        let sql = format!("SELECT CAST(({expression}) AS CHAR)");
        let found: Option<String> = sqlx::query_scalar(&sql).fetch_one(&mut self.connect_root().await?).await?;
        Ok(found.unwrap_or_default())
    }

    /// Shuts the server down in order (SIGTERM) and waits for its end. Does nothing when it is not running.
    pub async fn stop(&self) -> Result<()> {
        if !self.signal(Signal::TERM)? {
            return Ok(());
        }
        match self.wait_for_end(STOP_LIMIT).await? {
            Some(_) => Ok(()),
            None => Err(self.failure("did not stop", STOP_LIMIT)),
        }
    }

    /// `kill -9`; the process is gone when this returns.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child();
        if let Some(child) = child.as_mut() {
            child.kill().context("cannot kill the server")?;
            child.wait().context("cannot wait for the killed server")?;
        }
        *child = None;
        Ok(())
    }

    /// SIGSTOP: the port still accepts connections (the kernel does), nobody answers. Returns when the process is
    /// stopped: the signal reaches threads that are running on another processor a little later.
    pub fn freeze(&self) -> Result<()> {
        self.signal_running(Signal::STOP)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while !self.is_frozen()? {
            if Instant::now() > deadline {
                bail!("{} at {} does not stop at SIGSTOP", self.flavor, self.address());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// All threads are stopped (state T of proc_pid_stat(5)).
    fn is_frozen(&self) -> Result<bool> {
        let Some(pid) = self.child().as_ref().map(Child::id) else { bail!("{} is not running", self.address()) };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the look.
            let stat = fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if state.is_some_and(|state| state != 'T') {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// SIGCONT after [`Server::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.signal_running(Signal::CONT)
    }

    /// Starts a stopped or killed server again: same port, same data, same options.
    pub async fn start_again(&self) -> Result<()> {
        if self.is_running() {
            bail!("{} at {} is running already", self.flavor, self.address());
        }
        self.launch().await
    }

    /// Orderly stop and start on the same port.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Waits until the server answers a query, but not longer than until `limit` has passed.
    pub async fn wait_ready(&self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let Err(error) = self.ping().await else { return Ok(()) };
            if !self.is_running() {
                return Err(error.context(self.failure("ended while starting", start.elapsed())));
            }
            if start.elapsed() > limit {
                return Err(error.context(self.failure("is not ready", limit)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The last lines of the server's own log.
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(self.dir.join("server.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    async fn launch(&self) -> Result<()> {
        let child = self.spawn()?;
        *self.child() = Some(child);
        self.wait_ready(START_LIMIT).await
    }

    fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.dir.join("server.log"))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", LAUNCH])
            .arg(self.dir.join("pid"))
            .arg(&self.program.path)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.dir.join("data").display()))
            // Of its own: a MariaDB server that starts removes everybody's temporary tables from a shared one.
            .arg(format!("--tmpdir={}", self.dir.join("tmp").display()))
            .args(&self.arguments);
        template::as_current_user(&mut command)?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in the terminal is for the test or the command line, not for its servers.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.path.display()))
    }

    async fn ping(&self) -> Result<()> {
        let mut connection = self.connect_root().await?;
        connection.ping().await?;
        connection.close().await?;
        Ok(())
    }

    async fn wait_for_end(&self, limit: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.reap()? {
                return Ok(Some(status));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(None)
    }

    fn reap(&self) -> Result<Option<ExitStatus>> {
        let mut child = self.child();
        let Some(running) = child.as_mut() else { bail!("{} at {} was not started", self.flavor, self.address()) };
        let status = running.try_wait().context("cannot ask for the server's exit status")?;
        if status.is_some() {
            *child = None;
        }
        Ok(status)
    }

    fn signal_running(&self, signal: Signal) -> Result<()> {
        if self.signal(signal)? { Ok(()) } else { bail!("{} at {} is not running", self.flavor, self.address()) }
    }

    /// False: there is no process to send it to.
    fn signal(&self, signal: Signal) -> Result<bool> {
        // Holding the lock keeps the pid ours: nobody else reaps the child meanwhile.
        let mut child = self.child();
        let Some(running) = child.as_mut() else { return Ok(false) };
        if running.try_wait()?.is_some() {
            *child = None;
            return Ok(false);
        }
        let pid = i32::try_from(running.id()).ok().and_then(Pid::from_raw).context("a process id out of range")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {} at {}", self.flavor, self.address()))?;
        Ok(true)
    }

    fn failure(&self, what: &str, after: Duration) -> anyhow::Error {
        anyhow!(
            "{} {} at {} {what} after {:.1} s; end of its log:\n{}",
            self.flavor,
            self.version(),
            self.address(),
            after.as_secs_f32(),
            self.log_tail()
        )
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs in to a server of the harness by its port.
pub(crate) async fn connect(flavor: Flavor, port: u16, account: Account) -> Result<MySqlConnection> {
    let options = connect_options(port, account).disable_statement_logging();
    let connecting = MySqlConnection::connect_with(&options);
    match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
        Ok(connection) => connection,
        Err(_) => bail!("no answer from {flavor} at {HOST}:{port} within {CONNECT_LIMIT:?}"),
    }
    .with_context(|| format!("cannot log in as {} to {flavor} at {HOST}:{port}", account.user))
}

fn connect_options(port: u16, account: Account) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new().host(HOST).port(port).username(account.user);
    if account.password.is_empty() { options } else { options.password(account.password) }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            // A failure here leaves the work to the watchdog, which kills by the pid file.
            let _ = self.kill();
            drop(watchdog);
        }
    }
}

/// Who ends the server.
#[derive(Debug, Clone, Copy)]
enum Lifetime {
    /// It ends with this value, at the latest with this process.
    Ours,
    /// Someone later, by its state file.
    Detached,
}
