//! What people may ask for.

use domain::plan::Request;
use harness::Topology;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use scenario::key;

use crate::arena::SERVERS;

/// Any operation on any servers, sensible or not: what is not is refused.
pub(crate) fn random_request(topology: &Topology, random: &mut StdRng) -> Request {
    let name = |random: &mut StdRng| SERVERS.choose(random).map_or("a", |(name, _)| *name);
    let (one, other) = (name(random), name(random));
    let (instance, below) = (key(&topology[one]), key(&topology[other]));
    let of = instance.clone();
    let pattern = if random.random_bool(0.3) { key(&topology[name(random)]).to_string() } else { String::new() };
    let maybe = random.random_bool(0.5).then(|| below.clone());
    match random.random_range(0..44) {
        0..6 => Request::Relocate { instance, below },
        6..8 => Request::RelocateReplicas { of, below, pattern },
        8..11 => Request::MoveUp { instance },
        11 => Request::MoveUpReplicas { of, pattern },
        12..15 => Request::MoveBelow { instance, below },
        15..17 => Request::MoveGtid { instance, below },
        17 => Request::MoveReplicasGtid { of, below, pattern },
        18 => Request::MoveEquivalent { instance, below },
        19 => Request::Repoint { instance, below: maybe },
        20 => Request::RepointReplicas { of, below: None, pattern },
        21..24 => Request::TakeMaster { instance },
        24..26 => Request::TakeSiblings { instance },
        26 => Request::MakeCoMaster { instance },
        27..29 => Request::MakeLocalMaster { instance },
        29 => Request::RegroupReplicas { of, gtid_only: false },
        30 => Request::StopReplica { instance },
        31..33 => Request::StartReplica { instance },
        33 => Request::RestartReplica { instance },
        34 => Request::StopReplicaNice { instance },
        35 => Request::StopReplicaIo { instance },
        36 => Request::StopReplicaSql { instance },
        37 => Request::DelayReplication { instance, seconds: random.random_range(0..2) },
        38 => Request::FlushBinaryLogs { instance, until: String::new() },
        39 => Request::DisableGtid { instance },
        40 => Request::EnableGtid { instance },
        41 => Request::DetachReplica { instance },
        42 => Request::ReattachReplica { instance },
        _ => Request::SkipQuery { instance },
    }
}
