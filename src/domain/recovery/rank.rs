//! Whom we prefer among those who may be promoted: fields compared strictly in sequence, the smaller is the better.

use crate::instance::InstanceKey;
use crate::promotion::PromotionRule;

/// Why somebody is promoted only when nobody else is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LastResort {
    /// Nothing speaks against it.
    No,
    /// People declared a downtime.
    Downtimed,
    /// It stays behind on purpose.
    Delayed,
    /// It does not log what it replicates: nobody behind it could follow.
    DoesNotRelay,
    /// It has transactions that nobody else has, and would spread them.
    Errant,
}

/// Lower is better. GTID sets are only partly ordered, so data is a filter before this, never a field of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CandidateRank {
    pub last_resort: LastResort,
    pub rule: PromotionRule,
    pub other_data_center: bool,
    pub other_region: bool,
    pub other_environment: bool,
    /// Most replicas could not read from it.
    pub newer_than_most: bool,
    /// Its binary log is of a kind that most replicas must not read (STATEMENT < MIXED < ROW).
    pub format_above_most: bool,
    /// It has to fetch data from another first.
    pub must_catch_up: bool,
    /// Received and not applied: transactions, or bytes where there is no GTID.
    pub unapplied: u64,
    pub key: InstanceKey,
}

impl CandidateRank {
    /// For people, in order of importance.
    pub fn text(&self) -> String {
        let mut words = vec![self.rule.to_string()];
        let mut note = |so: bool, word: &str| {
            if so {
                words.push(word.to_owned());
            }
        };
        note(self.last_resort == LastResort::Downtimed, "downtimed");
        note(self.last_resort == LastResort::Delayed, "delayed");
        note(self.last_resort == LastResort::DoesNotRelay, "does not log what it replicates");
        note(self.last_resort == LastResort::Errant, "has errant transactions");
        note(self.other_data_center, "other data center");
        note(self.other_region, "other region");
        note(self.other_environment, "other environment");
        note(self.newer_than_most, "newer than most replicas");
        note(self.format_above_most, "binary log format above that of most replicas");
        note(self.must_catch_up, "must catch up first");
        if self.unapplied > 0 {
            words.push(format!("{} to be applied", self.unapplied));
        }
        words.join(", ")
    }
}
