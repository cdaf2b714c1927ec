//! A database for tests of our own tables: one server per flavour and test process, one fresh schema per test.

use crate::accounts::ROOT;
use crate::flavor::Flavor;
use crate::options::Options;
use crate::server::Server;
use anyhow::{Context, Result};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Connecting takes milliseconds; a test that waits longer has used up its pool.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(20);

/// The server that all tests of this process share.
#[derive(Debug)]
pub struct Backend {
    server: Server,
}

/// The shared server of this flavour, started by the first who asks. Its watchdog ends it with this process.
pub async fn backend(flavor: Flavor) -> Result<&'static Backend> {
    static MYSQL: OnceCell<Backend> = OnceCell::const_new();
    static MARIADB: OnceCell<Backend> = OnceCell::const_new();
    let cell = match flavor {
        Flavor::MySql => &MYSQL,
        Flavor::MariaDb => &MARIADB,
    };
    cell.get_or_try_init(|| Backend::start(flavor)).await
}

impl Backend {
    /// A backend of one's own, for tests that stop or freeze it.
    pub async fn start(flavor: Flavor) -> Result<Backend> {
        let options = Options { log_bin: false, gtid: false, buffer_pool_mb: 64, ..Options::default() };
        Ok(Backend { server: Server::start_with(flavor, options).await? })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn flavor(&self) -> Flavor {
        self.server.flavor()
    }

    /// Creates an empty database.
    pub async fn schema(&self) -> Result<Schema> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.server.execute(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await?;
        let url = self.server.url(ROOT, &name);
        let options = self.server.connect_options(ROOT).database(&name);
        Ok(Schema { name, url, options })
    }
}

/// An empty database. It goes away with its server.
#[derive(Debug, Clone)]
pub struct Schema {
    pub name: String,
    pub url: String,
    pub options: MySqlConnectOptions,
}

impl Schema {
    /// A pool of at most `connections`. Belongs to the runtime of the test that made it: do not share it.
    pub async fn pool(&self, connections: u32) -> Result<MySqlPool> {
        MySqlPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_with(self.options.clone())
            .await
            .with_context(|| format!("cannot connect to schema {}", self.name))
    }
}
