//! May one server replicate from another? Judged on what is recorded about both.

use domain::instance::{Instance, InstanceKey};
use domain::version::ServerVersion;

use super::{Error, Scope, instances};

/// The settings that decide.
#[derive(Debug, Clone, Copy)]
struct Rules {
    lower_version_allowed: bool,
    verify_filters: bool,
    reasonable_delay_seconds: u64,
}

/// Row-based formats need readers that understand them: a replica's own log may not be of a lesser kind.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Format {
    Statement,
    Mixed,
    Row,
}

/// One rule: the answer when it is broken.
type Check = fn(&Instance, &Instance, Rules) -> Option<String>;

/// In this order; the first that is broken answers.
const CHECKS: &[Check] = &[
    not_itself,
    source_writes_logs,
    source_relays,
    version_is_not_lower,
    format_is_not_lesser,
    filters_agree,
    server_ids_differ,
    server_uuids_differ,
    delay_is_not_shorter,
];

/// `Ok(None)`: `own` can replicate from `other`. `Ok(Some(reason))`: it cannot. Both must be known.
pub async fn can_replicate_from(
    scope: &Scope,
    own: &InstanceKey,
    other: &InstanceKey,
) -> Result<Option<String>, Error> {
    let (own, other) = (instances::read(scope, own).await?, instances::read(scope, other).await?);
    Ok(refusal(&own, &other, rules(scope)))
}

/// The same, and both speak the same kind of GTID.
pub async fn can_replicate_from_gtid(
    scope: &Scope,
    own: &InstanceKey,
    other: &InstanceKey,
) -> Result<Option<String>, Error> {
    let (own, other) = (instances::read(scope, own).await?, instances::read(scope, other).await?);
    Ok(refusal(&own, &other, rules(scope)).or_else(|| gtid_refusal(&own, &other)))
}

fn rules(scope: &Scope) -> Rules {
    let discovery = &scope.config.settings.discovery;
    Rules {
        lower_version_allowed: discovery.lower_replica_version_allowed,
        verify_filters: discovery.verify_replication_filters,
        reasonable_delay_seconds: discovery.reasonable_maintenance_replication_lag_seconds,
    }
}

fn refusal(own: &Instance, other: &Instance, rules: Rules) -> Option<String> {
    CHECKS.iter().find_map(|check| check(own, other, rules))
}

fn gtid_refusal(own: &Instance, other: &Instance) -> Option<String> {
    let mariadb = |one: &Instance| api::flavor(&one.facts) == "MariaDB";
    if mariadb(own) && mariadb(other) {
        return None;
    }
    if !mariadb(own) && !mariadb(other) && own.facts.supports_oracle_gtid() && other.facts.supports_oracle_gtid() {
        return purged_refusal(own, other);
    }
    Some(format!("{} and {} do not share a GTID scheme", own.key, other.key))
}

/// What the source has purged must be there already: it can no longer be fetched.
fn purged_refusal(own: &Instance, other: &Instance) -> Option<String> {
    use domain::gtid::mysql::GtidSet;
    let purged = GtidSet::parse(&other.facts.gtid.purged).ok()?;
    let executed = GtidSet::parse(&own.facts.gtid.executed).ok()?;
    let missing = purged.subtract(&executed).to_string();
    (!missing.is_empty()).then(|| format!("{} has purged transactions that {} lacks: {missing}", other.key, own.key))
}

fn not_itself(own: &Instance, other: &Instance, _: Rules) -> Option<String> {
    (own.key == other.key).then(|| format!("instance cannot replicate from itself: {}", own.key))
}

fn source_writes_logs(_: &Instance, other: &Instance, _: Rules) -> Option<String> {
    (!other.facts.log_bin).then(|| format!("instance does not have binary logs enabled: {}", other.key))
}

fn source_relays(_: &Instance, other: &Instance, _: Rules) -> Option<String> {
    // A top primary may have it off: it has nothing to relay.
    (other.facts.is_replica() && !other.facts.log_replica_updates)
        .then(|| format!("instance does not have log_slave_updates enabled: {}", other.key))
}

fn version_is_not_lower(own: &Instance, other: &Instance, rules: Rules) -> Option<String> {
    let version = |one: &Instance| ServerVersion::parse(&one.facts.version, &one.facts.version_comment);
    let lower = version(own).is_smaller_major_than(&version(other));
    (lower && !own.facts.is_binlog_server() && !rules.lower_version_allowed).then(|| {
        format!(
            "instance {} has version {}, which is lower than {} on {}",
            own.key, own.facts.version, other.facts.version, other.key
        )
    })
}

fn format_is_not_lesser(own: &Instance, other: &Instance, _: Rules) -> Option<String> {
    if !(own.facts.log_bin && own.facts.log_replica_updates) {
        return None;
    }
    let (Some(mine), Some(theirs)) = (format(&own.facts.binlog_format), format(&other.facts.binlog_format)) else {
        return None;
    };
    (mine < theirs).then(|| {
        format!(
            "cannot replicate from {} binlog format on {} to {} on {}",
            other.facts.binlog_format, other.key, own.facts.binlog_format, own.key
        )
    })
}

fn format(text: &str) -> Option<Format> {
    match text {
        "STATEMENT" => Some(Format::Statement),
        "MIXED" => Some(Format::Mixed),
        "ROW" => Some(Format::Row),
        _ => None,
    }
}

