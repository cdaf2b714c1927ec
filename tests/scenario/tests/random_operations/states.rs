//! Who replicates from whom, as the servers say, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use domain::plan::Request;

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// By name, or host and port.
    pub(crate) source: String,
    pub(crate) io: String,
    pub(crate) sql: String,
    pub(crate) delay: u32,
}

impl State {
    /// Do the receiver and the applier want to run?
    pub(crate) fn runs(&self) -> (bool, bool) {
        (self.io != "No", self.sql != "No")
    }
}

pub(crate) type States = BTreeMap<String, State>;

/// Threads of the server that this operation is about, once it is done.
pub(crate) fn wanted(request: &Request, (io, sql): (bool, bool)) -> (bool, bool) {
    match request {
        Request::StopReplica { .. } | Request::StopReplicaNice { .. } => (false, false),
        Request::StartReplica { .. } | Request::RestartReplica { .. } => (true, true),
        Request::StopReplicaIo { .. } => (false, sql),
        Request::StopReplicaSql { .. } => (io, false),
        _ => (io, sql),
    }
}

/// Nobody follows itself; rings are of two.
pub(crate) fn is_one_topology(states: &States) -> Result<()> {
    for name in states.keys() {
        let mut way = vec![name.as_str()];
        while let Some(source) = states.get(way[way.len() - 1]).map(|state| state.source.as_str()) {
            if let Some(at) = way.iter().position(|passed| *passed == source) {
                ensure!(way.len() - at == 2, "a ring: {way:?}");
                break;
            }
            way.push(source);
        }
    }
    Ok(())
}

/// The primary, and the servers from which running links lead there.
pub(crate) fn attached(states: &States) -> BTreeSet<String> {
    let mut attached = BTreeSet::from(["a".to_owned()]);
    for _ in states {
        for (name, state) in states.iter().filter(|(_, state)| state.runs() == (true, true)) {
            if attached.contains(&state.source) {
                attached.insert(name.clone());
            }
        }
    }
    attached
}
