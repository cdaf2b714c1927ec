//! Every way a server can fail to answer.

use std::time::{Duration, Instant};

use domain::instance::{Answer, FailureKind, InstanceKey};
use harness::{Account, Flavor, Mode, Options, Proxy, Server, TOPOLOGY};
use mysql::{Prober, TlsMode, TlsSettings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::{BOTH, facts, facts_of, failure, key, key_at, prober, settings, settings_for, shown};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_sign_of_life() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let wrong = Account { user: TOPOLOGY.user, password: "wrong_one" };
        let prober = prober(settings_for(wrong));
        let (kind, message) = failure(prober.probe(&key(&server)).await);
        assert_eq!(kind, FailureKind::AccessDenied, "{message}");
        assert!(message.contains("Access denied") && !message.contains("wrong_one"), "{message}");
        assert_eq!(prober.stats().failures.get(&FailureKind::AccessDenied), Some(&1));
        // Corrected at run time.
        prober.update_settings(settings());
        facts_of(&prober, &server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_a_sign_of_life() {
    for flavor in BOTH {
        let extra_args = vec!["--max-connections=10".to_owned()];
        let server = Server::start_with(flavor, Options { extra_args, ..Options::default() }).await.expect("a server");
        let mut held = Vec::new();
        while let Ok(connection) = server.connect(harness::APPLICATION).await {
            held.push(connection);
            assert!(held.len() < 30, "the server takes more connections than it was told");
        }
        // One place is kept for SUPER; the account that probes usually has it.
        let observation = prober(settings_for(harness::APPLICATION)).probe(&key(&server)).await;
        let (kind, message) = failure(observation);
        assert_eq!(kind, FailureKind::TooManyConnections, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_demands_tls_gets_it_and_is_remembered() {
    let extra_args = vec!["--require-secure-transport=ON".to_owned()];
    let options = Options { extra_args, ..Options::default() };
    let server = Server::start_with(Flavor::MySql, options).await.expect("a server");
    let mut settings = settings();
    settings.connect.tls = TlsSettings { mode: TlsMode::Mixed, skip_verify: true, ..TlsSettings::default() };
    settings.max_connections = 0;
    let prober = prober(settings.clone());
    facts_of(&prober, &server).await;
    let before: u64 = shown(&server, "STATUS", "Connections").await.parse().expect("a number");
    for _ in 0..5 {
        facts_of(&prober, &server).await;
    }
    let after: u64 = shown(&server, "STATUS", "Connections").await.parse().expect("a number");
    // One of them is our own question.
    assert_eq!(after - before, 6, "no attempt without TLS once the demand is known");
    settings.connect.tls.mode = TlsMode::Off;
    let (kind, message) = failure(crate::support::prober(settings.clone()).probe(&key(&server)).await);
    assert_eq!(kind, FailureKind::AccessDenied, "{message}");
    // Its certificate is self-signed.
    settings.connect.tls = TlsSettings { mode: TlsMode::Always, ..TlsSettings::default() };
    let (kind, message) = failure(crate::support::prober(settings).probe(&key(&server)).await);
    assert_eq!(kind, FailureKind::AccessDenied, "{message}");
    assert!(message.contains("TLS"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_mysql_server_is_told_in_words() {
    for greeting in ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\x01"] {
        for stays_open in [true, false] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let serving = tokio::spawn(async move {
                let mut open = Vec::new();
                while let Ok((mut socket, _)) = listener.accept().await {
                    let _ = socket.write_all(greeting.as_bytes()).await;
                    if stays_open {
                        open.push(socket);
                    }
                }
            });
            let mut settings = settings();
            settings.connect.connect_timeout = Duration::from_millis(300);
            let (kind, message) = failure(prober(settings).probe(&key_at(port)).await);
            if greeting.len() > 5 {
                assert_eq!(kind, FailureKind::Protocol, "{message}");
                assert!(message.contains(&greeting[..4]), "{message}");
            } else {
                assert!(!kind.is_sign_of_life(), "{kind:?} {message}");
            }
            serving.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_is_told_by_kind_and_in_time() {
    let server = Server::start(Flavor::MariaDb).await.expect("a server");
    let proxy = Proxy::start(server.port()).await.expect("a proxy");
    let via = key_at(proxy.port());
    let prober = prober(settings());
    let timed = async |wanted: FailureKind, limit: u64| {
        let start = Instant::now();
        let (kind, message) = failure(prober.probe(&via).await);
        assert_eq!(kind, wanted, "{message}");
        assert!(start.elapsed() < Duration::from_millis(limit), "{kind:?} took {:?}", start.elapsed());
        assert!(message.contains(&via.to_string()), "{message}");
    };
    proxy.set(Mode::Stall).await.expect("set");
    timed(FailureKind::ConnectTimeout, 1400).await;
    timed(FailureKind::ConnectTimeout, 1150).await;
    proxy.set(Mode::Refuse).await.expect("set");
    timed(FailureKind::Refused, 200).await;
    proxy.set(Mode::Pass).await.expect("set");
    facts(prober.probe(&via).await);
    // A black hole on a warm connection.
    proxy.set(Mode::Stall).await.expect("set");
    timed(FailureKind::ReadTimeout, 1150).await;
    proxy.set(Mode::Pass).await.expect("set");
    facts(prober.probe(&via).await);
    // It stops in mid-answer, and stays.
    proxy.set(Mode::StallAfter(1500)).await.expect("set");
    timed(FailureKind::ReadTimeout, 1150).await;
    // It stops in mid-answer, and goes: once on the warm connection, once on the new one.
    proxy.set(Mode::Pass).await.expect("set");
    facts(prober.probe(&via).await);
    proxy.set(Mode::CloseAfter(1500)).await.expect("set");
    timed(FailureKind::Broken, 500).await;
    proxy.set(Mode::Pass).await.expect("set");
    facts(prober.probe(&via).await);
    // An idle connection that was closed says nothing.
    let opened = prober.stats().connections_opened;
    proxy.cut().await.expect("cut");
    facts(prober.probe(&via).await);
    assert_eq!(prober.stats().connections_opened, opened + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_nowhere() {
    let prober = prober(settings());
    let kind = async |host: &str| failure(prober.probe(&InstanceKey::new(host, 3306)).await).0;
    assert_eq!(kind("no-such-host.invalid").await, FailureKind::UnknownHost);
    assert_eq!(kind("//detached").await, FailureKind::UnknownHost);
    assert_eq!(kind("_").await, FailureKind::UnknownHost);
    assert_eq!(prober.stats().open_connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_and_a_killed_server_are_noticed() {
    let server = Server::start(Flavor::MySql).await.expect("a server");
    let prober = prober(settings());
    facts_of(&prober, &server).await;
    server.freeze().expect("frozen");
    // The kernel stops the server's threads one by one.
    let (kind, message) = first_failure(&prober, &server).await;
    assert_eq!(kind, FailureKind::ReadTimeout, "{message}");
    let (kind, message) = failure(prober.probe(&key(&server)).await);
    assert_eq!(kind, FailureKind::ConnectTimeout, "{message}");
    server.thaw().expect("thawed");
    facts_of(&prober, &server).await;
    server.kill().expect("killed");
    let start = Instant::now();
    let (kind, message) = first_failure(&prober, &server).await;
    assert_eq!(kind, FailureKind::Refused, "{message}");
    assert!(start.elapsed() < Duration::from_millis(500), "a killed server is noticed at once: {:?}", start.elapsed());
}

/// What the first probe that fails says.
async fn first_failure(prober: &Prober, server: &Server) -> (FailureKind, String) {
    let start = Instant::now();
    loop {
        let observation = prober.probe(&key(server)).await;
        if matches!(observation.answer, Answer::Failed(_)) {
            return failure(observation);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "the server goes on answering");
    }
}
