//! A recorded fleet and a client without a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use config::Settings;
use domain::instance::{
    Answer, BinlogCoordinates, FailureKind, GtidFacts, InstanceKey, Observation, ProbeFailure, ReplicaFacts,
    SemiSyncFacts, ServerFacts, ThreadState,
};
use domain::topology::{Naming, Node, place};
use harness::Flavor;
use http_body_util::BodyExt;
use jobs::SharedSettings;
use queue::DbClock;
use regex::Regex;
use service::http::{Options, router};
use service::{Handles, Identity};
use sqlx::MySqlPool;
use store::{Backend, BackendOptions};
use tower::ServiceExt;

/// A service without a listener.
pub(crate) struct Fleet {
    pub(crate) flavor: Flavor,
    pub(crate) handles: Arc<Handles>,
    pub(crate) app: Router,
}

/// A reply as a client sees it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

impl Fleet {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, &[]).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(method, path, headers, "").await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("host", "orc.example.com");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("request");
        let response = self.app.clone().oneshot(request).await.expect("answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("body").to_bytes();
        Reply { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// The body of a successful GET.
    pub(crate) async fn ok(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
        reply.body
    }

    /// The message of a refused GET, which is always a 500 with an envelope.
    pub(crate) async fn refusal(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {}", reply.body);
        let envelope: serde_json::Value = serde_json::from_str(&reply.body).expect(path);
        assert_eq!(envelope["Code"], "ERROR", "{path}");
        assert!(envelope.get("Details").is_some(), "{path}: all three keys");
        envelope["Message"].as_str().expect("text").to_owned()
    }

    pub(crate) async fn number(&self, statement: &str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.handles.pool).await.expect(statement)
    }

    /// The same service under other settings.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Settings)) -> Fleet {
        let mut settings = self.handles.config.get().settings.clone();
        change(&mut settings);
        build(self.flavor, self.handles.pool.clone(), settings)
    }
}

/// Runs a test on an empty backend of each flavour.
pub(crate) async fn on_empty(test: impl AsyncFn(Fleet)) {
    for flavor in Flavor::ALL {
        println!("on {flavor}");
        test(empty(flavor).await).await;
    }
}

/// Runs a test on the recorded fleet, on a backend of each flavour.
pub(crate) async fn on_both(test: impl AsyncFn(Fleet)) {
    for flavor in Flavor::ALL {
        println!("on {flavor}");
        let fleet = empty(flavor).await;
        seed(&fleet.handles.pool).await;
        test(fleet).await;
    }
}

