//! Operations on real servers, asked for over HTTP: a primary and two replicas, on both flavours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use config::Secret;
use domain::instance::InstanceKey;
use domain::plan::Request;
use harness::{Flavor, REPLICATION, TOPOLOGY, Topology, replica_status};
use serde_json::{Value, json};
use service::actions::{self, Scope};
use service::{WorkerOptions, run_worker};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fleet::{Fleet, empty, on_both, place_all};

const JSON: (&str, &str) = ("content-type", "application/json");
const LIMIT: Duration = Duration::from_secs(30);

struct Stage {
    flavor: Flavor,
    servers: Topology,
    fleet: Fleet,
    worker: JoinHandle<Result<(), queue::Error>>,
    stop: CancellationToken,
}

impl Stage {
    async fn set(flavor: Flavor) -> Stage {
        let servers = Topology::start(flavor, "a\n  b\n  c\n").await.expect("servers");
        let fleet = empty(flavor).await.with(|settings| {
            TOPOLOGY.user.clone_into(&mut settings.topology.user);
            settings.topology.password = Secret::from(TOPOLOGY.password);
            settings.hostnames.mysql_hostname_resolve_method = config::MySQLHostnameResolveMethod::None;
            // MariaDB shows nobody the password of its replication user.
            settings.discovery.replication_credentials_query =
                format!("SELECT '{}', '{}'", REPLICATION.user, REPLICATION.password);
        });
        let stop = CancellationToken::new();
        let options = WorkerOptions { datacenters: Vec::new(), concurrency: 8, descriptor_limit: None };
        let worker = tokio::spawn(run_worker(Arc::clone(&fleet.handles), options, stop.clone()));
        let stage = Stage { flavor, servers, fleet, worker, stop };
        stage.until("a worker lives", "SELECT COUNT(*) FROM queue_worker").await;
        for name in ["a", "b", "c"] {
            stage.fleet.ok(&format!("/api/discover/{}", stage.path(name))).await;
        }
        place_all(&stage.fleet.handles.pool).await;
        stage
    }

