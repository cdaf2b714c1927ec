//! Every command's answer on a cluster of one primary and three replicas.

use std::fmt::Write as _;

use harness::Flavor;

use super::fixture::Site;

/// One line per run: the command line, then its stdout, errors after a mark.
async fn transcript(site: &Site, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let ran = site.run(line).await;
        let fatal = ran.err.split_once(" FATAL ").map_or(String::new(), |(_, error)| format!("! {error}"));
        assert_eq!(ran.code == 0, ran.err.is_empty(), "{line}: {ran:?}");
        let _ = write!(text, "$ {line}\n{}{fatal}", ran.out);
    }
    text
}

const READING: &[&str] = &[
    "clusters",
    "-c clusters-alias",
    "all-clusters-masters",
    "topology -alias db1:3306",
    "topology -i db4",
    "topology-tabulated -i db1:3306",
    "topology-tags",
    "all-instances",
    "find -pattern db[23]:",
    "find",
    "find -pattern [",
    "search -pattern db2",
    "search -pattern 4",
    "instance -i db2",
    "which-instance -i b3",
    "which-instance -i nowhere",
    "which-instance -i db1:33x6",
    "instance-status -i db3",
    "which-instance -i=",
    "which-instance -i ,",
    "which-instance",
    "which-cluster -i= -alias db1:3306",
    "which-cluster -i db4",
    "which-cluster -alias nonsense",
    "which-cluster-alias",
    "which-cluster-domain",
    "which-cluster-master -i db4",
    "which-cluster-instances",
    "which-master -i db4",
    "which-master -i db1",
    "which-replicas -i db1",
    "which-slaves -i db3",
    "which-broken-replicas -i db1",
    "which-cluster-osc-replicas",
    "which-cluster-osc-running-replicas",
    "which-cluster-gh-ost-replicas",
    "get-cluster-heuristic-lag",
    "can-replicate-from -i db2 -d db4",
    "can-replicate-from -i db2 -d db2",
    "can-replicate-from -i db2",
    "can-replicate-from -i db2 -d nowhere",
    "is-replicating -i db2,db1,db4",
    "is-replication-stopped -i db2",
    "problems",
    "bulk-instances",
    "bulk-promotion-rules",
    "dominant-dc",
    "downtimed",
    "which-downtimed-instances",
    "which-lost-in-recovery",
    "cluster-pool-instances",
    "active-nodes",
    "leadership",
];

#[tokio::test]
async fn reading() {
    let site = Site::seeded(Flavor::MySql).await;
    insta::assert_snapshot!(transcript(&site, READING).await);
}

#[tokio::test]
async fn reading_on_mariadb_is_the_same() {
    let (mysql, mariadb) = (Site::seeded(Flavor::MySql).await, Site::seeded(Flavor::MariaDb).await);
    assert_eq!(transcript(&mysql, READING).await, transcript(&mariadb, READING).await);
}

