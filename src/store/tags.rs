//! Tags people put on instances. One term is answered by the database, lists of terms are intersected here.

use std::collections::{BTreeMap, BTreeSet};

use domain::instance::InstanceKey;
use domain::tag::Tag;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{MySql, MySqlExecutor, QueryBuilder};

use crate::Error;
use crate::sql::{check_key, check_width, key, text};

/// Widths of the columns.
const NAME_CHARS: usize = 128;
const VALUE_CHARS: usize = 255;

/// Puts a tag on an instance, or changes its value.
pub async fn set(conn: &mut MySqlConnection, instance: &InstanceKey, name: &str, value: &str) -> Result<(), Error> {
    const DOING: &str = "tag an instance";
    check_key(DOING, instance)?;
    check_width(DOING, "the tag", name, NAME_CHARS)?;
    check_width(DOING, "the value of the tag", value, VALUE_CHARS)?;
    sqlx::query(
        "INSERT INTO instance_tag (hostname, port, name, value) VALUES (?, ?, ?, ?) \
         ON DUPLICATE KEY UPDATE value = VALUES(value)",
    )
    .bind(&instance.hostname)
    .bind(instance.port)
    .bind(name)
    .bind(value)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(Error::doing(DOING))
}

/// Takes a tag off an instance, with `value` only if it has that value; false if there was no such tag.
pub async fn unset(
    conn: &mut MySqlConnection,
    instance: &InstanceKey,
    name: &str,
    value: Option<&str>,
) -> Result<bool, Error> {
    let mut query = QueryBuilder::<MySql>::new("DELETE FROM instance_tag WHERE hostname = ");
    query
        .push_bind(&instance.hostname)
        .push(" AND port = ")
        .push_bind(instance.port)
        .push(" AND name = ")
        .push_bind(name);
    if let Some(value) = value {
        query.push(" AND value = ").push_bind(value);
    }
    let done = query.build().execute(conn).await.map_err(Error::doing("untag an instance"))?;
    Ok(done.rows_affected() == 1)
}

/// Takes a tag with this value off all instances that have it; which these were.
pub async fn unset_all(conn: &mut MySqlConnection, name: &str, value: &str) -> Result<BTreeSet<InstanceKey>, Error> {
    let term = Tag { name: name.to_owned(), value: Some(value.to_owned()), negated: false };
    let candidates = tagged(&mut *conn, &term).await?;
    let mut changed = BTreeSet::new();
    // One by one: who is in the answer was changed by this very call.
    for instance in candidates {
        if unset(conn, &instance, name, Some(value)).await? {
            changed.insert(instance);
        }
    }
    Ok(changed)
}

/// The tags of an instance by name.
pub async fn read(db: impl MySqlExecutor<'_>, instance: &InstanceKey) -> Result<BTreeMap<String, String>, Error> {
    const DOING: &str = "read tags";
    let rows = sqlx::query("SELECT name, value FROM instance_tag WHERE hostname = ? AND port = ? ORDER BY name")
        .bind(&instance.hostname)
        .bind(instance.port)
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    let read = |row| Ok((text(row, "name")?, text(row, "value")?));
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// All tags by instance.
pub async fn read_all(db: impl MySqlExecutor<'_>) -> Result<BTreeMap<InstanceKey, BTreeMap<String, String>>, Error> {
    const DOING: &str = "read tags";
    let rows = sqlx::query("SELECT hostname, port, name, value FROM instance_tag")
        .fetch_all(db)
        .await
        .map_err(Error::doing(DOING))?;
    let mut all: BTreeMap<InstanceKey, BTreeMap<String, String>> = BTreeMap::new();
    for row in &rows {
        let read = || Ok((key(row)?, text(row, "name")?, text(row, "value")?));
        let (instance, name, value) = read().map_err(Error::doing(DOING))?;
        all.entry(instance).or_default().insert(name, value);
    }
    Ok(all)
}

/// Instances that satisfy one term, as [`Tag::matches`] has it.
pub async fn tagged(db: impl MySqlExecutor<'_>, term: &Tag) -> Result<BTreeSet<InstanceKey>, Error> {
    const DOING: &str = "find tagged instances";
    let mut query = QueryBuilder::<MySql>::new("SELECT DISTINCT t.hostname, t.port FROM instance_tag t WHERE ");
    match (&term.value, term.negated) {
        (None, true) => {
            query.push("NOT EXISTS (SELECT 1 FROM instance_tag n WHERE n.hostname = t.hostname AND n.port = t.port AND n.name = ");
            query.push_bind(&term.name).push(")");
        }
        (None, false) => {
            query.push("t.name = ").push_bind(&term.name);
        }
        (Some(value), negated) => {
            query.push("t.name = ").push_bind(&term.name);
            query.push(if negated { " AND t.value <> " } else { " AND t.value = " }).push_bind(value);
        }
    }
    let rows = query.build().fetch_all(db).await.map_err(Error::doing(DOING))?;
    rows.iter().map(key).collect::<sqlx::Result<_>>().map_err(Error::doing(DOING))
}

/// Instances that satisfy every term; none for no term.
pub async fn tagged_all(pool: &MySqlPool, terms: &[Tag]) -> Result<BTreeSet<InstanceKey>, Error> {
    let mut found: Option<BTreeSet<InstanceKey>> = None;
    for term in terms {
        let these = tagged(pool, term).await?;
        found = Some(match found {
            None => these,
            Some(before) => before.intersection(&these).cloned().collect(),
        });
    }
    Ok(found.unwrap_or_default())
}
