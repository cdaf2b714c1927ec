//! Migrations: on an empty and on a filled database, by several at once, half-way, and against a newer schema.

use harness::Flavor;
use store::schema::{self, SchemaState};
use store::{Backend, Error};

use crate::{on_both, unused};

#[tokio::test]
async fn an_empty_database_is_created_and_migrated_once_by_many() {
    for flavor in Flavor::ALL {
        let mut options = unused(flavor).await;
        options.database = format!("odd `name` {}", options.database);
        let pool = Backend::connect(options).await.unwrap().pool().clone();
        let SchemaState::Behind(all) = schema::check(&pool).await.unwrap() else { panic!("not empty") };
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let pool = pool.clone();
            tasks.spawn(async move { schema::migrate(&pool).await.unwrap().applied.len() });
        }
        let mut applied = tasks.join_all().await;
        applied.sort_unstable();
        assert_eq!(applied, [0, 0, 0, all], "one migrates, the others wait and find nothing to do");
        assert_eq!(schema::check(&pool).await.unwrap(), SchemaState::Current);
        pool.close().await;
    }
}

#[tokio::test]
async fn every_migration_may_run_again_over_a_filled_database() {
    on_both(async |db| {
        db.sql("INSERT INTO audit (audited_at, audit_type, message) VALUES (NOW(6), 'x', 'kept')").await;
        db.sql("UPDATE lease SET term = 41").await;
        let versions = db.number("SELECT COUNT(*) FROM _sqlx_migrations").await;
        db.sql("DELETE FROM _sqlx_migrations").await;
        assert_eq!(schema::check(&db.pool).await.unwrap(), SchemaState::Behind(usize::try_from(versions).unwrap()));
        let report = schema::migrate(&db.pool).await.unwrap();
        assert_eq!(i64::try_from(report.applied.len()).unwrap(), versions);
        assert_eq!(report.applied.last(), Some(&report.version));
        assert_eq!(db.number("SELECT COUNT(*) FROM audit").await, 1);
        assert_eq!(db.number("SELECT CAST(term AS SIGNED) FROM lease").await, 41);
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_stopped_half_way_is_named_and_repaired() {
    on_both(async |db| {
        db.sql("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 20261123000500").await;
        db.sql("DELETE FROM _sqlx_migrations WHERE version > 20261123000500").await;
        db.sql("DROP TABLE instance_tag, pool_instance, node, lease").await;
        assert_eq!(schema::check(&db.pool).await.unwrap(), SchemaState::Dirty(20_261_123_000_500));
        let Err(Error::Schema(text)) = schema::migrate(&db.pool).await else { panic!("migrated over a dirty mark") };
        assert!(text.contains("20261123000500") && text.contains("--repair"), "{text}");
        let report = schema::repair(&db.pool).await.unwrap();
        assert_eq!(report.applied.first(), Some(&20_261_123_000_500));
        assert_eq!(schema::check(&db.pool).await.unwrap(), SchemaState::Current);
        assert!(schema::repair(&db.pool).await.unwrap().applied.is_empty(), "nothing to repair");
        assert_eq!(db.number("SELECT COUNT(*) FROM lease").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_newer_or_altered_schema_is_refused_untouched() {
    on_both(async |db| {
        db.sql("UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 20261123000300").await;
        assert_eq!(schema::check(&db.pool).await.unwrap(), SchemaState::Altered(20_261_123_000_300));
        assert!(matches!(schema::migrate(&db.pool).await, Err(Error::Schema(_))));
        db.sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (29991231000000, 'from the future', TRUE, 'y', 1)",
        )
        .await;
        assert_eq!(schema::check(&db.pool).await.unwrap(), SchemaState::Newer(29_991_231_000_000));
        let error = schema::migrate(&db.pool).await.unwrap_err();
        assert!(error.to_string().contains("older than the schema"), "{error}");
        assert!(schema::repair(&db.pool).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_missing_table_is_a_schema_error_that_says_what_to_do() {
    on_both(async |db| {
        db.sql("DROP TABLE audit").await;
        let error = store::audit::page(&db.pool, None, 0).await.unwrap_err();
        assert!(matches!(error, Error::Schema(_)) && error.to_string().contains("orchestrator migrate"), "{error}");
    })
    .await;
}
