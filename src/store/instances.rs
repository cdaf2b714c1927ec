//! The servers we know, one row each.
//!
//! [`record`] is the hot path: it writes what probes brought back. The rest reads, places, finds and forgets. Readers
//! that keep a copy use [`look`] and compare now and then with [`index`]: `changed_at` moves with everything but the
//! times of good checks, so an idle fleet costs its readers nothing.

mod find;
mod forget;
mod place;
mod read;
mod record;
mod row;
mod seed;

pub use find::{complete, complete_all, find_cluster, find_cluster_of, unknown_of};
pub use forget::{expire_forgotten, forget, forget_cluster, forget_unseen, forgotten};
pub use place::{mark_attempted, touch, write_placements};
pub use read::{
    CheckTimes, Look, Snapshot, check_times, index, look, read, read_all, read_cluster, read_clusters, read_ids,
    read_many, read_replicas, search_candidates,
};
pub use record::{RecordReport, Written, record, record_extra};
pub use seed::{insert_minimal, remember};
