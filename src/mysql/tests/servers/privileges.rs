//! Refused statements, operators' queries, filters.

use std::time::Duration;

use domain::instance::Answer;
use harness::{Account, Flavor, Server, Topology};
use mysql::{DetectionQueries, KeyFilters, Patterns, UserFilters};
use regex::Regex;

use crate::support::{BOTH, facts, facts_of, failure, key, prober, settings, settings_for};

const POOR: Account = Account { user: "poor", password: "poor_password" };

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_privilege_costs_one_fact() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let grant = match flavor {
            Flavor::MySql => "REPLICATION CLIENT",
            Flavor::MariaDb => "REPLICA MONITOR",
        };
        let make = format!("CREATE USER poor@'%' IDENTIFIED BY 'poor_password'; GRANT {grant} ON *.* TO poor@'%'");
        server.execute(&make).await.expect("a poor user");
        let mut settings = settings_for(POOR);
        settings.queries.replication_lag = "SELECT seconds FROM no_such_schema.heartbeat".to_owned();
        let prober = prober(settings.clone());
        let facts = facts_of(&prober, &server).await;
        assert_eq!(facts.server_id.to_string(), crate::support::shown(&server, "VARIABLES", "server_id").await);
        let has = |what: &str| facts.missing.iter().any(|text| text.starts_with(what));
        assert!(has("registered replicas: error") && has("ReplicationLagQuery: error"), "{:?}", facts.missing);
        assert_eq!(has("binary log status"), flavor == Flavor::MariaDb, "{:?}", facts.missing);
        // What was refused is not asked again.
        let before = prober.stats().round_trips;
        assert_eq!(facts_of(&prober, &server).await.missing, facts.missing);
        assert_eq!(prober.stats().round_trips, before + 1);
        // What is granted later is found with the next reading of slow facts, although privileges need a new login.
        server.execute("GRANT ALL ON *.* TO poor@'%'; CREATE SCHEMA no_such_schema").await.expect("granted");
        server.execute("CREATE TABLE no_such_schema.heartbeat AS SELECT 7 AS seconds").await.expect("created");
        settings.slow_facts_every = Duration::ZERO;
        prober.update_settings(settings);
        assert_eq!(facts_of(&prober, &server).await.missing, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_privilege_is_named() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        server.execute("CREATE USER poor@'%' IDENTIFIED BY 'poor_password'").await.expect("a poor user");
        let prober = prober(settings_for(POOR));
        let (kind, message) = failure(prober.probe(&key(&server)).await);
        assert_eq!(kind, domain::instance::FailureKind::Statement, "{message}");
        assert!(message.contains("replica status") && message.contains("denied"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_queries_give_facts_and_harm_nothing() {
    let anything = Regex::new("(127)[.]").expect("compiles");
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a\n  b").await.expect("servers");
        let mut settings = settings();
        settings.queries = DetectionQueries {
            data_center: "SELECT 'dc1' -- here".to_owned(),
            region: "SELECT 'eu';".to_owned(),
            physical_environment: "SELECT nonsense FROM nowhere".to_owned(),
            instance_alias: "SET @a = 'x'; SELECT CONCAT(@a, 'y')".to_owned(),
            cluster_alias: "SELECT 'shop'".to_owned(),
            cluster_domain: "SELECT 'shop.example.com'".to_owned(),
            promotion_rule: "SELECT 'prefer_not'".to_owned(),
            semi_sync_priority: "SELECT 3".to_owned(),
            pseudo_gtid: "SELECT 1".to_owned(),
            replication_lag: "SELECT 12.9".to_owned(),
        };
        settings.patterns = Patterns {
            region: Some(anything.clone()),
            physical_environment: Some(anything.clone()),
            ..Patterns::default()
        };
        let prober = prober(settings.clone());
        let facts = facts_of(&prober, &pair["b"]).await;
        assert_eq!((facts.data_center.as_str(), facts.region.as_str()), ("dc1", "eu"));
        assert_eq!(facts.physical_environment, "127", "the query failed, the pattern counts");
        assert_eq!(facts.detected_cluster_alias, "shop");
        assert_eq!(facts.detected_cluster_domain, "shop.example.com");
        assert_eq!((facts.detected_promotion_rule.as_str(), facts.semi_sync.priority), ("prefer_not", 3));
        assert!(facts.using_pseudo_gtid);
        let replica = facts.replica.expect("a replica");
        assert_eq!(replica.lag_seconds, Some(12));
        assert_ne!(replica.seconds_behind, Some(12));
        assert_eq!(facts.missing.len(), 1, "{:?}", facts.missing);
        // `must` is for people, and a slow query does not make its server look dead.
        settings.queries.promotion_rule = "SELECT 'must'".to_owned();
        settings.queries.replication_lag = "SELECT SLEEP(30)".to_owned();
        settings.connect.read_timeout = Duration::from_millis(400);
        prober.update_settings(settings);
        let facts = facts_of(&prober, &pair["b"]).await;
        assert_eq!(facts.detected_promotion_rule, "");
        assert!(facts.missing.iter().any(|text| text.starts_with("ReplicationLagQuery: no complete answer")));
        let replica = facts.replica.expect("a replica");
        assert_eq!(replica.lag_seconds, replica.seconds_behind);
        facts_of(&prober, &pair["b"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_hide_servers_and_replicas() {
    let tree = Topology::start(Flavor::MariaDb, "a\n  b\n  c").await.expect("servers");
    let mut settings = settings();
    settings.filters.replicas = KeyFilters::new(&[format!(":{}$", tree["b"].port())]);
    settings.filters.hosts = KeyFilters::new(&[format!(":{}$", tree["c"].port())]);
    let prober = prober(settings.clone());
    let a = crate::support::until(&prober, &tree["a"], "a replica", |facts| !facts.replicas.is_empty()).await;
    assert!(!a.replicas.contains(&key(&tree["b"])), "{:?}", a.replicas);
    assert!(matches!(prober.probe(&key(&tree["c"])).await.answer, Answer::Filtered { .. }));
    settings.filters.replication_users = UserFilters::new(&["^repl$"]);
    prober.update_settings(settings);
    let Answer::Filtered { filter } = prober.probe(&key(&tree["b"])).await.answer else { panic!("not filtered") };
    assert!(filter.contains("DiscoveryIgnoreReplicationUsernameFilters"), "{filter}");
    facts(prober.probe(&key(&tree["a"])).await);
}
