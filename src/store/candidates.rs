//! Promotion rules that people, or servers through a query, gave instances. They expire unless said again.

use std::time::Duration;

use domain::instance::{DbMicros, InstanceKey};
use domain::promotion::PromotionRule;
use sqlx::MySqlExecutor;
use sqlx::mysql::{MySqlConnection, MySqlPool};

use crate::Error;
use crate::instances::touch;
use crate::sql::{check_key, delete_older, interval, key, micros, text};

/// A registered rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub key: InstanceKey,
    pub rule: PromotionRule,
    pub suggested_at: DbMicros,
}

/// Registers a rule, or says it again.
pub async fn register(pool: &MySqlPool, instance: &InstanceKey, rule: PromotionRule) -> Result<(), Error> {
    const DOING: &str = "register a promotion rule";
    check_key(DOING, instance)?;
    let mut conn = pool.acquire().await.map_err(Error::doing(DOING))?;
    if upsert(&mut conn, instance, rule).await? {
        touch(&mut conn, instance).await?;
    }
    Ok(())
}

/// All rules, by host and port.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<Vec<Candidate>, Error> {
    const DOING: &str = "read promotion rules";
    let rows =
        sqlx::query("SELECT hostname, port, promotion_rule, suggested_at FROM candidate ORDER BY hostname, port")
            .fetch_all(db)
            .await
            .map_err(Error::doing(DOING))?;
    let read = |row| {
        Ok(Candidate {
            key: key(row)?,
            rule: text(row, "promotion_rule")?.parse().unwrap_or_default(),
            suggested_at: micros(row, "suggested_at")?,
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
    delete_older(conn, "expire promotion rules", ("candidate", "suggested_at"), lifetime).await
}

/// True if that changed the rule.
async fn upsert(conn: &mut MySqlConnection, instance: &InstanceKey, rule: PromotionRule) -> Result<bool, Error> {
    const DOING: &str = "register a promotion rule";
    let again = sqlx::query(
        "UPDATE candidate SET suggested_at = NOW(6) WHERE hostname = ? AND port = ? AND promotion_rule = ?",
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
            SET i.changed_at = NOW(6) WHERE c.suggested_at < NOW(6) - INTERVAL ? MICROSECOND",
    )
    .bind(interval(lifetime))
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing("mark instances as changed"))
}
