//! Writes of others than the prober: placements by the leader, attempts by the scheduler, "look again" by people's acts.

use domain::instance::{InstanceKey, Placement};
use sqlx::mysql::MySqlConnection;
use sqlx::{MySql, QueryBuilder};

use crate::Error;
use crate::sql::cut;

const PLACEMENTS_PER_STATEMENT: usize = 50;
/// Widths of columns.
const CLUSTER_CHARS: usize = 300;
const ALIAS_CHARS: usize = 255;

/// Writes where instances stand. `changed_at` stays: the leader computed this from what the rows say, it is not news.
pub async fn write_placements(conn: &mut MySqlConnection, placements: &[(u64, Placement)]) -> Result<u64, Error> {
    let mut sorted: Vec<&(u64, Placement)> = placements.iter().collect();
    sorted.sort_by_key(|(id, _)| *id);
    let mut written = 0;
    for chunk in sorted.chunks(PLACEMENTS_PER_STATEMENT) {
        written += write_chunk(conn, chunk).await?;
    }
    Ok(written)
}

async fn write_chunk(conn: &mut MySqlConnection, chunk: &[&(u64, Placement)]) -> Result<u64, Error> {
    let mut query = QueryBuilder::<MySql>::new("UPDATE instance SET ");
    column(&mut query, chunk, "cluster_name", |query, place| {
        query.push_bind(cut(&place.cluster_name, CLUSTER_CHARS).to_owned());
    });
    query.push(", ");
    column(&mut query, chunk, "suggested_alias", |query, place| {
        query.push_bind(cut(&place.suggested_cluster_alias, ALIAS_CHARS).to_owned());
    });
    query.push(", ");
    column(&mut query, chunk, "depth", |query, place| {
        query.push_bind(place.replication_depth);
    });
    query.push(", ");
    column(&mut query, chunk, "is_co_primary", |query, place| {
        query.push_bind(place.is_co_primary);
    });
    query.push(", ");
    column(&mut query, chunk, "ancestry_uuid", |query, place| {
        query.push_bind(place.ancestry_uuid.clone());
    });
    query.push(", ");
    column(&mut query, chunk, "gtid_errant", |query, place| {
        query.push_bind(place.gtid_errant.clone());
    });
    query.push(" WHERE id IN (");
    push_ids(&mut query, chunk.iter().map(|(id, _)| *id));
    query.push(")");
    let done = query.build().execute(conn).await.map_err(Error::doing("write placements"))?;
    Ok(done.rows_affected())
}

fn column(
    query: &mut QueryBuilder<'_, MySql>,
    chunk: &[&(u64, Placement)],
    name: &str,
    bind: impl Fn(&mut QueryBuilder<'_, MySql>, &Placement),
) {
    query.push(name).push(" = CASE id");
    for (id, place) in chunk {
        query.push(" WHEN ").push_bind(*id).push(" THEN ");
        bind(query, place);
    }
    query.push(" ELSE ").push(name).push(" END");
}

/// Notes that probes of these instances begin and did not end at once.
pub async fn mark_attempted(conn: &mut MySqlConnection, ids: &[u64]) -> Result<u64, Error> {
    if ids.is_empty() {
        return Ok(0);
    }
    let mut query = QueryBuilder::<MySql>::new("UPDATE instance SET last_attempted_at = NOW(6) WHERE id IN (");
    push_ids(&mut query, ids.iter().copied());
    query.push(")");
    let done = query.build().execute(conn).await.map_err(Error::doing("mark attempted probes"))?;
    Ok(done.rows_affected())
}

/// Tells readers of [`crate::instances::look`] to read this instance again: something said about it changed.
pub async fn touch(conn: &mut MySqlConnection, key: &InstanceKey) -> Result<(), Error> {
    sqlx::query("UPDATE instance SET changed_at = NOW(6) WHERE hostname = ? AND port = ?")
        .bind(&key.hostname)
        .bind(key.port)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(Error::doing("mark an instance as changed"))
}

fn push_ids(query: &mut QueryBuilder<'_, MySql>, ids: impl Iterator<Item = u64>) {
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id);
    }
}
