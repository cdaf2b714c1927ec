//! The limit on open files: what it is, what this process needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use service::http;
use store::Backend;

/// Descriptors for everything but connections: listeners, some of their clients, logs, libraries.
const FOR_THE_REST: u64 = 256;
/// Those of them that clients of the API may have.
const FOR_CLIENTS: u64 = 96;
/// Where descriptors are scarce, clients of the API get at most this part of them: one in eight.
const CLIENTS_PART: u64 = 8;

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

/// What a service gives to the clients of its API, and what its worker may count on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Most clients at once.
    pub(super) clients: usize,
    /// The limit by which the worker divides the rest.
    pub(super) worker: Option<u64>,
}

/// Divides the descriptors of a service, so that however many clients come, its worker can ask its servers.
pub(super) fn divide(limit: Option<u64>, max_clients: u64) -> Shares {
    let clients = limit.map_or(max_clients, |limit| max_clients.min(limit / CLIENTS_PART).max(1));
    if clients < max_clients {
        tracing::warn!(
            configured = max_clients,
            possible = clients,
            "HTTPMaxConnections is above what the limit on open files allows; raise LimitNOFILE"
        );
    }
    let more = (clients + http::SPARE_CONNECTIONS as u64).saturating_sub(FOR_CLIENTS);
    Shares {
        clients: usize::try_from(clients).unwrap_or(usize::MAX),
        worker: limit.map(|limit| limit.saturating_sub(more)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_nothing_from_the_worker_where_descriptors_are_scarce() {
        let shares = |limit, clients| {
            let Shares { clients, worker } = divide(limit, clients);
            (clients, worker)
        };
        assert_eq!(shares(None, 1024), (1024, None));
        assert_eq!(shares(Some(20_000), 1024), (1024, Some(19_040)));
        assert_eq!(shares(Some(20_000), 50), (50, Some(20_000)), "they fit into what is kept free anyway");
        assert_eq!(shares(Some(1024), 1024), (128, Some(960)));
        assert_eq!(shares(Some(300), 1024), (37, Some(300)));
        assert_eq!(shares(Some(4), 1024), (1, Some(4)));
    }
}
