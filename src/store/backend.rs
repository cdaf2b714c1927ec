//! The way to the backend database: several addresses, one pool.
//!
//! A pool of connections is made for one address, the first that accepts us, is of a supported version and (if asked
//! for) writable. [`Backend::tend`] looks after it: when the server is gone, silent or has become read-only, the
//! addresses are tried anew, the pool is pointed at the one that answers, and connections older than that switch are
//! thrown away instead of used. Host names are resolved at every connect, so an address that moves is followed too.
//!
//! Failure cases: *server dies*: statements fail with [`Error::Unavailable`], the next connects go elsewhere. *Server
//! freezes*: [`Backend::run`] gives up at the read timeout and closes that connection. *Server was demoted*: with
//! `reject_read_only` its connections are dropped at the next look, and a refused write says [`Error::Unavailable`].

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::version::{ServerVersion, is_supported_backend};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::Error;
use crate::error::number;
use crate::sql::text;

/// How often [`Backend::tend`] looks; a reported failure makes it look at once.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// First and longest pause of [`Backend::connect_waiting`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// `Unknown database`, and the form in which MySQL hides it from users without rights on it.
const ER_BAD_DB: u16 = 1049;
const ER_DBACCESS_DENIED: u16 = 1044;

/// Host and port of a backend server.
pub type Address = (String, u16);

/// How to use TLS towards the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    Off,
    /// TLS if the server offers it.
    #[default]
    Preferred,
    /// TLS, whoever answers.
    Required,
    /// TLS, and the certificate must be signed by the authority of the settings or one of the system, and name the host.
    /// There is no mode that ignores the name only: the driver has one, and it refuses another name all the same.
    Verified,
}

/// TLS towards the backend; files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendTls {
    pub mode: TlsMode,
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// Where the backend is and how to reach it.
#[derive(Clone)]
pub struct BackendOptions {
    /// Tried in this order.
    pub addresses: Vec<Address>,
    pub user: String,
    pub password: String,
    /// Created when it is not there and the user may.
    pub database: String,
    pub tls: BackendTls,
    pub max_connections: u32,
    pub connect_timeout: Duration,
    /// Longest wait for an answer within [`Backend::run`] and for a look of [`Backend::tend`].
    pub read_timeout: Duration,
    /// Use only a server that accepts writes.
    pub reject_read_only: bool,
    /// Greatest age of a connection.
    pub max_lifetime: Option<Duration>,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            user: String::new(),
            password: String::new(),
            database: "orchestrator".to_owned(),
            tls: BackendTls::default(),
            max_connections: 128,
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(30),
            reject_read_only: false,
            max_lifetime: None,
        }
    }
}

impl fmt::Debug for BackendOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendOptions")
            .field("addresses", &self.addresses)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("tls", &self.tls)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// The backend: a pool, and the knowledge of where else it could be. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backend {
    pool: MySqlPool,
    chooser: Arc<Chooser>,
}

#[derive(Debug)]
struct Chooser {
    options: BackendOptions,
    current: Mutex<Current>,
    failed: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    address: usize,
    /// Connections made before are not used any more.
    since: Instant,
}

impl Backend {
    /// Connects to the first usable address; creates the database if it is not there.
    pub async fn connect(options: BackendOptions) -> Result<Self, Error> {
        let (address, _) = options.choose(0).await?;
        let chooser = Arc::new(Chooser {
            current: Mutex::new(Current { address, since: Instant::now() }),
            failed: Notify::new(),
            options,
        });
        let pool = chooser.pool_options().connect_lazy_with(chooser.options.connect_options(address, true));
        Ok(Self { pool, chooser })
    }

    /// Like [`Backend::connect`], but waits as long as waiting can help: for services and workers, which outlive
    /// outages of their backend. Drop the future to give up.
    pub async fn connect_waiting(options: BackendOptions) -> Result<Self, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            match Self::connect(options.clone()).await {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(
                        error = error.chain(),
                        pause_seconds = pause.as_secs_f64(),
                        "waiting for the backend"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }

    pub fn pool(&self) -> &MySqlPool {
        &self.pool
    }

    /// The address in use.
    pub fn address(&self) -> &Address {
        &self.chooser.options.addresses[self.chooser.current().address]
    }

    /// Tells [`Backend::tend`] to look now: somebody met a failure.
    pub fn report_failure(&self) {
        self.chooser.failed.notify_one();
    }

    /// Runs something on a connection of the pool within the read timeout. When time is up the connection is closed,
    /// because its state is unknown.
    pub async fn run<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut conn = self.pool.acquire().await.map_err(|cause| {
            self.report_failure();
            Error::classify(doing, cause)
        })?;
        let limit = self.chooser.options.read_timeout;
        let result = timeout(limit, work(&mut conn))
            .await
            .unwrap_or_else(|_| Err(Error::Timeout { doing, seconds: limit.as_secs() }));
        match &result {
            Err(Error::Timeout { .. }) => {
                // Dropping the detached connection closes its socket without a word to a server that does not listen.
                drop(conn.detach());
                self.report_failure();
            }
            Err(error) if error.is_retryable() && !error.is_conflict() => self.report_failure(),
            _ => {}
        }
        result
    }

