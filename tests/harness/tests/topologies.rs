//! Several servers: trees, co-primaries, semi-sync, delay.

use harness::{
    APPLICATION, Flavor, Topology, Writer, catch_up, missing_rows, replica_status, table_checksum, wait_running,
};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

async fn number(server: &harness::Server, sql: &str) -> i64 {
    let row = sqlx::query(sql).fetch_one(&mut server.connect_root().await.unwrap()).await.unwrap();
    sqlx::Row::try_get_unchecked(&row, 0).unwrap()
}

async fn check_tree(flavor: Flavor) {
    let topology = Topology::start(flavor, "a\n  b\n    c\n  d delay=3600").await.unwrap();
    topology["a"].execute("CREATE TABLE app.t (id INT PRIMARY KEY); INSERT INTO app.t VALUES (1), (2)").await.unwrap();
    catch_up(&topology["b"], &topology["a"], LIMIT).await.unwrap();
    catch_up(&topology["c"], &topology["b"], LIMIT).await.unwrap();
    assert_eq!(number(&topology["c"], "SELECT COUNT(*) FROM app.t").await, 2);
    assert_eq!(number(&topology["c"], "SELECT @@GLOBAL.read_only").await, 1);
    assert_eq!(number(&topology["a"], "SELECT @@GLOBAL.read_only").await, 0);

    let mut delayed = topology["d"].connect_root().await.unwrap();
    let status = replica_status(flavor, &mut delayed).await.unwrap().unwrap();
    assert_eq!((status.delay_seconds, status.source_port), (3600, topology["a"].port()));
    let query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'app'";
    assert_eq!(number(&topology["d"], query).await, 0);
    let mut primary = topology["a"].connect_root().await.unwrap();
    assert_eq!(replica_status(flavor, &mut primary).await.unwrap(), None);

    // A replica that is killed comes back replicating.
    topology["b"].kill().unwrap();
    topology["a"].execute("INSERT INTO app.t VALUES (3)").await.unwrap();
    topology["b"].start_again().await.unwrap();
    wait_running(&topology["b"], LIMIT).await.unwrap();
    catch_up(&topology["b"], &topology["a"], LIMIT).await.unwrap();
    assert_eq!(number(&topology["b"], "SELECT COUNT(*) FROM app.t").await, 3);
}

async fn check_co_primaries(flavor: Flavor) {
    let topology = Topology::start(flavor, "a source=b writable\nb source=a").await.unwrap();
    topology["a"].execute("CREATE TABLE app.t (id INT PRIMARY KEY); INSERT INTO app.t VALUES (1)").await.unwrap();
    catch_up(&topology["b"], &topology["a"], LIMIT).await.unwrap();
    assert_eq!(number(&topology["b"], "SELECT COUNT(*) FROM app.t").await, 1);
    wait_running(&topology["a"], LIMIT).await.unwrap();
    wait_running(&topology["b"], LIMIT).await.unwrap();
}

async fn check_semi_sync(flavor: Flavor) {
    let text = "a semisync=source\n  b semisync=replica\n  c semisync=loaded";
    let topology = Topology::start(flavor, text).await.unwrap();
    let query = "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM performance_schema.global_status \
                 WHERE VARIABLE_NAME IN ('Rpl_semi_sync_source_clients', 'Rpl_semi_sync_master_clients')";
    let query = match flavor {
        Flavor::MySql => query.to_owned(),
        Flavor::MariaDb => query.replace("performance_schema", "information_schema"),
    };
    assert_eq!(number(&topology["a"], &query).await, 1);
}

#[tokio::test]
async fn mysql_tree_of_depth_three_with_a_delayed_replica() {
    check_tree(Flavor::MySql).await;
}

#[tokio::test]
async fn mariadb_tree_of_depth_three_with_a_delayed_replica() {
    check_tree(Flavor::MariaDb).await;
}

#[tokio::test]
async fn co_primaries_follow_each_other() {
    for flavor in Flavor::ALL {
        check_co_primaries(flavor).await;
    }
}

#[tokio::test]
async fn a_semi_sync_source_counts_its_replicas() {
    for flavor in Flavor::ALL {
        check_semi_sync(flavor).await;
    }
}

#[tokio::test]
async fn replication_works_without_gtid_and_without_tls() {
    let text = "a no_gtid no_tls\n  b no_gtid no_log_updates --performance-schema=ON";
    let topology = Topology::start(Flavor::MySql, text).await.unwrap();
    assert_eq!(number(&topology["b"], "SELECT @@GLOBAL.log_replica_updates").await, 0);
    assert_eq!(number(&topology["b"], "SELECT @@GLOBAL.performance_schema").await, 1);
    assert_eq!(number(&topology["a"], "SELECT @@GLOBAL.gtid_mode = 'OFF'").await, 1);
    let secured = "SELECT COUNT(*) FROM performance_schema.session_status \
                   WHERE VARIABLE_NAME = 'Ssl_cipher' AND VARIABLE_VALUE <> ''";
    assert_eq!(number(&topology["a"], secured).await, 0);
    assert_eq!(number(&topology["b"], secured).await, 1);
}

#[tokio::test]
async fn an_application_cannot_write_to_a_replica() {
    for flavor in Flavor::ALL {
        let topology = Topology::start(flavor, "a\n  b").await.unwrap();
        let mut writer = topology["b"].connect(APPLICATION).await.unwrap();
        let refused = sqlx::raw_sql("CREATE TABLE app.t (id INT)").execute(&mut writer).await.unwrap_err();
        assert!(refused.to_string().contains("read-only"), "{refused}");
        let mut writer = topology["a"].connect(APPLICATION).await.unwrap();
        sqlx::raw_sql("CREATE TABLE app.t (id INT)").execute(&mut writer).await.unwrap();
    }
}

async fn check_writer(flavor: Flavor) {
    let topology = Topology::start(flavor, "a\n  b").await.unwrap();
    let writer = Writer::start(&topology["a"], 1, Duration::from_millis(1)).await.unwrap();
    while writer.acknowledged().len() < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rows = writer.finish().await;
    catch_up(&topology["b"], &topology["a"], LIMIT).await.unwrap();
    assert_eq!(missing_rows(&topology["b"], &rows).await.unwrap(), Vec::<u64>::new());
    assert_eq!(missing_rows(&topology["b"], &[rows[0], 1_000_000]).await.unwrap(), [1_000_000]);
    let sum = table_checksum(&topology["a"]).await.unwrap();
    assert_eq!(table_checksum(&topology["b"]).await.unwrap(), sum);
    topology["b"].execute("UPDATE app.ledger SET payload = 'y' LIMIT 1").await.unwrap();
    assert_ne!(table_checksum(&topology["b"]).await.unwrap(), sum);
}

#[tokio::test]
async fn a_writer_knows_what_was_acknowledged() {
    check_writer(Flavor::MySql).await;
    check_writer(Flavor::MariaDb).await;
}
