//! May one server replicate from another? Judged on the facts of both.
//!
//! The rules are a list, and the first that is broken answers. What is not looked at: whether the one can reach the other
//! over the network, and whether its password is right there. Whether it *should* is for the planners.

use super::Policy;
use crate::gtid::mariadb::GtidPosition;
use crate::gtid::mysql::GtidSet;
use crate::instance::Instance;
use crate::plan::{Method, Refusal, Rule};
use crate::version::{Flavor, ServerVersion};

/// Row-based formats need readers that understand them: a replica's own log may not be of a lesser kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    Statement,
    Mixed,
    Row,
}

/// One rule: the refusal when it is broken.
type Check = fn(&Instance, &Instance, &Policy) -> Option<Refusal>;

/// In this order; the first that is broken answers.
const CHECKS: &[Check] = &[
    not_itself,
    source_writes_logs,
    source_relays,
    flavor_is_the_same,
    version_is_not_lower,
    format_is_not_lesser,
    filters_agree,
    server_ids_differ,
    server_uuids_differ,
    delay_is_not_shorter,
];

/// `own` can replicate from `other`.
pub fn can_replicate(own: &Instance, other: &Instance, policy: &Policy) -> Result<(), Refusal> {
    CHECKS.iter().find_map(|check| check(own, other, policy)).map_or(Ok(()), Err)
}

/// The same, both speak one kind of GTID, and nothing that `own` needs is gone at `other`.
pub fn can_replicate_by_gtid(own: &Instance, other: &Instance, policy: &Policy) -> Result<(), Refusal> {
    can_replicate(own, other, policy)?;
    match shared_gtid(own, other)? {
        Method::Gtid => purged_is_here(own, other),
        _ => Ok(()),
    }
}

/// The same for a replica that replicates by GTID now: what `move-gtid` asks of it.
pub fn can_move_by_gtid(own: &Instance, other: &Instance, policy: &Policy) -> Result<(), Refusal> {
    can_replicate(own, other, policy)?;
    if own.facts.is_using_gtid() {
        return can_replicate_by_gtid(own, other, policy);
    }
    let how = if own.facts.is_replica() { "replicates by file and position" } else { "is no replica" };
    // The words of the original.
    let reason = format!("Instances {}, {} not GTID compatible or not using GTID: {0} {how}", own.key, other.key);
    Err(Refusal::new(Rule::NoSharedGtid, &own.key, reason, format!("enable-gtid -i {}", own.key)))
}

/// The kind of GTID that both can use.
pub(crate) fn shared_gtid(own: &Instance, other: &Instance) -> Result<Method, Refusal> {
    let mariadb = |one: &Instance| version(one).flavor == Flavor::MariaDb;
    if mariadb(own) && mariadb(other) {
        return Ok(Method::MariadbGtid);
    }
    let mode = |one: &Instance| if one.facts.gtid.mode.is_empty() { "none" } else { &one.facts.gtid.mode }.to_owned();
    if !mariadb(own) && !mariadb(other) && own.facts.supports_oracle_gtid() && other.facts.supports_oracle_gtid() {
        return Ok(Method::Gtid);
    }
    let reason = format!(
        "{} and {} do not share a GTID scheme (gtid_mode {} and {})",
        own.key,
        other.key,
        mode(own),
        mode(other)
    );
    Err(Refusal::new(Rule::NoSharedGtid, &own.key, reason, "turn on GTID on both, or move by file and position"))
}

/// The same on MariaDB, as far as it is known what the source has purged. `place`: where the replica begins to fetch.
pub(crate) fn mariadb_purged_is_here(own: &Instance, place: &str, other: &Instance) -> Result<(), Refusal> {
    let (Ok(purged), Ok(place)) = (GtidPosition::parse(&other.facts.gtid.purged), GtidPosition::parse(place)) else {
        return Ok(());
    };
    if place.contains(&purged) {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::PurgedGtid,
        &own.key,
        format!("{} has purged transactions that {} lacks: its oldest log begins after {purged}", other.key, own.key),
        format!("choose a source that still has them, or build {} anew from a backup", own.key),
    ))
}

