//! Operations on real servers, asked for on the command line: one primary, three replicas, on both flavours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Flavor, REPLICATION, Server, TOPOLOGY, Topology, replica_status};
use jobs::SharedSettings;
use queue::DbClock;
use serde_json::{Value, json};
use service::{Handles, Identity, WorkerOptions};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fixture::Site;

const LIMIT: Duration = Duration::from_secs(30);
const SERVERS: &str = "
    a
      b
      c
      d
";

/// Servers, a backend that knows them, and whoever leads.
struct Stage {
    flavor: Flavor,
    servers: Topology,
    site: Site,
    leader: JoinHandle<()>,
    stop: CancellationToken,
}

/// A worker of this process.
struct Worker {
    task: JoinHandle<Result<(), queue::Error>>,
    stop: CancellationToken,
}

impl Stage {
    async fn set(flavor: Flavor) -> Stage {
        let servers = Topology::start(flavor, SERVERS).await.expect("servers");
        let settings = json!({
            "MySQLTopologyUser": TOPOLOGY.user,
            "MySQLTopologyPassword": TOPOLOGY.password,
            "MySQLHostnameResolveMethod": "none",
            // MariaDB shows nobody the password of its replication user.
            "ReplicationCredentialsQuery": format!("SELECT '{}', '{}'", REPLICATION.user, REPLICATION.password),
            "InstancePollSeconds": 1,
        });
        let site = Site::configured(flavor, &settings).await;
        site.ok("migrate").await;
        let stop = CancellationToken::new();
        let leader = tokio::spawn(service::leader::run(handles(&site, "leader"), stop.clone()));
        let stage = Stage { flavor, servers, site, leader, stop };
        let worker = stage.worker();
        stage.until("a worker lives", async || stage.number("SELECT COUNT(*) FROM queue_worker").await > 0).await;
        stage.site.ok(&format!("discover -i {}", stage.at("a"))).await;
        let placed = format!("SELECT COUNT(*) FROM instance WHERE cluster_name = '{}' AND failures = 0", stage.at("a"));
        stage.until("all are placed", async || stage.number(&placed).await == 4).await;
        worker.end().await;
        stage
    }

    fn worker(&self) -> Worker {
        let stop = CancellationToken::new();
        let options = WorkerOptions { datacenters: Vec::new(), concurrency: 8, descriptor_limit: None };
        Worker { task: tokio::spawn(service::run_worker(handles(&self.site, "w1"), options, stop.clone())), stop }
    }

    /// `host:port` of a server.
    fn at(&self, name: &str) -> String {
        self.servers[name].address()
    }

    /// A command line with `{a}` and the like in place of addresses.
    fn line(&self, line: &str) -> String {
        ["a", "b", "c", "d"]
            .iter()
            .fold(line.to_owned(), |line, name| line.replace(&format!("{{{name}}}"), &self.at(name)))
    }

    async fn does(&self, line: &str) -> String {
        self.site.does(&self.line(line)).await
    }

    /// Of a command that must fail: its last words.
    async fn fails(&self, line: &str) -> String {
        let ran = self.site.run(&self.line(line)).await;
        assert_eq!(ran.code, 1, "{line}: {ran:?}");
        ran.err.rsplit_once(" FATAL ").expect("a FATAL line").1.trim_end().to_owned()
    }

