//! Section: workers, and the node they run on.

use crate::key::section;

section! {
    /// Workers, and the node they run on.
    pub struct Worker in worker, "Workers and nodes";
    datacenters: Vec<String> = Vec::new() => "WorkerDatacenters" (New), Effective, Restart,
        "Data centers whose lanes the workers of this process serve, like `--datacenter`; empty = all. A lane that no live worker serves is served by all.";
    concurrency: u64 = 32 => "WorkerConcurrency" (New), Effective, Restart,
        "Jobs a worker runs at once. A probe job covers a whole shard of servers.";
    node_name: String = String::new() => "NodeName" (New), Effective, Restart,
        "Name of this process in the registry of nodes; empty = made from host name and process id.";
    node_heartbeat_seconds: u64 = 5 => "NodeHeartbeatSeconds" (New), Effective, Restart,
        "How often each process reports itself to the registry of nodes, which takes it for dead after 15 seconds of silence. The jobs of a dead worker go to others sooner, by heartbeats of their own.";
    operation_drain_seconds: u64 = 300 => "OperationDrainSeconds" (New), Effective, Live,
        "How long an operation waits for a replica to apply what it has received before its source is changed; then the move fails and the replica goes on as before.";
    leader_lease_seconds: u64 = 3 => "LeaderLeaseSeconds" (New), Effective, Restart,
        "How long a service may lead without renewing. Bounds the time without a leader after a crash; renewed at a third of it.";
    connection_budget: u64 = 0 => "ConnectionBudget" (New), Effective, Restart,
        "Most warm connections to managed servers that a process keeps; beyond it servers are connected to anew for each probe. 0 = derived from the limit on file descriptors.";
}