/// What the source has purged must be there already: it can no longer be fetched.
pub(crate) fn purged_is_here(own: &Instance, other: &Instance) -> Result<(), Refusal> {
    let (Ok(purged), Ok(executed)) =
        (GtidSet::parse(&other.facts.gtid.purged), GtidSet::parse(&own.facts.gtid.executed))
    else {
        return Err(Refusal::new(
            Rule::PurgedGtid,
            &own.key,
            format!("the GTID sets of {} and {} cannot be read", own.key, other.key),
            "see what they say in @@gtid_executed and @@gtid_purged",
        ));
    };
    let missing = purged.subtract(&executed);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::PurgedGtid,
        &own.key,
        format!("{} has purged transactions that {} lacks: {missing}", other.key, own.key),
        format!("choose a source that still has them, or build {} anew from a backup", own.key),
    ))
}

pub(crate) fn version(one: &Instance) -> ServerVersion {
    ServerVersion::parse(&one.facts.version, &one.facts.version_comment)
}

pub(crate) fn format(one: &Instance) -> Option<Format> {
    match one.facts.binlog_format.as_str() {
        "STATEMENT" => Some(Format::Statement),
        "MIXED" => Some(Format::Mixed),
        "ROW" => Some(Format::Row),
        _ => None,
    }
}

fn refuse(rule: Rule, own: &Instance, reason: String, remedy: &str) -> Option<Refusal> {
    Some(Refusal::new(rule, &own.key, reason, remedy))
}

fn not_itself(own: &Instance, other: &Instance, _: &Policy) -> Option<Refusal> {
    if own.key != other.key {
        return None;
    }
    let reason = format!("instance cannot replicate from itself: {}", own.key);
    refuse(Rule::Itself, own, reason, "name another server as the new source")
}

fn source_writes_logs(own: &Instance, other: &Instance, _: &Policy) -> Option<Refusal> {
    if other.facts.log_bin {
        return None;
    }
    let reason = format!("instance does not have binary logs enabled: {}", other.key);
    refuse(Rule::BinaryLogOff, own, reason, "restart it with log_bin, or choose another source")
}

fn source_relays(own: &Instance, other: &Instance, _: &Policy) -> Option<Refusal> {
    // A top primary may have it off: it has nothing to relay.
    if !other.facts.is_replica() || other.facts.log_replica_updates {
        return None;
    }
    let reason = format!("instance does not have log_slave_updates enabled: {}", other.key);
    refuse(
        Rule::DoesNotRelay,
        own,
        reason,
        "restart it with log_replica_updates (log_slave_updates), or choose another",
    )
}

/// Statements, types and GTIDs differ: what works across flavors works by accident.
fn flavor_is_the_same(own: &Instance, other: &Instance, _: &Policy) -> Option<Refusal> {
    let (mine, theirs) = (version(own).flavor, version(other).flavor);
    let family = |flavor: Flavor| (flavor.is_mysql_family(), flavor == Flavor::MariaDb);
    let mixed = matches!((family(mine), family(theirs)), ((true, _), (_, true)) | ((_, true), (true, _)));
    if !mixed {
        return None;
    }
    let reason = format!("{} is {mine} and {} is {theirs}", own.key, other.key);
    refuse(Rule::OtherFlavor, own, reason, "choose a source of the same flavor")
}

fn version_is_not_lower(own: &Instance, other: &Instance, policy: &Policy) -> Option<Refusal> {
    let lower = version(own).is_smaller_major_than(&version(other));
    if !lower || own.facts.is_binlog_server() || policy.lower_replica_version_allowed {
        return None;
    }
    let reason = format!(
        "instance {} has version {}, which is lower than {} on {}",
        own.key, own.facts.version, other.facts.version, other.key
    );
    refuse(Rule::LowerVersion, own, reason, "upgrade it first, or set LowerReplicaVersionAllowed and answer for it")
}

/// The warning that goes with a version that is lower and allowed.
pub(crate) fn lower_version_warning(own: &Instance, other: &Instance) -> Option<String> {
    version(own).is_smaller_major_than(&version(other)).then(|| {
        format!(
            "{} has version {}, lower than {} on {}: allowed by LowerReplicaVersionAllowed",
            own.key, own.facts.version, other.facts.version, other.key
        )
    })
}

fn format_is_not_lesser(own: &Instance, other: &Instance, _: &Policy) -> Option<Refusal> {
    if !(own.facts.log_bin && own.facts.log_replica_updates) {
        return None;
    }
    let (mine, theirs) = (format(own)?, format(other)?);
    if mine >= theirs {
        return None;
    }
    let reason = format!(
        "cannot replicate from {} binlog format on {} to {} on {}",
        other.facts.binlog_format, other.key, own.facts.binlog_format, own.key
    );
    refuse(Rule::BinlogFormat, own, reason, "set binlog_format of the replica to that of its new source")
}