    async fn until(&self, what: &str, statement: &str) {
        let end = Instant::now() + LIMIT;
        while self.fleet.number(statement).await == 0 {
            assert!(Instant::now() < end, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `host/port` of a server.
    fn path(&self, name: &str) -> String {
        let server = &self.servers[name];
        format!("{}/{}", server.host(), server.port())
    }

    fn at(&self, name: &str) -> String {
        self.servers[name].address()
    }

    /// A path with `{a}` and the like in place of servers.
    fn filled(&self, path: &str) -> String {
        ["a", "b", "c"]
            .iter()
            .fold(format!("/api/{path}"), |path, name| path.replace(&format!("{{{name}}}"), &self.path(name)))
    }

    /// The envelope.
    async fn does(&self, path: &str) -> Value {
        serde_json::from_str(&self.fleet.ok(&self.filled(path)).await).expect("JSON")
    }

    async fn refuses(&self, path: &str) -> String {
        self.fleet.refusal(&self.filled(path)).await
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let reply = self.fleet.send(method, &format!("/api/v2{path}"), &[JSON], &body.to_string()).await;
        (reply.status, serde_json::from_str(&reply.body).unwrap_or_default())
    }

    async fn is_below(&self, name: &str, source: &str) {
        let mut connection = self.servers[name].connect_root().await.expect("connected");
        let status = replica_status(self.flavor, &mut connection).await.expect("status").expect("a replica");
        assert_eq!((status.source_port, status.is_running()), (self.servers[source].port(), true), "{status:?}");
    }
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_over_http(#[case] flavor: Flavor) {
    let stage = Stage::set(flavor).await;
    paths_of_the_original(&stage).await;
    refusals(&stage).await;
    resources(&stage).await;
    a_request_that_takes_too_long(&stage).await;
    stage.stop.cancel();
    stage.worker.await.expect("joined").expect("drained");
}

async fn paths_of_the_original(stage: &Stage) {
    let (a, b, c) = (stage.at("a"), stage.at("b"), stage.at("c"));
    let moved = stage.does("relocate/{c}/{b}").await;
    assert_eq!(moved["Message"], format!("Instance {c} relocated below {b}"));
    assert_eq!(moved["Details"]["Key"]["Port"], stage.servers["c"].port());
    assert_eq!(moved["Details"]["MasterKey"]["Port"], stage.servers["b"].port());
    stage.is_below("c", "b").await;
    let back = stage.does("relocate-replicas/{b}/{a}?pattern=:").await;
    assert_eq!(back["Message"], format!("Relocated 1 replicas of {b} below {a}; 0 errors: []"));
    assert_eq!(back["Details"][0]["MasterKey"]["Port"], stage.servers["a"].port());
    stage.is_below("c", "a").await;
    let stopped = stage.does("stop-slave/{c}").await;
    assert_eq!(stopped["Message"], format!("Replica stopped: {c}"));
    assert_eq!(stopped["Details"]["Slave_SQL_Running"], false);
    // By POST, as well; twice is as good as once.
    for _ in 0..2 {
        let path = format!("/api/start-replica/{}", stage.path("c"));
        let started = stage.fleet.ask(Method::POST, &path, &[]).await;
        assert_eq!(started.status, StatusCode::OK, "{}", started.body);
    }
    stage.is_below("c", "a").await;
    assert_eq!(stage.does("set-read-only/{c}").await["Message"], "Server set as read-only");
    let statements = stage.does("restart-replica-statements/{c}?q=select%201").await;
    assert_eq!(statements["Message"], format!("statements for: {c}"));
    assert_eq!(statements["Details"][2], "select 1;");
    let delayed = stage.does("delay-replication/{c}/7").await;
    assert_eq!(delayed["Details"], 7);
    stage.does("delay-replication/{c}/0").await;
    stage.does("repoint/{c}/{a}").await;
    stage.is_below("c", "a").await;
    let recorded = "SELECT COUNT(*) FROM audit WHERE audit_type = 'relocate-replicas'";
    assert_eq!(stage.fleet.number(recorded).await, 1);
}

async fn refusals(stage: &Stage) {
    assert!(stage.refuses("relocate/{c}/{c}").await.contains("(itself)"));
    assert!(stage.refuses("stop-replica/{a}").await.contains("(not-a-replica)"));
    assert!(stage.refuses("relocate/127.0.0.1/1/{a}").await.starts_with("Cannot read instance: 127.0.0.1:1"));
    assert!(stage.refuses("relocate/{c}/127.0.0.1/x").await.starts_with("Invalid port: x"));
    assert!(stage.refuses("delay-replication/{c}/-5").await.contains("from 0 to"));
    assert!(stage.refuses("kill-query/{c}/x").await.contains("SHOW PROCESSLIST"));
    assert!(stage.refuses("relocate-replicas/{a}/{b}?pattern=%5B").await.contains("cannot read the pattern"));
    assert!(stage.refuses("locate-gtid-errant/{c}").await.contains("no errant GTID"));
    assert!(stage.refuses("match/{c}/{b}").await.starts_with("not built yet"));
    stage.does("begin-maintenance/{c}/ann/upgrade").await;
    let held = stage.refuses("relocate/{c}/{b}").await;
    assert!(held.contains("ann") && held.contains("upgrade"), "{held}");
    stage.does("end-maintenance/{c}").await;
    stage.is_below("c", "a").await;
}

async fn resources(stage: &Stage) {
    let relocate = json!({ "operation": "relocate", "instance": stage.at("c"), "below": stage.at("b") });
    let (status, planned) = stage.send(Method::POST, "/plans", &relocate).await;
    assert_eq!(status, StatusCode::OK, "{planned}");
    assert_eq!(planned["plan"]["request"]["operation"], "relocate", "{planned}");
    assert!(planned["text"].as_str().expect("text").contains("steps:") && planned["refusal"].is_null(), "{planned}");
    stage.is_below("c", "a").await;
    let itself = json!({ "operation": "relocate", "instance": stage.at("c"), "below": stage.at("c") });
    let (status, refused) = stage.send(Method::POST, "/plans", &itself).await;
    assert_eq!((status, &refused["refusal"]["rule"]), (StatusCode::OK, &json!("itself")), "{refused}");

    let (status, accepted) = stage.send(Method::POST, "/operations", &relocate).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    let id = accepted["operation"].as_u64().expect("a number");
    assert_eq!(accepted["location"], format!("/api/v2/operations/{id}"));
    let ended = format!("SELECT COUNT(*) FROM operation WHERE id = {id} AND finished_at IS NOT NULL");
    stage.until("it has ended", &ended).await;
    let (_, operation) = stage.send(Method::GET, &format!("/operations/{id}"), &Value::Null).await;
    assert_eq!((&operation["state"], &operation["done"][0]["instance"]), (&json!("done"), &json!(stage.at("c"))));
    let steps = operation["steps"].as_array().expect("steps");
    assert!(!steps.is_empty() && steps.iter().all(|step| step["state"] == "done"), "{operation}");
    stage.is_below("c", "b").await;

    let (_, page) = stage.send(Method::GET, "/operations?state=refused&limit=1", &Value::Null).await;
    assert_eq!(
        (page["items"].as_array().map(Vec::len), page["items"][0]["state"].as_str()),
        (Some(1), Some("refused"))
    );
    assert!(page["next"].is_string(), "{page}");
    let (status, _) = stage.send(Method::DELETE, &format!("/operations/{id}"), &Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT, "it has ended");
}

/// Whoever stops waiting is told the number, and the operation goes on.
async fn a_request_that_takes_too_long(stage: &Stage) {
    let config = stage.fleet.handles.config.get();
    let scope = Scope::new(stage.fleet.handles.pool.clone(), config, "ann");
    let instance = InstanceKey::new(stage.servers["c"].host(), stage.servers["c"].port());
    let request = Request::RestartReplica { instance };
    let pending = actions::operations::run(&scope, &request, Duration::ZERO).await.expect_err("too long").to_string();
    let number = pending.split_whitespace().nth(1).expect("a number").to_owned();
    assert!(pending.contains("goes on") && pending.contains(&format!("operations show {number}")), "{pending}");
    let ended = format!("SELECT COUNT(*) FROM operation WHERE id = {number} AND state = 'done'");
    stage.until("it went on", &ended).await;
}

#[tokio::test]
async fn without_a_worker_operations_say_so_at_once_and_leave_nothing_behind() {
    on_both(async |fleet| {
        let begun = Instant::now();
        for path in ["relocate/db3/3306/db2/3306", "stop-replica/db3/3306", "restart-replica-statements/db3/3306"] {
            let message = fleet.refusal(&format!("/api/{path}")).await;
            assert!(message.starts_with("no live worker serves lane operations/"), "{message}");
        }
        let body = r#"{"operation":"relocate","instance":"db3:3306","below":"db2:3306"}"#;
        for path in ["/plans", "/operations"] {
            let reply = fleet.send(Method::POST, &format!("/api/v2{path}"), &[JSON], body).await;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.body);
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(fleet.number("SELECT COUNT(*) FROM operation").await, 0);
        assert_eq!(fleet.number("SELECT COUNT(*) FROM job_ready").await, 0);
    })
    .await;
}

#[tokio::test]
async fn operations_need_the_right_and_sense() {
    on_both(async |fleet| {
        let closed = fleet.with(|settings| settings.auth.read_only = true);
        assert_eq!(closed.refusal("/api/relocate/db3/3306/db2/3306").await, "Unauthorized");
        let body = r#"{"operation":"stop-replica","instance":"db3:3306"}"#;
        for path in ["/plans", "/operations"] {
            let reply = closed.send(Method::POST, &format!("/api/v2{path}"), &[JSON], body).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
        }
        let foreign = [JSON, ("origin", "https://evil.example.com"), ("sec-fetch-site", "cross-site")];
        let reply = fleet.send(Method::POST, "/api/v2/operations", &foreign, body).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
        for (body, status) in [
            ("{", 400),
            (r#"{"operation":"drop-database","instance":"db3:3306"}"#, 400),
            (r#"{"operation":"relocate","instance":"db3:3306"}"#, 400),
            (r#"{"operation":"relocate","instance":"db3:3306","belwo":"db2:3306"}"#, 400),
            (r#"{"operation":"stop-replica","instance":"<b>"}"#, 400),
            (r#"{"operation":"stop-replica","instance":"nowhere:3306"}"#, 404),
            (r#"{"operation":"delay-replication","instance":"db3:3306","seconds":-1}"#, 400),
            (r#"{"operation":"stop-replica","instance":"db:3306"}"#, 404),
        ] {
            let reply = fleet.send(Method::POST, "/api/v2/operations", &[JSON], body).await;
            assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.body);
        }
        for path in ["/operations/x", "/operations?state=nonsense"] {
            assert_eq!(fleet.get(&format!("/api/v2{path}")).await.status.as_u16(), 400, "{path}");
        }
        assert_eq!(fleet.get("/api/v2/operations/99").await.status.as_u16(), 404);
        assert_eq!(fleet.get("/api/v2/operations?cluster=nowhere").await.status.as_u16(), 404);
        assert_eq!(fleet.number("SELECT COUNT(*) FROM operation").await, 0, "what was refused left nothing behind");
        assert_eq!(fleet.number("SELECT COUNT(*) FROM job_ready").await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_nobody_took_up_is_cancelled_at_once_with_its_job() {
    on_both(async |fleet| {
        let scope = Scope::new(fleet.handles.pool.clone(), fleet.handles.config.get(), "ann");
        let request = Request::StopReplica { instance: InstanceKey::new("db3", 3306) };
        let submit = actions::operations::submit_to_queue(&scope, &request, Duration::ZERO);
        let cancelled = submit.await.expect("queued").operation;
        let submit = actions::operations::submit_to_queue(&scope, &request, Duration::ZERO);
        let kept = submit.await.expect("queued").operation;
        let path = format!("/api/v2/operations/{cancelled}");
        let closed = fleet.with(|settings| settings.auth.read_only = true);
        assert_eq!(closed.ask(Method::DELETE, &path, &[]).await.status, StatusCode::FORBIDDEN);
        assert_eq!(fleet.number("SELECT COUNT(*) FROM job_ready").await, 2, "not by one who may not");

        assert_eq!(fleet.ask(Method::DELETE, &path, &[]).await.status, StatusCode::NO_CONTENT);
        let waiting: Vec<u64> = sqlx::query_scalar("SELECT id FROM operation WHERE state = 'waiting'")
            .fetch_all(&fleet.handles.pool)
            .await
            .expect("operations");
        assert_eq!(waiting, [kept], "this one, and no other");
        assert_eq!(fleet.number("SELECT COUNT(*) FROM job_ready").await, 1);
        let audited = "SELECT COUNT(*) FROM audit WHERE audit_type = 'cancel-operation'";
        assert_eq!(fleet.number(audited).await, 1);
        assert_eq!(fleet.ask(Method::DELETE, &path, &[]).await.status, StatusCode::CONFLICT, "it has ended");
        assert_eq!(fleet.number(audited).await, 1, "what was not done is not recorded");
    })
    .await;
}
