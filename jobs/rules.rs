//! Remembers which promotion rules this process registered lately, so that a rule a server declares costs a statement
//! when it changes and now and then, not with every probe.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::instance::InstanceKey;
use domain::promotion::PromotionRule;

/// Registered again after this long: a fraction of the shortest sensible `CandidateInstanceExpireMinutes`.
const REFRESH: Duration = Duration::from_secs(300);

/// Rules registered by this process.
#[derive(Debug, Default)]
pub struct Rules(Mutex<HashMap<InstanceKey, (PromotionRule, Instant)>>);

impl Rules {
    /// Must this rule be registered (again) now? Answers yes once.
    pub(crate) fn is_due(&self, key: &InstanceKey, rule: PromotionRule) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(key).is_some_and(|(last, at)| *last == rule && at.elapsed() < REFRESH) {
            return false;
        }
        known.insert(key.clone(), (rule, Instant::now()));
        true
    }
}