    /// Looks after the pool until dropped: one owned task per process runs this.
    pub async fn tend(&self) {
        loop {
            let _ = timeout(LOOK_EVERY, self.chooser.failed.notified()).await;
            if self.pool.is_closed() {
                return;
            }
            self.look().await;
        }
    }

    /// One look: keeps the current server if it is usable, else chooses again. Answers whether there is a usable one.
    pub async fn look(&self) -> bool {
        let chooser = &self.chooser;
        let current = chooser.current().address;
        match timeout(chooser.options.look_timeout(), self.check_current()).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::warn!(error = error.chain(), "backend not usable, choosing again"),
            Err(_) => tracing::warn!("backend silent, choosing again"),
        }
        match chooser.options.choose(current).await {
            Ok((address, _)) => {
                let (host, port) = &chooser.options.addresses[address];
                tracing::info!(backend.host = host, backend.port = port, "using this backend");
                self.pool.set_connect_options(chooser.options.connect_options(address, true));
                *chooser.lock() = Current { address, since: Instant::now() };
                true
            }
            Err(error) => {
                tracing::warn!(error = error.chain(), "no usable backend");
                false
            }
        }
    }

    /// On a connection of the pool, so that a demoted or dead server is met where the work meets it.
    async fn check_current(&self) -> Result<(), Error> {
        const DOING: &str = "look at the backend";
        // A pool whose connections are all busy with work is alive.
        let Some(mut conn) = self.pool.try_acquire() else {
            if self.pool.size() >= self.pool.options().get_max_connections() {
                return Ok(());
            }
            let mut conn = self.pool.acquire().await.map_err(Error::doing(DOING))?;
            return self.chooser.options.check_writable(&mut conn).await;
        };
        self.chooser.options.check_writable(&mut conn).await
    }
}

impl Chooser {
    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Current {
        *self.lock()
    }

    fn pool_options(self: &Arc<Self>) -> MySqlPoolOptions {
        let chooser = Arc::clone(self);
        MySqlPoolOptions::new()
            .max_connections(self.options.max_connections)
            .max_lifetime(self.options.max_lifetime)
            .acquire_timeout(self.options.connect_timeout.max(Duration::from_secs(1)) * 3)
            .idle_timeout(queue::IDLE_LIMIT)
            // No ping: it would double the round trips, and whoever uses a connection copes with a broken one anyway.
            .test_before_acquire(false)
            .before_acquire(move |_, meta| {
                let born = Instant::now().checked_sub(meta.age);
                let usable = born.is_none_or(|born| born >= chooser.current().since);
                Box::pin(async move { Ok(usable) })
            })
            .after_connect(|conn, _| Box::pin(async move { queue::session_setup(conn).await }))
            .after_release(|conn, _| Box::pin(async move { Ok(queue::is_in_step(conn).await) }))
    }
}

impl BackendOptions {
    fn look_timeout(&self) -> Duration {
        self.connect_timeout.min(self.read_timeout)
    }

    fn connect_options(&self, address: usize, with_database: bool) -> MySqlConnectOptions {
        let (host, port) = &self.addresses[address];
        let mode = match self.tls.mode {
            TlsMode::Off => MySqlSslMode::Disabled,
            TlsMode::Preferred => MySqlSslMode::Preferred,
            TlsMode::Required => MySqlSslMode::Required,
            TlsMode::Verified => MySqlSslMode::VerifyIdentity,
        };
        let mut options = queue::connect_options(MySqlConnectOptions::new())
            .host(host)
            .port(*port)
            .username(&self.user)
            .ssl_mode(mode)
            .disable_statement_logging();
        // An empty password is not the same as none to MariaDB.
        if !self.password.is_empty() {
            options = options.password(&self.password);
        }
        if let Some(file) = &self.tls.ca_file {
            options = options.ssl_ca(file);
        }
        if let Some(file) = &self.tls.cert_file {
            options = options.ssl_client_cert(file);
        }
        if let Some(file) = &self.tls.key_file {
            options = options.ssl_client_key(file);
        }
        if with_database { options.database(&self.database) } else { options }
    }

