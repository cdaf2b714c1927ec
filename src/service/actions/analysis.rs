//! What is wrong with replication, judged on what is recorded now: of one instance, of one cluster, or everywhere.

use std::collections::BTreeMap;

use api::legacy::{ClusterInfo, Key, ReplicationAnalysis, ReplicationAnalysisChangelog};
use domain::analysis::{self, Code, Finding, Sample};
use domain::instance::{DbMicros, Instance, InstanceKey};

use super::{Error, Scope, clusters, instances};

/// Whose analysis is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// Everybody's.
    All,
    /// Of the members of the cluster of this exact name.
    Cluster(&'a str),
    /// Of one instance.
    Instance(&'a InstanceKey),
}

/// Findings, and what is known about their clusters.
#[derive(Debug, Clone)]
pub struct Listing {
    /// By the order of [`analysis::analyze`].
    pub findings: Vec<Finding>,
    /// The time they are true of.
    pub now: DbMicros,
    clusters: BTreeMap<String, ClusterInfo>,
}

impl Listing {
    /// What is known about the cluster of a finding.
    pub fn cluster(&self, finding: &Finding) -> Option<&ClusterInfo> {
        self.clusters.get(&finding.cluster_name)
    }

    /// The findings as the compatibility API shows them.
    pub fn records(&self, hostname: &str, token: &str) -> Vec<ReplicationAnalysis> {
        let record = |one| ReplicationAnalysis::new(one, self.cluster(one), self.now).processed_by(hostname, token);
        self.findings.iter().map(record).collect()
    }
}

/// Findings that say anything, downtimed ones among them; servers that `RecoveryIgnoreHostnameFilters` names are left out.
pub async fn list(scope: &Scope, whose: Whose<'_>) -> Result<Listing, Error> {
    let mut listing = everything(scope, whose).await?;
    let ignored = &scope.config.patterns.recovery_ignore;
    listing.findings.retain(|one| {
        let says_something = one.code != Code::NoProblem || !one.structure.is_empty();
        says_something && ignored.matching(&one.key.hostname).is_none()
    });
    Ok(listing)
}

/// The members of the cluster with this name or alias; none where nobody knows it.
pub async fn list_of_cluster(scope: &Scope, name_or_alias: &str) -> Result<Listing, Error> {
    match clusters::by_alias(scope, name_or_alias).await {
        Ok(name) => list(scope, Whose::Cluster(&name)).await,
        Err(Error::NotFound(_)) => Ok(Listing { findings: Vec::new(), now: 0, clusters: BTreeMap::new() }),
        Err(error) => Err(error),
    }
}

/// Every finding, `NoProblem` included.
pub async fn everything(scope: &Scope, whose: Whose<'_>) -> Result<Listing, Error> {
    let snapshot = match whose {
        Whose::All => store::instances::read_all(&scope.pool).await?,
        Whose::Cluster(name) => store::instances::read_cluster(&scope.pool, name).await?,
        Whose::Instance(key) => match instances::find_exact(scope, key).await? {
            Some(one) => store::instances::read_cluster(&scope.pool, &one.placement.cluster_name).await?,
            None => store::instances::Snapshot::default(),
        },
    };
    let policy = jobs::analysis_policy(&scope.config);
    let samples = store::samples::read_all(&scope.pool).await?;
    let samples: BTreeMap<InstanceKey, Sample> =
        samples.into_iter().map(|(key, seen)| (key, Sample { at: seen.at, first_seen: seen.first_seen })).collect();
    let members: Vec<&Instance> = snapshot.instances.iter().collect();
    let mut findings = analysis::analyze(&members, &samples, &policy, snapshot.now);
    if let Whose::Instance(key) = whose {
        findings.retain(|one| one.key == *key);
    }
    let infos = clusters::infos(scope).await?;
    let clusters = infos.into_iter().map(|info| (info.cluster_name.clone(), info)).collect();
    Ok(Listing { findings, now: snapshot.now, clusters })
}

/// How analyses changed, by instance.
pub async fn changelog(scope: &Scope) -> Result<Vec<ReplicationAnalysisChangelog>, Error> {
    let log = store::analyses::changelog(&scope.pool).await?;
    let entry = |change: &store::analyses::Change| {
        format!("{};{},", api::clock::backend_text(Some(change.changed_at)), change.code)
    };
    Ok(log
        .iter()
        .map(|(key, changes)| ReplicationAnalysisChangelog {
            analyzed_instance_key: Key::from(key),
            changelog: changes.iter().map(entry).collect(),
        })
        .collect())
}
