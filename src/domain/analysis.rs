//! What is wrong, and with whom: a pure function from what was recorded about instances to findings.
//!
//! ```text
//!  instances ─▶ Situation (counted once, per instance) ─▶ RULES or GROUP_RULES: the first that matches ─▶ Finding
//!                     └ Testimony of each replica        └ STRUCTURE: all that match
//! ```
//! The rules are tables in `rules.rs`, the codes with what acts on them a table in `code.rs`. Nothing is left out here:
//! downtime and the like are marks on a finding, and whoever acts or shows decides.
//!
//! What keeps us from failing over wrongly:
//! - Our own check alone never makes a death. A primary must be silent, *and* every replica that can be asked must have
//!   lost it: a running receiver means that it is alive, whatever the applier does.
//! - What a replica said before the primary fell silent ([`CheckState::silent_since`]) is no evidence. It must have been
//!   asked again since ([`Testimony::Outdated`]).
//! - A refused login or a lack of connections is a sign of life, and so is a replica that is being turned away.
//! - Who was not checked lately is unknown ([`Reach::Unknown`]), and the unknown are never dead.
//!
//! [`CheckState::silent_since`]: crate::instance::CheckState::silent_since

mod code;
mod rules;
mod situation;
mod testimony;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

pub use code::{Code, FilterKind, Handler, UnknownCode};
pub use situation::Counts;
pub use testimony::{Reach, Testimony};

use crate::instance::{BinlogCoordinates, DbMicros, Downtime, Instance, InstanceKey, SemiSyncFacts};
use rules::{GROUP_RULES, RULES, STRUCTURE};
use situation::Situation;

/// The thresholds of analysis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysisPolicy {
    /// `InstancePollSeconds`.
    pub poll_seconds: i64,
    /// `ReasonableInstanceCheckSeconds`: a check that began this much longer than a poll ago and did not end hangs.
    pub check_seconds: i64,
    /// `ReasonableReplicationLagSeconds`.
    pub lag_seconds: i64,
    /// `ReasonableLockedSemiSyncMasterSeconds`; 0 for `lag_seconds`.
    pub locked_semi_sync_seconds: i64,
    /// `EnforceExactSemiSyncReplicas`.
    pub enforce_exact_semi_sync: bool,
    /// `RecoverNonWriteableMaster`.
    pub recover_non_writeable: bool,
    /// Who was checked longer ago than this is unknown: neither alive nor dead. Longer than the longest pause between two
    /// tries of a server that does not answer.
    pub stale_after_seconds: i64,
}

impl AnalysisPolicy {
    /// How long a semi-synchronous primary may stand still before it counts as locked.
    pub fn locked_patience_seconds(&self) -> i64 {
        if self.locked_semi_sync_seconds > 0 { self.locked_semi_sync_seconds } else { self.lag_seconds }
    }
}

/// Where the binary log of a primary that may be locked stood, and since when it has stood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Where.
    pub at: BinlogCoordinates,
    /// Since when at least.
    pub first_seen: DbMicros,
}

/// Of what kind the replicas of an instance are, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImmediateTopology {
    /// All valid replicas use MySQL GTID, and there is one.
    pub oracle_gtid: bool,
    /// All valid replicas use MariaDB GTID, and there is one.
    pub mariadb_gtid: bool,
    /// The instance has Pseudo-GTID.
    pub pseudo_gtid: bool,
    /// All valid replicas are binlog servers, and there is one.
    pub binlog_servers: bool,
}

