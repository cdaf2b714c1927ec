//! What a configuration must not say. Every check adds to the list, so that all problems are told at once.

use std::str::FromStr;

use crate::address::{parse_host_port, parse_listen_address};
use crate::auth::AuthMethod;
use crate::key::Status;
use crate::problem::Problem;
use crate::settings::{Settings, keys};
use crate::suggest::{nearest, printable};

/// Bounds of numbers, both inclusive. Zero of something that must happen, or a size that would exhaust the process.
const RANGES: &[(&str, i64, i64)] = &[
    ("InstancePollSeconds", 1, 86_400),
    ("MySQLOrchestratorPort", 1, 65_535),
    ("DefaultInstancePort", 1, 65_535),
    ("MySQLOrchestratorMaxPoolConnections", 1, 10_000),
    ("HTTPMaxConnections", 1, 100_000),
    ("MySQLOrchestratorReadTimeoutSeconds", 1, 3_600),
    ("MySQLConnectTimeoutSeconds", 1, 3_600),
    ("MySQLTopologyReadTimeoutSeconds", 1, 86_400),
    ("MySQLDiscoveryReadTimeoutSeconds", 1, 3_600),
    ("UnseenInstanceForgetHours", 1, 87_600),
    ("ExpiryHostnameResolvesMinutes", 1, 5_256_000),
    ("InstancePoolExpiryMinutes", 1, 5_256_000),
    ("CandidateInstanceExpireMinutes", 1, 5_256_000),
    ("AccessTokenUseExpirySeconds", 1, 86_400),
    ("AccessTokenExpiryMinutes", 1, 5_256_000),
    ("AuditPurgeDays", 1, 3_650),
    ("MaxConcurrentReplicaOperations", 1, 1_000),
    ("DeadInstanceDiscoveryMaxConcurrency", 0, 10_000),
    ("BinlogEventsChunkSize", 1, 1_000_000),
    ("TLSCacheTTLFactor", 1, 1_000_000),
    ("WorkerConcurrency", 1, 10_000),
    ("NodeHeartbeatSeconds", 1, 5),
    ("OperationDrainSeconds", 1, 1_800),
    ("LeaderLeaseSeconds", 1, 60),
    ("ConnectionBudget", 0, 1_000_000),
    ("ProbeShardSize", 1, 1_000),
    ("ProbeConnectTimeoutMilliseconds", 1, 60_000),
    ("ProbeReadTimeoutMilliseconds", 1, 60_000),
    ("ProbeSlowFactsSeconds", 1, 86_400),
    ("QueuePollMilliseconds", 1, 60_000),
    ("HookTimeoutSeconds", 1, 3_600),
    ("FailureConfirmationSeconds", 0, 3_600),
    ("RecoveryMaxConcurrent", 0, 100_000),
    ("QueueRetentionHours", 1, 87_600),
    ("FailedJobRetentionDays", 1, 3_650),
];

/// The longest duration that makes sense, ten years, by the unit in the key's name.
const LONGEST: &[(&str, u64)] = &[
    ("Milliseconds", 315_360_000_000),
    ("Seconds", 315_360_000),
    ("Minutes", 5_256_000),
    ("Hours", 87_600),
    ("Days", 3_650),
];

/// Values that exclude each other, as written: before anything is derived.
pub(crate) fn contradictions(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let recovery = &settings.recovery;
    if recovery.fail_master_promotion_if_sql_thread_not_up_to_date
        && recovery.delay_master_promotion_if_sql_thread_not_up_to_date
    {
        problems.push(Problem::key(
            "FailMasterPromotionIfSQLThreadNotUpToDate",
            "and DelayMasterPromotionIfSQLThreadNotUpToDate exclude each other",
            "set only one of them",
        ));
    }
    let (newer, older) =
        (recovery.postpone_replica_recovery_on_lag_minutes, recovery.postpone_slave_recovery_on_lag_minutes);
    if newer != 0 && older != 0 && newer != older {
        problems.push(Problem::key(
            "PostponeReplicaRecoveryOnLagMinutes",
            "and its older name PostponeSlaveRecoveryOnLagMinutes differ",
            "remove the older name",
        ));
    }
    problems
}

