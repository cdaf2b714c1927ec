//! Puts the answers of one server together: the facts, and the name it goes by.

use std::borrow::Cow;

use domain::instance::{
    Answer, BinlogCoordinates, FailureKind, GtidFacts, InstanceKey, ProbeFailure, ReplicaFacts, ServerFacts,
};

use crate::batch::{Answers, Ask};
use crate::columns::{Columns, is_on};
use crate::failure::failure;
use crate::learn::Learned;
use crate::replicas::Registered;
use crate::settings::{HostnameMethod, Patterns, ProbeSettings};
use crate::variables::{Live, Var};
use crate::wire::Row;
use crate::{group, replica_status, semi_sync};

/// Promotion rules a query may give. `must` is for people only.
const DETECTABLE_RULES: [&str; 4] = ["prefer", "neutral", "prefer_not", "must_not"];

/// The answer of a server that told everything.
pub(crate) fn answer(
    settings: &ProbeSettings,
    asked: &InstanceKey,
    learned: &Learned,
    answers: &Answers,
    registered: Registered,
) -> Result<Answer, ProbeFailure> {
    let row = answers.first(Ask::Live).ok_or_else(|| failure(FailureKind::Protocol, "no row of variables"))?;
    let live = Live::new(learned.variables.live, row);
    let key = own_key(settings.hostname_method, asked, learned, &live)?;
    let replica = replica(answers, learned)?;
    if let Some(filter) = is_filtered(settings, &key, replica.as_ref()) {
        return Ok(Answer::Filtered { filter });
    }
    let server_uuid = live.text(Var::ServerUuid);
    let group = group::read(answers.rows(Ask::Group), &server_uuid);
    let replicas = registered.replicas(answers.rows(Ask::DumpThreads), key.port, &settings.filters);
    let mut semi_sync = semi_sync::read(learned.variables.live, &live, answers.rows(Ask::SemiSyncStatus));
    semi_sync.priority = cell(answers, Ask::SemiSyncPriority).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let classified = |detected: &str, pattern| match detected {
        "" => Patterns::value(pattern, &key.hostname),
        detected => detected.to_owned(),
    };
    let patterns = &settings.patterns;
    let facts = ServerFacts {
        server_id: live.number(Var::ServerId),
        server_uuid,
        version: learned.version.text.clone(),
        version_comment: slow(learned, "version_comment"),
        started_at: learned.started_at,
        read_only: live.is_on(Var::ReadOnly),
        super_read_only: live.is_on(Var::SuperReadOnly),
        binlog_format: live.text(Var::BinlogFormat),
        binlog_row_image: slow(learned, "binlog_row_image"),
        log_bin: learned.has_binlog(),
        log_replica_updates: learned.logs_replica_updates(),
        binlog: binlog(answers),
        gtid: gtid(&live),
        replica,
        semi_sync,
        group,
        replicas,
        alias: learned.alias.clone(),
        detected_cluster_alias: learned.cluster_alias.clone(),
        detected_cluster_domain: learned.cluster_domain.clone(),
        data_center: classified(&learned.data_center, patterns.data_center.as_ref()),
        region: classified(&learned.region, patterns.region.as_ref()),
        physical_environment: classified(&learned.physical_environment, patterns.physical_environment.as_ref()),
        detected_promotion_rule: promotion_rule(answers),
        using_pseudo_gtid: learned.using_pseudo_gtid,
        replication_credentials_available: learned.credentials_available,
        missing: missing(learned),
    };
    Ok(Answer::Facts { key, facts: Box::new(facts) })
}

/// What could not be read, and why.
fn missing(learned: &Learned) -> Vec<String> {
    let refused = learned.refused.iter().map(|(ask, error)| format!("{ask}: {error}"));
    refused.chain(learned.hung.iter().map(|hung| hung.1.clone())).collect()
}

