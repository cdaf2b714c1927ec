//! The regular expressions of the settings, compiled once when they are loaded. An invalid one is a problem; the
//! original took it for one that never matches.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use crate::Settings;
use crate::filter::{BadEntry, ClusterFilter, HostFilter, NameFilter, regex};
use crate::problem::Problem;
use crate::suggest::printable;

/// All compiled patterns of the settings.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    pub discovery_ignore: HostFilter,
    pub discovery_ignore_replicas: HostFilter,
    pub discovery_ignore_masters: HostFilter,
    pub discovery_ignore_replication_users: NameFilter,
    pub problem_ignore: HostFilter,
    pub osc_ignore: HostFilter,
    pub promotion_ignore: HostFilter,
    /// On the host name without port.
    pub recovery_ignore: NameFilter,
    pub recover_masters: ClusterFilter,
    pub recover_intermediate_masters: ClusterFilter,
    pub rejoin_former_primary: ClusterFilter,
    pub reject_hostname_resolve: Option<Regex>,
    pub data_center: Option<Regex>,
    pub region: Option<Regex>,
    pub physical_environment: Option<Regex>,
    pub pseudo_gtid: Option<Regex>,
    /// Filters on clusters in alphabetical order, `*` last, with the time that a failure there must have been seen.
    pub confirmations: Vec<(ClusterFilter, Duration)>,
    /// Expressions on the cluster name in alphabetical order, with the alias each gives.
    pub cluster_aliases: Vec<(Regex, String)>,
}

impl Patterns {
    /// Compiles the patterns; a bad one is left out and told about.
    pub fn compile(settings: &Settings) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let found = &mut problems;
        let discovery = &settings.discovery;
        let classification = &settings.classification;
        let recovery = &settings.recovery;
        let patterns = Self {
            discovery_ignore: list(
                found,
                "DiscoveryIgnoreHostnameFilters",
                HostFilter::compile(&discovery.discovery_ignore_hostname_filters),
            ),
            discovery_ignore_replicas: list(
                found,
                "DiscoveryIgnoreReplicaHostnameFilters",
                HostFilter::compile(&discovery.discovery_ignore_replica_hostname_filters),
            ),
            discovery_ignore_masters: list(
                found,
                "DiscoveryIgnoreMasterHostnameFilters",
                HostFilter::compile(&discovery.discovery_ignore_master_hostname_filters),
            ),
            discovery_ignore_replication_users: list(
                found,
                "DiscoveryIgnoreReplicationUsernameFilters",
                NameFilter::compile(&discovery.discovery_ignore_replication_username_filters),
            ),
            problem_ignore: list(
                found,
                "ProblemIgnoreHostnameFilters",
                HostFilter::compile(&discovery.problem_ignore_hostname_filters),
            ),
            osc_ignore: list(
                found,
                "OSCIgnoreHostnameFilters",
                HostFilter::compile(&classification.osc_ignore_hostname_filters),
            ),
            promotion_ignore: list(
                found,
                "PromotionIgnoreHostnameFilters",
                HostFilter::compile(&recovery.promotion_ignore_hostname_filters),
            ),
            recovery_ignore: list(
                found,
                "RecoveryIgnoreHostnameFilters",
                NameFilter::compile(&recovery.recovery_ignore_hostname_filters),
            ),
            recover_masters: list(
                found,
                "RecoverMasterClusterFilters",
                ClusterFilter::compile(&recovery.recover_master_cluster_filters),
            ),
            rejoin_former_primary: list(
                found,
                "RejoinFormerPrimary",
                ClusterFilter::compile(&recovery.rejoin_former_primary),
            ),
            recover_intermediate_masters: list(
                found,
                "RecoverIntermediateMasterClusterFilters",
                ClusterFilter::compile(&recovery.recover_intermediate_master_cluster_filters),
            ),
            confirmations: confirmations(found, &settings.detection.failure_confirmation_seconds_by_cluster),
            reject_hostname_resolve: single(
                found,
                "RejectHostnameResolvePattern",
                &settings.hostnames.reject_hostname_resolve_pattern,
            ),
            data_center: with_group(found, "DataCenterPattern", &classification.data_center_pattern),
            region: with_group(found, "RegionPattern", &classification.region_pattern),
            physical_environment: with_group(
                found,
                "PhysicalEnvironmentPattern",
                &classification.physical_environment_pattern,
            ),
            pseudo_gtid: pseudo_gtid(found, settings),
            cluster_aliases: aliases(found, &classification.cluster_name_to_alias),
        };
        (patterns, problems)
    }

    /// How long a failure of this cluster must have been seen; `otherwise` where no filter matches.
    pub fn confirmation(&self, name: &str, alias: &str, otherwise: Duration) -> Duration {
        let found = self.confirmations.iter().find(|(filter, _)| filter.matches(name, alias));
        found.map_or(otherwise, |(_, time)| *time)
    }

    /// The alias that `ClusterNameToAlias` gives to a cluster.
    pub fn cluster_alias(&self, cluster_name: &str) -> Option<&str> {
        self.cluster_aliases.iter().find(|(pattern, _)| pattern.is_match(cluster_name)).map(|(_, alias)| alias.as_str())
    }
}