/// All other checks, on the final values.
pub(crate) fn values(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    unsupported(settings, &mut problems);
    ranges(settings, &mut problems);
    polling(settings, &mut problems);
    listener(settings, &mut problems);
    tls_pairs(settings, &mut problems);
    authentication(settings, &mut problems);
    addresses(settings, &mut problems);
    schedules(settings, &mut problems);
    problems
}

fn unsupported(settings: &Settings, problems: &mut Vec<Problem>) {
    let backend = settings.backend.backend_db.to_lowercase();
    if backend.contains("sqlite") {
        problems.push(Problem::key(
            "BackendDB",
            "is sqlite, but the backend must be a MySQL-compatible server",
            "set it to mysql and give MySQLOrchestratorHost, MySQLOrchestratorDatabase and a user",
        ));
    } else if !["", "mysql", "mariadb"].contains(&backend.as_str()) {
        let known =
            nearest(&backend, ["mysql"].into_iter()).map_or(String::new(), |near| format!("did you mean {near}? "));
        let text = format!("has the unknown value `{}`", printable(&settings.backend.backend_db));
        problems.push(Problem::key("BackendDB", text, format!("{known}set it to mysql")));
    }
    if settings.raft.enabled {
        problems.push(Problem::key(
            "RaftEnabled",
            "is true, but nodes elect their leader in the shared backend and know no raft",
            "remove it, and point MySQLOrchestratorHost of all nodes at one, if need be replicated, backend: \
             docs/configuration.md, section Raft",
        ));
    }
}

fn ranges(settings: &Settings, problems: &mut Vec<Problem>) {
    for key in keys() {
        let raw = (key.read)(settings).raw();
        let range = RANGES.iter().find(|(name, ..)| *name == key.name);
        if let Some((_, least, most)) = range {
            if !raw.as_i64().is_some_and(|value| (*least..=*most).contains(&value)) {
                let text = format!("is {raw}, which is out of bounds");
                problems.push(Problem::key(key.name, text, format!("give a value from {least} to {most}")));
            }
        } else if !matches!(key.status, Status::Unused(_))
            && let Some((_, longest)) = LONGEST.iter().find(|(unit, _)| key.name.ends_with(unit))
            && raw.as_u64().is_some_and(|value| value > *longest)
        {
            problems.push(Problem::key(
                key.name,
                format!("is {raw}, which is more than ten years"),
                format!("give at most {longest}"),
            ));
        }
    }
}

fn polling(settings: &Settings, problems: &mut Vec<Problem>) {
    let discovery = &settings.discovery;
    let factor = discovery.dead_instance_poll_seconds_multiply_factor;
    if factor < 1.0 || !factor.is_finite() {
        problems.push(Problem::key(
            "DeadInstancePollSecondsMultiplyFactor",
            format!("is {factor}, so that dead servers would be polled more often than living ones"),
            "give at least 1",
        ));
    }
    if discovery.dead_instance_poll_seconds_max < discovery.instance_poll_seconds {
        problems.push(Problem::key(
            "DeadInstancePollSecondsMax",
            format!(
                "is {}, less than InstancePollSeconds, {}",
                discovery.dead_instance_poll_seconds_max, discovery.instance_poll_seconds
            ),
            "raise it to at least InstancePollSeconds",
        ));
    }
    if settings.recovery.fail_master_promotion_on_lag_minutes > 0 && discovery.replication_lag_query.is_empty() {
        problems.push(Problem::key(
            "FailMasterPromotionOnLagMinutes",
            "needs ReplicationLagQuery: the server's own figure is unknown when its source is dead",
            "set ReplicationLagQuery",
        ));
    }
}

