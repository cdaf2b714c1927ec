//! Reading through the compatibility API.

use axum::http::{Method, StatusCode};

use crate::fleet::{Fleet, fail, on_both, on_empty, settled};

/// One line per path, so that a change of any byte is seen.
async fn show(fleet: &Fleet, paths: &[&str]) -> String {
    let mut lines = Vec::new();
    for path in paths {
        let reply = fleet.get(path).await;
        lines.push(format!("{path} {} {}", reply.status.as_u16(), settled(&reply.body)));
    }
    lines.join("\n")
}

#[tokio::test]
async fn instances_and_clusters() {
    on_both(async |fleet| {
        let paths = [
            "/api/clusters",
            "/api/clusters-info",
            "/api/cluster-info/shop",
            "/api/cluster-info/alias/shop",
            "/api/instance/db2/3306",
            "/api/instance/db3/3306",
            "/api/instance/solo/3306",
            "/api/bulk-instances",
        ];
        insta::assert_snapshot!("legacy_instances_and_clusters", show(&fleet, &paths).await);
    })
    .await;
}

#[tokio::test]
async fn topologies() {
    on_both(async |fleet| {
        let paths = [
            "/api/topology/shop",
            "/api/topology/db4/3306",
            "/api/topology-tabulated/db1:3306",
            "/api/topology-tags/shop",
            "/api/topology/solo",
        ];
        fleet.ok("/api/tag/db2/3306?tag=role%3Dbackup").await;
        insta::assert_snapshot!("legacy_topologies", show(&fleet, &paths).await);
    })
    .await;
}

