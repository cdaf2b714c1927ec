//! Small helpers shared by the table files: reading columns, times, and the few texts that statements are made of.

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{MySql, MySqlExecutor, QueryBuilder, Row};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::Error;

/// A century: as good as never, and far from where DATETIME arithmetic ends in NULL.
const CENTURY_MICROS: i64 = 100 * 365 * 24 * 3600 * 1_000_000;
/// 9999-12-31 23:59:59, the greatest DATETIME.
const MAX_MICROS: i64 = 253_402_300_799_000_000;

/// The database's time now.
pub async fn database_now(db: impl MySqlExecutor<'_>) -> Result<DbMicros, Error> {
    let row = sqlx::query("SELECT NOW(6) AS db_now").fetch_one(db).await;
    row.and_then(|row| micros(&row, "db_now")).map_err(Error::doing("read the backend's clock"))
}

/// Deletes what is older than this, in pieces that hold no locks for long: the first statement deletes the parts of what the
/// second deletes, so that what a crash leaves half-way is found by the next round. Both take the age in microseconds and a
/// number of rows. How many the second deleted.
pub(crate) async fn trim_with_parts(
    conn: &mut MySqlConnection,
    [parts, wholes]: [&'static str; 2],
    older_than: Duration,
) -> sqlx::Result<u64> {
    const PIECE: u32 = 500;
    let mut trimmed = 0;
    loop {
        sqlx::query(parts).bind(interval(older_than)).bind(PIECE).execute(&mut *conn).await?;
        let done = sqlx::query(wholes).bind(interval(older_than)).bind(PIECE).execute(&mut *conn).await?;
        trimmed += done.rows_affected();
        if done.rows_affected() < u64::from(PIECE) {
            return Ok(trimmed);
        }
    }
}

/// A DATETIME(6) of ours as microseconds since the Unix epoch. With [`stamp`] the only place where the two meet.
pub(crate) fn maybe_micros(row: &MySqlRow, column: &str) -> sqlx::Result<Option<DbMicros>> {
    let value: Option<PrimitiveDateTime> = row.try_get_unchecked(column)?;
    Ok(value.map(|value| {
        let at = value.assume_utc();
        at.unix_timestamp() * 1_000_000 + i64::from(at.microsecond())
    }))
}

/// Like [`maybe_micros`] for a column that is never NULL.
pub(crate) fn micros(row: &MySqlRow, column: &str) -> sqlx::Result<DbMicros> {
    maybe_micros(row, column)?
        .ok_or_else(|| sqlx::Error::ColumnDecode { index: column.to_owned(), source: "unexpected NULL time".into() })
}

/// Microseconds since the Unix epoch as a DATETIME(6) to bind; what no DATETIME holds becomes the nearest that does.
pub(crate) fn stamp(at: DbMicros) -> PrimitiveDateTime {
    let nanos = i128::from(at.clamp(0, MAX_MICROS)) * 1_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    PrimitiveDateTime::new(at.date(), at.time())
}

/// The same as a quoted literal, for the one statement that binds nothing.
pub(crate) fn stamp_literal(at: DbMicros) -> String {
    let at = stamp(at);
    let (date, time) = (at.date(), at.time());
    format!(
        "'{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}'",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.microsecond()
    )
}

/// Microseconds for `INTERVAL ? MICROSECOND`.
pub(crate) fn interval(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(CENTURY_MICROS).min(CENTURY_MICROS)
}

/// Deletes the rows of a table that are older than `age` by their column of times; how many there were.
pub(crate) async fn delete_older(
    conn: &mut MySqlConnection,
    doing: &'static str,
    (table, column): (&'static str, &'static str),
    age: Duration,
) -> Result<u64, Error> {
    let statement = format!("DELETE FROM {table} WHERE {column} < NOW(6) - INTERVAL ? MICROSECOND");
    let done = sqlx::query(&statement).bind(interval(age)).execute(conn).await;
    Ok(done.map_err(Error::doing(doing))?.rows_affected())
}

/// Reads a text column. sqlx 0.8 takes `_bin` collated text for bytes, hence unchecked.
pub(crate) fn text(row: &MySqlRow, column: &str) -> sqlx::Result<String> {
    row.try_get_unchecked(column)
}

pub(crate) fn maybe_text(row: &MySqlRow, column: &str) -> sqlx::Result<Option<String>> {
    row.try_get_unchecked(column)
}

/// Reads a number that is never negative, of any integer column or expression.
pub(crate) fn uint(row: &MySqlRow, column: &str) -> sqlx::Result<u64> {
    row.try_get_unchecked(column)
}

pub(crate) fn maybe_uint(row: &MySqlRow, column: &str) -> sqlx::Result<Option<u64>> {
    row.try_get_unchecked(column)
}

pub(crate) fn flag(row: &MySqlRow, column: &str) -> sqlx::Result<bool> {
    Ok(uint(row, column)? != 0)
}

/// Reads a number that fits 32 bits wherever we wrote it.
pub(crate) fn number(row: &MySqlRow, column: &str) -> sqlx::Result<u32> {
    Ok(u32::try_from(uint(row, column)?).unwrap_or(u32::MAX))
}

/// A JSON document of ours; `None`: NULL.
pub(crate) fn document<T: DeserializeOwned>(row: &MySqlRow, column: &str) -> sqlx::Result<Option<T>> {
    maybe_text(row, column)?
        .map(|text| serde_json::from_str(&text).map_err(|error| undecodable(column, error)))
        .transpose()
}

pub(crate) fn undecodable(column: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: cause.into() }
}

