//! Small helpers for statements that several modules share.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions, MySqlRow};
use sqlx::{Connection, Executor, MySql, QueryBuilder, Row};

/// The settings every session of the queue (and of whoever shares its pool) runs under, in one statement.
///
/// READ COMMITTED: a claim must see what was committed a moment ago and lock no gaps. UTC: `DATETIME` columns carry no zone.
/// Strict mode: a value that does not fit is an error, never a silent cut. `wait_timeout`: a process that freezes or is cut
/// off in the middle of a transaction must not keep its row locks for the server's default of eight hours. Whoever keeps a
/// connection closes it after [`IDLE_LIMIT`], well before the server would. MariaDB can end the idle transaction alone, and
/// sooner: as soon as others would take over what its holder does.
const SESSION_SETUP: &str = "SET SESSION transaction_isolation = 'READ-COMMITTED', time_zone = '+00:00', \
     sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
     innodb_lock_wait_timeout = 10, wait_timeout = 30 /*M!100300 , idle_transaction_timeout = 5 */";
/// MariaDB before 11.1 knows the isolation variable by its old name only.
const SESSION_SETUP_OLD: &str = "SET SESSION tx_isolation = 'READ-COMMITTED', time_zone = '+00:00', \
     sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
     innodb_lock_wait_timeout = 10, wait_timeout = 30 /*M!100300 , idle_transaction_timeout = 5 */";
/// A connection unused for this long is closed. A pool looks this often, too, so that none idles for more than twice as long.
pub const IDLE_LIMIT: Duration = Duration::from_secs(10);
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

/// Sets up one session: what [`pool_options`] does for each connection of a pool.
pub async fn session_setup(conn: &mut MySqlConnection) -> sqlx::Result<()> {
    match conn.execute(SESSION_SETUP).await {
        Err(sqlx::Error::Database(error))
            if error
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                .is_some_and(|error| error.number() == ER_UNKNOWN_SYSTEM_VARIABLE) =>
        {
            conn.execute(SESSION_SETUP_OLD).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

/// Longest wait for the replies that a connection owes when it goes back to its pool.
const RETURN_LIMIT: Duration = Duration::from_secs(2);

/// May this connection go back to its pool? For `after_release`, of every pool whose users may be cut off by deadlines.
///
/// The driver pings a returned connection, too, but that is not enough:
/// - it waits for ever, for a server that fell silent or for the rest of a PREPARE that no reply brings back into step.
///   Each would hold a place in the pool until TCP gives up, and the pool would run dry;
/// - a user cut off between sending BEGIN and seeing its reply leaves an open transaction behind, of which the driver knows
///   nothing, whether the reply has come meanwhile or not: the next user's autocommitted statements would never be
///   committed. So each connection is told ROLLBACK, which costs nothing but a statement where there is nothing to undo.
pub async fn is_in_step(conn: &mut MySqlConnection) -> bool {
    let checked = tokio::time::timeout(RETURN_LIMIT, async {
        conn.flush().await?;
        conn.execute("ROLLBACK").await
    });
    // Out of step, the driver may read another reply than it expects, and panics at some of them (0.8.6: an empty one in place of
    // the name of a column). The connection is closed then, as any other that is no good.
    AssertUnwindSafe(checked).catch_unwind().await.is_ok_and(|checked| checked.is_ok_and(|checked| checked.is_ok()))
}

/// Pool options for a backend pool that the queue and the store share: every new connection gets [`session_setup`].
///
/// No ping before use: it would double the round trips of an idle poll, and everything that uses the pool copes with a broken
/// connection anyway.
pub fn pool_options() -> MySqlPoolOptions {
    MySqlPoolOptions::new()
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(5))
        .idle_timeout(IDLE_LIMIT)
        .after_connect(|conn, _| Box::pin(async move { session_setup(conn).await }))
        .after_release(|conn, _| Box::pin(async move { Ok(is_in_step(conn).await) }))
}

/// Connect options that leave the session to [`session_setup`]: sqlx would set mode, zone and charset with statements of its own.
pub fn connect_options(options: MySqlConnectOptions) -> MySqlConnectOptions {
    options.pipes_as_concat(false).no_engine_substitution(false).timezone(None).statement_cache_capacity(500)
}

/// Microseconds for `INTERVAL ? MICROSECOND`.
pub(crate) fn micros(duration: Duration) -> i64 {
    // A century is as good as never, and far from where DATETIME arithmetic ends in NULL.
    const CENTURY: i64 = 100 * 365 * 24 * 3600 * 1_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(CENTURY).min(CENTURY)
}

/// Binds ids as an `IN` list, padded with the last one to a power of two: few distinct statements, so they stay prepared.
pub(crate) fn bind_ids(query: &mut QueryBuilder<'_, MySql>, ids: &[u64]) {
    let mut list = query.separated(", ");
    let padded = ids.len().next_power_of_two();
    for id in ids.iter().copied().chain(ids.last().copied().into_iter().cycle()).take(padded) {
        list.push_bind(id);
    }
}

/// Reads a text column. sqlx 0.8 takes `_bin` collated text for bytes, hence unchecked.
pub(crate) fn text(row: &MySqlRow, column: &str) -> sqlx::Result<String> {
    row.try_get_unchecked(column)
}

/// Reads a nullable text column.
pub(crate) fn maybe_text(row: &MySqlRow, column: &str) -> sqlx::Result<Option<String>> {
    row.try_get_unchecked(column)
}

/// Cuts an error text to what a TEXT column holds (64 KiB) with room for four-byte characters.
pub(crate) fn cut_error(error: &str) -> String {
    const MAX_CHARS: usize = 8_000;
    error.chars().take(MAX_CHARS).collect()
}