fn filters_agree(own: &Instance, other: &Instance, rules: Rules) -> Option<String> {
    let filters = |one: &Instance| one.facts.replica.as_ref().is_some_and(|replica| replica.has_filters);
    (rules.verify_filters && filters(other) && !filters(own))
        .then(|| format!("{} has replication filters and {} has none", other.key, own.key))
}

fn server_ids_differ(own: &Instance, other: &Instance, _: Rules) -> Option<String> {
    (own.facts.server_id == other.facts.server_id && !own.facts.is_binlog_server())
        .then(|| format!("identical server id: {}, {} both have {}", other.key, own.key, own.facts.server_id))
}

fn server_uuids_differ(own: &Instance, other: &Instance, _: Rules) -> Option<String> {
    let uuid = &own.facts.server_uuid;
    (!uuid.is_empty() && *uuid == other.facts.server_uuid && !own.facts.is_binlog_server())
        .then(|| format!("identical server UUID: {}, {} both have {uuid}", other.key, own.key))
}

fn delay_is_not_shorter(own: &Instance, other: &Instance, rules: Rules) -> Option<String> {
    let delay = |one: &Instance| one.facts.replica.as_ref().map_or(0, |replica| replica.sql_delay);
    (delay(own) < delay(other) && delay(other) > rules.reasonable_delay_seconds)
        .then(|| format!("{} is delayed by {} s, more than {}", other.key, delay(other), own.key))
}

#[cfg(test)]
mod tests {
    use domain::instance::{CheckState, Placement, ReplicaFacts, ServerFacts};

    use super::*;

    const RULES: Rules = Rules { lower_version_allowed: false, verify_filters: true, reasonable_delay_seconds: 20 };

    fn server(name: &str, id: u64) -> Instance {
        Instance {
            id,
            key: InstanceKey::new(name, 3306),
            lane: String::new(),
            facts: ServerFacts {
                server_id: id,
                server_uuid: format!("uuid-{id}"),
                version: "8.0.36".to_owned(),
                log_bin: true,
                log_replica_updates: true,
                binlog_format: "ROW".to_owned(),
                ..ServerFacts::default()
            },
            placement: Placement::default(),
            check: CheckState::default(),
            downtime: None,
            promotion_rule: domain::promotion::PromotionRule::Neutral,
            unresolved_hostname: String::new(),
        }
    }

    fn replica(name: &str, id: u64) -> Instance {
        let mut one = server(name, id);
        one.facts.replica = Some(ReplicaFacts {
            source: InstanceKey::new("top", 3306),
            auto_position: true,
            ..ReplicaFacts::default()
        });
        one
    }

    fn edit(mut one: Instance, change: impl Fn(&mut ServerFacts)) -> Instance {
        change(&mut one.facts);
        one
    }

    #[test]
    fn every_rule_refuses_with_its_reason() {
        let own = || replica("own", 1);
        let other = || replica("other", 2);
        let delayed = |facts: &mut ServerFacts| {
            if let Some(replica) = &mut facts.replica {
                replica.sql_delay = 60;
            }
        };
        let filtered = |facts: &mut ServerFacts| {
            if let Some(replica) = &mut facts.replica {
                replica.has_filters = true;
            }
        };
        let cases = vec![
            (own(), own(), "itself"),
            (own(), edit(other(), |facts| facts.log_bin = false), "binary logs"),
            (own(), edit(other(), |facts| facts.log_replica_updates = false), "log_slave_updates"),
            (edit(own(), |facts| facts.version = "5.7.44".to_owned()), other(), "version"),
            (edit(own(), |facts| facts.binlog_format = "STATEMENT".to_owned()), other(), "binlog format"),
            (own(), edit(other(), filtered), "filters"),
            (own(), edit(other(), |facts| facts.server_id = 1), "server id"),
            (own(), edit(other(), |facts| facts.server_uuid = "uuid-1".to_owned()), "UUID"),
            (own(), edit(other(), delayed), "delayed"),
        ];
        for (own, other, expected) in &cases {
            let reason = refusal(own, other, RULES).unwrap_or_default();
            assert!(reason.contains(expected), "{expected}: {reason:?}");
        }
        assert_eq!(refusal(&own(), &other(), RULES), None);
        assert_eq!(refusal(&other(), &own(), RULES), None);
    }

    #[test]
    fn settings_and_roles_relax_rules() {
        let old = edit(replica("own", 1), |facts| facts.version = "5.7.44".to_owned());
        let relaxed = Rules { lower_version_allowed: true, verify_filters: false, ..RULES };
        assert_eq!(refusal(&old, &replica("other", 2), relaxed), None);
        // A top primary relays nothing.
        let top = edit(server("top", 3), |facts| facts.log_replica_updates = false);
        assert_eq!(refusal(&replica("own", 1), &top, RULES), None);
        // A replica that does not log what it applies takes any format.
        let leaf = edit(replica("own", 1), |facts| {
            facts.log_replica_updates = false;
            facts.binlog_format = "STATEMENT".to_owned();
        });
        assert_eq!(refusal(&leaf, &top, RULES), None);
    }

    #[test]
    fn gtid_needs_one_scheme() {
        let with_gtid = |one: Instance| edit(one, |facts| facts.gtid.mode = "ON".to_owned());
        assert_eq!(gtid_refusal(&with_gtid(replica("own", 1)), &with_gtid(replica("other", 2))), None);
        assert!(gtid_refusal(&replica("own", 1), &with_gtid(replica("other", 2))).is_some());
    }
}