/// A value as JSON to bind.
pub(crate) fn json<T: Serialize + ?Sized>(doing: &'static str, value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Invalid { doing, reason: error.to_string() })
}

/// The columns `hostname` and `port` as a key.
pub(crate) fn key(row: &MySqlRow) -> sqlx::Result<InstanceKey> {
    Ok(InstanceKey::new(text(row, "hostname")?, port(row, "port")?))
}

pub(crate) fn port(row: &MySqlRow, column: &str) -> sqlx::Result<u16> {
    Ok(u16::try_from(uint(row, column)?).unwrap_or(0))
}

/// `((?, ?), (?, ?))`: keys as a row-value list. Never call it with an empty list.
pub(crate) fn push_keys<'a>(query: &mut QueryBuilder<'a, MySql>, keys: impl IntoIterator<Item = &'a InstanceKey>) {
    query.push("(");
    for (index, key) in keys.into_iter().enumerate() {
        if index > 0 {
            query.push(", ");
        }
        query.push("(").push_bind(&key.hostname).push(", ").push_bind(key.port).push(")");
    }
    query.push(")");
}

/// `%text%` for `LIKE ? ESCAPE '|'`, with the wildcards in `text` taken literally.
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '|') {
            pattern.push('|');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Cuts to what a VARCHAR column of `chars` characters holds, for texts where the beginning is worth having.
pub(crate) fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

/// Refuses a text that does not fit its column, where a cut would change its meaning.
pub(crate) fn check_width(doing: &'static str, what: &str, text: &str, chars: usize) -> Result<(), Error> {
    if text.chars().count() <= chars {
        return Ok(());
    }
    Err(Error::Invalid { doing, reason: format!("{what} is longer than {chars} characters") })
}

/// Refuses a key that no server can have, or that does not fit.
pub(crate) fn check_key(doing: &'static str, key: &InstanceKey) -> Result<(), Error> {
    if key.hostname.is_empty() || key.port == 0 {
        return Err(Error::Invalid { doing, reason: "the instance name is empty".to_owned() });
    }
    check_width(doing, "the host name", &key.hostname, domain::instance::MAX_HOSTNAME_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_way_there_and_what_does_not_fit_is_clamped() {
        assert_eq!(stamp_literal(1_795_400_000_123_456), "'2026-11-23 02:13:20.123456'");
        assert_eq!(stamp_literal(-5), "'1970-01-01 00:00:00.000000'");
        assert_eq!(stamp_literal(i64::MAX), "'9999-12-31 23:59:59.000000'");
        assert_eq!(interval(Duration::MAX), CENTURY_MICROS);
    }

    #[test]
    fn patterns_and_cuts_respect_characters() {
        assert_eq!(containing("db_1%|"), "%db|_1|%||%");
        assert_eq!(cut("añb", 2), "añ");
        assert_eq!(cut("ab", 5), "ab");
        assert!(check_width("x", "it", "añb", 3).is_ok());
        assert!(check_width("x", "it", "añb", 2).is_err());
    }
}