fn listener(settings: &Settings, problems: &mut Vec<Problem>) {
    let http = &settings.http;
    if http.listen_socket.is_empty() && parse_listen_address(&http.listen_address).is_none() {
        let text = format!("is no address: `{}`", printable(&http.listen_address));
        problems.push(Problem::key("ListenAddress", text, "write host:port, or :port for all addresses"));
    }
    if !http.status_endpoint.starts_with('/') {
        let text = format!("is no path: `{}`", printable(&http.status_endpoint));
        problems.push(Problem::key("StatusEndpoint", text, "begin it with /"));
    }
    if !http.http_advertise.is_empty() && !is_bare_url(&http.http_advertise) {
        problems.push(Problem::key("HTTPAdvertise", "is not of the form scheme://host:port", "leave out the path"));
    }
    let required = |wanted: bool, by: &str, files: &[(&'static str, &String)], problems: &mut Vec<Problem>| {
        for (key, _) in files.iter().filter(|(_, file)| wanted && file.is_empty()) {
            problems.push(Problem::key(
                key,
                format!("is empty, but {by} needs it"),
                format!("set it, or {by} to false"),
            ));
        }
    };
    let pair = [("SSLPrivateKeyFile", &http.ssl_private_key_file), ("SSLCertFile", &http.ssl_cert_file)];
    required(http.use_ssl, "UseSSL", &pair, problems);
    required(http.use_mutual_tls, "UseMutualTLS", &[("SSLCAFile", &http.ssl_ca_file)], problems);
    if http.use_mutual_tls && !http.use_ssl {
        problems.push(Problem::key(
            "UseMutualTLS",
            "needs UseSSL, without which no certificate is asked for",
            "set UseSSL",
        ));
    }
    if http.use_mutual_tls && http.ssl_valid_ous.is_empty() {
        problems.push(Problem::key(
            "SSLValidOUs",
            "is empty, so that UseMutualTLS would let nobody in",
            "list the units to let in",
        ));
    }
    if settings.agents.serve_agents_http && parse_listen_address(&settings.agents.agents_server_port).is_none() {
        let text = format!("is no address: `{}`", printable(&settings.agents.agents_server_port));
        problems.push(Problem::key("AgentsServerPort", text, "write host:port, or :port for all addresses"));
    }
}

/// A client certificate is of use only with its key.
fn tls_pairs(settings: &Settings, problems: &mut Vec<Problem>) {
    let (backend, topology) = (&settings.backend, &settings.topology);
    let pairs = [
        (
            "MySQLOrchestratorSSLCertFile",
            &backend.ssl_cert_file,
            "MySQLOrchestratorSSLPrivateKeyFile",
            &backend.ssl_private_key_file,
        ),
        (
            "MySQLTopologySSLCertFile",
            &topology.ssl_cert_file,
            "MySQLTopologySSLPrivateKeyFile",
            &topology.ssl_private_key_file,
        ),
    ];
    for (cert_key, cert, private_key, private) in pairs {
        if cert.is_empty() != private.is_empty() {
            let (missing, present) = if cert.is_empty() { (cert_key, private_key) } else { (private_key, cert_key) };
            problems.push(Problem::key(missing, format!("is empty, but {present} is set"), "set both or neither"));
        }
    }
}

fn authentication(settings: &Settings, problems: &mut Vec<Problem>) {
    let auth = &settings.auth;
    let method = auth.authentication_method;
    match method {
        AuthMethod::Basic | AuthMethod::Multi => {
            let by = format!("is empty, but AuthenticationMethod {} needs it", method.word());
            if auth.http_auth_user.is_empty() {
                problems.push(Problem::key("HTTPAuthUser", by.clone(), "set HTTPAuthUser and HTTPAuthPassword"));
            }
            if auth.http_auth_password.is_empty() {
                problems.push(Problem::key("HTTPAuthPassword", by, "set HTTPAuthUser and HTTPAuthPassword"));
            }
        }
        AuthMethod::Proxy => {
            let header = &auth.auth_user_header;
            if header.is_empty() || !header.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                let text = format!("is no name of a header: `{}`", printable(header));
                problems.push(Problem::key(
                    "AuthUserHeader",
                    text,
                    "name the header in which the proxy gives the user",
                ));
            }
        }
        AuthMethod::None | AuthMethod::Token => {}
    }
}