    /// The first usable address, beginning with number `first`, and its version.
    async fn choose(&self, first: usize) -> Result<(usize, String), Error> {
        let mut tried = Vec::new();
        for offset in 0..self.addresses.len() {
            let address = (first + offset) % self.addresses.len();
            let (host, port) = &self.addresses[address];
            match self.try_address(address).await {
                Ok(version) => return Ok((address, version)),
                // Waiting for another server helps against none of these, unless there is another server.
                Err(error) if !error.is_retryable() && self.addresses.len() == 1 => return Err(error),
                Err(error @ Error::UnsupportedVersion { .. }) => return Err(error),
                Err(error) => tried.push(format!("{host}:{port}: {}", error.chain())),
            }
        }
        if tried.is_empty() {
            tried.push("no address is configured (MySQLOrchestratorHost)".to_owned());
        }
        Err(Error::NoAddress { tried })
    }

    async fn try_address(&self, address: usize) -> Result<String, Error> {
        const DOING: &str = "connect to the backend";
        // Twice: connection and the questions each get the connect timeout.
        let limit = self.connect_timeout * 2;
        let checked = timeout(limit, async {
            let mut conn = self.open(address).await?;
            let version = self.check_version(&mut conn, address).await?;
            self.check_writable(&mut conn).await?;
            let _ = conn.close().await;
            Ok(version)
        });
        checked.await.unwrap_or(Err(Error::Timeout { doing: DOING, seconds: limit.as_secs() }))
    }

    /// Connects, creating the database if that is what is missing.
    async fn open(&self, address: usize) -> Result<MySqlConnection, Error> {
        const DOING: &str = "connect to the backend";
        let cause = match self.connect_options(address, true).connect().await {
            Ok(conn) => return Ok(conn),
            Err(cause) => cause,
        };
        if let Some(reason) = tls_failure(&cause) {
            let (host, port) = &self.addresses[address];
            return Err(Error::Tls { address: format!("{host}:{port}"), reason });
        }
        let missing = matches!(number(&cause), Some(ER_BAD_DB | ER_DBACCESS_DENIED));
        if !missing || self.database.is_empty() {
            return Err(Error::classify(DOING, cause));
        }
        let mut conn = self.connect_options(address, false).connect().await.map_err(Error::doing(DOING))?;
        let name = self.database.replace('`', "``");
        let create = format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        conn.execute(sqlx::raw_sql(&create)).await.map_err(Error::doing("create the backend's database"))?;
        let _ = conn.close().await;
        self.connect_options(address, true).connect().await.map_err(Error::doing(DOING))
    }

    async fn check_version(&self, conn: &mut MySqlConnection, address: usize) -> Result<String, Error> {
        const DOING: &str = "read the backend's version";
        let row = sqlx::query("SELECT VERSION() AS version, @@global.version_comment AS comment")
            .fetch_one(conn)
            .await
            .map_err(Error::doing(DOING))?;
        let version = text(&row, "version").map_err(Error::doing(DOING))?;
        let comment = text(&row, "comment").map_err(Error::doing(DOING))?;
        if is_supported_backend(&ServerVersion::parse(&version, &comment)) {
            return Ok(version);
        }
        let (host, port) = &self.addresses[address];
        Err(Error::UnsupportedVersion { address: format!("{host}:{port}"), version })
    }

    async fn check_writable(&self, conn: &mut MySqlConnection) -> Result<(), Error> {
        const DOING: &str = "look at the backend";
        let row = sqlx::query("SELECT @@global.read_only AS read_only").fetch_one(conn).await;
        let read_only: i64 = row.and_then(|row| row.try_get_unchecked("read_only")).map_err(Error::doing(DOING))?;
        if read_only != 0 && self.reject_read_only {
            return Err(Error::Unavailable {
                doing: DOING,
                cause: sqlx::Error::Protocol("the server is read-only (MySQLOrchestratorRejectReadOnly)".to_owned()),
            });
        }
        Ok(())
    }
}

/// What an operator should look at. The words are rustls's: without a match the message is merely less helpful.
const TLS_HINTS: &[(&str, &str)] = &[
    (
        "UnknownIssuer",
        "the certificate is signed neither by MySQLOrchestratorSSLCAFile nor by an authority of the system",
    ),
    (
        "not valid for",
        "the certificate must have the host as a subject alternative name, which those that MySQL makes for itself \
         have not; or set MySQLOrchestratorSSLSkipVerify",
    ),
    ("received fatal alert", "the server does not accept our certificate or our version of TLS"),
];

/// Why there is no TLS with a server; `None` when something else is the matter.
fn tls_failure(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Tls(cause) => Some(cause.to_string()),
        sqlx::Error::Configuration(cause) => Some(format!("a certificate or key of the settings is unusable: {cause}")),
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound && error.raw_os_error().is_some() => {
            Some(format!("a certificate or key of the settings cannot be read: {error}"))
        }
        // rustls reports what it does not accept as invalid data.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            let text = error.to_string();
            let hint = TLS_HINTS.iter().find(|(word, _)| text.contains(word));
            Some(hint.map_or_else(|| text.clone(), |(_, hint)| format!("{text} ({hint})")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let options = BackendOptions { password: "hunter2".to_owned(), ..BackendOptions::default() };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