/// `Key.Hostname` of each instance in a reply.
fn hosts(body: &str) -> Vec<String> {
    let instances: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let instances = instances.as_array().expect("list");
    instances.iter().map(|one| one["Key"]["Hostname"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn selections() {
    on_both(async |fleet| {
        fail(&fleet.handles.pool, "db4").await;
        for (path, expected) in [
            ("/api/all-instances", vec!["db1", "solo", "db2", "db3", "db4"]),
            ("/api/cluster/shop", vec!["db1", "db2", "db3", "db4"]),
            ("/api/cluster/db1:3306", vec!["db1", "db2", "db3", "db4"]),
            ("/api/cluster/db1%3A3306/", vec!["db1", "db2", "db3", "db4"]),
            ("/api/cluster/db4", vec!["db1", "db2", "db3", "db4"]),
            ("/api/cluster/alias/shop", vec!["db1", "db2", "db3", "db4"]),
            ("/api/cluster/instance/db3/3306", vec!["db1", "db2", "db3", "db4"]),
            ("/api/instance-replicas/db1/3306", vec!["db2", "db3"]),
            ("/api/instance-replicas/db4/3306", vec![]),
            ("/api/search/sol", vec!["solo"]),
            ("/api/search?s=shop", vec!["db1", "db2", "db3", "db4"]),
            ("/api/search/nothing-like-it", vec![]),
            ("/api/problems", vec!["db3", "db4"]),
            ("/api/problems/shop", vec!["db3", "db4"]),
            ("/api/masters", vec!["db1", "solo"]),
            ("/api/cluster-osc-slaves/shop", vec!["db2", "db3"]),
            ("/api/cluster-osc-replicas/shop", vec!["db2", "db3"]),
        ] {
            assert_eq!(hosts(&fleet.ok(path).await), expected, "{path}");
        }
        let primary = fleet.ok("/api/master/shop").await;
        assert!(primary.starts_with(r#"{"Key":{"Hostname":"db1","Port":3306},"InstanceAlias":"#), "{primary}");
    })
    .await;
}

#[tokio::test]
async fn what_is_unknown_says_so_in_the_words_clients_match() {
    on_both(async |fleet| {
        for (path, message) in [
            ("/api/instance/nowhere/3306", "Cannot read instance: nowhere:3306"),
            ("/api/instance/db1/x", "Invalid port: x"),
            ("/api/tag-value/db1/3306/role", "tag role not found for db1:3306"),
            ("/api/forget/nowhere/3306", "instance not found: nowhere:3306"),
            ("/api/cluster/nowhere", "Unable to determine cluster name for hint: nowhere"),
            ("/api/topology/nowhere", "Unable to determine cluster name for hint: nowhere"),
            ("/api/agents", "Agents not served"),
            ("/api/raft-health", "raft-state: not running with raft setup"),
            ("/api/raft-leader", "raft-leader: not running with raft setup"),
            ("/api/raft-peers", "raft-nodes: not running with raft setup"),
            ("/api/match/db3/3306/db2/3306", "not built yet: Pseudo-GTID"),
            ("/api/regroup-replicas-bls/db1/3306", "not built yet: binlog servers"),
            ("/api/submit-masters-to-kv-stores/shop", "not built yet: key-value stores"),
            ("/api/discovery-metrics-raw/60", "not built yet: figures of this kind; see /metrics"),
            (
                "/api/register-candidate/db2/3306/must",
                "promotion rule must cannot be registered; use prefer, neutral, prefer_not or must_not",
            ),
            ("/api/untag-all?tag=role", "untag-all needs name=value, not only a name: role"),
            (
                "/api/begin-downtime/db1/3306/me/why/10y",
                "cannot read duration \"10y\"; write digits and one of s, m, h, d, w",
            ),
            ("/api/end-maintenance/x7", "a maintenance key is a number, not \"x7\""),
            ("/api/reload-configuration", "this service cannot reload its configuration"),
        ] {
            assert_eq!(fleet.refusal(path).await, message, "{path}");
        }
        let odd = fleet.refusal("/api/instance/%3Cscript%3E/3306").await;
        assert!(odd.contains("no host name has"), "{odd}");
        let long = fleet.refusal(&format!("/api/cluster/{}", "x".repeat(10_000))).await;
        assert!(long.len() < 400, "an error does not repeat 10 kB");
    })
    .await;
}

#[tokio::test]
async fn markup_in_names_never_leaves_as_markup() {
    on_both(async |fleet| {
        for path in ["/api/all-instances", "/api/instance/solo/3306", "/api/topology/solo", "/api/search/%3Cb%3E"] {
            let body = fleet.ok(path).await;
            assert!(!body.contains(['<', '>', '&']), "{path}: {body}");
        }
    })
    .await;
}

#[tokio::test]
async fn empty_answers_are_null_or_a_list_as_documented() {
    on_empty(async |fleet| {
        for path in [
            "all-instances",
            "search/x",
            "search?s=",
            "clusters-info",
            "downtimed",
            "maintenance",
            "audit",
            "audit/3",
            "audit/instance/db1/3306",
            "tagged?tag=x",
            "tags/db1/3306",
            "instance-replicas/db1/3306",
        ] {
            assert_eq!(fleet.ok(&format!("/api/{path}")).await, "[]", "{path}");
        }
        for path in ["clusters", "masters", "problems", "bulk-instances", "bulk-promotion-rules"] {
            assert_eq!(fleet.ok(&format!("/api/{path}")).await, "null", "{path}");
        }
        let pools = fleet.ok("/api/cluster-pool-instances/db1:3306").await;
        assert_eq!(pools, r#"{"Code":"OK","Message":"Read pool instances for cluster db1:3306","Details":{}}"#);
        let cache = fleet.ok("/api/hostname-resolve-cache").await;
        assert_eq!(cache, r#"{"Code":"OK","Message":"Cache retrieved","Details":{}}"#);
    })
    .await;
}

#[tokio::test]
async fn replication_questions() {
    on_both(async |fleet| {
        let yes = fleet.ok("/api/can-replicate-from/db3/3306/db2/3306").await;
        assert_eq!(yes, r#"{"Code":"OK","Message":"true","Details":{"Hostname":"db2","Port":3306}}"#);
        let yes = fleet.ok("/api/can-replicate-from-gtid/db3/3306/db2/3306").await;
        assert!(yes.contains(r#""Message":"true""#), "{yes}");
        let no = fleet.refusal("/api/can-replicate-from/db3/3306/db3/3306").await;
        assert_eq!(no, "instance cannot replicate from itself: db3:3306");
    })
    .await;
}

#[tokio::test]
async fn health_and_checks() {
    on_both(async |fleet| {
        assert_eq!(fleet.ok("/api/lb-check").await, r#""OK""#);
        assert_eq!(fleet.ok("/api/_ping").await, r#""OK""#);
        for (path, status) in
            [("leader-check", 404), ("leader-check/503", 503), ("leader-check/7", 404), ("routed-leader-check", 404)]
        {
            let reply = fleet.get(&format!("/api/{path}")).await;
            assert_eq!((reply.status.as_u16(), reply.body.as_str()), (status, r#""Not leader""#), "{path}");
        }
        fleet.handles.leadership.send_replace(Some(7));
        assert_eq!(fleet.ok("/api/leader-check").await, r#""OK""#);
        assert_eq!(fleet.ok("/health/leader").await, "leading term 7\n");
        assert_eq!(fleet.ok("/health/live").await, "ok\n");
        assert_eq!(fleet.ok("/health/ready").await, "ok\n");
        insta::assert_snapshot!("legacy_health", settled(&fleet.ok("/api/health").await));
        let status = fleet.get("/api/status/").await;
        assert_eq!(status.status, StatusCode::OK);
        assert_eq!(status.header("content-type"), "application/json; charset=UTF-8");
        let echo = fleet.ask(Method::GET, "/api/headers", &[("x-custom-one", "a"), ("cookie", "secret")]).await.body;
        assert!(echo.contains(r#""X-Custom-One":["a"]"#) && !echo.contains("secret"), "{echo}");
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_is_gone_is_unhealthy_and_stays_so_in_the_cache() {
    on_empty(async |fleet| {
        fleet.handles.pool.close().await;
        for _ in 0..2 {
            let reply = fleet.get("/api/health").await;
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(
                reply.body.starts_with(r#"{"Code":"ERROR","Message":"Application node is unhealthy "#),
                "{}",
                reply.body
            );
            assert!(reply.body.contains(r#""Details":{"Healthy":false,"#), "{}", reply.body);
        }
        assert_eq!(fleet.get("/health/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(fleet.get("/health/live").await.status, StatusCode::OK);
        let message = fleet.refusal("/api/clusters").await;
        assert!(message.contains("backend database is not available"), "{message}");
        let metrics = fleet.ok("/metrics").await;
        assert!(metrics.contains("orchestrator_backend_up 0"), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn unknown_paths_methods_and_slashes() {
    on_empty(async |fleet| {
        for path in
            ["/api/nothing", "/api/", "/nothing", "/api/instance/db1", "/api/Clusters", "/api/instance/a%2Fb/1/2"]
        {
            let reply = fleet.get(path).await;
            assert_eq!((reply.status.as_u16(), reply.body.as_str()), (404, "404 page not found\n"), "{path}");
        }
        for method in [Method::PUT, Method::DELETE, Method::POST] {
            assert_eq!(fleet.ask(method, "/api/clusters", &[]).await.status, StatusCode::NOT_FOUND);
        }
        let head = fleet.ask(Method::HEAD, "/api/clusters", &[]).await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
        // A slash in a name splits it, as in the original.
        assert_eq!(fleet.get("/api/instance/db1%2F3306").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    })
    .await;
}

#[tokio::test]
async fn metrics_tell_about_the_fleet() {
    on_both(async |fleet| {
        fleet.handles.leadership.send_replace(Some(1));
        let body = fleet.ok("/metrics").await;
        for line in [
            "orchestrator_backend_up 1",
            "orchestrator_leader 1",
            "orchestrator_poll_age_seconds_count 5",
            "orchestrator_instances{state=\"ok\"} 5",
            "orchestrator_lease_held 0",
            "orchestrator_nodes{role=\"service\"} 0",
        ] {
            assert!(body.lines().any(|found| found == line), "{line} in\n{body}");
        }
    })
    .await;
}
