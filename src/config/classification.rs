//! Section: cluster names, data centers, aliases, pools, candidates.

use std::collections::BTreeMap;

use crate::key::section;

section! {
    /// Cluster names, data centers, aliases, pools, candidates.
    pub struct Classification in classification, "Classification";
    cluster_name_to_alias: BTreeMap<String, String> = BTreeMap::new() => "ClusterNameToAlias", Effective, Live,
        "Regular expression on the cluster name to alias, where no other source gives one. Of several matches the first in alphabetical order of the expressions counts.";
    detect_cluster_alias_query: String = String::new() => "DetectClusterAliasQuery", Effective, Live,
        "Query, one value: the alias of the cluster. Run where none was inherited from the source.";
    detect_cluster_domain_query: String = String::new() => "DetectClusterDomainQuery", Effective, Live,
        "Query, one value: domain name of the cluster's primary. Run on primaries.";
    detect_instance_alias_query: String = String::new() => "DetectInstanceAliasQuery", Effective, Live,
        "Query, one value: the alias of the server.";
    detect_promotion_rule_query: String = String::new() => "DetectPromotionRuleQuery", Effective, Live,
        "Query, one value: the promotion rule of the server.";
    data_center_pattern: String = String::new() => "DataCenterPattern", Effective, Live,
        "Regular expression on the host name; its first group is the data center, which is also the lane of the server's probes.";
    detect_data_center_query: String = String::new() => "DetectDataCenterQuery", Effective, Live,
        "Query, one value: the data center; overrides the pattern.";
    region_pattern: String = String::new() => "RegionPattern", Effective, Live,
        "Regular expression on the host name; its first group is the region.";
    detect_region_query: String = String::new() => "DetectRegionQuery", Effective, Live,
        "Query, one value: the region; overrides the pattern.";
    physical_environment_pattern: String = String::new() => "PhysicalEnvironmentPattern", Effective, Live,
        "Regular expression on the host name; its first group is the physical environment.";
    detect_physical_environment_query: String = String::new() => "DetectPhysicalEnvironmentQuery", Effective, Live,
        "Query, one value: the physical environment; overrides the pattern.";
    detect_semi_sync_enforced_query: String = String::new() => "DetectSemiSyncEnforcedQuery", Effective, Live,
        "Query, one number: semi-sync priority of the server; 0 = asynchronous.";
    support_fuzzy_pool_hostnames: bool = true => "SupportFuzzyPoolHostnames", Effective, Live,
        "Complete abbreviated host names when pools are submitted.";
    instance_pool_expiry_minutes: u64 = 60 => "InstancePoolExpiryMinutes", Effective, Live,
        "Lifetime of pool membership.";
    candidate_instance_expire_minutes: u64 = 60 => "CandidateInstanceExpireMinutes", Effective, Live,
        "Lifetime of a registered promotion rule.";
    osc_ignore_hostname_filters: Vec<String> = Vec::new() => "OSCIgnoreHostnameFilters", Effective, Live,
        "Leave matching replicas out of the suggestions for online schema change.";
}
