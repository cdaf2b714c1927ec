//! Locks of operations: all of a plan or none, taken over as a whole, ended as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::InstanceKey;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{Connection, MySql, QueryBuilder, Row};

use super::{Claim, FencingToken, Maintenance, OWNER_CHARS, TRIES, insert, read, refused};
use crate::Error;
use crate::audit::{self, Entry};
use crate::error::is_duplicate;
use crate::operations::{Run, is_ours};
use crate::sql::{check_key, cut, interval, key, uint};

const NODE_CHARS: usize = 64;
/// Locks taken with one statement.
const CHUNK: usize = 100;

/// Locks all these instances for a run of an operation, in the order of their keys, or none of them.
/// [`Error::Refused`] names the first holder met, with nothing changed. `None`: the operation is no longer this run's.
/// Begins a transaction of its own, and tries again when the server ends it because of a conflict.
pub async fn begin_for_operation(
    pool: &MySqlPool,
    run: Run,
    keys: &[InstanceKey],
    claim: Claim<'_>,
) -> Result<Option<BTreeMap<InstanceKey, FencingToken>>, Error> {
    const DOING: &str = "lock the servers of an operation";
    let mut sorted: Vec<&InstanceKey> = keys.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    for key in &sorted {
        check_key(DOING, key)?;
    }
    let claim = fitting(claim);
    let mut conn = pool.acquire().await.map_err(Error::doing(DOING))?;
    let mut tries = 0;
    loop {
        tries += 1;
        match begin_all(&mut conn, run, &sorted, claim).await {
            Err(error) if error.is_conflict() && tries < TRIES => {}
            Ok(Begun::All(tokens)) => return Ok(Some(tokens)),
            Ok(Begun::NotOurs) => return Ok(None),
            Ok(Begun::Held) => {
                // Told from outside the transaction; a holder that is gone by now leaves room for another try.
                if let Some(held) = first_held(&mut conn, &sorted).await? {
                    return Err(refused(&held));
                }
                if tries >= TRIES {
                    return Err(Error::Refused {
                        what: format!(
                            "maintenance of {}",
                            sorted.first().map_or_else(String::new, ToString::to_string)
                        ),
                        holder: "others in turn".to_owned(),
                        reason: "the lock changed hands at every try".to_owned(),
                    });
                }
            }
            Err(error) => return Err(error),
        }
    }
}

enum Begun {
    All(BTreeMap<InstanceKey, FencingToken>),
    /// One of them at least.
    Held,
    NotOurs,
}

async fn begin_all(
    conn: &mut MySqlConnection,
    run: Run,
    keys: &[&InstanceKey],
    claim: Claim<'_>,
) -> Result<Begun, Error> {
    const DOING: &str = "lock the servers of an operation";
    let mut tx = conn.begin().await.map_err(Error::doing(DOING))?;
    if !is_ours(&mut tx, run).await? {
        return Ok(Begun::NotOurs);
    }
    for chunk in keys.chunks(CHUNK) {
        close_expired_of(&mut tx, chunk).await?;
        match insert_all(&mut tx, chunk, claim, run.operation).await {
            Ok(()) => {}
            // Leaving drops the transaction: nothing is locked.
            Err(cause) if is_duplicate(&cause) => return Ok(Begun::Held),
            Err(cause) => return Err(Error::classify(DOING, cause)),
        }
    }
    let held = held_by(&mut tx, run.operation).await?;
    let tokens: BTreeMap<InstanceKey, FencingToken> =
        held.into_iter().filter(|(_, key)| keys.contains(&key)).map(|(token, key)| (key, token)).collect();
    let messages: Vec<(&InstanceKey, String)> = tokens
        .iter()
        .map(|(key, token)| (key, format!("maintenance {}, owner: {}, reason: {}", token.0, claim.owner, claim.reason)))
        .collect();
    let entries: Vec<Entry<'_>> =
        messages.iter().map(|(key, message)| Entry::instance("begin-maintenance", key, claim.owner, message)).collect();
    audit::write_all(&mut tx, &entries).await?;
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(Begun::All(tokens))
}

/// Closes locks of these instances that expired.
async fn close_expired_of(conn: &mut MySqlConnection, keys: &[&InstanceKey]) -> Result<(), Error> {
    let mut query = QueryBuilder::<MySql>::new(
        "UPDATE maintenance SET active_slot = NULL, ended_at = expires_at WHERE active_slot = 1 AND expires_at <= NOW(6) AND ",
    );
    push_keys(&mut query, keys);
    query.build().execute(conn).await.map(|_| ()).map_err(Error::doing("close an expired maintenance"))
}

/// All of them, in this order, or none.
async fn insert_all(
    conn: &mut MySqlConnection,
    keys: &[&InstanceKey],
    claim: Claim<'_>,
    operation: u64,
) -> sqlx::Result<()> {
    let mut query = QueryBuilder::<MySql>::new(
        "INSERT INTO maintenance (hostname, port, active_slot, owner, reason, holder_node, operation_id, begins_at, expires_at) ",
    );
    query.push_values(keys, |mut row, key| {
        row.push_bind(&key.hostname)
            .push_bind(key.port)
            .push("1")
            .push_bind(claim.owner)
            .push_bind(claim.reason)
            .push_bind(claim.holder_node)
            .push_bind(operation)
            .push("NOW(6)")
            .push("NOW(6) + INTERVAL ")
            .push_bind_unseparated(interval(claim.duration))
            .push_unseparated(" MICROSECOND");
    });
    query.build().execute(conn).await.map(|_| ())
}

