//! Errant transactions: those a replica has and its source has not.
//!
//! The two readings are never of one moment, so a plain subtraction would call every transaction errant that reached the
//! replica after its source was read. Only transactions that did not come down the replication chain can be errant;
//! everything numbered by an ancestor is left out.
//!
//! Limits, so that nobody promises more than this can know:
//! - A wrong verdict is possible while the source's reading is older than the last change of topology (transactions of a
//!   former primary that is no longer an ancestor are compared with an old reading). Callers that act must read again.
//! - Transactions that somebody wrote on an ancestor and that were lost there (an ancestor restored from a backup) are
//!   numbered by the ancestor and therefore not found.
//! - A chain that is out of date (the replica names a source that the stored ancestry lacks) counts as a chain through that
//!   source. The original orchestrator called every transaction of such a source errant.
//! - Of two co-primaries neither ever has errant transactions of its own UUID: both are written to.

use super::{GtidSet, Uuid};

/// Where a replica stands in its replication chain.
#[derive(Debug, Clone, Copy)]
pub struct Lineage<'a> {
    /// The replica's own `@@server_uuid`.
    pub own: Uuid,
    /// UUIDs of all its sources up to the head of the cluster and the group name, if any. May or may not include `own` and `source`.
    pub ancestry: &'a [Uuid],
    /// The `Source_UUID` it replicates from, if known.
    pub source: Option<Uuid>,
    /// It and its source replicate from each other.
    pub co_primary: bool,
}

impl Lineage<'_> {
    /// Transactions of this UUID may rightly be on the replica before we see them on its source.
    fn is_expected(&self, uuid: Uuid) -> bool {
        if uuid == self.own { self.co_primary } else { self.source == Some(uuid) || self.ancestry.contains(&uuid) }
    }
}

/// The transactions of `own` that its source, having executed `upstream`, lacks and will not get from above.
///
/// Empty when either set is empty: a server without GTIDs, or not yet read, proves nothing.
pub fn errant(own: &GtidSet, upstream: &GtidSet, lineage: &Lineage<'_>) -> GtidSet {
    if own.is_empty() || upstream.is_empty() {
        return GtidSet::new();
    }
    own.retain_uuids(|uuid| !lineage.is_expected(uuid)).subtract(upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_bytes([0xaa; 16]);
    const B: Uuid = Uuid::from_bytes([0xbb; 16]);
    const C: Uuid = Uuid::from_bytes([0xcc; 16]);
    const G: Uuid = Uuid::from_bytes([0xdd; 16]);

    /// Reads a set in which `A`, `B`, `C`, `G` stand for the UUIDs.
    fn set(text: &str) -> GtidSet {
        let uuids = [("A", A), ("B", B), ("C", C), ("G", G)];
        let text = uuids.iter().fold(text.to_owned(), |text, (name, uuid)| text.replace(name, &uuid.to_string()));
        text.parse().unwrap()
    }

    /// `B` replicates from `A`.
    fn check(own: &str, upstream: &str, co_primary: bool, want: &str) {
        let lineage = Lineage { own: B, ancestry: &[A, B, G], source: Some(A), co_primary };
        assert_eq!(errant(&set(own), &set(upstream), &lineage), set(want), "{own} against {upstream}");
    }

    #[test]
    fn own_writes_that_the_source_lacks_are_errant() {
        check("A:1-10,B:1-3", "A:1-9", false, "B:1-3");
        check("A:1-10,B:1-3:t:1-2", "A:1-9,B:1-2", false, "B:3:t:1-2");
    }

    #[test]
    fn a_co_primary_may_write() {
        check("A:1-10,B:1-3", "A:1-9", true, "");
    }

    #[test]
    fn transactions_of_ancestors_and_of_the_group_are_never_errant() {
        check("A:1-10:t:1-5,G:1-4", "A:1-9", false, "");
    }

    #[test]
    fn own_writes_that_the_source_replicated_earlier_are_not_errant() {
        check("A:1-10,B:1-3", "A:1-9,B:1-3", false, "");
    }

    #[test]
    fn strangers_are_compared_with_the_source() {
        check("A:1-10,C:1-8", "A:1-9,C:1-5", false, "C:6-8");
        check("A:1-10,C:1-8", "A:1-9", true, "C:1-8");
    }

    #[test]
    fn an_unread_side_proves_nothing() {
        check("", "A:1-9", false, "");
        check("B:1", "", false, "");
    }

    #[test]
    fn the_source_is_an_ancestor_even_if_the_known_ancestry_is_out_of_date() {
        let lineage = Lineage { own: B, ancestry: &[], source: Some(A), co_primary: false };
        assert_eq!(errant(&set("A:1-10,B:1"), &set("A:1-9"), &lineage), set("B:1"));
        let unknown = Lineage { source: None, ..lineage };
        assert_eq!(errant(&set("A:1-10,B:1"), &set("A:1-9"), &unknown), set("A:10,B:1"));
        let co_primary = Lineage { co_primary: true, ..lineage };
        assert_eq!(errant(&set("A:1-10,B:1"), &set("A:1-9"), &co_primary), set(""));
    }
}
