//! What a warm connection costs us in memory. Alone in its process, so that nothing else moves the figure.

use std::sync::Arc;

use domain::instance::{Answer, InstanceKey};
use harness::{Flavor, Server, TOPOLOGY};
use mysql::{ConnectSettings, ProbeSettings, Prober, Secret};

/// 5,000 servers in 100 MB, the rest of the process included.
const LIMIT: usize = 17_000;
const CONNECTIONS: usize = 400;

#[tokio::test]
async fn a_warm_connection_is_small() {
    let server = Server::start(Flavor::MariaDb).await.expect("a server");
    let key = InstanceKey::new(harness::HOST, server.port());
    let connect = ConnectSettings {
        user: TOPOLOGY.user.to_owned(),
        password: Secret::new(TOPOLOGY.password),
        ..ConnectSettings::default()
    };
    let settings = ProbeSettings { connect, ..ProbeSettings::default() };
    let mut probers = Vec::new();
    let mut before = 0;
    for opened in 0..CONNECTIONS {
        if opened == CONNECTIONS / 4 {
            before = resident_bytes();
        }
        let prober = Prober::new(settings.clone(), Arc::new(|| 0));
        for _ in 0..2 {
            let observation = prober.probe(&key).await;
            assert!(matches!(observation.answer, Answer::Facts { .. }), "{observation:?}");
        }
        probers.push(prober);
    }
    let each = (resident_bytes() - before) / (CONNECTIONS * 3 / 4);
    println!("{each} bytes resident per warm connection, its prober included");
    assert!(each <= LIMIT, "{each} bytes per warm connection");
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}