/// The first of these that is under maintenance, and its lock.
async fn first_held(conn: &mut MySqlConnection, keys: &[&InstanceKey]) -> Result<Option<Maintenance>, Error> {
    for key in keys {
        if let Some(held) = read(&mut *conn, key).await? {
            return Ok(Some(held));
        }
    }
    Ok(None)
}

fn push_keys<'a>(query: &mut QueryBuilder<'a, MySql>, keys: &[&'a InstanceKey]) {
    query.push("(");
    for (number, key) in keys.iter().enumerate() {
        query.push(if number == 0 { "(hostname = " } else { " OR (hostname = " });
        query.push_bind(&key.hostname).push(" AND port = ").push_bind(key.port).push(")");
    }
    query.push(")");
}

/// Replaces every lock that the operation still has by a new one: the tokens of the worker before are void from the
/// commit on. A lock that expired and that nobody took since is taken, too. In the caller's transaction.
pub async fn take_over(
    conn: &mut MySqlConnection,
    operation: u64,
    claim: Claim<'_>,
) -> Result<BTreeMap<InstanceKey, FencingToken>, Error> {
    const DOING: &str = "take over the locks of an operation";
    let claim = fitting(claim);
    let held = held_by(conn, operation).await?;
    let mut tokens = BTreeMap::new();
    for (token, key) in held {
        let closed = sqlx::query(
            "UPDATE maintenance SET active_slot = NULL, ended_at = NOW(6) WHERE id = ? AND active_slot = 1",
        )
        .bind(token.0)
        .execute(&mut *conn)
        .await
        .map_err(Error::doing(DOING))?;
        if closed.rows_affected() == 0 {
            continue;
        }
        let fresh = insert(conn, &key, claim, Some(operation)).await.map_err(Error::doing(DOING))?;
        tokens.insert(key, fresh);
    }
    Ok(tokens)
}

/// Prolongs these locks, if every one of them is still in force: one statement that counts. In a transaction they stay
/// so until commit, because their rows are locked: fence a step with it.
pub async fn extend_for(
    conn: &mut MySqlConnection,
    tokens: &[FencingToken],
    duration: Duration,
) -> Result<bool, Error> {
    if tokens.is_empty() {
        return Ok(false);
    }
    let mut query =
        QueryBuilder::<MySql>::new("UPDATE maintenance SET expires_at = GREATEST(expires_at, NOW(6) + INTERVAL ");
    query.push_bind(interval(duration)).push(" MICROSECOND) WHERE id IN (");
    let mut list = query.separated(", ");
    for token in tokens {
        list.push_bind(token.0);
    }
    query.push(") AND active_slot = 1 AND expires_at > NOW(6)");
    let done = query.build().execute(conn).await.map_err(Error::doing("extend the locks of an operation"))?;
    // Found rows are counted, changed or not.
    Ok(done.rows_affected() == tokens.len() as u64)
}

/// Ends all locks of an operation; how many there were. The caller's transaction has made sure that the operation is its own.
pub async fn end_for(conn: &mut MySqlConnection, operation: u64) -> Result<u64, Error> {
    const DOING: &str = "end the locks of an operation";
    let held = held_by(conn, operation).await?;
    if held.is_empty() {
        return Ok(0);
    }
    let row = sqlx::query("SELECT owner FROM maintenance WHERE operation_id = ? AND active_slot = 1 LIMIT 1")
        .bind(operation)
        .fetch_one(&mut *conn)
        .await
        .map_err(Error::doing(DOING))?;
    let owner: String = row.try_get_unchecked(0).map_err(Error::doing(DOING))?;
    sqlx::query(
        "UPDATE maintenance SET active_slot = NULL, ended_at = NOW(6) WHERE operation_id = ? AND active_slot = 1",
    )
    .bind(operation)
    .execute(&mut *conn)
    .await
    .map_err(Error::doing(DOING))?;
    let messages: Vec<(&InstanceKey, String)> =
        held.iter().map(|(token, key)| (key, format!("maintenance {}, operation {operation}", token.0))).collect();
    let entries: Vec<Entry<'_>> =
        messages.iter().map(|(key, message)| Entry::instance("end-maintenance", key, &owner, message)).collect();
    audit::write_all(conn, &entries).await?;
    Ok(held.len() as u64)
}

/// Who asked and who carries it out is kept in full with the operation: here a long name is cut, not refused.
fn fitting(claim: Claim<'_>) -> Claim<'_> {
    Claim { owner: cut(claim.owner, OWNER_CHARS), holder_node: cut(claim.holder_node, NODE_CHARS), ..claim }
}

async fn held_by(conn: &mut MySqlConnection, operation: u64) -> Result<Vec<(FencingToken, InstanceKey)>, Error> {
    const DOING: &str = "read the locks of an operation";
    let rows = sqlx::query(
        "SELECT id, hostname, port FROM maintenance WHERE operation_id = ? AND active_slot = 1 \
          ORDER BY hostname, port FOR UPDATE",
    )
    .bind(operation)
    .fetch_all(conn)
    .await
    .map_err(Error::doing(DOING))?;
    rows.iter()
        .map(|row| Ok((FencingToken(uint(row, "id")?), key(row)?)))
        .collect::<sqlx::Result<_>>()
        .map_err(Error::doing(DOING))
}
