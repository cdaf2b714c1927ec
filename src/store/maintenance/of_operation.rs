//! Locks of operations: all of a plan or none, taken over as a whole, ended as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::InstanceKey;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{Connection, MySql, QueryBuilder};

use super::{Claim, FencingToken, OWNER_CHARS, TRIES, close_expired, insert, read, refused};
use crate::Error;
use crate::audit::{self, Entry};
use crate::error::is_duplicate;
use crate::operations::{Run, is_ours};
use crate::sql::{check_key, cut, interval, key, uint};

const NODE_CHARS: usize = 64;

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
            Ok(Begun::Held(by)) => {
                // Told from outside the transaction; a holder that is gone by now leaves room for another try.
                if let Some(held) = read(&mut *conn, &by).await? {
                    return Err(refused(&held));
                }
                if tries >= TRIES {
                    return Err(Error::Refused {
                        what: format!("maintenance of {by}"),
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
    Held(InstanceKey),
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
    let mut tokens = BTreeMap::new();
    for key in keys {
        close_expired(&mut tx, key).await?;
        match insert(&mut tx, key, claim, Some(run.operation)).await {
            Ok(token) => {
                note(&mut tx, "begin-maintenance", key, token, claim).await?;
                tokens.insert((*key).clone(), token);
            }
            // Leaving drops the transaction: nothing is locked.
            Err(cause) if is_duplicate(&cause) => return Ok(Begun::Held((*key).clone())),
            Err(cause) => return Err(Error::classify(DOING, cause)),
        }
    }
    tx.commit().await.map_err(Error::doing(DOING))?;
    Ok(Begun::All(tokens))
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
    for (token, key) in &held {
        sqlx::query("UPDATE maintenance SET active_slot = NULL, ended_at = NOW(6) WHERE id = ? AND active_slot = 1")
            .bind(token.0)
            .execute(&mut *conn)
            .await
            .map_err(Error::doing(DOING))?;
        let message = format!("maintenance {}, operation {operation}", token.0);
        audit::write(conn, &Entry::instance("end-maintenance", key, "", &message)).await?;
    }
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

async fn note(
    conn: &mut MySqlConnection,
    audit_type: &str,
    key: &InstanceKey,
    token: FencingToken,
    claim: Claim<'_>,
) -> Result<(), Error> {
    let message = format!("maintenance {}, owner: {}, reason: {}", token.0, claim.owner, claim.reason);
    audit::write(conn, &Entry::instance(audit_type, key, claim.owner, &message)).await
}
