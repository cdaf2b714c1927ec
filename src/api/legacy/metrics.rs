//! Metrics of discovery, queues, backend queries and the write buffer: single samples and their aggregates.
//!
//! Times are RFC 3339 ([`crate::clock::rfc3339`]), latencies of samples are nanoseconds, those of aggregates seconds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One probe.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DiscoveryMetric {
    pub timestamp: String,
    pub hostname: String,
    pub port: u16,
    pub backend_latency_seconds: f64,
    pub instance_latency_seconds: f64,
    pub total_latency_seconds: f64,
    /// `null`, or something whose shape depends on the error: readers treat it as opaque.
    pub err: Option<Value>,
}

/// Probes of a period, aggregated.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AggregatedDiscoveryMetrics {
    pub first_seen: String,
    pub last_seen: String,
    pub count_distinct_instance_keys: u64,
    pub count_distinct_ok_instance_keys: u64,
    pub count_distinct_failed_instance_keys: u64,
    pub failed_discoveries: u64,
    /// Those that succeeded; the original counts all.
    pub successful_discoveries: u64,
    pub mean_total_seconds: f64,
    pub mean_backend_seconds: f64,
    pub mean_instance_seconds: f64,
    pub failed_mean_total_seconds: f64,
    pub failed_mean_backend_seconds: f64,
    pub failed_mean_instance_seconds: f64,
    pub max_total_seconds: f64,
    pub max_backend_seconds: f64,
    pub max_instance_seconds: f64,
    pub failed_max_total_seconds: f64,
    pub failed_max_backend_seconds: f64,
    pub failed_max_instance_seconds: f64,
    pub median_total_seconds: f64,
    pub median_backend_seconds: f64,
    pub median_instance_seconds: f64,
    pub failed_median_total_seconds: f64,
    pub failed_median_backend_seconds: f64,
    pub failed_median_instance_seconds: f64,
    pub p95_total_seconds: f64,
    pub p95_backend_seconds: f64,
    pub p95_instance_seconds: f64,
    pub failed_p95_total_seconds: f64,
    pub failed_p95_backend_seconds: f64,
    pub failed_p95_instance_seconds: f64,
}

/// How full the discovery queue was.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueueMetric {
    pub active: u64,
    pub queued: u64,
}

/// How full the discovery queue was in a period.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AggregatedQueueMetrics {
    pub active_min_entries: f64,
    pub active_mean_entries: f64,
    pub active_median_entries: f64,
    pub active_p95_entries: f64,
    pub active_max_entries: f64,
    pub queued_min_entries: f64,
    pub queued_mean_entries: f64,
    pub queued_median_entries: f64,
    pub queued_p95_entries: f64,
    pub queued_max_entries: f64,
}

/// One query on the backend.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryMetric {
    pub timestamp: String,
    pub wait_latency: u64,
    pub execute_latency: u64,
    /// `null`, or something whose shape depends on the error: readers treat it as opaque.
    pub err: Option<Value>,
}

/// Queries on the backend in a period.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AggregatedQueryMetrics {
    pub count: u64,
    pub max_latency_seconds: f64,
    pub mean_latency_seconds: f64,
    pub median_latency_seconds: f64,
    pub p95_latency_seconds: f64,
    pub max_wait_seconds: f64,
    pub mean_wait_seconds: f64,
    pub median_wait_seconds: f64,
    pub p95_wait_seconds: f64,
}

/// One flush of the write buffer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WriteBufferMetric {
    pub timestamp: String,
    pub instances: u64,
    pub wait_latency: u64,
    pub write_latency: u64,
}

/// Flushes of the write buffer in a period.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AggregatedWriteBufferMetric {
    pub instance_write_buffer_size: u64,
    pub instance_flush_interval_milliseconds: u64,
    pub count_instances: u64,
    pub max_instances: f64,
    pub mean_instances: f64,
    pub median_instances: f64,
    pub p95_instances: f64,
    pub max_wait_seconds: f64,
    pub mean_wait_seconds: f64,
    pub median_wait_seconds: f64,
    pub p95_wait_seconds: f64,
    pub max_write_seconds: f64,
    pub mean_write_seconds: f64,
    pub median_write_seconds: f64,
    pub p95_write_seconds: f64,
}
