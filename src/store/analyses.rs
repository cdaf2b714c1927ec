//! What the analysis of each source said last, and every change of it: how a trouble developed, recovery included.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::sql::{check_key, cut, delete_older, key, micros, push_keys, text};

/// Rows per statement.
const BATCH: usize = 500;
/// Changes shown at most: newest first when there are more.
const SHOWN: u32 = 10_000;

/// What an analysis says of an instance.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    pub key: &'a InstanceKey,
    pub cluster_name: &'a str,
    /// Analysis code, `NoProblem` included.
    pub code: &'a str,
}

/// What was said last, or a change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: InstanceKey,
    pub cluster_name: String,
    pub code: String,
    pub changed_at: DbMicros,
}

/// Writes down what is different from what was said last; how many changes that were. The first word on an instance is
/// no change. Idempotent: saying the same again costs one read.
pub async fn note(conn: &mut MySqlConnection, said: &[Said<'_>]) -> Result<u64, Error> {
    let mut changes = 0;
    for batch in said.chunks(BATCH) {
        let known = known(conn, batch).await?;
        let differs = |one: &&Said<'_>| known.get(one.key).is_none_or(|code| code != one.code);
        let different: Vec<&Said<'_>> = batch.iter().filter(differs).collect();
        if different.is_empty() {
            continue;
        }
        for one in &different {
            check_key("note an analysis", one.key)?;
        }
        write_last(conn, &different).await?;
        let changed: Vec<&Said<'_>> = different.into_iter().filter(|one| known.contains_key(one.key)).collect();
        changes += changed.len() as u64;
        write_changes(conn, &changed).await?;
    }
    Ok(changes)
}

/// What was said last of every source.
pub async fn last(db: impl MySqlExecutor<'_>) -> Result<Vec<Change>, Error> {
    const DOING: &str = "read what analyses said last";
    let rows =
        sqlx::query("SELECT hostname, port, cluster_name, code, changed_at FROM analysis_last ORDER BY hostname, port")
            .fetch_all(db)
            .await
            .map_err(Error::doing(DOING))?;
    rows.iter().map(change).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// What was said last of those that are sources still, are in no downtime, and have a problem: of a primary that was replaced
/// nothing is said any more, and its last analysis is history.
pub async fn troubles(db: impl MySqlExecutor<'_>) -> Result<Vec<Change>, Error> {
    const DOING: &str = "read what is wrong";
    let rows = sqlx::query(
        "SELECT l.hostname, l.port, l.cluster_name, l.code, l.changed_at FROM analysis_last l \
          WHERE l.code <> 'NoProblem' \
            AND EXISTS (SELECT 1 FROM instance r WHERE r.source_hostname = l.hostname AND r.source_port = l.port) \
            AND NOT EXISTS (SELECT 1 FROM downtime d WHERE d.hostname = l.hostname AND d.port = l.port \
                              AND d.begins_at <= NOW(6) AND d.ends_at > NOW(6)) \
          ORDER BY l.hostname, l.port",
    )
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter().map(change).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Changes per instance, oldest first.
pub async fn changelog(db: impl MySqlExecutor<'_>) -> Result<BTreeMap<InstanceKey, Vec<Change>>, Error> {
    const DOING: &str = "read changes of analyses";
    let rows = sqlx::query(
        "SELECT hostname, port, cluster_name, code, changed_at FROM analysis_change ORDER BY id DESC LIMIT ?",
    )
    .bind(SHOWN)
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    let mut log: BTreeMap<InstanceKey, Vec<Change>> = BTreeMap::new();
    for row in rows.iter().rev() {
        let change = change(row).map_err(Error::doing(DOING))?;
        log.entry(change.key.clone()).or_default().push(change);
    }
    Ok(log)
}

/// Deletes changes older than this (`UnseenInstanceForgetHours`).
pub async fn trim(conn: &mut MySqlConnection, older_than: Duration) -> Result<u64, Error> {
    delete_older(conn, "trim changes of analyses", ("analysis_change", "changed_at"), older_than).await
}

/// Forgets what was said of an instance that is forgotten itself.
pub async fn forget(conn: &mut MySqlConnection, key: &InstanceKey) -> Result<bool, Error> {
    let done = sqlx::query("DELETE FROM analysis_last WHERE hostname = ? AND port = ?")
        .bind(&key.hostname)
        .bind(key.port)
        .execute(conn)
        .await
        .map_err(Error::doing("forget an analysis"))?;
    Ok(done.rows_affected() == 1)
}

async fn known(conn: &mut MySqlConnection, batch: &[Said<'_>]) -> Result<BTreeMap<InstanceKey, String>, Error> {
    const DOING: &str = "read what analyses said last";
    let mut query =
        QueryBuilder::<MySql>::new("SELECT hostname, port, code FROM analysis_last WHERE (hostname, port) IN ");
    push_keys(&mut query, batch.iter().map(|one| one.key));
    let rows = query.build().fetch_all(conn).await.map_err(Error::doing(DOING))?;
    rows.iter().map(|row| Ok((key(row)?, text(row, "code")?))).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

async fn write_last(conn: &mut MySqlConnection, said: &[&Said<'_>]) -> Result<(), Error> {
    let mut query =
        QueryBuilder::<MySql>::new("INSERT INTO analysis_last (hostname, port, cluster_name, code, changed_at) ");
    push_said(&mut query, said);
    query.push(
        " ON DUPLICATE KEY UPDATE cluster_name = VALUES(cluster_name), code = VALUES(code), \
           changed_at = VALUES(changed_at)",
    );
    query.build().execute(conn).await.map(|_| ()).map_err(Error::doing("note analyses"))
}

async fn write_changes(conn: &mut MySqlConnection, said: &[&Said<'_>]) -> Result<(), Error> {
    if said.is_empty() {
        return Ok(());
    }
    let mut query =
        QueryBuilder::<MySql>::new("INSERT INTO analysis_change (hostname, port, cluster_name, code, changed_at) ");
    push_said(&mut query, said);
    query.build().execute(conn).await.map(|_| ()).map_err(Error::doing("note changes of analyses"))
}

fn push_said<'a>(query: &mut QueryBuilder<'a, MySql>, said: &[&'a Said<'a>]) {
    query.push_values(said, |mut row, one| {
        row.push_bind(&one.key.hostname).push_bind(one.key.port);
        row.push_bind(cut(one.cluster_name, 300)).push_bind(cut(one.code, 128)).push("NOW(6)");
    });
}

fn change(row: &MySqlRow) -> sqlx::Result<Change> {
    Ok(Change {
        key: key(row)?,
        cluster_name: text(row, "cluster_name")?,
        code: text(row, "code")?,
        changed_at: micros(row, "changed_at")?,
    })
}