    async fn number(&self, statement: &str) -> i64 {
        self.site.number(statement).await
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + LIMIT;
        while !holds().await {
            assert!(Instant::now() < end, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Port of the source, and whether both threads run.
    async fn replication(&self, name: &str) -> (u16, bool) {
        let mut connection = self.servers[name].connect_root().await.expect("connected");
        let status = replica_status(self.flavor, &mut connection).await.expect("status").expect("a replica");
        (status.source_port, status.is_running())
    }

    async fn is_below(&self, name: &str, source: &str) {
        assert_eq!(self.replication(name).await, (self.servers[source].port(), true), "{name} below {source}");
    }

    async fn read_only(&self, server: &Server) -> bool {
        let mut connection = server.connect_root().await.expect("connected");
        let value: i64 =
            sqlx::query_scalar("SELECT @@GLOBAL.read_only + 0").fetch_one(&mut connection).await.expect("a value");
        value == 1
    }

    async fn end(self) {
        self.stop.cancel();
        self.leader.await.expect("the leader");
    }
}

impl Worker {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("the worker").expect("drained");
    }
}

fn handles(site: &Site, name: &str) -> Arc<Handles> {
    Arc::new(Handles {
        pool: site.pool.clone(),
        clock: Arc::new(DbClock::new()),
        config: SharedSettings::new(site.settings()),
        identity: Identity::new(name.to_owned(), name, "test"),
        leadership: watch::Sender::new(None),
        bells: service::Bells::default(),
    })
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_by_a_worker(#[case] flavor: Flavor) {
    let stage = Stage::set(flavor).await;
    let worker = stage.worker();
    stage.until("a worker lives", async || stage.number("SELECT COUNT(*) FROM queue_worker").await > 0).await;
    plans_change_nothing(&stage).await;
    replicas_move(&stage).await;
    single_servers_change(&stage).await;
    refusals_say_why(&stage).await;
    what_is_recorded_can_be_read(&stage).await;
    an_interrupted_command_leaves_its_operation_alone(&stage).await;
    worker.end().await;
    stage.end().await;
}

async fn plans_change_nothing(stage: &Stage) {
    for line in ["plan relocate -i {c} -d {b}", "relocate -i {c} -d {b} --noop"] {
        let plan = stage.does(line).await;
        assert!(plan.starts_with(&stage.line("relocate {c} below {b}\nmethod: ")), "{plan}");
        assert!(plan.contains("steps:\n"), "{plan}");
    }
    let plan: Value = serde_json::from_str(&stage.does("plan relocate -i {c} -d {b} --json").await).expect("JSON");
    assert_eq!(plan["request"]["operation"], "relocate", "{plan}");
    stage.is_below("c", "a").await;
    assert_eq!(stage.number("SELECT COUNT(*) FROM operation_step").await, 0);
}

async fn replicas_move(stage: &Stage) {
    let ran = stage.site.run(&stage.line("relocate -i {c} -d {b}")).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, stage.line("{c}<{b}\n").as_str()), "{ran:?}");
    assert!(ran.err.contains("): relocate ") && ran.err.contains(": done in "), "{}", ran.err);
    assert!(ran.err.contains("method "), "it says which: {}", ran.err);
    stage.is_below("c", "b").await;
    // Quiet: only errors are talked of.
    assert_eq!(stage.site.ok(&stage.line("relocate -i {c} -d {a} --quiet")).await, stage.line("{c}<{a}\n"));
    stage.is_below("c", "a").await;
    assert_eq!(stage.does("repoint -i {c}").await, stage.line("{c}<{a}\n"));
    stage.is_below("c", "a").await;
    let mut moved: Vec<String> = ["c", "d"].iter().map(|name| format!("{}\n", stage.at(name))).collect();
    moved.sort();
    assert_eq!(stage.does("relocate-replicas -i {a} -d {b}").await, moved.concat());
    stage.is_below("c", "b").await;
    stage.is_below("d", "b").await;
    assert_eq!(stage.does("relocate-replicas -i {a} -d {b} -pattern nothing-of-that-name").await, "");
    let outcome = stage.does("relocate-replicas -i {b} -d {a} --json").await;
    let outcome: Value = serde_json::from_str(&outcome).expect("JSON");
    assert_eq!((&outcome["state"], outcome["done"].as_array().map(Vec::len)), (&json!("done"), Some(2)), "{outcome}");
    stage.is_below("d", "a").await;
}

async fn single_servers_change(stage: &Stage) {
    assert_eq!(stage.does("stop-replica -i {d}").await, stage.line("{d}\n"));
    assert!(!stage.replication("d").await.1);
    // What is so already is as asked, and a stopped replica stays stopped.
    assert_eq!(stage.does("stop-slave -i {d}").await, stage.line("{d}\n"));
    assert_eq!(stage.does("is-replication-stopped -i {d}").await, stage.line("{d}\n"));
    assert_eq!(stage.does("start-replica -i {d}").await, stage.line("{d}\n"));
    stage.is_below("d", "a").await;
    let twice = stage.fails("set-writeable -i {d}").await;
    assert!(twice.contains("(would-write-twice)"), "{twice}");
    assert_eq!(stage.does("set-read-only -i {a},{a}").await, stage.line("{a}\n{a}\n"));
    assert!(stage.read_only(&stage.servers["a"]).await);
    assert_eq!(stage.does("set-writeable -i {a}").await, stage.line("{a}\n"));
    assert!(!stage.read_only(&stage.servers["a"]).await);
    assert_eq!(stage.does("which-gtid-errant -i {d}").await, "\n");
    let statements = stage.does("restart-replica-statements -i {d} -statement select|1").await;
    assert_eq!(statements.lines().count(), 5, "{statements}");
    assert_eq!(statements.lines().nth(2), Some("select|1;"));
    assert!(stage.fails("locate-gtid-errant -i {d}").await.contains("no errant GTID"));
    assert!(stage.fails("master-pos-wait -i {a} -binlog x.000001:4").await.contains("is no replica"));
    let job = stage.does("restart-replica -i {d} --async").await;
    let id: u64 = job.trim().parse().expect("a number");
    let ended = format!("SELECT COUNT(*) FROM operation WHERE job_id = {id} AND state = 'done'");
    stage.until("it is done by somebody", async || stage.number(&ended).await == 1).await;
    let job = stage.site.ok(&stage.line("submit restart-replica -i {d}")).await;
    let ended = format!("SELECT COUNT(*) FROM operation WHERE job_id = {} AND state = 'done'", job.trim());
    stage.until("it is done by somebody", async || stage.number(&ended).await == 1).await;
    stage.is_below("d", "a").await;
}

async fn refusals_say_why(stage: &Stage) {
    let itself = stage.fails("relocate -i {b} -d {b}").await;
    assert!(itself.contains("(itself)"), "{itself}");
    let primary = stage.fails("stop-replica -i {a}").await;
    assert!(primary.contains("(not-a-replica)"), "{primary}");
    let planned = stage.fails("plan relocate -i {a} -d {b}").await;
    assert!(planned.contains(&stage.at("a")), "{planned}");
    let unknown = stage.fails("relocate -i 127.0.0.1:1 -d {b}").await;
    assert!(unknown.starts_with("Cannot read instance: 127.0.0.1:1"), "{unknown}");
    // Somebody has it.
    stage.does("begin-maintenance -i {c} -reason upgrade -owner ann").await;
    let held = stage.fails("relocate -i {c} -d {b}").await;
    assert!(held.contains("ann") && held.contains("upgrade"), "{held}");
    stage.is_below("c", "a").await;
    let failed = stage.site.run(&stage.line("relocate -i {c} -d {b} --json")).await;
    let outcome: Value = serde_json::from_str(&failed.out).expect("a failure is told as JSON, too");
    assert_eq!((failed.code, &outcome["state"]), (1, &json!("refused")), "{outcome}");
    // Some of many: those are moved, the other is told of.
    let ran = stage.site.run(&stage.line("relocate-replicas -i {a} -d {b}")).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, stage.line("{d}\n").as_str()), "{ran:?}");
    let complaint = ran.err.lines().find(|line| line.contains(" ERROR ")).expect("an ERROR line");
    assert!(complaint.contains(&stage.at("c")) && complaint.contains("ann"), "{complaint}");
    stage.does("end-maintenance -i {c}").await;
    stage.does("relocate -i {d} -d {a}").await;
}

