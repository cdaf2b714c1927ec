//! Watches of warm connections: what they notice, when, and what they are silent about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Flavor, Mode, Options, Proxy, Server};
use mysql::{Noticed, Prober, TlsMode, TlsSettings};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{BOTH, facts, facts_of, failure, key, key_at, prober, settings};

const SECOND: Duration = Duration::from_secs(1);

fn watch(prober: &Arc<Prober>, port: u16, ping: Option<Duration>) -> JoinHandle<(Noticed, Instant)> {
    let prober = Arc::clone(prober);
    tokio::spawn(async move { (prober.watch(&key_at(port), ping).await, Instant::now()) })
}

async fn noticed(watch: JoinHandle<(Noticed, Instant)>) -> (Noticed, Instant) {
    timeout(Duration::from_secs(20), watch).await.expect("something is noticed").expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_noticed_at_once_and_a_frozen_one_soon() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = Arc::new(prober(settings()));
        assert_eq!(prober.watch(&key(&server), None).await, Noticed::Nothing, "nobody connected");
        facts_of(&prober, &server).await;
        let watching = watch(&prober, server.port(), Some(SECOND));
        // Pings in between change nothing.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(!watching.is_finished());
        let frozen = Instant::now();
        server.freeze().expect("frozen");
        let (what, at) = noticed(watching).await;
        println!("{flavor:?}: frozen, noticed after {:?}", at - frozen);
        assert_eq!(what, Noticed::Silent);
        assert!(at - frozen < Duration::from_millis(1700), "{:?}", at - frozen);
        let (kind, message) = failure(prober.probe(&key(&server)).await);
        println!("{flavor:?}: {kind:?} after {:?}: {message}", frozen.elapsed());
        assert!(frozen.elapsed() < Duration::from_millis(2800), "{:?}", frozen.elapsed());
        server.thaw().expect("thawed");
        facts_of(&prober, &server).await;
        let watching = watch(&prober, server.port(), None);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let killed = Instant::now();
        server.kill().expect("killed");
        let (what, at) = noticed(watching).await;
        println!("{flavor:?}: killed, noticed after {:?}", at - killed);
        assert_eq!(what, Noticed::Closed);
        assert!(at - killed < Duration::from_millis(250), "{:?}", at - killed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_not_kept_waiting_by_a_watch() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let prober = Arc::new(prober(settings()));
        facts_of(&prober, &server).await;
        let mut times = [Duration::ZERO; 2];
        for (watched, time) in times.iter_mut().enumerate() {
            // Pinged all the time.
            let watching = (watched == 1).then(|| watch(&prober, server.port(), Some(Duration::from_millis(1))));
            tokio::time::sleep(Duration::from_millis(50)).await;
            let began = Instant::now();
            for _ in 0..200 {
                facts_of(&prober, &server).await;
            }
            *time = began.elapsed() / 200;
            if let Some(watching) = watching {
                assert!(!watching.is_finished());
                watching.abort();
            }
        }
        println!("{flavor:?}: a probe takes {:?}, {:?} when watched", times[0], times[1]);
        assert!(times[1] < times[0] * 2 + Duration::from_millis(5), "{times:?}");
        // A watch that was given up, perhaps in the middle of a ping, costs a connection at most.
        facts_of(&prober, &server).await;
        assert!(prober.stats().connections_opened <= 2, "{:?}", prober.stats());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_server_closes_is_no_failure() {
    for flavor in BOTH {
        let options = Options { extra_args: vec!["--wait-timeout=1".to_owned()], ..Options::default() };
        let server = Server::start_with(flavor, options).await.expect("a server");
        let prober = Arc::new(prober(settings()));
        facts_of(&prober, &server).await;
        assert_eq!(noticed(watch(&prober, server.port(), None)).await.0, Noticed::Closed);
        facts_of(&prober, &server).await;
        // Asked in time, it has no reason to.
        let watching = watch(&prober, server.port(), Some(Duration::from_millis(300)));
        tokio::time::sleep(3 * SECOND).await;
        assert!(!watching.is_finished());
        watching.abort();
        assert_eq!(prober.stats().failures.len(), 0, "{:?}", prober.stats());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shorter_than_the_deadlines_is_no_failure() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let proxy = Proxy::start(server.port()).await.expect("a proxy");
        let prober = Arc::new(prober(settings()));
        let via = key_at(proxy.port());
        facts(prober.probe(&via).await);
        let mut silent = 0;
        for round in 0..6 {
            let watching = watch(&prober, proxy.port(), Some(Duration::from_millis(100)));
            tokio::time::sleep(Duration::from_millis(150)).await;
            proxy.set(Mode::Stall).await.expect("stalls");
            let ended = tokio::spawn({
                let (prober, via) = (Arc::clone(&prober), via.clone());
                async move {
                    // What a worker does with it.
                    match watching.await.expect("no panic").0 {
                        Noticed::Nothing => None,
                        _ => Some(prober.probe(&via).await),
                    }
                }
            });
            tokio::time::sleep(Duration::from_millis(if round % 2 == 0 { 500 } else { 900 })).await;
            proxy.set(Mode::Pass).await.expect("passes");
            // Half a second is either noticed or not.
            if let Ok(observation) = timeout(SECOND, ended).await {
                silent += 1;
                facts(observation.expect("no panic").expect("there was a connection"));
            }
            facts(prober.probe(&via).await);
        }
        println!("{flavor:?}: {silent} of 6 stalls led to a probe");
        assert_eq!(prober.stats().failures.len(), 0, "{:?}", prober.stats());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_connections_are_watched_too() {
    let server = Server::start(Flavor::MySql).await.expect("a server");
    let mut settings = settings();
    settings.connect.tls = TlsSettings { mode: TlsMode::Always, skip_verify: true, ..TlsSettings::default() };
    let prober = Arc::new(prober(settings));
    facts_of(&prober, &server).await;
    let watching = watch(&prober, server.port(), Some(Duration::from_millis(200)));
    tokio::time::sleep(SECOND).await;
    assert!(!watching.is_finished(), "what TLS has to say of its own is no news");
    let killed = Instant::now();
    server.kill().expect("killed");
    let (what, at) = noticed(watching).await;
    assert_eq!(what, Noticed::Closed);
    assert!(at - killed < Duration::from_millis(250), "{:?}", at - killed);
}
