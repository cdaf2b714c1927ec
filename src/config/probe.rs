//! Section: how a probe is bounded and batched.

use crate::key::section;

section! {
    /// How a probe is bounded and batched.
    pub struct Probe in probe, "Probes";
    shard_size: u64 = 100 => "ProbeShardSize" (New), Effective, Live,
        "Servers per probe job; also the size of the batch in which results are written.";
    connect_timeout_milliseconds: u64 = 1000 => "ProbeConnectTimeoutMilliseconds" (New), Effective, Live,
        "Longest wait for a connection to a probed server.";
    read_timeout_milliseconds: u64 = 1000 => "ProbeReadTimeoutMilliseconds" (New), Effective, Live,
        "Longest wait for an answer of a probed server.";
    primary_watch_seconds: u64 = 1 => "PrimaryWatchSeconds" (New), Effective, Live,
        "How long the warm connection to a primary may rest before the server is asked whether it is there, so that a frozen or cut off one is noticed before its next poll; 0 = never. That a connection to a primary or an intermediate source ends is noticed in any case.";
    slow_facts_seconds: u64 = 300 => "ProbeSlowFactsSeconds" (New), Effective, Live,
        "Facts that rarely change (version, names, data center, ...) are read again after this long, and whenever the server restarted.";
}
