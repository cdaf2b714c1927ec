//! The limit on open files: what it is, what this process needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::Backend;

/// Descriptors for everything but connections: listeners, their clients, logs, libraries.
const FOR_THE_REST: u64 = 256;

/// Raises the soft limit to the hard one; answers the limit in force, `None` for no limit.
pub(super) fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(limit = limit.current, error = %error, "cannot raise the limit on open files");
            limit.current
        }
    }
}

/// Says what the fleet as it is known now needs of this process, and warns when the limit is below. Nothing breaks
/// then: servers beyond the limit are connected to anew for each probe, which costs time.
pub(super) async fn say_what_is_needed(backend: &Backend, limit: Option<u64>, backend_connections: u32) {
    let known = backend.run("count the known instances", async |conn| store::instances::index(conn).await).await;
    let Ok(known) = known else { return };
    let fixed = FOR_THE_REST + u64::from(backend_connections);
    let needed = fixed + known.len() as u64;
    match limit {
        Some(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            instances = known.len(),
            "the limit on open files is too low to keep a warm connection to every known server: raise LimitNOFILE \
             (or ulimit -n), or share the fleet between more workers; servers beyond the limit are reconnected to for each probe"
        ),
        Some(limit) => tracing::info!(limit, needed, instances = known.len(), "open files"),
        None => tracing::info!(needed, instances = known.len(), "open files: no limit"),
    }
}