fn addresses(settings: &Settings, problems: &mut Vec<Problem>) {
    let lists =
        [("DiscoverySeeds", &settings.discovery.discovery_seeds), ("MySQLOrchestratorHosts", &settings.backend.hosts)];
    for (key, entries) in lists {
        for (index, entry) in entries.iter().enumerate() {
            if parse_host_port(entry, 3306).is_none() {
                let text = format!("has a bad entry {} `{}`", index + 1, printable(entry));
                problems.push(Problem::key(key, text, "write host or host:port"));
            }
        }
    }
    let single = [
        ("GraphiteAddr", &settings.metrics.graphite_addr),
        ("ConsulAddress", &settings.kv.consul_address),
        ("MySQLOrchestratorHost", &settings.backend.host),
    ];
    for (key, address) in single {
        if !address.is_empty() && parse_host_port(address, 1).is_none() {
            let text = format!("is no address: `{}`", printable(address));
            problems.push(Problem::key(key, text, "write a host name or address"));
        }
    }
    if !settings.metrics.graphite_addr.is_empty() && settings.metrics.graphite_path.is_empty() {
        problems.push(Problem::key(
            "GraphitePath",
            "is empty, but GraphiteAddr needs it",
            "set the prefix of the figures",
        ));
    }
    let worker = &settings.worker;
    if !worker.node_name.is_empty() && !is_name(&worker.node_name) {
        let text = format!("is no name: `{}`", printable(&worker.node_name));
        problems.push(Problem::key("NodeName", text, "use at most 128 visible characters"));
    }
    if !worker.datacenters.iter().all(|name| is_name(name)) {
        problems.push(Problem::key(
            "WorkerDatacenters",
            "has an entry that is empty, too long or has control characters",
            "leave the list empty to serve all lanes",
        ));
    }
}

fn schedules(settings: &Settings, problems: &mut Vec<Problem>) {
    let schedules = &settings.schedules;
    let rows = [
        ("CleanupSchedule", &schedules.cleanup),
        ("ExpirySchedule", &schedules.expiry),
        ("AuditTrimSchedule", &schedules.audit_trim),
        ("ForgetSchedule", &schedules.forget),
        ("SnapshotSchedule", &schedules.snapshot),
    ];
    for (key, expression) in rows {
        if key == "SnapshotSchedule" && expression.is_empty() {
            continue;
        }
        if cron::Schedule::from_str(expression).is_err() {
            let remedy = if expression.split_whitespace().count() == 5 {
                "it has five fields: put the second in front, like `0 ...`"
            } else {
                "write `second minute hour day-of-month month day-of-week [year]`"
            };
            problems.push(Problem::key(key, format!("is no cron expression: `{}`", printable(expression)), remedy));
        }
    }
    if !schedules.snapshot.is_empty() && settings.discovery.snapshot_topologies_interval_hours > 0 {
        problems.push(Problem::key(
            "SnapshotSchedule",
            "and SnapshotTopologiesIntervalHours exclude each other",
            "set only one of them",
        ));
    }
}

/// `scheme://host:port` and nothing after it.
fn is_bare_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    // Port 0 stands for "none given" here; a written 0 is refused by the parser.
    let with_port =
        rest.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty());
    ["http", "https"].contains(&scheme.to_lowercase().as_str()) && with_port && parse_host_port(rest, 1).is_some()
}

/// Fit to be shown and stored as a name.
fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 128 && !text.chars().any(char::is_control)
}
