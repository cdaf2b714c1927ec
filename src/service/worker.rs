//! The worker of a process: the job runner with the context its jobs need.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{MySQLHostnameResolveMethod, Settings};
use jobs::{Configuration, Context, SharedSettings};
use mysql::{
    ConnectSettings, DetectionQueries, Filters, HostnameMethod, KeyFilters, ProbeSettings, Secret, TlsMode,
    TlsSettings, UserFilters,
};
use queue::{Concurrency, DbClock, Queue, Runner, WorkerConfig};
use sqlx::MySqlPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::Handles;

/// File descriptors kept for everything but managed servers: backend pool, listeners, logs, libraries.
const RESERVED_DESCRIPTORS: u64 = 256;
/// Probes under way at once: fewer would not finish a fleet within its interval, more only fight for the processor.
const LEAST_UNDER_WAY: u64 = 16;
const MOST_UNDER_WAY: u64 = 512;
/// A slot may be this late before its connections count as unused.
const IDLE_SLACK: Duration = Duration::from_secs(3);
/// How often a worker looks whether the settings were reloaded.
const FOLLOW_SETTINGS_EVERY: Duration = Duration::from_secs(2);

/// How this process's worker is to work.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Datacenters whose lanes it serves; empty: all.
    pub datacenters: Vec<String>,
    /// Jobs at once.
    pub concurrency: usize,
    /// Most open files of this process, if known.
    pub descriptor_limit: Option<u64>,
}

/// Runs the worker until `shutdown`, then drains it.
pub async fn run_worker(
    handles: Arc<Handles>,
    options: WorkerOptions,
    shutdown: CancellationToken,
) -> Result<(), queue::Error> {
    let config = handles.config.get();
    let budget = Budget::new(&config.settings, options.descriptor_limit);
    tracing::info!(
        connections = budget.warm,
        descriptors = options.descriptor_limit,
        "keeps at most this many warm connections to managed servers; servers beyond are connected to for each probe"
    );
    let mut ctx = context(handles.pool.clone(), Arc::clone(&handles.clock), handles.config.clone(), &budget);
    ctx.news = handles.bells.news.clone();
    let ctx = Arc::new(ctx);
    let mut worker = WorkerConfig::new(&handles.identity.name);
    worker.token.clone_from(&handles.identity.token);
    worker.datacenters.clone_from(&options.datacenters);
    worker.concurrency = concurrency(&config.settings, options.concurrency);
    worker.poll_interval = Duration::from_millis(config.settings.queue.poll_milliseconds);
    worker.clock = Arc::clone(&handles.clock);
    worker.bell = handles.bells.work.clone();
    let runner = Runner::new(handles.pool.clone(), worker, jobs::registry(), Arc::clone(&ctx));
    let follow = tokio::spawn(follow_settings(Arc::clone(&ctx), budget.warm, shutdown.clone()));
    let watch = AbortOnDropHandle::new(tokio::spawn(jobs::watch_sources(ctx, shutdown.clone())));
    let ended = runner.run(shutdown).await;
    follow.abort();
    drop(watch);
    ended
}

/// What jobs need.
pub(crate) fn context(pool: MySqlPool, clock: Arc<DbClock>, config: SharedSettings, budget: &Budget) -> Context {
    let probing = probe_settings(&config.get(), budget.warm);
    Context::new(pool, clock, config, probing, budget.under_way)
}

/// Hands reloaded settings to the prober.
async fn follow_settings(ctx: Arc<Context>, budget: usize, shutdown: CancellationToken) {
    let mut seen = ctx.config.get();
    let mut last = ctx.prober.stats();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(FOLLOW_SETTINGS_EVERY) => {}
        }
        let now = ctx.config.get();
        if !Arc::ptr_eq(&seen, &now) {
            ctx.prober.update_settings(probe_settings(&now, budget));
            seen = Arc::clone(&now);
        }
        // A shard that went to another worker leaves its connections here: close what no slot came for.
        let interval = Duration::from_secs(now.settings.discovery.instance_poll_seconds);
        ctx.prober.close_idle(interval * 2 + IDLE_SLACK).await;
        let stats = ctx.prober.stats();
        metrics::counter!("orchestrator_probe_round_trips_total").increment(stats.round_trips - last.round_trips);
        metrics::counter!("orchestrator_probe_connections_opened_total")
            .increment(stats.connections_opened - last.connections_opened);
        metrics::gauge!("orchestrator_probe_connections_open").set(stats.open_connections as f64);
        last = stats;
    }
}

/// Jobs of recoveries and of suspicions at once, at least: they are rare, mostly wait for servers, and when many clusters
/// lose their primaries together none may wait until another is done.
const LEAST_URGENT: usize = 32;

/// How many jobs of each queue run at once. Dead servers get the slots that the settings give them, if they give any.
fn concurrency(settings: &Settings, total: usize) -> Concurrency {
    let mut split = Concurrency::split(total);
    for queue in [Queue::Recovery, Queue::Urgent] {
        let slots = split.of(queue).max(LEAST_URGENT);
        split = split.with(queue, slots);
    }
    match settings.discovery.dead_instance_discovery_max_concurrency {
        0 => split,
        dead => split.with(Queue::DeadProbes, usize::try_from(dead).unwrap_or(usize::MAX)),
    }
}

