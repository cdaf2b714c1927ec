//! Section: finding servers and polling them.

use crate::key::section;

section! {
    /// Finding servers and polling them.
    pub struct Discovery in discovery, "Discovery and polling";
    instance_poll_seconds: u64 = 5 => "InstancePollSeconds", Effective, Live,
        "Time between two polls of one server.";
    reasonable_instance_check_seconds: u64 = 1 => "ReasonableInstanceCheckSeconds", Unused("every probe ends by deadlines of its own, see `ProbeReadTimeoutMilliseconds`; the last one that ended decides"), Live,
        "How far beyond the poll interval a check may run before the server's last check counts as invalid.";
    dead_instance_poll_seconds_multiply_factor: f64 = 2.0 => "DeadInstancePollSecondsMultiplyFactor", Effective, Live,
        "Backoff for unreachable servers: the n-th wait is `InstancePollSeconds * factor^(n-1)`. At least 1; 1 is no backoff.",
        was "1" because "without backoff the dead take as much polling as the living";
    dead_instance_poll_seconds_max: u64 = 300 => "DeadInstancePollSecondsMax", Effective, Live,
        "Upper bound of that wait. At least `InstancePollSeconds`.";
    dead_instance_discovery_max_concurrency: u64 = 0 => "DeadInstanceDiscoveryMaxConcurrency", Effective, Restart,
        "How many batches of unreachable servers (up to 50 each) a worker tries at once; 0 = derived from its concurrency. They always have a lane of their own.";
    dead_instance_discovery_logs_enabled: bool = false => "DeadInstanceDiscoveryLogsEnabled", Effective, Live,
        "Log (at level debug) when a server cannot be reached (again, if it was unreachable before) or returns.";
    discovery_max_concurrency: u64 = 300 => "DiscoveryMaxConcurrency", Superseded("WorkerConcurrency"), Restart,
        "Number of discovery workers in the process.";
    discovery_queue_capacity: u64 = 100_000 => "DiscoveryQueueCapacity", Unused("the queue is in the backend, with at most one waiting job per server or shard"), Restart,
        "Capacity of the in-memory discovery queue.";
    discovery_queue_max_statistics_size: i64 = 120 => "DiscoveryQueueMaxStatisticsSize", Unused("queue figures are in `/metrics`"), Restart,
        "Number of per-second samples of the in-memory queue.";
    discovery_collection_retention_seconds: u64 = 120 => "DiscoveryCollectionRetentionSeconds", Unused("discovery figures are in `/metrics`"), Live,
        "Retention of figures on single discoveries.";
    discovery_seeds: Vec<String> = Vec::new() => "DiscoverySeeds", Effective, Restart,
        "Servers `host[:port]` to start from; registered once where unknown.";
    discover_by_show_slave_hosts: bool = false => "DiscoverByShowSlaveHosts", Effective, Live,
        "Find replicas by the server's own list of them (needs `report_host` on the replicas), and by its process list only where that gives nothing.";
    skip_max_scale_check: bool = true => "SkipMaxScaleCheck", Effective, Live,
        "Do not test whether a server is a MaxScale binlog server.";
    lower_replica_version_allowed: bool = false => "LowerReplicaVersionAllowed", Effective, Live,
        "Permit a replica of a lower major version than its source.";
    use_super_read_only: bool = false => "UseSuperReadOnly", Effective, Live,
        "Set and clear `super_read_only` together with `read_only`.";
    unseen_instance_forget_hours: u64 = 240 => "UnseenInstanceForgetHours", Effective, Live,
        "A server not reached for this long is forgotten; also the lifetime of what is derived from it.";
    snapshot_topologies_interval_hours: u64 = 0 => "SnapshotTopologiesIntervalHours", Effective, Live,
        "Take a snapshot of all topologies every so many hours; 0 = never. `SnapshotSchedule` is finer.";
    instance_bulk_operations_wait_timeout_seconds: u64 = 10 => "InstanceBulkOperationsWaitTimeoutSeconds", Superseded("OperationDrainSeconds"), Live,
        "Longest wait per server in operations on many servers.";
    max_concurrent_replica_operations: u64 = 10 => "MaxConcurrentReplicaOperations", Effective, Live,
        "How many replicas one operation works on at once.";
    buffer_instance_writes: bool = false => "BufferInstanceWrites", Unused("results are always written in batches"), Restart,
        "Collect results and write them together.";
    instance_write_buffer_size: i64 = 100 => "InstanceWriteBufferSize", Superseded("ProbeShardSize"), Restart,
        "Write when this many results are collected.";
    instance_flush_interval_milliseconds: i64 = 100 => "InstanceFlushIntervalMilliseconds", Unused("results are written as a probe job ends"), Restart,
        "Write at least this often.";
    discovery_ignore_hostname_filters: Vec<String> = Vec::new() => "DiscoveryIgnoreHostnameFilters", Effective, Live,
        "Matching servers are never discovered, not even as sources.";
    discovery_ignore_replica_hostname_filters: Vec<String> = Vec::new() => "DiscoveryIgnoreReplicaHostnameFilters", Effective, Live,
        "Do not follow a source to matching replicas.";
    discovery_ignore_master_hostname_filters: Vec<String> = Vec::new() => "DiscoveryIgnoreMasterHostnameFilters", Effective, Live,
        "Do not follow a replica to a matching source.";
    discovery_ignore_replication_username_filters: Vec<String> = Vec::new() => "DiscoveryIgnoreReplicationUsernameFilters", Effective, Live,
        "Skip replicas whose replication user matches.";
    enable_discovery_filters_logs: bool = true => "EnableDiscoveryFiltersLogs", Effective, Live,
        "Log (at level debug) each server that a probe left out because of a discovery filter.";
    replication_lag_query: String = String::new() => "ReplicationLagQuery", Effective, Live,
        "Query run on each replica: one row, one number, the lag in seconds; replaces the server's own figure.";
    slave_lag_query: String = String::new() => "SlaveLagQuery", Synonym("ReplicationLagQuery"), Live,
        "Older name; contradicting the new one is an error.";
    replication_credentials_query: String = String::new() => "ReplicationCredentialsQuery", Effective, Live,
        "Query for replication credentials: user, password, CA, certificate, key. Asked by make-co-master of the replica, for a primary that never was a replica itself; without it, or when it gives no user, they are read from the replica's own table (MySQL).";
    reasonable_replication_lag_seconds: u64 = 10 => "ReasonableReplicationLagSeconds", Effective, Live,
        "More lag than this is listed as a problem.";
    reasonable_maintenance_replication_lag_seconds: u64 = 20 => "ReasonableMaintenanceReplicationLagSeconds", Effective, Live,
        "A replica that lags more shows as `lag` in topologies; moves by file and position are refused while it does.";
    verify_replication_filters: bool = false => "VerifyReplicationFilters", Effective, Live,
        "A server without replication filters may not replicate from one that has some.";
    problem_ignore_hostname_filters: Vec<String> = Vec::new() => "ProblemIgnoreHostnameFilters", Effective, Live,
        "Leave matching servers out of the list of problems.";
}
