//! Sorting a batch by what must be done with each observation.

use std::collections::BTreeMap;

use domain::instance::{Answer, DbMicros, InstanceKey, MAX_HOSTNAME_BYTES, Observation, ProbeFailure, ServerFacts};

use super::{Last, RECORDING, RecordReport, Written};
use crate::Error;
use crate::sql::{check_key, check_width};

/// A server whose facts are larger is not stored: something is wrong with it, and it would not fit a packet.
const MAX_FACTS_BYTES: usize = 12 << 20;

/// A batch sorted by what must be done, each part in key order.
pub(super) struct Batch<'a> {
    pub(super) same: Vec<(Last, Full<'a>)>,
    pub(super) full: Vec<Full<'a>>,
    pub(super) failed: Vec<Failed<'a>>,
    pub(super) renamed: Vec<(&'a InstanceKey, &'a InstanceKey)>,
}

pub(super) struct Full<'a> {
    pub(super) key: &'a InstanceKey,
    pub(super) facts: &'a ServerFacts,
    pub(super) document: String,
    pub(super) hash: u64,
    pub(super) observed_at: DbMicros,
    pub(super) latency_micros: u64,
}

pub(super) struct Failed<'a> {
    pub(super) key: &'a InstanceKey,
    pub(super) failure: &'a ProbeFailure,
    pub(super) observed_at: DbMicros,
}

impl<'a> Batch<'a> {
    pub(super) fn sort(observations: &'a [Observation], written: &Written, report: &mut RecordReport) -> Self {
        // The newest of each key: a statement must not meet a row twice.
        let mut answers: BTreeMap<&InstanceKey, &Observation> = BTreeMap::new();
        let mut batch = Self { same: Vec::new(), full: Vec::new(), failed: Vec::new(), renamed: Vec::new() };
        for one in observations {
            let key = match &one.answer {
                Answer::Facts { key, .. } => key,
                Answer::Failed(_) => &one.asked,
                Answer::Filtered { .. } => continue,
            };
            if let Err(error) = check_key(RECORDING, key).and_then(|()| check_key(RECORDING, &one.asked)) {
                report.rejected.push((one.asked.clone(), error.to_string()));
                continue;
            }
            if *key != one.asked {
                batch.renamed.push((&one.asked, key));
            }
            let newest = answers.entry(key).or_insert(one);
            if newest.observed_at <= one.observed_at {
                *newest = one;
            }
        }
        for (key, one) in answers {
            batch.add(key, one, report);
        }
        let known = written.lock();
        batch.full = std::mem::take(&mut batch.full)
            .into_iter()
            .filter_map(|full| match known.get(full.key) {
                Some(last) if last.facts_hash == full.hash => {
                    batch.same.push((*last, full));
                    None
                }
                _ => Some(full),
            })
            .collect();
        batch
    }

    fn add(&mut self, key: &'a InstanceKey, one: &'a Observation, report: &mut RecordReport) {
        match &one.answer {
            Answer::Filtered { .. } => {}
            Answer::Failed(failure) => self.failed.push(Failed { key, failure, observed_at: one.observed_at }),
            Answer::Facts { facts, .. } => match document(facts) {
                Ok(document) => self.full.push(Full {
                    key,
                    facts,
                    hash: fnv(document.as_bytes()),
                    document,
                    observed_at: one.observed_at,
                    latency_micros: one.latency_micros,
                }),
                Err(error) => report.rejected.push((key.clone(), error.to_string())),
            },
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.same.is_empty() && self.full.is_empty() && self.failed.is_empty() && self.renamed.is_empty()
    }
}

fn document(facts: &ServerFacts) -> Result<String, Error> {
    let invalid = |reason: String| Error::Invalid { doing: RECORDING, reason };
    if let Some(source) = facts.source() {
        check_width(RECORDING, "the source's host name", &source.hostname, MAX_HOSTNAME_BYTES)?;
    }
    let document = serde_json::to_string(facts).map_err(|error| invalid(error.to_string()))?;
    if document.len() > MAX_FACTS_BYTES {
        return Err(invalid(format!(
            "the facts are {} bytes long, at most {MAX_FACTS_BYTES} are stored",
            document.len()
        )));
    }
    Ok(document)
}

/// FNV-1a, 64 bits: stable across releases and machines, unlike the standard library's hashers.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