/// The name the server goes by, with the port we used.
fn own_key(
    method: HostnameMethod,
    asked: &InstanceKey,
    learned: &Learned,
    live: &Live<'_, Row>,
) -> Result<InstanceKey, ProbeFailure> {
    let (variable, name) = match method {
        HostnameMethod::Given => return Ok(asked.clone()),
        HostnameMethod::Hostname => ("hostname", live.text(Var::Hostname)),
        HostnameMethod::ReportHost => ("report_host", slow(learned, "report_host")),
    };
    InstanceKey::reported(&name, asked.port).map_err(|error| {
        failure(
            FailureKind::Statement,
            format!(
                "its @@{variable} is no usable name: {error}. Set {variable} on the server, or choose another \
                 MySQLHostnameResolveMethod"
            ),
        )
    })
}

fn replica(answers: &Answers, learned: &Learned) -> Result<Option<ReplicaFacts>, ProbeFailure> {
    let unusable = |error| failure(FailureKind::Statement, format!("cannot read its replica status: {error}"));
    let Some(mut replica) = replica_status::read(answers.rows(Ask::ReplicaStatus)).map_err(unusable)? else {
        return Ok(None);
    };
    // NULL is an answer, an error is none. A fraction of a second counts as none.
    if let Some(row) = answers.first(Ask::Lag) {
        replica.lag_seconds = row.at(0).and_then(|text| seconds(&text));
    }
    replica.applies_out_of_order = applies_out_of_order(learned);
    Ok(Some(replica))
}

/// MariaDB has no such variables: within a domain its appliers always commit in order. Elsewhere several workers may not,
/// unless told to (<https://dev.mysql.com/doc/refman/8.4/en/replication-options-replica.html>).
fn applies_out_of_order(learned: &Learned) -> Option<bool> {
    let either = |names: [&str; 2]| {
        names.into_iter().find_map(|name| learned.variables.get(name).filter(|value| !value.is_empty()))
    };
    let Some(workers) = either(["replica_parallel_workers", "slave_parallel_workers"]) else { return Some(false) };
    if workers.parse::<u64>().ok()? <= 1 {
        return Some(false);
    }
    either(["replica_preserve_commit_order", "slave_preserve_commit_order"]).map(|value| !is_on(value))
}

fn seconds(text: &str) -> Option<i64> {
    let (whole, _) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    whole.parse::<i64>().ok().map(|seconds| seconds.max(0))
}

fn is_filtered(settings: &ProbeSettings, key: &InstanceKey, replica: Option<&ReplicaFacts>) -> Option<String> {
    let filters = &settings.filters;
    if let Some(filter) = filters.hosts.find(key) {
        return Some(format!("DiscoveryIgnoreHostnameFilters: {filter}"));
    }
    let filter = filters.replication_users.find(&replica?.user)?;
    Some(format!("DiscoveryIgnoreReplicationUsernameFilters: {filter}"))
}

fn binlog(answers: &Answers) -> BinlogCoordinates {
    let Some(row) = answers.first(Ask::BinlogStatus) else { return BinlogCoordinates::default() };
    let position = row.text("Position").and_then(|text| text.parse().ok()).unwrap_or(0);
    BinlogCoordinates { file: row.any(["File"; 2]), position }
}

fn gtid(live: &Live<'_, Row>) -> GtidFacts {
    GtidFacts {
        mode: live.text(Var::GtidMode),
        executed: live.gtid(Var::GtidExecuted),
        purged: live.gtid(Var::GtidPurged),
        mariadb_current_pos: live.gtid(Var::GtidCurrentPos),
        mariadb_slave_pos: live.gtid(Var::GtidSlavePos),
        mariadb_binlog_pos: live.gtid(Var::GtidBinlogPos),
    }
}

fn promotion_rule(answers: &Answers) -> String {
    let rule = cell(answers, Ask::PromotionRule).unwrap_or_default();
    let rule = rule.trim();
    if DETECTABLE_RULES.contains(&rule) { rule.to_owned() } else { String::new() }
}

fn cell(answers: &Answers, ask: Ask) -> Option<String> {
    answers.first(ask)?.at(0).map(Cow::into_owned)
}

fn slow(learned: &Learned, name: &str) -> String {
    learned.variables.get(name).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_whole_seconds_and_never_negative() {
        for (text, expected) in [("7", Some(7)), ("-2", Some(0)), ("1.75", Some(1)), ("-0.5", Some(0)), ("x", None)] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
