//! What a warm connection costs us in memory. Alone in its process, so that nothing else moves the figures.

use std::sync::Arc;

use domain::instance::{Answer, InstanceKey};
use harness::{Flavor, Server, TOPOLOGY};
use mysql::{ConnectSettings, Connector, ProbeSettings, Prober, Secret};

/// 5,000 servers in 100 MB, the rest of the process included. For a connection with its whole prober; in a fleet all
/// servers share one.
const LIMIT: usize = 6_000;
/// For a connection and nothing else.
const LIMIT_OF_CONNECTION: usize = 3_000;
const CONNECTIONS: usize = 400;
/// The first ones fill the allocator's pockets.
const WARM_UP: usize = CONNECTIONS / 4;

#[tokio::test]
async fn a_warm_connection_is_small() {
    let server = Server::start(Flavor::MariaDb).await.expect("a server");
    server.execute("SET GLOBAL max_connections = 2000").await.expect("set");
    let key = InstanceKey::new(harness::HOST, server.port());
    let connect = ConnectSettings {
        user: TOPOLOGY.user.to_owned(),
        password: Secret::new(TOPOLOGY.password),
        ..ConnectSettings::default()
    };

    let connector = Connector::new(connect.clone());
    let mut connections = Vec::with_capacity(CONNECTIONS);
    let mut before = 0;
    for opened in 0..CONNECTIONS {
        if opened == WARM_UP {
            before = resident_bytes();
        }
        let mut connection = connector.open(&key, false).await.expect("logs in");
        connection.query("SHOW GLOBAL STATUS; SHOW GLOBAL VARIABLES").await.expect("answers");
        connections.push(connection);
    }
    let each = (resident_bytes() - before) / (CONNECTIONS - WARM_UP);
    println!("{each} bytes resident per connection at rest");
    assert!(each <= LIMIT_OF_CONNECTION, "{each} bytes per connection");

    let settings = ProbeSettings { connect, ..ProbeSettings::default() };
    let mut probers = Vec::with_capacity(CONNECTIONS);
    for opened in 0..CONNECTIONS {
        if opened == WARM_UP {
            before = resident_bytes();
        }
        let prober = Prober::new(settings.clone(), Arc::new(|| 0));
        for _ in 0..2 {
            let observation = prober.probe(&key).await;
            assert!(matches!(observation.answer, Answer::Facts { .. }), "{observation:?}");
        }
        probers.push(prober);
    }
    let each = (resident_bytes() - before) / (CONNECTIONS - WARM_UP);
    println!("{each} bytes resident per warm connection, its prober included");
    assert!(each <= LIMIT, "{each} bytes per warm connection and prober");
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}