const CHANGING: &[&str] = &[
    "begin-downtime -i db2 -reason disk -owner ann -duration 2h",
    "begin-downtime -i db3",
    "begin-downtime -i db3 -reason disk -duration 2y",
    "downtimed",
    "which-downtimed-instances -i db1",
    "topology",
    "end-downtime -i db2",
    "end-downtime -i db2",
    "downtimed",
    "begin-downtime -i db4 -reason lost-in-recovery",
    "which-lost-in-recovery",
    "end-downtime -i db4",
    "begin-maintenance -i db2 -reason upgrade -owner ann",
    "begin-maintenance -i db2 -reason again -owner bob",
    "in-maintenance -i db2",
    "in-maintenance -i db3",
    "end-maintenance -i db2",
    "end-maintenance -i db2",
    "in-maintenance -i db2",
    "tag -i db2 -tag role=backup",
    "tag -i db2 -tag in_service",
    "tag -i db3 -tag role=primary",
    "tag -i db3",
    "tags -i db2",
    "tag-value -i db2 -tag role",
    "tag-value -i db2 -tag in_service",
    "tag-value -i db2 -tag nothing",
    "tagged -tag role",
    "tagged -tag role=backup",
    "tagged -tag ~role=backup",
    "topology-tags",
    "untag -i db2 -tag role=other",
    "untag -i db2 -tag role",
    "untag-all -tag role",
    "untag-all -tag role=primary",
    "tagged -tag role",
    "register-candidate -i db2",
    "register-candidate -i db3 -promotion-rule must_not --durable",
    "bulk-promotion-rules",
    "check-global-recoveries",
    "disable-global-recoveries",
    "check-global-recoveries",
    "enable-global-recoveries",
    "recoveries",
    "detections -alias shop",
    "blocked-recoveries",
    "recovery",
    "recovery 7",
    "recovery nothing",
    "ack-all-recoveries",
    "ack-all-recoveries -reason seen",
    "ack-cluster-recoveries -alias shop -reason seen",
    "ack-cluster-recoveries -alias nowhere -reason seen",
    "ack-instance-recoveries -i db1 -reason seen",
    "ack-recovery 7 -reason seen",
    "ack-recovery -reason seen",
    "recover -i db1",
    "recover -i db9",
    "recover -i db1 -noop",
    "recover-lite -i db1 -d db2",
    "force-master-failover -alias nowhere",
    "force-master-takeover -i db1",
    "graceful-master-takeover -i db1",
    "graceful-master-takeover -i db1 -d db4",
    "graceful-master-takeover-auto -i db1 -d db2",
    "topology --async",
    "submit-pool-instances -pool ro -i db2:3306,db3:3306",
    "submit-pool-instances -i db2:3306",
    "cluster-pool-instances",
    "which-heuristic-cluster-pool-instances",
    "which-heuristic-cluster-pool-instances -pool rw",
    "register-hostname-unresolve -i db2 -hostname vip2",
    "show-unresolve-hosts",
    "deregister-hostname-unresolve -i db2",
    "show-unresolve-hosts",
    "show-resolve-hosts",
    "reset-hostname-resolve-cache",
    "snapshot-topologies",
    "topology -pattern .",
    "topology-tabulated -pattern nothing",
    "set-cluster-alias -i db1",
    "set-cluster-alias -i db1 -alias shop",
    "async-discover -i db9",
    "discover -i db9",
    "submit",
    "submit topology",
    "submit match",
    "submit relocate -i db4",
    "submit stop-replica -i db4 --noop",
    "submit stop-replica -i db4 --local",
    "operations resume 999999 --noop",
    "relocate -i db9 -d db1",
    "relocate -i b -d db1",
    "relocate -i db4",
    "relocate -i db4 -d nowhere",
    "relocate -i db4 -d db1 --async --noop",
    "delay-replication -i db4 --seconds -5",
    "delay-replication -i db4",
    "kill-query -i db4",
    "purge-binary-logs -i db4",
    "relocate-replicas -i db1 -d db4 -pattern [",
    "master-pos-wait -i db4 -binlog bin.000001",
    "master-pos-wait -i db4 -binlog bin.000001:4 -duration -5m",
    "plan",
    "plan topology",
    "plan match",
    "plan nonsense",
    "operations",
    "operations show 999999",
    "operations cancel x",
    "operations resume 999999",
    "operations list --state nonsense",
    "submit nonsense",
    "jobs show 999999",
    "jobs show x",
    "jobs retry 999999",
    "jobs cancel 999999",
    "jobs",
    "forget -i db4",
    "forget -i db4",
    "all-instances",
    "forget-cluster",
    "forget-cluster -alias db1:3306",
    "all-instances",
];

#[tokio::test]
async fn changing() {
    let site = Site::seeded(Flavor::MySql).await;
    insta::assert_snapshot!(transcript(&site, CHANGING).await);
}

#[tokio::test]
async fn every_answer_is_also_json() {
    let site = Site::seeded(Flavor::MySql).await;
    for line in READING {
        let (text, json) = (site.run(line).await, site.run(&format!("{line} --json")).await);
        assert_eq!(
            (text.code, &text.err[text.err.len().min(19)..]),
            (json.code, &json.err[json.err.len().min(19)..]),
            "{line}"
        );
        for document in json.out.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(document).is_ok(), "{line}: {document}");
        }
        assert_eq!(json.out.is_empty(), json.code != 0, "{line}");
    }
    let found: serde_json::Value = serde_json::from_str(&site.ok("search -pattern db2 --json").await).expect("JSON");
    assert_eq!(found[0]["Key"]["Hostname"], "db2");
    assert_eq!(found[0]["MasterKey"]["Port"], 3306);
    assert_eq!(site.ok("which-master -i db1 --json").await, "null\n");
    assert_eq!(site.ok("which-master -i db2 --json").await, "{\"Hostname\":\"db1\",\"Port\":3306}\n");
    assert_eq!(site.ok("get-cluster-heuristic-lag --json").await, "0\n");
    assert_eq!(site.ok("clusters --json").await, "[\"db1:3306\"]\n");
    // One document per instance of -i.
    assert_eq!(site.ok("is-replicating -i db1,db2 --json").await, "null\n{\"Hostname\":\"db2\",\"Port\":3306}\n");
}

