//! Discovery through a real worker, of real servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Secret;
use harness::Flavor;
use service::{WorkerOptions, run_worker};
use tokio_util::sync::CancellationToken;

use crate::fleet::{empty, on_empty};

#[tokio::test]
async fn without_a_worker_discovery_says_so_at_once() {
    on_empty(async |fleet| {
        let begun = Instant::now();
        let message = fleet.refusal("/api/discover/db1/3306").await;
        assert!(message.starts_with("no live worker serves lane discovery/"), "{message}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(fleet.number("SELECT COUNT(*) FROM job_ready").await, 0);
        let queued = fleet.ok("/api/async-discover/db1/3306").await;
        let expected =
            r#"{"Code":"OK","Message":"Asynchronous discovery initiated for Instance: db1:3306","Details":null}"#;
        assert_eq!(queued, expected);
        assert_eq!(fleet.number("SELECT COUNT(*) FROM job_ready").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_worker_discovers_real_servers_and_tells_why_it_cannot() {
    for flavor in Flavor::ALL {
        let fleet = empty(flavor).await.with(|settings| {
            settings.topology.user = harness::TOPOLOGY.user.to_owned();
            settings.topology.password = Secret::from(harness::TOPOLOGY.password);
            settings.hostnames.mysql_hostname_resolve_method = config::MySQLHostnameResolveMethod::None;
        });
        let stop = CancellationToken::new();
        let options = WorkerOptions { datacenters: Vec::new(), concurrency: 4, descriptor_limit: None };
        let worker = tokio::spawn(run_worker(Arc::clone(&fleet.handles), options, stop.clone()));
        let end = Instant::now() + Duration::from_secs(20);
        while fleet.number("SELECT COUNT(*) FROM queue_worker").await == 0 {
            assert!(Instant::now() < end, "the worker did not register");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let server = harness::backend(flavor).await.expect("backend").server();
        let (host, port) = (server.host(), server.port());
        let found = fleet.ok(&format!("/api/discover/{host}/{port}")).await;
        let start = format!(
            r#"{{"Code":"OK","Message":"Instance discovered: {host}:{port}","Details":{{"Key":{{"Hostname":"{host}","Port":{port}}}"#
        );
        assert!(found.starts_with(&start), "{found}");
        assert!(fleet.ok(&format!("/api/resolve/{host}/{port}")).await.contains("Instance resolved"));
        let closed = fleet.refusal("/api/resolve/127.0.0.1/1").await;
        assert!(closed.starts_with("cannot connect to 127.0.0.1:1"), "{closed}");
        let unknown = fleet.refusal("/api/discover/127.0.0.1/1").await;
        assert!(unknown.contains("cannot discover 127.0.0.1:1"), "{unknown}");
        assert!(fleet.refusal("/api/instance/127.0.0.1/1").await.starts_with("Cannot read instance"));
        stop.cancel();
        worker.await.expect("joined").expect("drained");
    }
}

#[tokio::test]
async fn the_tcp_check_of_resolve_has_a_deadline() {
    let fleet = empty(Flavor::MySql).await;
    // A full queue of connections that nobody accepts: the next one gets no answer.
    let socket = tokio::net::TcpSocket::new_v4().expect("socket");
    socket.bind("127.0.0.1:0".parse().expect("address")).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let at = listener.local_addr().expect("address");
    let mut held = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(at)).await {
        held.push(stream.expect("connected"));
        assert!(held.len() < 100, "the queue does not fill");
    }
    let begun = Instant::now();
    let message = fleet.refusal(&format!("/api/resolve/127.0.0.1/{}", at.port())).await;
    assert!(message.contains("no answer within 1 s"), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