pub(crate) async fn empty(flavor: Flavor) -> Fleet {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let server = harness::backend(flavor).await.expect("backend").server();
    let options = BackendOptions {
        addresses: vec![(server.host().to_owned(), server.port())],
        user: harness::ROOT.user.to_owned(),
        password: harness::ROOT.password.to_owned(),
        database: format!("http_{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        max_connections: 8,
        connect_timeout: Duration::from_secs(20),
        ..BackendOptions::default()
    };
    let pool = Backend::connect(options).await.expect("backend").pool().clone();
    store::schema::migrate(&pool).await.expect("schema");
    let mut settings = Settings::default();
    // Nothing is probed here: what was recorded stays fresh.
    settings.discovery.instance_poll_seconds = 3600;
    build(flavor, pool, settings)
}

fn build(flavor: Flavor, pool: MySqlPool, settings: Settings) -> Fleet {
    let handles = Arc::new(Handles {
        pool,
        clock: Arc::new(DbClock::new()),
        config: SharedSettings::new(settings),
        identity: Identity::new("orc-1".to_owned(), "", "service"),
        leadership: tokio::sync::watch::Sender::new(None),
        bells: service::Bells::default(),
    });
    let options = Options { backend_address: "127.0.0.1:3306".to_owned(), ..Options::default() };
    Fleet { flavor, app: router(Arc::clone(&handles), options), handles }
}

pub(crate) fn key(host: &str) -> InstanceKey {
    InstanceKey::new(host, 3306)
}

/// `db1` with `db2` (and `db4` below it) and `db3`; `solo` alone, with a name for itself that is markup.
async fn seed(pool: &MySqlPool) {
    let now = store::database_now(pool).await.expect("time");
    let seen = |host: &str, facts: ServerFacts| Observation {
        asked: key(host),
        observed_at: now,
        latency_micros: 1_500,
        answer: Answer::Facts { key: key(host), facts: Box::new(facts) },
    };
    let observations = [
        seen("db1", server(1, None, &["db2", "db3"], now)),
        seen("db2", server(2, Some("db1"), &["db4"], now)),
        seen("db3", stopped(server(3, Some("db1"), &[], now))),
        seen("db4", server(4, Some("db2"), &[], now)),
        seen("solo", ServerFacts { alias: "<b>\"&'\u{1}".to_owned(), ..server(9, None, &[], now) }),
    ];
    let written = store::instances::Written::default();
    store::instances::record(pool, &written, &observations).await.expect("recorded");
    place_all(pool).await;
}

/// What the leader does.
pub(crate) async fn place_all(pool: &MySqlPool) {
    let instances = store::instances::read_all(pool).await.expect("instances").instances;
    let nodes: Vec<Node<'_>> = instances
        .iter()
        .map(|one| Node { key: &one.key, facts: &one.facts, previous_cluster: &one.placement.cluster_name })
        .collect();
    let overrides = store::clusters::overrides(pool).await.expect("overrides");
    let forest = place(&nodes, &Naming { overrides, patterns: Vec::new() });
    let placements: Vec<_> = instances.iter().map(|one| one.id).zip(forest.placements).collect();
    let mut conn = pool.acquire().await.expect("connection");
    store::instances::write_placements(&mut conn, &placements).await.expect("placed");
    let placed = store::instances::read_all(pool).await.expect("instances").instances;
    let aliases = store::clusters::choose_aliases(&placed);
    store::clusters::register_aliases(&mut conn, &aliases).await.expect("aliases");
}

fn server(id: u64, source: Option<&str>, replicas: &[&str], now: i64) -> ServerFacts {
    let uuid = |id: u64| format!("00000000-0000-0000-0000-00000000000{id}");
    let log = |file: &str| BinlogCoordinates { file: file.to_owned(), position: 157 };
    let replica = source.map(|source| ReplicaFacts {
        source: key(source),
        source_uuid: uuid(1),
        user: "repl".to_owned(),
        io_thread: ThreadState::Running,
        sql_thread: ThreadState::Running,
        read: log("binlog.000002"),
        exec: log("binlog.000002"),
        relay: log("relay.000001"),
        seconds_behind: Some(0),
        lag_seconds: Some(0),
        auto_position: true,
        ..ReplicaFacts::default()
    });
    ServerFacts {
        server_id: id,
        server_uuid: uuid(id),
        version: "8.0.36".to_owned(),
        version_comment: "MySQL Community Server - GPL".to_owned(),
        started_at: now / 1_000_000 - 1_000,
        read_only: replica.is_some(),
        binlog_format: "ROW".to_owned(),
        binlog_row_image: "FULL".to_owned(),
        log_bin: true,
        log_replica_updates: true,
        binlog: log("binlog.000002"),
        gtid: GtidFacts { mode: "ON".to_owned(), executed: format!("{}:1-5", uuid(1)), ..GtidFacts::default() },
        semi_sync: SemiSyncFacts::default(),
        replicas: replicas.iter().map(|name| key(name)).collect(),
        data_center: "dc1".to_owned(),
        detected_cluster_alias: if id == 1 { "shop".to_owned() } else { String::new() },
        replica,
        ..ServerFacts::default()
    }
}

fn stopped(mut facts: ServerFacts) -> ServerFacts {
    if let Some(replica) = &mut facts.replica {
        (replica.io_thread, replica.sql_thread) = (ThreadState::Stopped, ThreadState::Stopped);
        (replica.seconds_behind, replica.lag_seconds) = (None, None);
        "error \"connecting\" <to> source".clone_into(&mut replica.last_io_error);
    }
    facts
}

/// Records that a server did not answer.
pub(crate) async fn fail(pool: &MySqlPool, host: &str) {
    let failure = ProbeFailure { kind: FailureKind::Refused, message: format!("cannot connect to {host}") };
    let observed_at = store::database_now(pool).await.expect("time");
    let observation = Observation { asked: key(host), observed_at, latency_micros: 0, answer: Answer::Failed(failure) };
    store::instances::record(pool, &store::instances::Written::default(), &[observation]).await.expect("recorded");
}

/// What differs from run to run, made equal.
pub(crate) fn settled(text: &str) -> String {
    let rules = [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:[\d.]+Z", "<instant>"),
        (r#""Uptime":\d+"#, r#""Uptime":<n>"#),
        (r#""uptime_seconds":\d+"#, r#""uptime_seconds":<n>"#),
        (r#""SecondsSinceLastSeen":\{"Int64":\d+"#, r#""SecondsSinceLastSeen":{"Int64":<n>"#),
        (r#""seconds_since_seen":\d+"#, r#""seconds_since_seen":<n>"#),
        (r#""SecondsElapsed":\d+"#, r#""SecondsElapsed":<n>"#),
        (r#""ElapsedDowntime":\d+"#, r#""ElapsedDowntime":<n>"#),
        (r#""(Token|token|holder)":"[0-9a-f]{64}""#, r#""$1":"<token>""#),
        (r#""(age_seconds|seconds_since_heartbeat)":[\d.]+"#, r#""$1":<n>"#),
        (r#""(id|pid)":\d+"#, r#""$1":<n>"#),
        (r"Took [^\x22]+", "Took <span>"),
    ];
    rules.iter().fold(text.to_owned(), |text, (pattern, with)| {
        Regex::new(pattern).expect(pattern).replace_all(&text, *with).into_owned()
    })
}