/// What analysis says about one instance, with all it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The instance.
    pub key: InstanceKey,
    /// Whom it replicates from.
    pub source: Option<InstanceKey>,
    /// Its cluster.
    pub cluster_name: String,
    /// The alias its servers suggest for the cluster; empty if none.
    pub suggested_cluster_alias: String,
    /// The domain its servers name; empty if none.
    pub cluster_domain: String,
    /// What is wrong with it.
    pub code: Code,
    /// What is unwise about how its part of the cluster is built.
    pub structure: Vec<Code>,
    /// What our own checks say.
    pub reach: Reach,
    /// Since when it gives no sign of life, if it is silent.
    pub silent_since: Option<DbMicros>,
    /// The last error of a check, empty after a good one.
    pub last_error: String,
    /// Its replicas counted.
    pub counts: Counts,
    /// Its replicas by key.
    pub replicas: Vec<InstanceKey>,
    /// What each of them says, in the same order.
    pub testimonies: Vec<Testimony>,
    /// It has no source, and is no secondary of a group.
    pub is_primary: bool,
    /// It and another replicate from each other.
    pub is_co_primary: bool,
    /// It is a member of a replication group that is not offline.
    pub is_group_member: bool,
    /// A `MaxScale` binlog server.
    pub is_binlog_server: bool,
    /// Its receiver gets no connection to its source although its applier runs.
    pub is_failing_to_connect: bool,
    /// The last check brought facts.
    pub last_check_valid: bool,
    /// The last check failed with a sign of life.
    pub last_check_partial_success: bool,
    /// Hops below the primary.
    pub depth: u32,
    /// Its active downtime.
    pub downtime: Option<Downtime>,
    /// The downtime lasts.
    pub is_downtimed: bool,
    /// The failure is only about replicas, and all of them are downtimed.
    pub is_replicas_downtimed: bool,
    /// One of the two: nothing is done about it by itself.
    pub skippable_due_to_downtime: bool,
    /// Of what kind its replicas are.
    pub immediate: ImmediateTopology,
    /// Its semi-synchronous replication.
    pub semi_sync: SemiSyncFacts,
    /// Its GTID mode.
    pub gtid_mode: String,
    /// It is read-only.
    pub read_only: bool,
    /// Its data center.
    pub data_center: String,
    /// Its region.
    pub region: String,
    /// Its physical environment.
    pub physical_environment: String,
    /// Where its binary log stands.
    pub coordinates: BinlogCoordinates,
}

/// Findings about the instances given: one for each that has replicas, is not well, or was not heard of lately. Order:
/// primaries, then heads of clusters, then by number of replicas, then by key.
///
/// Replicas are found by name among `members`, so give whole clusters: one, or all.
pub fn analyze(
    members: &[&Instance],
    samples: &BTreeMap<InstanceKey, Sample>,
    policy: &AnalysisPolicy,
    now: DbMicros,
) -> Vec<Finding> {
    let replicas = replicas_by_source(members);
    let none = Vec::new();
    let situations = members.iter().map(|instance| {
        let replicas = replicas.get(&instance.key).unwrap_or(&none);
        Situation::new(instance, replicas, samples, policy, now)
    });
    let mut findings: Vec<Finding> = situations.filter_map(|situation| conclude(&situation, now)).collect();
    findings.sort_by_cached_key(|one| {
        let heads = one.key.to_string() == one.cluster_name;
        (Reverse(one.is_primary), Reverse(heads), Reverse(one.counts.replicas), one.key.clone())
    });
    findings
}

/// What hooks call the kind of instance.
pub fn instance_type(finding: &Finding) -> &'static str {
    if finding.is_co_primary {
        "co-master"
    } else if finding.is_group_member {
        "group-member"
    } else if finding.is_primary {
        "master"
    } else {
        "intermediate-master"
    }
}

fn replicas_by_source<'a>(members: &[&'a Instance]) -> HashMap<&'a InstanceKey, Vec<&'a Instance>> {
    let mut replicas: HashMap<&InstanceKey, Vec<&Instance>> = HashMap::with_capacity(members.len());
    for member in members {
        // One that replicates from itself says nothing about anybody.
        if let Some(source) = member.facts.source().filter(|source| source.is_valid() && **source != member.key) {
            replicas.entry(source).or_default().push(member);
        }
    }
    for list in replicas.values_mut() {
        list.sort_by(|one, other| one.key.cmp(&other.key));
    }
    replicas
}

