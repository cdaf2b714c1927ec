//! One row of `instance` with what people said about it, as an [`Instance`].

use domain::instance::{CheckState, DbMicros, Downtime, FailureKind, Instance, Placement, ServerFacts};
use domain::promotion::PromotionRule;
use sqlx::mysql::MySqlRow;

use crate::sql::{flag, key, maybe_micros, maybe_text, maybe_uint, micros, text, uint};

/// What every reading statement begins with; a `WHERE` over `i` may follow.
pub(super) const SELECT: &str = "SELECT i.id, i.hostname, i.port, i.lane, i.facts, i.last_attempted_at, i.last_checked_at, \
       i.last_seen_at, i.partial_success, i.failures, i.silent_since, i.error_kind, i.last_error, \
       i.latency_us, i.cluster_name, i.suggested_alias, i.depth, i.is_co_primary, i.ancestry_uuid, i.gtid_errant, i.changed_at, NOW(6) AS db_now, \
       d.owner AS downtime_owner, d.reason AS downtime_reason, d.begins_at AS downtime_begins_at, \
       d.ends_at AS downtime_ends_at, c.promotion_rule, c.is_durable, u.virtual_name \
  FROM instance i \
  LEFT JOIN downtime d ON d.hostname = i.hostname AND d.port = i.port \
                      AND d.begins_at <= NOW(6) AND d.ends_at > NOW(6) \
  LEFT JOIN candidate c ON c.hostname = i.hostname AND c.port = i.port \
  LEFT JOIN hostname_unresolve u ON u.hostname = i.hostname ";

/// An instance, when its row changed, and what time it was then.
pub(super) struct Row {
    pub(super) instance: Instance,
    pub(super) changed_at: DbMicros,
    pub(super) now: DbMicros,
}

pub(super) fn read(row: &MySqlRow) -> sqlx::Result<Row> {
    let key = key(row)?;
    let facts = match maybe_text(row, "facts")? {
        // A document that cannot be read is one of a newer release: the next probe by this one replaces it.
        Some(document) => serde_json::from_str(&document).unwrap_or_else(|error| {
            tracing::warn!(instance.key = %key, %error, "cannot read the stored facts");
            ServerFacts::default()
        }),
        None => ServerFacts::default(),
    };
    let instance = Instance {
        id: uint(row, "id")?,
        lane: text(row, "lane")?,
        placement: placement(row)?,
        check: check(row)?,
        downtime: downtime(row)?,
        promotion_rule: rule(row, &facts)?,
        unresolved_hostname: maybe_text(row, "virtual_name")?.unwrap_or_default(),
        facts,
        key,
    };
    Ok(Row { instance, changed_at: micros(row, "changed_at")?, now: micros(row, "db_now")? })
}

/// What a person said for good comes first, then what the server itself says: it is said anew with every probe.
fn rule(row: &MySqlRow, facts: &ServerFacts) -> sqlx::Result<PromotionRule> {
    let registered = maybe_text(row, "promotion_rule")?.and_then(|word| word.parse().ok());
    let is_durable = maybe_uint(row, "is_durable")?.is_some_and(|flag| flag != 0);
    let declared = PromotionRule::parse_registrable(&facts.detected_promotion_rule).ok();
    let chosen = if is_durable { registered.or(declared) } else { declared.or(registered) };
    Ok(chosen.unwrap_or_default())
}

fn placement(row: &MySqlRow) -> sqlx::Result<Placement> {
    Ok(Placement {
        cluster_name: text(row, "cluster_name")?,
        suggested_cluster_alias: text(row, "suggested_alias")?,
        replication_depth: narrow(uint(row, "depth")?),
        is_co_primary: flag(row, "is_co_primary")?,
        ancestry_uuid: text(row, "ancestry_uuid")?,
        gtid_errant: text(row, "gtid_errant")?,
    })
}

fn check(row: &MySqlRow) -> sqlx::Result<CheckState> {
    Ok(CheckState {
        last_attempted_at: maybe_micros(row, "last_attempted_at")?,
        last_checked_at: maybe_micros(row, "last_checked_at")?,
        last_seen_at: maybe_micros(row, "last_seen_at")?,
        partial_success: flag(row, "partial_success")?,
        failures: narrow(uint(row, "failures")?),
        silent_since: maybe_micros(row, "silent_since")?,
        failure: FailureKind::parse(&text(row, "error_kind")?),
        last_error: text(row, "last_error")?,
        latency_micros: uint(row, "latency_us")?,
    })
}

fn downtime(row: &MySqlRow) -> sqlx::Result<Option<Downtime>> {
    let Some(owner) = maybe_text(row, "downtime_owner")? else { return Ok(None) };
    Ok(Some(Downtime {
        owner,
        reason: maybe_text(row, "downtime_reason")?.unwrap_or_default(),
        begins_at: micros(row, "downtime_begins_at")?,
        ends_at: micros(row, "downtime_ends_at")?,
    }))
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