/// How many connections to managed servers this process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Kept warm between probes.
    warm: usize,
    /// Probes under way at once, each of which may need one more.
    under_way: usize,
}

impl Budget {
    pub(crate) fn new(settings: &Settings, descriptor_limit: Option<u64>) -> Self {
        let possible = descriptor_limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED_DESCRIPTORS));
        let under_way = (possible / 4).clamp(LEAST_UNDER_WAY, MOST_UNDER_WAY);
        let possible = possible.saturating_sub(under_way);
        let configured = settings.worker.connection_budget;
        if configured > possible {
            tracing::warn!(
                configured,
                possible,
                "ConnectionBudget is above what the limit on open files allows; raise LimitNOFILE"
            );
        }
        let warm = if configured == 0 { possible } else { configured.min(possible) };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self { warm: size(warm), under_way: size(under_way) }
    }
}

/// What the configuration says about probing, in the words of the `mysql` crate.
pub fn probe_settings(config: &Configuration, max_connections: usize) -> ProbeSettings {
    let settings = &config.settings;
    let classification = &settings.classification;
    ProbeSettings {
        connect: ConnectSettings {
            user: settings.topology.user.clone(),
            password: Secret::new(settings.topology.password.expose()),
            connect_timeout: Duration::from_millis(settings.probe.connect_timeout_milliseconds),
            read_timeout: Duration::from_millis(settings.probe.read_timeout_milliseconds),
            tls: tls(settings),
        },
        hostname_method: match settings.hostnames.mysql_hostname_resolve_method {
            MySQLHostnameResolveMethod::None => HostnameMethod::Given,
            MySQLHostnameResolveMethod::Hostname => HostnameMethod::Hostname,
            MySQLHostnameResolveMethod::ReportHost => HostnameMethod::ReportHost,
        },
        discover_by_show_replicas: settings.discovery.discover_by_show_slave_hosts,
        skip_maxscale_check: settings.discovery.skip_max_scale_check,
        queries: DetectionQueries {
            data_center: classification.detect_data_center_query.clone(),
            region: classification.detect_region_query.clone(),
            physical_environment: classification.detect_physical_environment_query.clone(),
            instance_alias: classification.detect_instance_alias_query.clone(),
            cluster_alias: classification.detect_cluster_alias_query.clone(),
            cluster_domain: classification.detect_cluster_domain_query.clone(),
            promotion_rule: classification.detect_promotion_rule_query.clone(),
            semi_sync_priority: classification.detect_semi_sync_enforced_query.clone(),
            pseudo_gtid: settings.pseudo_gtid.detect_query.clone(),
            replication_lag: settings.discovery.replication_lag_query.clone(),
        },
        has_credentials_query: !settings.discovery.replication_credentials_query.is_empty(),
        patterns: mysql::Patterns {
            data_center: config.patterns.data_center.clone(),
            region: config.patterns.region.clone(),
            physical_environment: config.patterns.physical_environment.clone(),
        },
        filters: filters(config),
        slow_facts_every: Duration::from_secs(settings.probe.slow_facts_seconds),
        max_connections,
    }
}

fn tls(settings: &Settings) -> TlsSettings {
    let topology = &settings.topology;
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    TlsSettings {
        mode: if topology.use_mutual_tls {
            TlsMode::Always
        } else if topology.use_mixed_tls {
            TlsMode::Mixed
        } else {
            TlsMode::Off
        },
        skip_verify: topology.ssl_skip_verify,
        ca_file: file(&topology.ssl_ca_file),
        cert_file: file(&topology.ssl_cert_file),
        key_file: file(&topology.ssl_private_key_file),
        remember: Duration::from_secs(
            topology.tls_cache_ttl_factor.saturating_mul(settings.discovery.instance_poll_seconds),
        ),
    }
}

fn filters(config: &Configuration) -> Filters {
    let discovery = &config.settings.discovery;
    // The loader refuses what cannot be compiled.
    Filters {
        hosts: KeyFilters::new(&discovery.discovery_ignore_hostname_filters),
        replicas: KeyFilters::new(&discovery.discovery_ignore_replica_hostname_filters),
        sources: KeyFilters::new(&discovery.discovery_ignore_master_hostname_filters),
        replication_users: UserFilters::new(&discovery.discovery_ignore_replication_username_filters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_may_say_how_many_dead_servers_are_tried_at_once() {
        let mut settings = Settings::default();
        assert_eq!(concurrency(&settings, 32).of(Queue::DeadProbes), Concurrency::split(32).of(Queue::DeadProbes));
        settings.discovery.dead_instance_discovery_max_concurrency = 9;
        let concurrency = concurrency(&settings, 32);
        assert_eq!(concurrency.of(Queue::DeadProbes), 9);
        assert_eq!(concurrency.of(Queue::Probes), Concurrency::split(32).of(Queue::Probes), "nobody else's share");
    }

    #[test]
    fn a_low_limit_on_descriptors_leaves_fewer_warm_connections_never_none_under_way() {
        let budget = |limit| Budget::new(&Settings::default(), Some(limit));
        assert_eq!(budget(20_000), Budget { warm: 19_232, under_way: 512 });
        assert_eq!(budget(1024), Budget { warm: 576, under_way: 192 });
        assert_eq!(budget(300), Budget { warm: 28, under_way: 16 });
        assert_eq!(budget(64), Budget { warm: 0, under_way: 16 });
    }
}
