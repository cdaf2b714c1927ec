//! A set of transaction numbers as sorted, disjoint, non-adjacent, inclusive intervals.
//!
//! That shape is canonical: equal sets have equal vectors, so `Eq` is a comparison of vectors. Every operation walks both
//! vectors once; nothing is ever expanded to single numbers, because one interval may hold 2^63 of them.

/// Numbers as inclusive `(first, last)` pairs. Invariant: `1 <= first <= last < next first - 1`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    /// Sorts and merges. The caller guarantees `first <= last` of each pair.
    pub(super) fn from_unsorted(mut pairs: Vec<(u64, u64)>) -> Self {
        pairs.sort_unstable();
        Self::from_sorted(pairs.into_iter())
    }

    fn from_sorted(pairs: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (first, last) in pairs {
            match merged.last_mut() {
                // Touching or overlapping: `1-3` and `4-6` are one interval.
                Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn pairs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// How many numbers are in the set, at most `u64::MAX`.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (first, last)| sum.saturating_add(last - first + 1))
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.0.last().map(|pair| pair.1)
    }

    pub(super) fn contains_number(&self, number: u64) -> bool {
        let after = self.0.partition_point(|pair| pair.0 <= number);
        after > 0 && self.0[after - 1].1 >= number
    }

    /// Both are sorted, so merging them is one walk.
    pub(super) fn union(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.iter().copied().peekable(), other.0.iter().copied().peekable());
        Self::from_sorted(std::iter::from_fn(|| match (left.peek(), right.peek()) {
            (Some(l), Some(r)) if l <= r => left.next(),
            (_, Some(_)) => right.next(),
            (_, None) => left.next(),
        }))
    }

    pub(super) fn intersect(&self, other: &Self) -> Self {
        let (mut i, mut j) = (0, 0);
        let mut common = Vec::new();
        while let (Some(&(a, b)), Some(&(c, d))) = (self.0.get(i), other.0.get(j)) {
            let (first, last) = (a.max(c), b.min(d));
            if first <= last {
                common.push((first, last));
            }
            if b < d {
                i += 1;
            } else {
                j += 1;
            }
        }
        // Pieces of non-adjacent intervals stay non-adjacent only within one operand, so merge once more.
        Self::from_sorted(common.into_iter())
    }

    pub(super) fn subtract(&self, other: &Self) -> Self {
        let mut rest = Vec::with_capacity(self.0.len());
        let mut j = 0;
        for &(first, last) in &self.0 {
            let mut from = first;
            let mut used_up = false;
            // Holes that end before this interval cannot touch a later one either.
            while other.0.get(j).is_some_and(|hole| hole.1 < from) {
                j += 1;
            }
            while let Some(&(hole_first, hole_last)) = other.0.get(j)
                && hole_first <= last
            {
                if hole_first > from {
                    rest.push((from, hole_first - 1));
                }
                if hole_last >= last {
                    used_up = true;
                    break; // the hole may reach into the next interval: keep it
                }
                from = hole_last + 1;
                j += 1;
            }
            if !used_up {
                rest.push((from, last));
            }
        }
        Self(rest)
    }

    /// Every number of `other` is here too.
    pub(super) fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|&(first, last)| {
            // Intervals are maximal, so a contained one lies within a single one of ours.
            let after = self.0.partition_point(|pair| pair.0 <= first);
            after > 0 && self.0[after - 1].1 >= last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(u64, u64)]) -> Intervals {
        Intervals::from_unsorted(pairs.to_vec())
    }

    #[test]
    fn touching_and_overlapping_pairs_merge() {
        assert_eq!(set(&[(4, 6), (1, 3)]).pairs(), [(1, 6)]);
        assert_eq!(set(&[(1, 10), (2, 3), (12, 12)]).pairs(), [(1, 10), (12, 12)]);
        assert_eq!(set(&[(1, u64::MAX), (5, 6)]).pairs(), [(1, u64::MAX)]);
        assert_eq!(set(&[(1, 3)]).union(&set(&[(4, 9)])).pairs(), [(1, 9)]);
    }

    #[test]
    fn a_hole_may_span_several_intervals() {
        let a = set(&[(1, 5), (8, 10), (20, 30)]);
        assert_eq!(a.subtract(&set(&[(4, 22)])).pairs(), [(1, 3), (23, 30)]);
        assert_eq!(
            a.subtract(&set(&[(2, 2), (4, 4), (25, 26)])).pairs(),
            [(1, 1), (3, 3), (5, 5), (8, 10), (20, 24), (27, 30)]
        );
        assert_eq!(a.subtract(&set(&[(1, 100)])).pairs(), []);
        assert_eq!(a.subtract(&Intervals::default()), a);
        assert_eq!(a.intersect(&set(&[(5, 8), (30, 40)])).pairs(), [(5, 5), (8, 8), (30, 30)]);
    }

    #[test]
    fn containment_looks_at_whole_intervals() {
        let a = set(&[(1, 5), (7, 9)]);
        assert!(a.contains(&set(&[(2, 5), (7, 7)])));
        assert!(!a.contains(&set(&[(5, 7)])));
        assert!(!a.contains(&set(&[(10, 10)])));
        assert!(!a.contains_number(6) && a.contains_number(5) && a.contains_number(7) && !a.contains_number(0));
        assert_eq!((a.count(), a.last()), (8, Some(9)));
    }
}
