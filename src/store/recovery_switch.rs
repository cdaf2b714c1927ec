//! The global switch of automatic recoveries. One row; people turn it, the gates read it.
//!
//! It stops recoveries nobody asked for, neither detection nor what people ask for. A reader that gets an error must act as if
//! nothing might be recovered: an unreadable switch is no permission.

use domain::instance::DbMicros;
use sqlx::MySqlExecutor;
use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::sql::{cut, flag, micros, text};

const ACTOR_CHARS: usize = 255;

/// How the switch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    pub is_disabled: bool,
    /// Who turned it last; empty: nobody yet.
    pub actor: String,
    pub changed_at: DbMicros,
}

/// Are automatic recoveries switched off?
pub async fn is_disabled(db: impl MySqlExecutor<'_>) -> Result<bool, Error> {
    Ok(read(db).await?.is_disabled)
}

/// The switch, and who turned it.
pub async fn read(db: impl MySqlExecutor<'_>) -> Result<Switch, Error> {
    const DOING: &str = "read the switch of automatic recoveries";
    let row = sqlx::query("SELECT is_disabled, actor, changed_at FROM recovery_switch WHERE id = 1")
        .fetch_optional(db)
        .await
        .map_err(Error::doing(DOING))?;
    let Some(row) = row else {
        return Err(Error::Schema("the row of the switch of automatic recoveries is missing".to_owned()));
    };
    let read = || {
        Ok(Switch {
            is_disabled: flag(&row, "is_disabled")?,
            actor: text(&row, "actor")?,
            changed_at: micros(&row, "changed_at")?,
        })
    };
    read().map_err(Error::doing(DOING))
}

/// Turns the switch; false: it stood so already.
pub async fn set(conn: &mut MySqlConnection, disabled: bool, actor: &str) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE recovery_switch SET is_disabled = ?, actor = ?, changed_at = NOW(6) WHERE id = 1 AND is_disabled <> ?",
    )
    .bind(disabled)
    .bind(cut(actor, ACTOR_CHARS))
    .bind(disabled)
    .execute(conn)
    .await
    .map_err(Error::doing("turn the switch of automatic recoveries"))?;
    Ok(done.rows_affected() == 1)
}
