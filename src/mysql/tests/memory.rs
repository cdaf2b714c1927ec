//! What a warm connection costs us in memory. Alone in its process, so that nothing else moves the figures.
//! They are what this test is for, so they are printed, too: a limit that is kept does not tell by how much.

use std::sync::Arc;

use domain::instance::{Answer, InstanceKey};
use harness::{Flavor, Server, TOPOLOGY};
use mysql::wire::Connection;
use mysql::{ConnectSettings, Connector, ProbeSettings, Prober, Secret, TlsMode, TlsSettings};

/// 5,000 servers in 100 MB, the rest of the process included. For a connection with its whole prober; in a fleet all
/// servers share one.
const LIMIT: usize = 6_000;
/// For a connection and nothing else.
const LIMIT_OF_CONNECTION: usize = 3_000;
/// TLS keeps buffers of its own.
const LIMIT_OF_ENCRYPTED: usize = 40_000;
const CONNECTIONS: usize = 300;
/// The first ones fill the allocator's pockets.
const WARM_UP: usize = CONNECTIONS / 4;

fn connect() -> ConnectSettings {
    ConnectSettings {
        user: TOPOLOGY.user.to_owned(),
        password: Secret::new(TOPOLOGY.password),
        ..ConnectSettings::default()
    }
}

#[tokio::test]
async fn a_warm_connection_is_small() {
    let server = Server::start(Flavor::MariaDb).await.expect("a server");
    server.execute("SET GLOBAL max_connections = 2000").await.expect("set");
    let key = InstanceKey::new(harness::HOST, server.port());

    // All are kept to the end: what is freed would be used again, and make the next figure too small.
    let (each, _plain) = per_connection(connect(), &key, CONNECTIONS).await;
    println!("{each} bytes resident per connection at rest");
    assert!(each <= LIMIT_OF_CONNECTION, "{each} bytes per connection");

    let settings = ProbeSettings { connect: connect(), ..ProbeSettings::default() };
    let mut before = 0;
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
    let server = Server::start(Flavor::MySql).await.expect("a server");
    let key = InstanceKey::new(harness::HOST, server.port());
    let tls = TlsSettings { mode: TlsMode::Always, skip_verify: true, ..TlsSettings::default() };
    let (each, _encrypted) = per_connection(ConnectSettings { tls, ..connect() }, &key, CONNECTIONS / 3).await;
    println!("{each} bytes resident per encrypted connection at rest");
    assert!(each <= LIMIT_OF_ENCRYPTED, "{each} bytes per encrypted connection");
}

/// Opens so many, asks each for more than a probe does, and keeps them.
async fn per_connection(settings: ConnectSettings, key: &InstanceKey, count: usize) -> (usize, Vec<Connection>) {
    let connector = Connector::new(settings);
    let mut connections = Vec::with_capacity(count);
    let (mut before, warm_up) = (0, count / 4);
    for opened in 0..count {
        if opened == warm_up {
            before = resident_bytes();
        }
        let mut connection = connector.open(key, false).await.expect("logs in");
        connection.query("SHOW GLOBAL STATUS; SHOW GLOBAL VARIABLES").await.expect("answers");
        connections.push(connection);
    }
    ((resident_bytes() - before) / (count - warm_up), connections)
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}
