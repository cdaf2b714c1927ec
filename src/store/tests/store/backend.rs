//! Several addresses, servers that die, freeze, or are demoted.

use std::time::{Duration, Instant};

use harness::Flavor;
use store::{Backend, BackendOptions, Error};

use crate::{on_both, unused};

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < end, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn sessions_are_read_committed_utc_and_strict() {
    on_both(async |db| {
        let row: (String, String) = {
            let variable = if db.flavor == Flavor::MySql { "transaction_isolation" } else { "tx_isolation" };
            let row = sqlx::query(&format!("SELECT @@session.{variable}, @@session.time_zone"))
                .fetch_one(&db.pool)
                .await
                .unwrap();
            (sqlx::Row::get_unchecked(&row, 0), sqlx::Row::get_unchecked(&row, 1))
        };
        assert_eq!(row, ("READ-COMMITTED".to_owned(), "+00:00".to_owned()));
        let long = "x".repeat(70);
        let cut = sqlx::query("INSERT INTO schedule_tick (name, tick_at) VALUES (?, NOW(6))").bind(&long);
        assert!(cut.execute(&db.pool).await.is_err(), "never a silent cut");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_the_way_there_is_said_without_the_password() {
    for flavor in Flavor::ALL {
        let good = unused(flavor).await;
        let quick = BackendOptions { connect_timeout: Duration::from_secs(5), ..good.clone() };
        let wrong = BackendOptions { password: "hunter2".to_owned(), ..quick.clone() };
        let error = Backend::connect(wrong).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        assert!(!error.chain().contains("hunter2") && !format!("{error:?}").contains("hunter2"));
        let stranger = BackendOptions {
            user: harness::APPLICATION.user.to_owned(),
            password: harness::APPLICATION.password.to_owned(),
            ..quick.clone()
        };
        let error = Backend::connect(stranger).await.unwrap_err();
        assert!(matches!(error, Error::Denied { doing: "create the backend's database", .. }), "{error:?}");
        let nowhere = BackendOptions { addresses: vec![("127.0.0.1".to_owned(), 1)], ..quick.clone() };
        let error = Backend::connect(nowhere).await.unwrap_err();
        assert!(error.is_retryable() && error.chain().contains("127.0.0.1:1"), "{}", error.chain());
        let none = BackendOptions { addresses: Vec::new(), ..quick };
        assert!(Backend::connect(none).await.unwrap_err().to_string().contains("MySQLOrchestratorHost"));
    }
}

/// Two servers of one's own, as addresses of one backend.
async fn pair(flavor: Flavor) -> (harness::Backend, harness::Backend, BackendOptions) {
    let (one, two) = tokio::join!(harness::Backend::start(flavor), harness::Backend::start(flavor));
    let (one, two) = (one.unwrap(), two.unwrap());
    let address = |backend: &harness::Backend| (backend.server().host().to_owned(), backend.server().port());
    let options = BackendOptions {
        addresses: vec![address(&one), address(&two)],
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        reject_read_only: true,
        ..unused(flavor).await
    };
    (one, two, options)
}

async fn port(backend: &Backend) -> Option<u16> {
    let read = backend.run("read the port", async |conn| {
        let row = sqlx::query("SELECT @@port").fetch_one(conn).await;
        row.and_then(|row| sqlx::Row::try_get_unchecked::<u64, _>(&row, 0))
            .map_err(|cause| Error::Unexpected { doing: "read the port", cause })
    });
    read.await.ok().and_then(|port| u16::try_from(port).ok())
}

#[tokio::test]
async fn the_pool_follows_demotion_death_and_freezing() {
    for flavor in Flavor::ALL {
        let (one, two, options) = pair(flavor).await;
        let (first, second) = (one.server().port(), two.server().port());
        let backend = Backend::connect(options).await.unwrap();
        let tended = backend.clone();
        let tending = tokio::spawn(async move { tended.tend().await });
        assert_eq!(port(&backend).await, Some(first), "in the order given");
        // A demoted server keeps its connections open, and they are not used any more.
        one.server().execute("SET GLOBAL read_only = ON").await.unwrap();
        until("the second is used", async || port(&backend).await == Some(second)).await;
        for _ in 0..20 {
            assert_eq!(port(&backend).await, Some(second));
        }
        one.server().execute("SET GLOBAL read_only = OFF").await.unwrap();
        two.server().freeze().unwrap();
        let frozen = Instant::now();
        until("the first is used again", async || port(&backend).await == Some(first)).await;
        assert!(frozen.elapsed() < Duration::from_secs(10), "{:?}", frozen.elapsed());
        two.server().thaw().unwrap();
        one.server().kill().unwrap();
        until("the second takes over", async || port(&backend).await == Some(second)).await;
        tending.abort();
        backend.pool().close().await;
    }
}

#[tokio::test]
async fn a_service_waits_for_a_backend_that_is_not_up_yet() {
    for flavor in Flavor::ALL {
        let server = harness::Backend::start(flavor).await.unwrap();
        let options = BackendOptions {
            addresses: vec![(server.server().host().to_owned(), server.server().port())],
            connect_timeout: Duration::from_secs(1),
            ..unused(flavor).await
        };
        server.server().stop().await.unwrap();
        let waiting = tokio::spawn(Backend::connect_waiting(options));
        server.server().start_again().await.unwrap();
        let backend = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap();
        store::schema::migrate(backend.pool()).await.unwrap();
        backend.pool().close().await;
    }
}