/// What a pattern with a group finds in a host name: its first group.
pub fn first_group<'a>(pattern: Option<&Regex>, host: &'a str) -> Option<&'a str> {
    pattern?.captures(host)?.get(1).map(|group| group.as_str())
}

/// An hour, as for `FailureConfirmationSeconds`.
const LONGEST_CONFIRMATION: u32 = 3_600;
const REMEDY: &str = "mend the regular expression; special characters meant literally need a backslash";

fn list<T: Default>(problems: &mut Vec<Problem>, key: &'static str, compiled: Result<T, Vec<BadEntry>>) -> T {
    compiled.unwrap_or_else(|bad| {
        problems.extend(bad.into_iter().map(|bad| {
            let text = format!("has a bad entry {} `{}`: {}", bad.place, printable(&bad.entry), bad.reason);
            Problem::key(key, text, REMEDY)
        }));
        T::default()
    })
}

fn single(problems: &mut Vec<Problem>, key: &'static str, pattern: &str) -> Option<Regex> {
    if pattern.is_empty() {
        return None;
    }
    match regex(pattern) {
        Ok(compiled) => Some(compiled),
        Err(reason) => {
            let text = format!("is no regular expression: `{}`: {reason}", printable(pattern));
            problems.push(Problem::key(key, text, REMEDY));
            None
        }
    }
}

fn with_group(problems: &mut Vec<Problem>, key: &'static str, pattern: &str) -> Option<Regex> {
    let compiled = single(problems, key, pattern)?;
    if compiled.captures_len() < 2 {
        let text = format!("has no group: `{}`", printable(pattern));
        problems.push(Problem::key(key, text, "put the part of the host name that counts into parentheses"));
        return None;
    }
    Some(compiled)
}

fn pseudo_gtid(problems: &mut Vec<Problem>, settings: &Settings) -> Option<Regex> {
    let section = &settings.pseudo_gtid;
    if section.pattern_is_fixed_substring { None } else { single(problems, "PseudoGTIDPattern", &section.pattern) }
}

fn confirmations(problems: &mut Vec<Problem>, map: &BTreeMap<String, String>) -> Vec<(ClusterFilter, Duration)> {
    const KEY: &str = "FailureConfirmationSecondsByCluster";
    let mut compiled = Vec::new();
    // What means all clusters is asked last, or there could be no exceptions.
    let (all, some): (Vec<_>, Vec<_>) = map.iter().partition(|(filter, _)| *filter == "*");
    for (filter, seconds) in some.into_iter().chain(all) {
        let Some(seconds) = seconds.trim().parse::<u32>().ok().filter(|seconds| *seconds <= LONGEST_CONFIRMATION)
        else {
            let text = format!("gives `{}` the time `{}`", printable(filter), printable(seconds));
            let remedy = format!("write whole seconds from 0 to {LONGEST_CONFIRMATION}, such as \"2\"");
            problems.push(Problem::key(KEY, text, remedy));
            continue;
        };
        match ClusterFilter::compile(std::slice::from_ref(filter)) {
            Ok(filter) => compiled.push((filter, Duration::from_secs(u64::from(seconds)))),
            Err(bad) => {
                let reason = bad.into_iter().next().map(|bad| bad.reason).unwrap_or_default();
                let text = format!("has a bad filter `{}`: {reason}", printable(filter));
                problems.push(Problem::key(KEY, text, REMEDY));
            }
        }
    }
    compiled
}

fn aliases(problems: &mut Vec<Problem>, map: &BTreeMap<String, String>) -> Vec<(Regex, String)> {
    let mut compiled = Vec::new();
    for (pattern, alias) in map {
        match regex(pattern) {
            Ok(pattern) => compiled.push((pattern, alias.clone())),
            Err(reason) => {
                let text = format!("has a bad expression `{}`: {reason}", printable(pattern));
                problems.push(Problem::key("ClusterNameToAlias", text, REMEDY));
            }
        }
    }
    compiled
}
