//! What cut-off users leave behind in a pool.

use std::time::Duration;

use harness::{Flavor, Mode, Proxy};
use rstest::rstest;
use sqlx::mysql::MySqlPool;

/// Long enough for a statement to be on its way, short of everything else's deadline.
const CUT: Duration = Duration::from_millis(200);

async fn count(pool: &MySqlPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM said").fetch_one(pool).await.unwrap()
}

#[rstest]
#[case::mysql(Flavor::MySql)]
#[case::mariadb(Flavor::MariaDb)]
#[tokio::test]
async fn a_user_cut_off_in_begin_leaves_no_transaction_to_the_next(#[case] flavor: Flavor) {
    let server = harness::backend(flavor).await.unwrap();
    let schema = server.schema().await.unwrap();
    let others = schema.pool(1).await.unwrap();
    sqlx::query("CREATE TABLE said (word VARCHAR(64))").execute(&others).await.unwrap();
    let proxy = Proxy::start(server.server().port()).await.unwrap();
    let options = queue::connect_options(schema.options.clone()).port(proxy.port());
    let pool = queue::pool_options().max_connections(1).connect_with(options).await.unwrap();

    proxy.set(Mode::Stall).await.unwrap();
    assert!(tokio::time::timeout(CUT, pool.begin()).await.is_err(), "cut off");
    proxy.set(Mode::Pass).await.unwrap();
    sqlx::query("INSERT INTO said VALUES ('mine')").execute(&pool).await.unwrap();
    assert_eq!(count(&others).await, 1, "committed by itself");

    // The same when the reply has come, and only its user has not seen it.
    {
        let mut begin = Box::pin(pool.begin());
        assert!(futures::poll!(&mut begin).is_pending(), "sent");
        tokio::time::sleep(CUT).await;
    }
    sqlx::query("INSERT INTO said VALUES ('mine, too')").execute(&pool).await.unwrap();
    assert_eq!(count(&others).await, 2, "committed by itself");

    // In the middle of a PREPARE inside a transaction: the pool's only place becomes free again.
    proxy.set(Mode::Pass).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    proxy.set(Mode::Stall).await.unwrap();
    let statement =
        sqlx::query("INSERT INTO said VALUES (?), (?), (?)").bind("a").bind("b").bind("c").execute(&mut *tx);
    assert!(tokio::time::timeout(CUT, statement).await.is_err(), "cut off");
    drop(tx);
    proxy.set(Mode::Pass).await.unwrap();
    assert_eq!(count(&pool).await, 2, "rolled back, and the pool goes on");
}

/// A process that froze, or whose host lost power, in the middle of a transaction. (MySQL knows only `wait_timeout`.)
#[tokio::test]
async fn mariadb_ends_a_silent_transaction_as_soon_as_others_take_over() {
    let server = harness::backend(Flavor::MariaDb).await.unwrap();
    let schema = server.schema().await.unwrap();
    let connect =
        || queue::pool_options().max_connections(1).connect_with(queue::connect_options(schema.options.clone()));
    let (silent, other) = (connect().await.unwrap(), connect().await.unwrap());
    sqlx::query("CREATE TABLE held (id INT PRIMARY KEY) ENGINE = InnoDB").execute(&other).await.unwrap();
    sqlx::query("INSERT INTO held VALUES (1)").execute(&other).await.unwrap();
    let mut tx = silent.begin().await.unwrap();
    sqlx::query("SELECT id FROM held FOR UPDATE").fetch_all(&mut *tx).await.unwrap();
    let begun = std::time::Instant::now();
    sqlx::query("UPDATE held SET id = 2").execute(&other).await.unwrap();
    assert!(begun.elapsed() < queue::DEAD_AFTER, "{:?}", begun.elapsed());
    assert!(tx.commit().await.is_err(), "its connection is gone");
}
