//! Recoveries as the compatibility API shows them.

use api::clock::backend_text;
use api::legacy::{
    BlockedTopologyRecovery, Coordinates, Key, ReplicationAnalysis, TopologyRecovery, TopologyRecoveryStep,
};
use domain::instance::{BinlogCoordinates, InstanceKey};
use serde_json::Value;
use store::detections::Detection;
use store::recoveries::{Blocked, Filter, Kind, Recovery};

use super::{look, timeline};
use crate::actions::{Error, Scope};

/// A page of recoveries, newest first.
pub async fn records(scope: &Scope, filter: &Filter<'_>) -> Result<Vec<TopologyRecovery>, Error> {
    Ok(look::list(scope, filter).await?.iter().map(|one| record(scope, one)).collect())
}

/// The recovery of this number, in a list: empty when there is none.
pub async fn by_id(scope: &Scope, id: u64) -> Result<Vec<TopologyRecovery>, Error> {
    let found = store::recoveries::read(&scope.pool, id).await?;
    Ok(found.iter().map(|one| record(scope, one)).collect())
}

/// The same by its name for people and hooks.
pub async fn by_uid(scope: &Scope, uid: &str) -> Result<Vec<TopologyRecovery>, Error> {
    let found = store::recoveries::by_uid(&scope.pool, uid).await?;
    Ok(found.iter().map(|one| record(scope, one)).collect())
}

/// The timeline of a recovery, oldest first; empty when there is no such recovery.
pub async fn steps(scope: &Scope, uid: &str) -> Result<Vec<TopologyRecoveryStep>, Error> {
    let Some(found) = store::recoveries::by_uid(&scope.pool, uid).await? else { return Ok(Vec::new()) };
    let lines = timeline::read(scope, &found).await?;
    Ok(lines
        .iter()
        .zip(1..)
        .map(|(line, id)| TopologyRecoveryStep {
            id,
            recovery_uid: found.uid.clone(),
            audit_at: backend_text(Some(line.at)),
            message: line.message(),
        })
        .collect())
}

/// A page of detections, newest first.
pub async fn detections(scope: &Scope, filter: &store::detections::Filter<'_>) -> Result<Vec<TopologyRecovery>, Error> {
    Ok(look::detections(scope, filter).await?.iter().map(|one| detected(scope, one)).collect())
}

/// Recoveries held back at the moment.
pub async fn blocked(scope: &Scope, cluster_name: Option<&str>) -> Result<Vec<BlockedTopologyRecovery>, Error> {
    let record = |one: &Blocked| BlockedTopologyRecovery {
        failed_instance_key: Key::from(&one.key),
        cluster_name: one.cluster_name.clone(),
        analysis: one.code.clone(),
        last_blocked_timestamp: backend_text(Some(one.blocked_at)),
        blocking_recovery_id: one.blocking.unwrap_or(0),
    };
    Ok(look::blocked(scope, cluster_name).await?.iter().map(record).collect())
}

/// One recovery.
pub fn record(scope: &Scope, one: &Recovery) -> TopologyRecovery {
    let seen = one.acknowledged.as_ref();
    let analysis = entry(scope, &one.entry, &one.failed, &one.code, &one.cluster_name, &one.cluster_alias);
    TopologyRecovery {
        id: one.id,
        uid: one.uid.clone(),
        recovery_type: recovery_type(one.kind, &analysis).to_owned(),
        analysis_entry: ReplicationAnalysis {
            command_hint: one.command_hint.trim_end_matches("-auto").to_owned(),
            ..analysis
        },
        // Who was chosen and did not take over succeeded nobody.
        successor_key: Some(Key::or_none(one.successor.as_ref().filter(|_| one.is_successful))),
        successor_alias: if one.is_successful { one.successor_alias.clone() } else { String::new() },
        successor_binlog_coordinates: coordinates(&one.successor_coordinates),
        is_active: one.is_active,
        is_successful: one.is_successful,
        lost_replicas: Key::list(&one.lost),
        participating_instance_keys: Key::list(&one.participating),
        all_errors: Some(if one.errors.is_empty() { vec![String::new()] } else { one.errors.clone() }),
        recovery_start_timestamp: backend_text(Some(one.started_at)),
        recovery_end_timestamp: backend_text(one.ended_at),
        processing_node_hostname: one.node.clone(),
        processing_node_token: one.node_token.clone(),
        acknowledged: seen.is_some(),
        acknowledged_at: backend_text(seen.map(|seen| seen.at)),
        acknowledged_by: seen.map(|seen| seen.by.clone()).unwrap_or_default(),
        acknowledged_comment: seen.map(|seen| seen.comment.clone()).unwrap_or_default(),
        last_detection_id: one.detection_id.unwrap_or(0),
        related_recovery_id: 0,
        kind: one.kind.legacy_type().to_owned(),
    }
}

