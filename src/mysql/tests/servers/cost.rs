//! What probes cost: connections, round trips, statements.

use std::sync::Arc;
use std::time::Duration;

use harness::{Server, Topology};

use crate::support::{BOTH, facts_of, key, prober, settings, shown};

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_probe_is_one_packet_and_no_connection() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a semisync=source\n  b semisync=replica\n  c").await.expect("servers");
        let prober = prober(settings());
        for (name, server) in &pair.servers {
            facts_of(&prober, server).await;
            facts_of(&prober, server).await;
            let before = prober.stats();
            let questions = async || shown(server, "STATUS", "Questions").await.parse::<u64>().expect("a number");
            let asked_before = questions().await;
            for _ in 0..20 {
                facts_of(&prober, server).await;
            }
            let asked = questions().await - asked_before;
            let after = prober.stats();
            assert_eq!(after.round_trips - before.round_trips, 20, "{name}");
            assert_eq!(after.connections_opened, before.connections_opened, "{name}");
            assert!(asked <= 20 * 5 + 10, "{name}: {asked} statements in 20 probes");
        }
        assert_eq!(prober.stats().open_connections, 3);
        assert_eq!(prober.close_idle(Duration::from_secs(60)).await, 0);
        assert_eq!(prober.close_idle(Duration::ZERO).await, 3);
        assert_eq!(prober.stats().open_connections, 0);
        facts_of(&prober, &pair["a"]).await;
        prober.forget(&key(&pair["a"]));
        assert_eq!(prober.stats().open_connections, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_probe_is_two_packets() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        facts_of(&prober, &server).await;
        let stats = prober.stats();
        assert_eq!((stats.round_trips, stats.connections_opened, stats.probes), (2, 1, 1), "{flavor:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_budget_probes_reconnect_and_succeed() {
    for flavor in BOTH {
        let trio = Topology::start(flavor, "a\nb\nc").await.expect("servers");
        let mut settings = settings();
        settings.max_connections = 2;
        let prober = prober(settings);
        for _ in 0..4 {
            for (_, server) in &trio.servers {
                facts_of(&prober, server).await;
                assert!(prober.stats().open_connections <= 2);
            }
        }
        let stats = prober.stats();
        // Two stay warm; the third connects each time, and learns its slow facts only once.
        assert_eq!((stats.connections_opened, stats.open_connections), (6, 2));
        assert_eq!(stats.round_trips, 12 + 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_noticed_and_slow_facts_are_read_again() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = prober(settings());
        let before = facts_of(&prober, &server).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(facts_of(&prober, &server).await.started_at, before.started_at);
        server.restart().await.expect("restarts");
        let after = facts_of(&prober, &server).await;
        assert!(after.started_at > before.started_at, "{} {}", after.started_at, before.started_at);
        // A change of identity without a restart.
        server.execute("SET GLOBAL server_id = 4711").await.expect("set");
        let round_trips = prober.stats().round_trips;
        assert_eq!(facts_of(&prober, &server).await.server_id, 4711);
        assert_eq!(prober.stats().round_trips - round_trips, 3, "one answer tells, two read anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_of_one_server_at_once_share_one_connection() {
    let server = Server::start(harness::Flavor::MariaDb).await.expect("a server");
    let prober = Arc::new(prober(settings()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (prober, key) = (Arc::clone(&prober), key(&server));
        tasks.spawn(async move { matches!(prober.probe(&key).await.answer, domain::instance::Answer::Facts { .. }) });
    }
    // A caller that goes away in the middle takes its connection with it and harms nobody.
    for _ in 0..5 {
        let (prober, key) = (Arc::clone(&prober), key(&server));
        let _ = tokio::time::timeout(Duration::from_micros(300), prober.probe(&key)).await;
    }
    assert!(tasks.join_all().await.into_iter().all(|ok| ok));
    let stats = prober.stats();
    assert!(stats.connections_opened <= 6 && stats.open_connections <= 1, "{stats:?}");
}
