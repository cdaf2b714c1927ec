//! Clusters.

use domain::instance::Instance;
use domain::search::cluster_primary;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::view::View;

/// One cluster at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// `host:port` of the (original) primary.
    pub name: String,
    /// Equal to the name where none is known.
    pub alias: String,
    /// Empty where none is known.
    pub domain: String,
    /// `host:port` of the primary; absent: none is known.
    pub primary: Option<String>,
    pub instance_count: u64,
    /// Instances with at least one problem; those in downtime are not counted.
    pub problem_count: u64,
    pub downtimed_count: u64,
}

impl Cluster {
    /// Sums up the members of a cluster.
    pub fn new(name: &str, alias: &str, domain: &str, members: &[&Instance], view: &View) -> Self {
        let is_downtimed = |member: &Instance| member.downtime.as_ref().is_some_and(|d| d.ends_at > view.now());
        let downtimed = members.iter().filter(|member| is_downtimed(member)).count();
        let troubled = members
            .iter()
            .filter(|member| !is_downtimed(member) && !view.judgement.problems(member).is_empty())
            .count();
        Self {
            name: name.to_owned(),
            alias: if alias.is_empty() { name } else { alias }.to_owned(),
            domain: domain.to_owned(),
            primary: cluster_primary(members.iter().copied()).map(|primary| primary.key.to_string()),
            instance_count: members.len() as u64,
            problem_count: troubled as u64,
            downtimed_count: downtimed as u64,
        }
    }
}