fn filters_agree(own: &Instance, other: &Instance, policy: &Policy) -> Option<Refusal> {
    let filters = |one: &Instance| one.facts.replica.as_ref().is_some_and(|replica| replica.has_filters);
    if !policy.verify_replication_filters || !filters(other) || filters(own) {
        return None;
    }
    let reason = format!("{} has replication filters and {} has none", other.key, own.key);
    refuse(Rule::Filters, own, reason, "choose a source without filters")
}

fn server_ids_differ(own: &Instance, other: &Instance, _: &Policy) -> Option<Refusal> {
    if own.facts.server_id != other.facts.server_id || own.facts.is_binlog_server() {
        return None;
    }
    let reason = format!("identical server id: {}, {} both have {}", other.key, own.key, own.facts.server_id);
    refuse(Rule::SameServerId, own, reason, "give one of them another server_id")
}

fn server_uuids_differ(own: &Instance, other: &Instance, _: &Policy) -> Option<Refusal> {
    let uuid = &own.facts.server_uuid;
    if uuid.is_empty() || *uuid != other.facts.server_uuid || own.facts.is_binlog_server() {
        return None;
    }
    let reason = format!("identical server UUID: {}, {} both have {uuid}", other.key, own.key);
    refuse(Rule::SameServerUuid, own, reason, "remove auto.cnf of the one that was copied and restart it")
}

fn delay_is_not_shorter(own: &Instance, other: &Instance, policy: &Policy) -> Option<Refusal> {
    let delay = |one: &Instance| one.facts.replica.as_ref().map_or(0, |replica| replica.sql_delay);
    if delay(own) >= delay(other) || delay(other) <= policy.reasonable_maintenance_lag_seconds {
        return None;
    }
    let reason = format!("{} is delayed by {} s, more than {}", other.key, delay(other), own.key);
    refuse(Rule::Delayed, own, reason, "choose a source that is not delayed, or end its delay: delay-replication")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, key};
    use super::*;

    #[test]
    fn vectors_of_who_can_replicate_from_whom() {
        let can = |own: &str, other: &str, policy: &Policy| {
            let fixture = Fixture::new(&format!("a\n  i {own}\n  o {other}"));
            let world = fixture.world();
            can_replicate(&world.instances[&key("i")], &world.instances[&key("o")], policy)
                .err()
                .map(|refusal| refusal.rule)
        };
        let strict = Policy { verify_replication_filters: true, ..Policy::default() };
        let lenient = Policy { lower_replica_version_allowed: true, ..Policy::default() };
        assert_eq!(can("version=5.5.62", "version=5.6.51", &strict), Some(Rule::LowerVersion));
        assert_eq!(can("version=5.5.62", "version=5.6.51", &lenient), None);
        assert_eq!(can("version=5.6.51", "version=5.5.62", &strict), None);
        assert_eq!(can("", "format=STATEMENT", &strict), None);
        assert_eq!(can("format=STATEMENT", "", &strict), Some(Rule::BinlogFormat));
        assert_eq!(can("format=STATEMENT norelay", "", &strict), None);
        assert_eq!(can("", "delay=3600", &strict), Some(Rule::Delayed));
        assert_eq!(can("", "delay=10", &strict), None);
        assert_eq!(can("delay=3600", "delay=3600", &strict), None);
        assert_eq!(can("", "norelay", &strict), Some(Rule::DoesNotRelay));
        assert_eq!(can("id=9", "id=9", &strict), Some(Rule::SameServerId));
        assert_eq!(can("", "filters", &strict), Some(Rule::Filters));
        assert_eq!(can("filters", "filters", &strict), None);
        assert_eq!(can("", "filters", &lenient), None);
        assert_eq!(can("", "mariadb", &lenient), Some(Rule::OtherFlavor));
        let fixture = Fixture::new("a norelay\n  i\n  o purged=a:1-200\n  m mode=OFF");
        let by_gtid = |other: &str| {
            let instances = &fixture.instances;
            can_replicate_by_gtid(&instances[&key("i")], &instances[&key(other)], &strict)
                .err()
                .map(|refusal| refusal.rule)
        };
        assert_eq!(by_gtid("a"), None);
        assert_eq!(by_gtid("o"), Some(Rule::PurgedGtid));
        assert_eq!(by_gtid("m"), Some(Rule::NoSharedGtid));
    }
}
