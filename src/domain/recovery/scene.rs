//! What a recovery looks at, and what it decides: the types that its phases share.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::instance::{Instance, InstanceKey};
use crate::operation::World;
use crate::plan::{Refusal, Request, Rule};

/// The settings that decide who is promoted and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecoveryPolicy {
    /// `ApplyMySQLPromotionAfterMasterFailover`: the successor forgets its source and is opened for writes.
    pub apply_promotion: bool,
    /// `PreventCrossDataCenterMasterFailover`.
    pub prevent_cross_data_center: bool,
    /// `PreventCrossRegionMasterFailover`.
    pub prevent_cross_region: bool,
    /// `FailMasterPromotionOnLagMinutes`, in seconds; 0: off.
    pub fail_on_lag_seconds: u64,
    /// `FailMasterPromotionIfSQLThreadNotUpToDate`. (Its opposite, `Delay...`, is what is done in any case: a candidate is
    /// drained before it is opened.)
    pub fail_if_sql_thread_not_up_to_date: bool,
    /// `CoMasterRecoveryMustPromoteOtherCoMaster`.
    pub co_must_promote_other: bool,
    /// How long stopping a receiver may take before the survivor counts as lost.
    pub fence_limit_seconds: u32,
    /// How long a candidate may take to apply what it has received.
    pub drain_limit_seconds: u32,
    /// How long it may take to fetch and apply what the most advanced survivor has.
    pub catch_up_limit_seconds: u32,
}

impl Default for RecoveryPolicy {
    fn default() -> Self {
        Self {
            apply_promotion: true,
            prevent_cross_data_center: false,
            prevent_cross_region: false,
            fail_on_lag_seconds: 0,
            fail_if_sql_thread_not_up_to_date: false,
            co_must_promote_other: true,
            fence_limit_seconds: 5,
            drain_limit_seconds: 600,
            catch_up_limit_seconds: 600,
        }
    }
}

/// Everything that a phase of a recovery may look at.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What all servers of the cluster said a moment ago. Its baseline is the one from before the first step of the recovery:
    /// replicas stopped by people are known by it.
    pub world: &'a World<'a>,
    /// The failed server.
    pub failed: &'a InstanceKey,
    /// The candidate that the operator named.
    pub requested: Option<&'a InstanceKey>,
    /// What an earlier run of this recovery chose.
    pub earlier_choice: Option<&'a Choice>,
    /// An earlier run may have sent the order that opens the earlier choice for writes: its promotion was begun.
    pub opening_begun: bool,
    /// Servers that `PromotionIgnoreHostnameFilters` matches.
    pub banned: &'a BTreeSet<InstanceKey>,
    /// The settings that decide.
    pub policy: &'a RecoveryPolicy,
    /// What plans are made for: `Request::Recover`.
    pub request: &'a Request,
    /// The operator takes the loss of data upon themselves (`force-master-failover` and its like).
    pub force: bool,
    /// The failed server waited for semi-sync acknowledgements when the recovery began (fencing turns that off).
    pub had_semi_sync: bool,
}

/// Who becomes the primary, and what becomes of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The new primary.
    pub successor: InstanceKey,
    /// It first fetches from this server what it lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_from: Option<InstanceKey>,
    /// Everybody who was judged, best first, rejected ones last.
    pub considered: Vec<Considered>,
    /// Survivors to be moved below the successor.
    pub followers: Vec<InstanceKey>,
    /// Servers that are given up, each with the reason.
    pub lost: Vec<(InstanceKey, String)>,
    /// Why this one, for people.
    pub because: String,
    /// What the operator should know: last resorts, data given up by force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One server that was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered {
    pub key: InstanceKey,
    pub verdict: Verdict,
    /// What it was ranked by, in order of importance, for people.
    pub rank: String,
}

/// How a candidate was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It becomes the primary.
    Chosen,
    /// It could, and another is better.
    Eligible,
    /// It cannot.
    Rejected {
        /// The rule that forbids it.
        rule: Rule,
        /// The fact that decided, with names and values.
        reason: String,
    },
}

impl<'a> Scene<'a> {
    /// The record of the failed server, however old.
    pub fn failed_record(&self) -> Result<&'a Instance, Refusal> {
        self.world.known(self.failed)
    }

    /// The failed server answered its last check, lately.
    pub fn failed_answers(&self) -> bool {
        self.world.fresh(self.failed).is_ok()
    }

    /// The direct replicas of the failed server, those that a run of this recovery has moved already included; by key,
    /// reachable or not.
    pub fn replicas(&self) -> Vec<&'a Instance> {
        let chosen = |key: &InstanceKey| {
            self.earlier_choice.is_some_and(|choice| {
                choice.successor == *key || choice.catch_up_from.as_ref() == Some(key) || choice.followers.contains(key)
            })
        };
        let touched = |key: &InstanceKey| self.world.baseline.contains_key(key) || chosen(key);
        let reads = |one: &Instance| one.facts.is_replica() && one.facts.source() == Some(self.failed);
        let all = self.world.instances.values();
        all.filter(|one| one.key != *self.failed && (reads(one) || touched(&one.key))).collect()
    }
}
