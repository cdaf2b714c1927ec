//! Tokens of the authentication method "token": a public one, made on the command line, is exchanged once for a secret.

use std::time::Duration;

use sqlx::MySqlExecutor;
use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::sql::{check_width, delete_older, interval, text};

/// Stores a new pair; both are random texts of the caller's.
pub async fn create(conn: &mut MySqlConnection, public: &str, secret: &str, owner: &str) -> Result<(), Error> {
    const DOING: &str = "create an access token";
    check_width(DOING, "the owner", owner, 128)?;
    sqlx::query("INSERT INTO access_token (public_token, secret_token, owner, generated_at) VALUES (?, ?, ?, NOW(6))")
        .bind(public)
        .bind(secret)
        .bind(owner)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(Error::doing(DOING))
}

/// Exchanges a public token for its secret: once, and only while it is younger than `usable`. `None`: not so.
pub async fn acquire(conn: &mut MySqlConnection, public: &str, usable: Duration) -> Result<Option<String>, Error> {
    const DOING: &str = "acquire an access token";
    let done = sqlx::query(
        "UPDATE access_token SET acquired_at = NOW(6) \
          WHERE public_token = ? AND acquired_at IS NULL AND generated_at > NOW(6) - INTERVAL ? MICROSECOND",
    )
    .bind(public)
    .bind(interval(usable))
    .execute(&mut *conn)
    .await
    .map_err(Error::doing(DOING))?;
    if done.rows_affected() != 1 {
        return Ok(None);
    }
    let row = sqlx::query("SELECT secret_token FROM access_token WHERE public_token = ?")
        .bind(public)
        .fetch_optional(conn)
        .await
        .map_err(Error::doing(DOING))?;
    row.map(|row| text(&row, "secret_token")).transpose().map_err(Error::doing(DOING))
}

/// For whom a pair was made, if it was acquired and is younger than `lifetime`.
pub async fn owner(
    db: impl MySqlExecutor<'_>,
    public: &str,
    secret: &str,
    lifetime: Duration,
) -> Result<Option<String>, Error> {
    const DOING: &str = "check an access token";
    let row = sqlx::query(
        "SELECT owner FROM access_token \
          WHERE public_token = ? AND secret_token = ? AND acquired_at IS NOT NULL \
            AND generated_at > NOW(6) - INTERVAL ? MICROSECOND",
    )
    .bind(public)
    .bind(secret)
    .bind(interval(lifetime))
    .fetch_optional(db)
    .await
    .map_err(Error::doing(DOING))?;
    row.map(|row| text(&row, "owner")).transpose().map_err(Error::doing(DOING))
}

/// Drops tokens older than `lifetime`.
pub async fn expire(conn: &mut MySqlConnection, lifetime: Duration) -> Result<u64, Error> {
    delete_older(conn, "expire access tokens", ("access_token", "generated_at"), lifetime).await
}