#[tokio::test]
async fn submitted_jobs_are_numbered_joined_and_listed() {
    let site = Site::seeded(Flavor::MySql).await;
    let first = site.ok("submit discover -i db8,db9").await;
    assert_eq!(first.lines().count(), 2);
    assert_eq!(site.ok("submit discover -i db8,db9 --jitter 600s").await, first, "equal jobs are joined");
    let id = first.lines().next().expect("a number");
    let listed = site.ok("jobs list --state waiting --kind discover").await;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.lines().next().is_some_and(|head| head.starts_with("ID ")), "{listed}");
    let shown = site.ok(&format!("jobs show {id}")).await;
    assert!(shown.contains("dba@db1") && shown.contains("\"hostname\":\"db8\""), "{shown}");
    assert_eq!(site.ok(&format!("jobs cancel {id}")).await, format!("job {id} is cancelled\n"));
    assert_eq!(site.ok("jobs list --limit 1").await.lines().count(), 2);
    assert!(site.fails("jobs list --state nonsense").await.contains("running, waiting, scheduled or failed"));
    assert!(site.ok("jobs lanes").await.contains("discovery/"));
    assert!(site.ok("jobs list --json").await.contains("\"payload\":{"));
}

#[tokio::test]
async fn a_token_is_sixty_four_hex_digits() {
    let site = Site::seeded(Flavor::MySql).await;
    let token = site.ok("access-token -owner ann").await;
    assert_eq!(token.len(), 65);
    assert!(token.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[tokio::test]
async fn nodes_show_role_load_and_leader() {
    let site = Site::seeded(Flavor::MySql).await;
    let (ours, theirs) = ("a".repeat(64), "b".repeat(64));
    let register = async |token: &str, name: &str, role: &str, datacenters: &[&str]| {
        let node = store::nodes::Registration {
            token: token.to_owned(),
            name: name.to_owned(),
            role: role.to_owned(),
            datacenters: datacenters.iter().map(|name| (*name).to_owned()).collect(),
            version: "0.1.0".to_owned(),
            address: "svc1:3000".to_owned(),
            pid: 7,
            load: r#"{"memory_bytes": 50000000, "cpu_seconds": 1.5}"#.to_owned(),
        };
        store::nodes::heartbeat(&site.pool, &node).await.expect("registered");
    };
    register(&ours, "svc1", "service+worker", &["dc1"]).await;
    register(&theirs, "svc1", "service+worker", &["dc1"]).await;
    let text = site.ok("nodes").await;
    assert_eq!(text.lines().count(), 3, "{text}");
    assert_eq!(text.matches("(name used twice)").count(), 2, "{text}");
    assert!(text.contains("service+worker") && text.contains("50 MB") && text.contains("1.5s"), "{text}");
    assert_eq!(site.ok("active-nodes").await, format!("svc1:{ours}\nsvc1:{theirs}\n"));
    let nodes: serde_json::Value = serde_json::from_str(&site.ok("nodes --json").await).expect("JSON");
    assert_eq!((&nodes[0]["is_leader"], &nodes[0]["load"]["cpu_seconds"]), (&false.into(), &1.5.into()));

    // Without a datacenter a worker serves all of them, and a service without a worker none.
    register(&"c".repeat(64), "all1", "worker", &[]).await;
    register(&"d".repeat(64), "svc2", "service", &[]).await;
    let text = site.ok("nodes").await;
    let column = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().nth(2).expect("a third column").to_owned()
    };
    assert_eq!((column("all1").as_str(), column("svc2").as_str()), ("(all)", "-"), "{text}");
    let nodes: serde_json::Value = serde_json::from_str(&site.ok("nodes --json").await).expect("JSON");
    let all1 = nodes.as_array().expect("a list").iter().find(|node| node["name"] == "all1").expect("all1");
    assert_eq!(all1["datacenters"], serde_json::json!([]), "{all1}");
}

#[tokio::test]
async fn the_first_error_ends_a_list_after_what_was_printed() {
    let site = Site::seeded(Flavor::MySql).await;
    let ran = site.run("which-instance -i db1,nowhere,db2").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, "db1:3306\n"));
}
