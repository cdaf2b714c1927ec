//! The schema: embedded migrations, forward only.
//!
//! Several processes may migrate at once: a server-wide lock makes the others wait and then find nothing to do. DDL
//! cannot be rolled back, so a migration that fails half-way leaves a "dirty" mark; as every statement of ours is safe to
//! run again, the remedy is [`repair`]: remove the mark and run the migration once more.

use std::collections::BTreeMap;
use std::fmt;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{Connection, Row};

use crate::Error;
use crate::error::number;
use crate::sql::{flag, uint};

/// Seconds to wait for another migrator: longer than any migration of ours takes on a filled database.
const LOCK_SECONDS: u32 = 120;
const ER_NO_SUCH_TABLE: u16 = 1146;
/// What clusters that forbid user locks answer (strict modes of Galera builds): unknown, or not supported.
const LOCKS_FORBIDDEN: [u16; 2] = [1105, 1235];

/// How the schema of a database relates to this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// As this program expects it.
    Current,
    /// So many migrations are missing; an empty database misses all.
    Behind(usize),
    /// This migration stopped half-way.
    Dirty(i64),
    /// It contains a migration that this program does not know.
    Newer(i64),
    /// This migration is not the one that was applied: the program is no release of ours, or the table was tampered with.
    Altered(i64),
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the schema is current"),
            Self::Behind(1) => f.write_str("the schema misses 1 migration; run `orchestrator migrate`"),
            Self::Behind(count) => write!(f, "the schema misses {count} migrations; run `orchestrator migrate`"),
            Self::Dirty(version) => write!(
                f,
                "migration {version} stopped half-way; see the server's error log, make room or grant what was missing, \
                 then run `orchestrator migrate --repair`, which runs it again"
            ),
            Self::Newer(version) => write!(
                f,
                "the schema contains migration {version}, which this program does not know: it is older than the schema; \
                 install the release that made it, or a later one"
            ),
            Self::Altered(version) => write!(
                f,
                "migration {version} was applied in another wording than this program has; use the release that applied it"
            ),
        }
    }
}

/// What a migration run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Versions applied now, in order.
    pub applied: Vec<i64>,
    /// Newest version of the schema afterwards.
    pub version: i64,
}

/// Brings the schema up to this program's version. Refuses a dirty, newer or altered one.
pub async fn migrate(pool: &MySqlPool) -> Result<Report, Error> {
    under_lock(pool, false).await
}

/// Removes the mark of a half-applied migration and migrates: all our migrations may run again over their own remains.
pub async fn repair(pool: &MySqlPool) -> Result<Report, Error> {
    under_lock(pool, true).await
}

/// Compares the schema with this program, changing nothing.
pub async fn check(pool: &MySqlPool) -> Result<SchemaState, Error> {
    let mut conn = pool.acquire().await.map_err(Error::doing(CHECKING))?;
    state(&mut conn, &migrator()).await
}

const CHECKING: &str = "check the schema";
const MIGRATING: &str = "migrate the schema";

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../../migrations");
    // sqlx waits with a negative timeout, which means "do not wait" to MariaDB; the lock here is our own.
    migrator.set_locking(false);
    migrator
}

async fn under_lock(pool: &MySqlPool, repairing: bool) -> Result<Report, Error> {
    // A connection of its own: the lock belongs to the session, and closing it releases the lock whatever happened.
    let mut conn = pool.acquire().await.map_err(Error::doing(MIGRATING))?.detach();
    lock(&mut conn).await?;
    let result = run(&mut conn, repairing).await;
    let _ = conn.close().await;
    result
}

