//! Recoveries: asking for one, following it, looking back, acknowledging, and the switch of the automatic ones.
//!
//! A recovery is a row, an operation and a job, written in one transaction ([`start`]). A worker carries it out; who asked
//! follows the operation ([`wait`]). The rows outlive everybody: who stops waiting loses nothing.

mod acknowledge;
mod legacy;
mod look;
mod shown;
mod start;
mod target;
mod timeline;

pub use acknowledge::{Acknowledged, Whose, acknowledge, is_disabled, read_switch, set_disabled};
pub use legacy::{
    blocked as blocked_records, by_id, by_uid, detections as detection_records, record, records, steps as step_records,
};
pub use look::{
    blocked, detection, detections, detections_of_cluster, list, of_cluster, read, read_uid, recently, under_way,
};
pub use shown::{brief, detected, full, held_back, switch, text};
pub use start::{Started, start, started, wait};
pub use target::{Ask, Node};
