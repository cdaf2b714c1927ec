//! Promotion rules that people, or servers through a query, gave instances. They expire unless said again, but for those
//! that people gave for good: these stay until another is given by a person, and no server overrules them.

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use domain::promotion::PromotionRule;
use sqlx::MySqlExecutor;
use sqlx::mysql::{MySqlConnection, MySqlPool};

use crate::Error;
use crate::instances::touch;
use crate::sql::{check_key, flag, interval, key, micros, text};

/// A registered rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub key: InstanceKey,
    pub rule: PromotionRule,
    pub suggested_at: DbMicros,
    /// Does not expire.
    pub is_durable: bool,
}

/// How long a person's rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Until it expires, unless it is said again.
    Expiring,
    /// Until another is given.
    Durable,
}

/// Registers the rule that a server declares, or says it again. One that a person gave for good stays.
pub async fn register(pool: &MySqlPool, instance: &InstanceKey, rule: PromotionRule) -> Result<(), Error> {
    const DOING: &str = "register a promotion rule";
    check_key(DOING, instance)?;
    let mut conn = pool.acquire().await.map_err(Error::doing(DOING))?;
    if upsert(&mut conn, instance, rule).await? {
        touch(&mut conn, instance).await?;
    }
    Ok(())
}

/// Registers the rule that a person gives, whatever there was.
pub async fn give(
    conn: &mut MySqlConnection,
    instance: &InstanceKey,
    rule: PromotionRule,
    lasting: Lasting,
) -> Result<(), Error> {
    const DOING: &str = "register a promotion rule";
    check_key(DOING, instance)?;
    sqlx::query(
        "INSERT INTO candidate (hostname, port, promotion_rule, suggested_at, is_durable) VALUES (?, ?, ?, NOW(6), ?) \
         ON DUPLICATE KEY UPDATE promotion_rule = VALUES(promotion_rule), suggested_at = VALUES(suggested_at), \
           is_durable = VALUES(is_durable)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .bind(rule.name())
    .bind(lasting == Lasting::Durable)
    .execute(&mut *conn)
    .await
    .map_err(Error::doing(DOING))?;
    touch(conn, instance).await
}

/// All rules, by host and port.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<Vec<Candidate>, Error> {
    const DOING: &str = "read promotion rules";
    let rows = sqlx::query(
        "SELECT hostname, port, promotion_rule, suggested_at, is_durable FROM candidate ORDER BY hostname, port",
    )
    .fetch_all(db)
    .await
    .map_err(Error::doing(DOING))?;
    let read = |row| {
        Ok(Candidate {
            key: key(row)?,
            rule: text(row, "promotion_rule")?.parse().unwrap_or_default(),
            suggested_at: micros(row, "suggested_at")?,
            is_durable: flag(row, "is_durable")?,
        })
    };
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Takes a rule back; false if there was none.
pub async fn forget(conn: &mut MySqlConnection, instance: &InstanceKey) -> Result<bool, Error> {
    let done = sqlx::query("DELETE FROM candidate WHERE hostname = ? AND port = ?")
        .bind(&instance.hostname)
        .bind(instance.port)
        .execute(&mut *conn)
        .await
        .map_err(Error::doing("forget a promotion rule"))?;
    touch(conn, instance).await?;
    Ok(done.rows_affected() == 1)
}

/// Drops rules not said again within `lifetime`.
pub async fn expire(conn: &mut MySqlConnection, lifetime: Duration) -> Result<u64, Error> {
    touch_expiring(conn, lifetime).await?;
    let done =
        sqlx::query("DELETE FROM candidate WHERE is_durable = 0 AND suggested_at < NOW(6) - INTERVAL ? MICROSECOND")
            .bind(interval(lifetime))
            .execute(conn)
            .await
            .map_err(Error::doing("expire promotion rules"))?;
    Ok(done.rows_affected())
}

/// True if that changed the rule. A rule given for good is said again as it is.
async fn upsert(conn: &mut MySqlConnection, instance: &InstanceKey, rule: PromotionRule) -> Result<bool, Error> {
    const DOING: &str = "register a promotion rule";
    let again = sqlx::query(
        "UPDATE candidate SET suggested_at = NOW(6) WHERE hostname = ? AND port = ? AND (promotion_rule = ? OR is_durable = 1)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .bind(rule.name())
    .execute(&mut *conn)
    .await
    .map_err(Error::doing(DOING))?;
    if again.rows_affected() == 1 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO candidate (hostname, port, promotion_rule, suggested_at) VALUES (?, ?, ?, NOW(6)) \
         ON DUPLICATE KEY UPDATE promotion_rule = VALUES(promotion_rule), suggested_at = VALUES(suggested_at)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .bind(rule.name())
    .execute(conn)
    .await
    .map_err(Error::doing(DOING))?;
    Ok(true)
}

async fn touch_expiring(conn: &mut MySqlConnection, lifetime: Duration) -> Result<(), Error> {
    sqlx::query(
        "UPDATE instance i JOIN candidate c ON c.hostname = i.hostname AND c.port = i.port \
            SET i.changed_at = NOW(6) WHERE c.is_durable = 0 AND c.suggested_at < NOW(6) - INTERVAL ? MICROSECOND",
    )
    .bind(interval(lifetime))
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing("mark instances as changed"))
}
