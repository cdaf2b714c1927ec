//! One server: starting, ending, freezing, and leaving nothing behind.

use harness::{APPLICATION, Flavor, Options, REPLICATION, Server, TOPOLOGY, backend};
use sqlx::Row;
use std::path::Path;
use std::time::{Duration, Instant};

#[tokio::test]
async fn the_shared_backend_gives_every_test_an_empty_schema() {
    for flavor in Flavor::ALL {
        let backend = backend(flavor).await.unwrap();
        let one = backend.schema().await.unwrap();
        let two = backend.schema().await.unwrap();
        assert_ne!(one.name, two.name);
        let pool = one.pool(2).await.unwrap();
        sqlx::raw_sql("CREATE TABLE t (id INT PRIMARY KEY)").execute(&pool).await.unwrap();
        let tables = sqlx::query("SHOW TABLES").fetch_all(&two.pool(1).await.unwrap()).await.unwrap();
        assert!(tables.is_empty());
        pool.close().await;
    }
}

#[tokio::test]
async fn every_account_can_log_in() {
    for flavor in Flavor::ALL {
        let server = Server::start_with(flavor, Options { server_id: Some(77), ..Options::default() }).await.unwrap();
        for account in [TOPOLOGY, REPLICATION, APPLICATION] {
            server.connect(account).await.unwrap();
        }
        let mut root = server.connect_root().await.unwrap();
        let row = sqlx::query("SELECT @@server_id AS id, @@report_port AS port").fetch_one(&mut root).await.unwrap();
        assert_eq!(row.get::<u64, _>("id"), 77);
        assert_eq!(row.get::<u64, _>("port"), u64::from(server.port()));
    }
}

#[tokio::test]
async fn a_server_can_be_killed_frozen_and_started_again_on_its_port() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor).await.unwrap();
        let port = server.port();
        server.execute("CREATE TABLE app.t (id INT PRIMARY KEY); INSERT INTO app.t VALUES (1)").await.unwrap();

        server.kill().unwrap();
        assert!(!server.is_running());
        assert!(server.connect_root().await.is_err());
        server.start_again().await.unwrap();
        assert_eq!(server.port(), port);
        server.execute("INSERT INTO app.t VALUES (2)").await.unwrap();

        server.freeze().unwrap();
        let asking = tokio::time::timeout(Duration::from_millis(300), server.connect_root());
        assert!(asking.await.is_err(), "a frozen server answered");
        server.thaw().unwrap();

        server.restart().await.unwrap();
        let mut root = server.connect_root().await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM app.t").fetch_one(&mut root).await.unwrap();
        assert_eq!(rows, 2);
        server.stop().await.unwrap();
        assert!(server.freeze().is_err());
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn dropping_a_server_ends_its_process_and_removes_its_files() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor).await.unwrap();
        let dir = server.dir().to_owned();
        let pid = server.pid().unwrap();
        server.freeze().unwrap();
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!dir.exists());
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    for flavor in Flavor::ALL {
        let options = Options { extra_args: vec!["--no-such-option".to_owned()], ..Options::default() };
        let start = Instant::now();
        let error = format!("{:#}", Server::start_with(flavor, options).await.unwrap_err());
        assert!(error.contains("no-such-option"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