fn detected(scope: &Scope, one: &Detection) -> TopologyRecovery {
    let mut analysis = entry(scope, &one.entry, &one.key, &one.code, &one.cluster_name, &one.cluster_alias);
    analysis.start_active_period = backend_text(Some(one.started_at));
    if analysis.replicas.is_empty() {
        analysis.replicas = Key::list(&one.replicas);
        analysis.slave_hosts.clone_from(&analysis.replicas);
        analysis.count_replicas = one.replicas.len();
    }
    TopologyRecovery {
        id: one.id,
        analysis_entry: analysis,
        is_active: one.is_active,
        recovery_start_timestamp: backend_text(Some(one.started_at)),
        processing_node_hostname: one.node.clone(),
        processing_node_token: one.node_token.clone(),
        related_recovery_id: one.recovery_id.unwrap_or(0),
        ..TopologyRecovery::default()
    }
}

/// The finding as it was kept; what it must have is there even if it cannot be read.
fn entry(
    scope: &Scope,
    kept: &Value,
    key: &InstanceKey,
    code: &str,
    cluster_name: &str,
    cluster_alias: &str,
) -> ReplicationAnalysis {
    let mut analysis: ReplicationAnalysis = serde_json::from_value(kept.clone()).unwrap_or_default();
    analysis.analyzed_instance_key = Key::from(key);
    code.clone_into(&mut analysis.analysis);
    let details = &mut analysis.cluster_details;
    cluster_name.clone_into(&mut details.cluster_name);
    cluster_alias.clone_into(&mut details.cluster_alias);
    let patterns = &scope.config.patterns;
    details.has_automated_master_recovery = patterns.recover_masters.matches(cluster_name, cluster_alias);
    details.has_automated_intermediate_master_recovery =
        patterns.recover_intermediate_masters.matches(cluster_name, cluster_alias);
    analysis
}

fn recovery_type(kind: Kind, analysis: &ReplicationAnalysis) -> &'static str {
    match kind {
        Kind::Primary | Kind::CoPrimary | Kind::Takeover => {
            if analysis.oracle_gtid_immediate_topology || analysis.mariadb_gtid_immediate_topology {
                "MasterRecoveryGTID"
            } else if analysis.binlog_server_immediate_topology {
                "MasterRecoveryBinlogServer"
            } else {
                "MasterRecoveryPseudoGTID"
            }
        }
        Kind::Intermediate | Kind::GroupMember | Kind::NonWriteable | Kind::SemiSync => "NotMasterRecovery",
    }
}

/// `file:position`.
fn coordinates(text: &str) -> Option<Coordinates> {
    let (file, position) = text.rsplit_once(':')?;
    let at = BinlogCoordinates { file: file.to_owned(), position: position.parse().ok()? };
    Some(Coordinates::binary(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_back() {
        let at = coordinates("bin.000002:120").expect("a place");
        assert_eq!((at.log_file.as_str(), at.log_pos, at.log_type), ("bin.000002", 120, 0));
        assert_eq!(coordinates(""), None);
        assert_eq!(coordinates("bin.000002:x"), None);
    }

    #[test]
    fn the_kind_of_a_recovery_of_a_primary_follows_its_replicas() {
        let mut analysis = ReplicationAnalysis::default();
        assert_eq!(recovery_type(Kind::Primary, &analysis), "MasterRecoveryPseudoGTID");
        analysis.mariadb_gtid_immediate_topology = true;
        assert_eq!(recovery_type(Kind::Takeover, &analysis), "MasterRecoveryGTID");
        assert_eq!(recovery_type(Kind::SemiSync, &analysis), "NotMasterRecovery");
    }
}