fn conclude(x: &Situation<'_>, now: DbMicros) -> Option<Finding> {
    let rules = if x.is_group_member { GROUP_RULES } else { RULES };
    let code = rules.iter().find(|rule| (rule.when)(x)).map_or(Code::NoProblem, |rule| rule.code);
    let structure: Vec<Code> = STRUCTURE.iter().filter(|rule| (rule.when)(x)).map(|rule| rule.code).collect();
    let is_of_interest = x.has_replicas() || !x.answers() || code != Code::NoProblem || !structure.is_empty();
    is_of_interest.then(|| finding(x, code, structure, now))
}

fn finding(x: &Situation<'_>, code: Code, structure: Vec<Code>, now: DbMicros) -> Finding {
    let Instance { facts, placement, check, downtime, .. } = x.instance;
    let counts = x.counts.clone();
    let is_downtimed = downtime.as_ref().is_some_and(|downtime| downtime.ends_at > now);
    let is_replicas_downtimed = code.is_about_replicas() && counts.downtimed == counts.replicas;
    let all_valid = |count: usize| count == counts.valid && count > 0;
    Finding {
        key: x.instance.key.clone(),
        source: facts.source().cloned(),
        cluster_name: placement.cluster_name.clone(),
        suggested_cluster_alias: placement.suggested_cluster_alias.clone(),
        cluster_domain: facts.detected_cluster_domain.clone(),
        code,
        structure,
        reach: x.reach,
        silent_since: testimony::silent_since(x.instance, x.reach),
        last_error: check.last_error.clone(),
        replicas: x.replicas.iter().map(|(key, _)| (*key).clone()).collect(),
        testimonies: x.replicas.iter().map(|(_, testimony)| *testimony).collect(),
        is_primary: x.is_primary,
        is_co_primary: x.is_co_primary,
        is_group_member: x.is_group_member,
        is_binlog_server: facts.is_binlog_server(),
        is_failing_to_connect: x.fails_to_connect,
        last_check_valid: x.answers(),
        last_check_partial_success: check.partial_success,
        depth: placement.replication_depth,
        downtime: downtime.clone(),
        is_downtimed,
        is_replicas_downtimed,
        skippable_due_to_downtime: is_downtimed || is_replicas_downtimed,
        immediate: ImmediateTopology {
            oracle_gtid: all_valid(counts.oracle_gtid),
            mariadb_gtid: all_valid(counts.mariadb_gtid),
            pseudo_gtid: facts.using_pseudo_gtid,
            binlog_servers: all_valid(counts.binlog_servers),
        },
        semi_sync: facts.semi_sync.clone(),
        gtid_mode: facts.gtid.mode.clone(),
        read_only: facts.read_only,
        data_center: facts.data_center.clone(),
        region: facts.region.clone(),
        physical_environment: facts.physical_environment.clone(),
        coordinates: facts.binlog.clone(),
        counts,
    }
}

impl Finding {
    /// The code, unless there is no problem, and the warnings, separated by commas: what listings show.
    pub fn summary(&self) -> String {
        let analysis = (self.code != Code::NoProblem).then_some(self.code);
        analysis.iter().chain(&self.structure).map(|code| code.name()).collect::<Vec<_>>().join(", ")
    }

    /// What the finding rests on, for people: `silent for 3 s (refused); b:3306 hears it; c:3306 has lost it`.
    pub fn evidence(&self, now: DbMicros) -> String {
        let error = if self.last_error.is_empty() { String::new() } else { format!(" ({})", self.last_error) };
        let own = match (self.reach, self.silent_since) {
            (Reach::Answers, _) => "it answers".to_owned(),
            (Reach::Refuses, _) => format!("it is alive and refuses the check{error}"),
            (Reach::Unknown, _) => "it was not checked lately".to_owned(),
            (Reach::Silent, since) => {
                let seconds = (now - since.unwrap_or(now)).max(0) / 1_000_000;
                format!("silent for {seconds} s{error}")
            }
        };
        let testimonies = self.replicas.iter().zip(&self.testimonies);
        let told = testimonies.map(|(key, testimony)| format!("{key} {}", testimony.words()));
        [own].into_iter().chain(told).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests;
