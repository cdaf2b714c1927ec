//! Recovery: may we act (`gates`), on what (`scene`), and what is to be done, phase by phase, as ordinary [`Plan`]s.
//!
//! ```text
//!   Scene ──fence──▶ Plan   old primary closed where it answers, receivers of all survivors stopped
//!     └─(look)─choose──▶ Choice   data first, then preference; everybody considered, with the reason
//!     └─────promote──▶ Plan   catch up, drain, forget the source, semi-sync, open for writes
//!     └─────repoint──▶ Plan   the survivors below the new primary; who cannot follow is left out, with the reason
//! ```
//! Each is a pure function of what the servers said a moment ago, so that whoever takes up a recovery whose worker died asks
//! the same questions of the world as it is then: what is done already gives `None`, what is half done is planned to its end.
//!
//! What this is not: the record of a recovery (`store`), and carrying it out (`jobs`, `operations`).
//!
//! [`Plan`]: crate::plan::Plan

mod attach;
pub mod candidate;
pub mod co_primary;
mod data;
pub mod fence;
mod follow;
pub mod gates;
pub mod group_member;
pub mod intermediate;
#[cfg(test)]
mod model;
pub mod promote;
pub mod rank;
pub mod rejoin;
pub mod repoint;
pub mod scene;
pub mod semi_sync;
#[cfg(test)]
mod stage;
pub mod takeover;
#[cfg(test)]
mod tests;
pub mod writeable;

pub use candidate::{choose, preview};
pub use fence::{close, fence, still_receiving};
pub use promote::promote;
pub use repoint::repoint;
pub use scene::{Choice, Considered, RecoveryPolicy, Scene, Verdict};
