//! What is due now: how the inventory is cut into shards, when each shard's slot comes, who should take it, and when a
//! server that does not answer is tried again.
//!
//! Shards are stable: an instance moves to another shard only when the number of shards changes, and then only one in
//! `number` of them moves, because a warm connection is the cheapest probe.

use crate::instance::{CheckState, DbMicros};

/// Upper bound of the back-off exponent: `factor^60` is beyond any configured maximum, and stays a finite number.
const MAX_BACKOFF_STEPS: u32 = 60;

/// How often servers are probed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cadence {
    /// Microseconds between two probes of a healthy server.
    pub interval_micros: i64,
    /// Instances per shard, about.
    pub shard_size: usize,
    /// Each further failure in a row multiplies the pause by this; at least 1.
    pub dead_factor: f64,
    /// Longest pause between two tries of a dead server.
    pub dead_max_micros: i64,
}

impl Cadence {
    /// How many shards a lane of `instances` instances has.
    pub fn shard_count(&self, instances: usize) -> u32 {
        u32::try_from(instances.div_ceil(self.shard_size.max(1))).unwrap_or(u32::MAX).max(1)
    }

    /// The number of the slot of shard `shard` of `shards` that began last before or at `now`. Slots of the shards of
    /// a lane are spread evenly over the interval. A shard is due when this number has grown.
    pub fn slot(&self, shard: u32, shards: u32, now: DbMicros) -> i64 {
        let interval = self.interval_micros.max(1);
        let offset = i64::try_from(i128::from(interval) * i128::from(shard) / i128::from(shards.max(1))).unwrap_or(0);
        (now - offset).div_euclid(interval)
    }

    /// When a server that does not answer is tried again; `None` for a healthy one (its shard's slot decides).
    pub fn next_try(&self, check: &CheckState) -> Option<DbMicros> {
        if check.failures == 0 {
            return None;
        }
        let last = check.last_checked_at.or(check.last_attempted_at).unwrap_or(0);
        Some(last.saturating_add(self.pause(check.failures)))
    }

    /// Pause after `failures` failures in a row, in microseconds.
    pub fn pause(&self, failures: u32) -> i64 {
        let steps = failures.saturating_sub(1).min(MAX_BACKOFF_STEPS);
        let exponent = i32::try_from(steps).unwrap_or(0);
        let pause = self.interval_micros as f64 * self.dead_factor.max(1.0).powi(exponent);
        let longest = self.dead_max_micros.max(self.interval_micros);
        if pause >= longest as f64 { longest } else { float_to_micros(pause) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the caller keeps the value below an i64 maximum")]
fn float_to_micros(value: f64) -> i64 {
    value as i64
}

/// The shard of an instance among `shards`: jump consistent hashing (Lamping and Veach, 2014).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the published algorithm works on 64-bit bit patterns; the result is below `shards`"
)]
pub fn shard_of(instance_id: u64, shards: u32) -> u32 {
    let mut key = mix(instance_id);
    let (mut bucket, mut next) = (-1_i64, 0_i64);
    while next < i64::from(shards.max(1)) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket.wrapping_add(1)) as f64 * ((1_i64 << 31) as f64 / ((key >> 33).wrapping_add(1)) as f64)) as i64;
    }
    bucket as u32
}

/// The worker that should take a piece of work: rendezvous hashing, so that a worker's coming or going moves only its
/// own share. `None` without workers.
pub fn preferred<'a>(workers: impl IntoIterator<Item = &'a str>, work: &str) -> Option<&'a str> {
    workers.into_iter().max_by_key(|worker| (hash_text(&[worker, work]), *worker))
}

/// FNV-1a over the parts, then mixed; stable between versions because shards of a running fleet depend on it.
fn hash_text(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    mix(hash)
}

/// The finalizer of SplitMix64: spreads close numbers.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn cadence() -> Cadence {
        Cadence { interval_micros: 5 * SECOND, shard_size: 100, dead_factor: 2.0, dead_max_micros: 60 * SECOND }
    }

    #[test]
    fn shards_are_about_even_and_mostly_stay() {
        let count = |shards: u32| {
            let mut sizes = vec![0_u32; shards as usize];
            (1..=10_000_u64).for_each(|id| sizes[shard_of(id, shards) as usize] += 1);
            sizes
        };
        let sizes = count(100);
        assert!(sizes.iter().all(|size| (50..=160).contains(size)), "{sizes:?}");
        let moved = (1..=10_000_u64).filter(|id| shard_of(*id, 100) != shard_of(*id, 101)).count();
        assert!(moved < 250, "one in a hundred moves, not {moved}");
        assert_eq!(shard_of(7, 0), 0);
        assert_eq!(cadence().shard_count(0), 1);
        assert_eq!(cadence().shard_count(101), 2);
    }

    #[test]
    fn every_shard_is_due_once_an_interval_and_not_all_at_once() {
        let cadence = cadence();
        let due_in = |from: i64, to: i64| {
            (0..10).filter(|shard| cadence.slot(*shard, 10, from) != cadence.slot(*shard, 10, to)).count()
        };
        assert_eq!(due_in(1000 * SECOND, 1005 * SECOND), 10);
        assert_eq!(due_in(1000 * SECOND, 1000 * SECOND + SECOND / 2), 1);
    }

    #[test]
    fn dead_servers_are_tried_ever_more_seldom_up_to_a_limit() {
        let pauses: Vec<i64> = [1, 2, 3, 4, 5, 1000].iter().map(|n| cadence().pause(*n) / SECOND).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        let check = CheckState { failures: 2, last_checked_at: Some(100 * SECOND), ..CheckState::default() };
        assert_eq!(cadence().next_try(&check), Some(110 * SECOND));
        assert_eq!(cadence().next_try(&CheckState::default()), None);
    }

    #[test]
    fn work_sticks_to_a_worker_until_that_worker_goes() {
        let workers = ["w1", "w2", "w3"];
        let all: Vec<_> = (0..300).map(|n| preferred(workers, &format!("dc1/{n}")).expect("some")).collect();
        assert!(workers.iter().all(|w| all.iter().filter(|a| *a == w).count() > 60));
        for (n, before) in all.iter().enumerate() {
            let after = preferred(["w1", "w3"], &format!("dc1/{n}")).expect("some");
            assert!(*before == "w2" || *before == after, "only the share of w2 moves");
        }
        assert_eq!(preferred([], "x"), None);
    }
}
