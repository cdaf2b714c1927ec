//! Section: raft of the original. Here nodes share a backend and elect a leader in it; for a backend that survives the
//! loss of a server use a replicated one.

use crate::key::section;
use crate::value::text;

section! {
    /// Raft of the original: known, refused when switched on.
    pub struct Raft in raft, "Raft";
    enabled: bool = false => "RaftEnabled", Unsupported("leader election in a shared, replicated backend"), Restart,
        "Run as a raft node. True is refused.";
    data_dir: String = String::new() => "RaftDataDir", Unsupported("leader election in a shared, replicated backend"), Restart,
        "Directory of the raft log.";
    bind: String = text("127.0.0.1:10008") => "RaftBind", Unsupported("leader election in a shared, replicated backend"), Restart,
        "Address to listen on.";
    advertise: String = String::new() => "RaftAdvertise", Unsupported("leader election in a shared, replicated backend"), Restart,
        "Address told to the others; empty = `RaftBind`.";
    default_port: u16 = 10008 => "DefaultRaftPort", Unsupported("leader election in a shared, replicated backend"), Restart,
        "Port of addresses without one.";
    nodes: Vec<String> = Vec::new() => "RaftNodes", Unsupported("leader election in a shared, replicated backend"), Restart,
        "All members.";
}
