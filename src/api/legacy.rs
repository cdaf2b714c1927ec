//! The compatibility API: replies equal to those of the original orchestrator, in its words.
//!
//! Field names, their order and their types are an interface that scripts, dashboards and load balancers read. Hence
//! one rule: a struct here lists its fields in emission order, and a snapshot holds it. Words such as "master" and
//! "slave", and misspellings, are part of that interface. Write replies with [`crate::json::to_legacy_bytes`].

mod analysis;
mod audit;
mod candidate;
mod cluster;
mod coordinates;
mod envelope;
mod health;
mod host;
mod instance;
mod instance_view;
mod key;
mod kv;
mod maintenance;
mod metrics;
mod null;
mod pool;
mod recovery;
mod settings;

pub use analysis::{ReplicationAnalysis, ReplicationAnalysisChangelog};
pub use audit::Audit;
pub use candidate::CandidateDatabaseInstance;
pub use cluster::ClusterInfo;
pub use coordinates::{Coordinates, InstanceBinlogCoordinates};
pub use envelope::{Code, Envelope};
pub use health::{HealthStatus, NodeHealth};
pub use host::{HostAttributes, ResolveCache, ResolveEntry};
pub use instance::{Instance, Qsp};
pub use key::Key;
pub use kv::KVPair;
pub use maintenance::Maintenance;
pub use metrics::{
    AggregatedDiscoveryMetrics, AggregatedQueryMetrics, AggregatedQueueMetrics, AggregatedWriteBufferMetric,
    DiscoveryMetric, QueryMetric, QueueMetric, WriteBufferMetric,
};
pub use null::{NullBool, NullInt};
pub use pool::PoolMap;
pub use recovery::{BlockedTopologyRecovery, TopologyRecovery, TopologyRecoveryStep};
pub use settings::{AutomatedRecoveryFilters, RequestHeaders};

#[cfg(test)]
mod tests;
