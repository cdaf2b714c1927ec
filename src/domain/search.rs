//! Finding and choosing among known instances: search, order, primaries, replicas fit to throttle a schema change.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::instance::{Instance, InstanceKey};

/// Servers chosen per data centre and step by [`osc_replicas`].
const OSC_PER_STEP: usize = 2;

/// Does the text occur in the host, cluster name, version, version comment, `host:port` or suggested alias, or equal
/// the server id or port? Empty text matches everything.
pub fn matches(instance: &Instance, text: &str) -> bool {
    let text = text.trim();
    let facts = &instance.facts;
    let key = instance.key.to_string();
    [
        &key,
        &instance.placement.cluster_name,
        &facts.version,
        &facts.version_comment,
        &instance.placement.suggested_cluster_alias,
    ]
    .iter()
    .any(|place| place.contains(text))
        || facts.server_id.to_string() == text
        || instance.key.port.to_string() == text
}

/// Order of lists: depth, replica count descending, cluster, host, port.
pub fn sort_for_lists(instances: &mut [Instance]) {
    instances.sort_by(|a, b| list_rank(a).cmp(&list_rank(b)));
}

fn list_rank(instance: &Instance) -> (u32, Reverse<usize>, &str, &InstanceKey) {
    let place = &instance.placement;
    (place.replication_depth, Reverse(instance.facts.replicas.len()), &place.cluster_name, &instance.key)
}

/// The primary of a cluster: depth 0 or co-primary, writable preferred, then the lower depth, then the key.
pub fn cluster_primary<'a>(members: impl IntoIterator<Item = &'a Instance>) -> Option<&'a Instance> {
    members
        .into_iter()
        .filter(|one| one.placement.replication_depth == 0 || one.placement.is_co_primary)
        .min_by_key(|one| (one.facts.read_only, one.placement.replication_depth, one.key.clone()))
}

/// The writable primaries, one per cluster, by cluster name.
pub fn writable_primaries(instances: &[Instance]) -> Vec<&Instance> {
    let mut clusters: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for one in instances {
        clusters.entry(&one.placement.cluster_name).or_default().push(one);
    }
    let primaries = clusters.into_values().filter_map(cluster_primary);
    primaries.filter(|one| !one.facts.read_only && one.check.is_valid()).collect()
}

/// Replicas worth watching while a large schema change runs: per data centre the two direct replicas with most
/// replicas of their own (ties among leaves: larger lag first), up to two replicas of each of those, and two per data
/// centre of depth 3. `is_ignored` is `OSCIgnoreHostnameFilters`.
pub fn osc_replicas(members: &[Instance], is_ignored: impl Fn(&InstanceKey) -> bool) -> Vec<&Instance> {
    let usable: Vec<&Instance> = members
        .iter()
        .filter(|one| one.check.is_valid() && !one.facts.is_binlog_server() && !is_ignored(&one.key))
        .collect();
    let first = per_data_centre(usable.iter().copied().filter(|one| one.placement.replication_depth == 1));
    let mut chosen = first.clone();
    for middle in first.into_iter().filter(|one| !one.facts.replicas.is_empty()) {
        let below = usable.iter().copied().filter(|one| one.facts.source() == Some(&middle.key));
        chosen.extend(busiest(below));
    }
    chosen.extend(per_data_centre(usable.iter().copied().filter(|one| one.placement.replication_depth == 3)));
    let mut unique: Vec<&Instance> = Vec::new();
    for one in chosen {
        if unique.iter().all(|seen| seen.key != one.key) {
            unique.push(one);
        }
    }
    unique
}

/// Replicas on which a triggerless schema change can run: row format, logging their updates; fewest replicas first.
pub fn ghost_replicas(members: &[Instance]) -> Vec<&Instance> {
    let mut chosen: Vec<&Instance> = members
        .iter()
        .filter(|one| {
            let facts = &one.facts;
            one.placement.replication_depth > 0
                && facts.binlog_format == "ROW"
                && facts.log_bin
                && facts.log_replica_updates
                && one.check.is_valid()
                && !facts.is_binlog_server()
        })
        .collect();
    chosen.sort_by_key(|one| (one.facts.replicas.len(), one.key.clone()));
    chosen
}

/// Largest known lag in seconds; `None` without members. A member without a known lag counts as 0.
pub fn largest_lag<'a>(members: impl IntoIterator<Item = &'a Instance>) -> Option<i64> {
    members.into_iter().map(|one| one.facts.replica.as_ref().and_then(|r| r.lag_seconds).unwrap_or(0)).max()
}

fn per_data_centre<'a>(candidates: impl Iterator<Item = &'a Instance>) -> Vec<&'a Instance> {
    let mut centres: BTreeMap<Reverse<&str>, Vec<&Instance>> = BTreeMap::new();
    for one in candidates {
        centres.entry(Reverse(&one.facts.data_center)).or_default().push(one);
    }
    centres.into_values().flat_map(|members| busiest(members.into_iter())).collect()
}

fn busiest<'a>(candidates: impl Iterator<Item = &'a Instance>) -> Vec<&'a Instance> {
    let mut ranked: Vec<&Instance> = candidates.collect();
    ranked.sort_by_key(|one| {
        let lag = one.facts.replica.as_ref().and_then(|replica| replica.lag_seconds).unwrap_or(0);
        (Reverse(one.facts.replicas.len()), Reverse(lag), one.key.clone())
    });
    ranked.truncate(OSC_PER_STEP);
    ranked
}
