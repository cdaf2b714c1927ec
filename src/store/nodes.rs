//! The processes of the fleet: who runs, since when, where, and when it last gave a sign of life.

use std::time::Duration;

use domain::instance::DbMicros;
use sqlx::MySqlExecutor;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use crate::Error;
use crate::sql::{check_width, cut, delete_older, interval, micros, text, uint};

/// A node that gave no sign of life for this long counts as dead. Three heartbeats of the default 5 s.
pub const DEAD_AFTER: Duration = Duration::from_secs(15);
const LIST_CHARS: usize = 1024;

/// What a process says of itself with each heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// Unique per process start.
    pub token: String,
    pub name: String,
    /// `service`, `worker`, `service+worker`.
    pub role: String,
    /// Data centres its worker serves; empty: all.
    pub datacenters: Vec<String>,
    pub version: String,
    /// Where its HTTP API listens; empty: nowhere.
    pub address: String,
    pub pid: u64,
    /// JSON: running jobs, open connections, memory, processor.
    pub load: String,
}

/// A process as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub registration: Registration,
    pub started_at: DbMicros,
    pub heartbeat_at: DbMicros,
    /// Time of this reading.
    pub now: DbMicros,
}

impl Node {
    /// Its last sign of life is recent.
    pub fn is_live(&self) -> bool {
        self.now - self.heartbeat_at < interval(DEAD_AFTER)
    }
}

/// Registers a process, or renews its registration. The first one sets its start.
pub async fn heartbeat(db: impl MySqlExecutor<'_>, node: &Registration) -> Result<(), Error> {
    const DOING: &str = "report a heartbeat";
    check_width(DOING, "the token", &node.token, 64)?;
    // Cut at a comma: half a name would be another's.
    let joined = node.datacenters.join(",");
    let datacenters = match cut(&joined, LIST_CHARS) {
        whole if whole.len() == joined.len() => whole,
        part => part.rsplit_once(',').map_or("", |(names, _)| names),
    };
    sqlx::query(
        "INSERT INTO node (token, name, role, datacenters, version, address, pid, started_at, heartbeat_at, node_load) \
         VALUES (?, ?, ?, ?, ?, ?, ?, NOW(6), NOW(6), ?) \
         ON DUPLICATE KEY UPDATE heartbeat_at = VALUES(heartbeat_at), node_load = VALUES(node_load), role = VALUES(role), \
                                 datacenters = VALUES(datacenters), address = VALUES(address)",
    )
    .bind(&node.token)
    .bind(cut(&node.name, 255))
    .bind(cut(&node.role, 32))
    .bind(datacenters)
    .bind(cut(&node.version, 64))
    .bind(cut(&node.address, 255))
    .bind(node.pid)
    // Half a document is no document.
    .bind(if node.load.chars().count() > 1024 { "{}" } else { &node.load })
    .execute(db)
    .await
    .map(|_| ())
    .map_err(Error::doing(DOING))
}

/// Takes a process out of the registry: it ends.
pub async fn leave(db: impl MySqlExecutor<'_>, token: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM node WHERE token = ?")
        .bind(token)
        .execute(db)
        .await
        .map(|_| ())
        .map_err(Error::doing("leave the registry of nodes"))
}

/// All registered processes, live and lately dead, by name, the newest of a name first.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<Vec<Node>, Error> {
    const DOING: &str = "read the registry of nodes";
    let rows = sqlx::query(
        "SELECT token, name, role, datacenters, version, address, pid, started_at, heartbeat_at, node_load, NOW(6) AS db_now \
           FROM node ORDER BY name, started_at DESC, token",
    )
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Names under which more than one live process runs.
pub async fn doubled_names(db: impl MySqlExecutor<'_>) -> Result<Vec<String>, Error> {
    const DOING: &str = "look for doubled node names";
    let rows = sqlx::query(
        "SELECT name FROM node WHERE heartbeat_at > NOW(6) - INTERVAL ? MICROSECOND GROUP BY name HAVING COUNT(*) > 1 \
          ORDER BY name",
    )
    .bind(interval(DEAD_AFTER))
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(|row| text(row, "name")).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Drops processes silent for so long.
pub async fn forget_dead(conn: &mut MySqlConnection, silent_for: Duration) -> Result<u64, Error> {
    delete_older(conn, "forget dead nodes", ("node", "heartbeat_at"), silent_for).await
}

fn read(row: &MySqlRow) -> sqlx::Result<Node> {
    let datacenters = text(row, "datacenters")?;
    Ok(Node {
        registration: Registration {
            token: text(row, "token")?,
            name: text(row, "name")?,
            role: text(row, "role")?,
            datacenters: datacenters.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            version: text(row, "version")?,
            address: text(row, "address")?,
            pid: uint(row, "pid")?,
            load: text(row, "node_load")?,
        },
        started_at: micros(row, "started_at")?,
        heartbeat_at: micros(row, "heartbeat_at")?,
        now: micros(row, "db_now")?,
    })
}
