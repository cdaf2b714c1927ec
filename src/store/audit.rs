//! What was done, by whom. Written in the transaction of the act where there is one.

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::sql::{cut, interval, key, micros, text, uint};

/// Entries per page.
pub const PAGE: u32 = 20;
/// What a TEXT column holds, in characters of four bytes.
const MESSAGE_CHARS: usize = 16_000;

/// Entries written with one statement.
const CHUNK: usize = 100;

/// An act to write down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry<'a> {
    /// `discover`, `forget`, `begin-downtime`, ...
    pub audit_type: &'a str,
    pub instance: Option<&'a InstanceKey>,
    pub cluster_name: &'a str,
    /// Who: user at host, API user, node.
    pub actor: &'a str,
    pub message: &'a str,
}

/// An act as written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub id: u64,
    pub audited_at: DbMicros,
    pub audit_type: String,
    pub instance: Option<InstanceKey>,
    pub cluster_name: String,
    pub actor: String,
    pub message: String,
}

impl<'a> Entry<'a> {
    /// An act that concerns no instance in particular.
    pub fn fleet(audit_type: &'a str, actor: &'a str, message: &'a str) -> Self {
        Self { audit_type, actor, message, ..Self::default() }
    }

    /// An act on an instance.
    pub fn instance(audit_type: &'a str, instance: &'a InstanceKey, actor: &'a str, message: &'a str) -> Self {
        Self { audit_type, instance: Some(instance), actor, message, ..Self::default() }
    }
}

/// Writes an act down. Texts that are too long are cut: an act must not fail because of its record.
pub async fn write(conn: &mut MySqlConnection, entry: &Entry<'_>) -> Result<(), Error> {
    write_all(conn, std::slice::from_ref(entry)).await
}

/// The same for several acts of one moment, in this order.
pub async fn write_all(conn: &mut MySqlConnection, entries: &[Entry<'_>]) -> Result<(), Error> {
    for chunk in entries.chunks(CHUNK) {
        let mut query = QueryBuilder::<MySql>::new(
            "INSERT INTO audit (audited_at, audit_type, hostname, port, cluster_name, actor, message) ",
        );
        query.push_values(chunk, |mut row, entry| {
            row.push("NOW(6)")
                .push_bind(cut(entry.audit_type, 64))
                .push_bind(entry.instance.map_or("", |key| cut(&key.hostname, 255)))
                .push_bind(entry.instance.map_or(0, |key| key.port))
                .push_bind(cut(entry.cluster_name, 300))
                .push_bind(cut(entry.actor, 255))
                .push_bind(cut(entry.message, MESSAGE_CHARS));
        });
        query.build().execute(&mut *conn).await.map_err(Error::doing("write an audit entry"))?;
    }
    Ok(())
}

/// A page of [`PAGE`] acts, newest first, of one instance or of all.
pub async fn page(db: impl MySqlExecutor<'_>, instance: Option<&InstanceKey>, page: u32) -> Result<Vec<Audit>, Error> {
    const DOING: &str = "read the audit log";
    let mut query = QueryBuilder::<MySql>::new(
        "SELECT id, audited_at, audit_type, hostname, port, cluster_name, actor, message FROM audit ",
    );
    if let Some(key) = instance {
        query.push("WHERE hostname = ").push_bind(&key.hostname).push(" AND port = ").push_bind(key.port);
    }
    query.push(" ORDER BY audited_at DESC, id DESC LIMIT ").push_bind(PAGE);
    query.push(" OFFSET ").push_bind(u64::from(page) * u64::from(PAGE));
    let rows = query.build().fetch_all(db).await.map_err(Error::doing(DOING))?;
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Drops entries older than this, a few thousand per statement.
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    const CHUNK: u32 = 2_000;
    let mut trimmed = 0;
    loop {
        let done = sqlx::query(
            "DELETE FROM audit WHERE audited_at < NOW(6) - INTERVAL ? MICROSECOND ORDER BY audited_at, id LIMIT ?",
        )
        .bind(interval(older_than))
        .bind(CHUNK)
        .execute(&mut *conn)
        .await
        .map_err(Error::doing("trim the audit log"))?;
        trimmed += done.rows_affected();
        if done.rows_affected() < u64::from(CHUNK) {
            return Ok(trimmed);
        }
    }
}

fn read(row: &MySqlRow) -> sqlx::Result<Audit> {
    let instance = key(row)?;
    Ok(Audit {
        id: uint(row, "id")?,
        audited_at: micros(row, "audited_at")?,
        audit_type: text(row, "audit_type")?,
        instance: (!instance.hostname.is_empty()).then_some(instance),
        cluster_name: text(row, "cluster_name")?,
        actor: text(row, "actor")?,
        message: text(row, "message")?,
    })
}