async fn lock(conn: &mut MySqlConnection) -> Result<(), Error> {
    // Lock names are server-wide and at most 64 characters long. (MySQL 9.7 has no SHA1 any more.)
    let answer =
        sqlx::query("SELECT GET_LOCK(CONCAT('orchestrator.migrate.', LEFT(SHA2(DATABASE(), 256), 32)), ?) AS locked")
            .bind(LOCK_SECONDS)
            .fetch_one(conn)
            .await;
    match answer {
        Ok(row) => match row.try_get_unchecked::<Option<i64>, _>("locked").map_err(Error::doing(MIGRATING))? {
            Some(1) => Ok(()),
            _ => Err(Error::Refused {
                what: "the right to migrate".to_owned(),
                holder: "another process".to_owned(),
                reason: format!("it did not end within {LOCK_SECONDS} s"),
            }),
        },
        // Some clusters forbid user locks. Every statement of a migration may run twice, so go on.
        Err(error) if number(&error).is_some_and(|code| LOCKS_FORBIDDEN.contains(&code)) => {
            tracing::warn!(%error, "cannot take the migration lock, migrating without it");
            Ok(())
        }
        Err(cause) => Err(Error::classify(MIGRATING, cause)),
    }
}

async fn run(conn: &mut MySqlConnection, repairing: bool) -> Result<Report, Error> {
    let migrator = migrator();
    let mut before = state(conn, &migrator).await?;
    if let (true, SchemaState::Dirty(version)) = (repairing, &before) {
        forget_dirty(conn, *version).await?;
        tracing::warn!(migration.version = version, "running a half-applied migration again");
        before = state(conn, &migrator).await?;
    }
    match before {
        SchemaState::Current | SchemaState::Behind(_) => {}
        refused => return Err(Error::Schema(refused.to_string())),
    }
    let known = if let SchemaState::Behind(_) = before { applied(conn).await? } else { BTreeMap::new() };
    let mut report = Report { version: migrator.iter().map(|m| m.version).max().unwrap_or(0), ..Report::default() };
    if before == SchemaState::Current {
        return Ok(report);
    }
    migrator.run_direct(conn).await.map_err(explain)?;
    report.applied = migrator.iter().map(|m| m.version).filter(|version| !known.contains_key(version)).collect();
    Ok(report)
}

fn explain(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(cause) => Error::classify(MIGRATING, cause),
        MigrateError::ExecuteMigration(cause, version) => {
            Error::Schema(format!("migration {version} failed: {cause}; {}", SchemaState::Dirty(version)))
        }
        MigrateError::Dirty(version) => Error::Schema(SchemaState::Dirty(version).to_string()),
        other => Error::Schema(format!("cannot {MIGRATING}: {other}")),
    }
}

async fn state(conn: &mut MySqlConnection, migrator: &Migrator) -> Result<SchemaState, Error> {
    let applied = applied(conn).await?;
    if let Some((version, _)) = applied.iter().find(|(_, row)| !row.success) {
        return Ok(SchemaState::Dirty(*version));
    }
    let known: BTreeMap<i64, &[u8]> = migrator.iter().map(|m| (m.version, m.checksum.as_ref())).collect();
    if let Some(version) = applied.keys().rev().find(|version| !known.contains_key(version)) {
        return Ok(SchemaState::Newer(*version));
    }
    if let Some((version, _)) =
        applied.iter().find(|(version, row)| known.get(version) != Some(&row.checksum.as_slice()))
    {
        return Ok(SchemaState::Altered(*version));
    }
    let missing = known.keys().filter(|version| !applied.contains_key(version)).count();
    Ok(if missing == 0 { SchemaState::Current } else { SchemaState::Behind(missing) })
}

struct Applied {
    success: bool,
    checksum: Vec<u8>,
}

async fn applied(conn: &mut MySqlConnection) -> Result<BTreeMap<i64, Applied>, Error> {
    let rows =
        sqlx::query("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version").fetch_all(conn).await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) if number(&error) == Some(ER_NO_SUCH_TABLE) => return Ok(BTreeMap::new()),
        Err(cause) => return Err(Error::classify(CHECKING, cause)),
    };
    let read = |row: &sqlx::mysql::MySqlRow| {
        let version = i64::try_from(uint(row, "version")?).unwrap_or(i64::MAX);
        Ok((version, Applied { success: flag(row, "success")?, checksum: row.try_get_unchecked("checksum")? }))
    };
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(CHECKING))
}

async fn forget_dirty(conn: &mut MySqlConnection, version: i64) -> Result<(), Error> {
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = ? AND success = FALSE")
        .bind(version)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(Error::doing(MIGRATING))
}