async fn what_is_recorded_can_be_read(stage: &Stage) {
    let list = stage.does("operations list").await;
    assert!(list.starts_with("ID ") && list.contains("refused") && list.contains("dba@db1"), "{list}");
    let done: Value = serde_json::from_str(&stage.does("operations list --state done --json").await).expect("JSON");
    let id = done[0]["id"].as_u64().expect("a number");
    let shown = stage.does(&format!("operations show {id}")).await;
    assert!(shown.contains("done in") && shown.contains("asked by   dba@db1"), "{shown}");
    assert!(stage.fails(&format!("operations cancel {id}")).await.contains("has ended"));
    assert!(stage.fails(&format!("operations resume {id}")).await.contains("has ended"));
    let audited = "SELECT COUNT(*) FROM audit WHERE audit_type = 'relocate' AND actor = 'dba@db1'";
    assert!(stage.number(audited).await > 0);
}

async fn an_interrupted_command_leaves_its_operation_alone(stage: &Stage) {
    let by = Arc::new(Notify::new());
    by.notify_one();
    let ran = stage.site.run_interrupted(&stage.line("restart-replica -i {d}"), by).await;
    assert_eq!((ran.code, ran.out.as_str()), (130, ""), "{ran:?}");
    let (_, told) = ran.err.split_once("orchestrator operations show ").expect("it says how to follow");
    let id = told.split(|c: char| !c.is_ascii_digit()).next().expect("a number");
    let done = format!("SELECT COUNT(*) FROM operation WHERE id = {id} AND state = 'done'");
    stage.until("it went on", async || stage.number(&done).await == 1).await;
    stage.is_below("d", "a").await;
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_worker_the_command_says_so_or_does_it_itself(#[case] flavor: Flavor) {
    let stage = Stage::set(flavor).await;
    let begun = Instant::now();
    for line in ["relocate -i {c} -d {b}", "plan relocate -i {c} -d {b}", "which-gtid-errant -i {c}"] {
        let nobody = stage.fails(line).await;
        assert!(nobody.contains("no live worker") && nobody.contains("--local"), "{nobody}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(stage.number("SELECT COUNT(*) FROM operation").await, 0, "nothing waits to surprise anybody");

    assert!(stage.does("plan relocate -i {c} -d {b} --local").await.contains("steps:\n"));
    let ran = stage.site.run(&stage.line("relocate -i {c} -d {b} --local")).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, stage.line("{c}<{b}\n").as_str()), "{ran:?}");
    assert!(ran.err.contains("in this process") && ran.err.contains(": done in "), "{}", ran.err);
    stage.is_below("c", "b").await;
    assert_eq!(stage.does("which-gtid-errant -i {c} --local").await, "\n");
    assert_eq!(stage.does("get-candidate-replica -i {b} --local").await, stage.line("{c}\n"));

    // Under the same locks.
    stage.does("begin-maintenance -i {c} -reason upgrade -owner ann").await;
    let held = stage.fails("relocate -i {c} -d {a} --local").await;
    assert!(held.contains("ann"), "{held}");
    stage.does("end-maintenance -i {c}").await;
    assert_eq!(stage.number("SELECT COUNT(*) FROM maintenance WHERE active_slot = 1").await, 0);

    // Interrupted before it could do anything: cancelled, and nothing is changed.
    let by = Arc::new(Notify::new());
    by.notify_one();
    let ran = stage.site.run_interrupted(&stage.line("relocate -i {c} -d {a} --local"), by).await;
    assert_eq!(ran.code, 130, "{ran:?}");
    assert!(ran.err.contains("is cancelled"), "{}", ran.err);
    stage.is_below("c", "b").await;
    stage.end().await;
}
