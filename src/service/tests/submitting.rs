//! Submissions that meet each other in the backend.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use config::Settings;
use domain::instance::InstanceKey;
use harness::Flavor;
use jobs::SharedSettings;
use service::actions::{Scope, discovery};
use sqlx::Executor;
use sqlx::mysql::MySqlPool;

/// A pool whose sessions wait one second for a lock: a conflict that comes for certain.
async fn hasty(schema: &harness::Schema) -> Result<MySqlPool> {
    let pool = queue::pool_options().max_connections(8).after_connect(|conn, _| {
        Box::pin(async move {
            queue::session_setup(&mut *conn).await?;
            conn.execute("SET SESSION innodb_lock_wait_timeout = 1").await.map(|_| ())
        })
    });
    Ok(pool.connect_with(queue::connect_options(schema.options.clone())).await?)
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discovery_is_submitted_in_spite_of_a_conflict(#[case] flavor: Flavor) -> Result<()> {
    let schema = harness::backend(flavor).await?.schema().await?;
    let pool = hasty(&schema).await?;
    store::schema::migrate(&pool).await?;
    let key = InstanceKey::new("db1", 3306);
    let config = SharedSettings::new(Settings::default()).get();
    let scope = |actor: &str| Arc::new(Scope::new(pool.clone(), Arc::clone(&config), actor));

    // Somebody else is just submitting the same, and takes longer than we wait for a lock.
    let mut other = pool.begin().await?;
    let job = queue::NewJob::of(&jobs::Discover::by_person(&key))?;
    let theirs = queue::enqueue(&mut other, &[job]).await?[0].id();
    let ours = scope("us");
    let asked = key.clone();
    let mut submitting = Box::pin(tokio::spawn(async move { discovery::submit(&ours, &asked, Duration::ZERO).await }));
    let early = tokio::time::timeout(Duration::from_millis(2_500), &mut submitting).await;
    assert!(early.is_err(), "it waits: {early:?}");
    other.commit().await?;
    let enqueued = submitting.await??;
    assert_eq!((enqueued.id(), enqueued.is_new()), (theirs, false), "it joins the job that was there first");

    let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM job_ready").fetch_one(&pool).await?;
    assert_eq!(waiting, 1);
    Ok(())
}
