//! The store against real databases: every test runs on MySQL and on MariaDB, in a schema of its own.

mod backend;
mod clusters;
mod find;
mod fleet;
mod leases;
mod operations;
mod operator;
mod record;
mod recoveries;
mod schema;
mod tls;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::instance::{
    Answer, DbMicros, FailureKind, Instance, InstanceKey, Observation, ProbeFailure, ReplicaFacts, ServerFacts,
};
use harness::Flavor;
use sqlx::MySqlPool;
use sqlx::mysql::MySqlConnection;
use store::{Backend, BackendOptions};

/// An empty database with our schema, on a server shared by all tests of this flavour.
pub(crate) struct Db {
    pub(crate) flavor: Flavor,
    pub(crate) options: BackendOptions,
    pub(crate) pool: MySqlPool,
}

impl Db {
    pub(crate) async fn conn(&self) -> sqlx::pool::PoolConnection<sqlx::MySql> {
        self.pool.acquire().await.unwrap()
    }

    /// Runs a statement of the test's own: sets times, breaks things.
    pub(crate) async fn sql(&self, statement: &str) -> u64 {
        sqlx::raw_sql(statement).execute(&self.pool).await.unwrap().rows_affected()
    }

    pub(crate) async fn number(&self, statement: &str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn now(&self) -> DbMicros {
        store::database_now(&self.pool).await.unwrap()
    }

    pub(crate) async fn instance(&self, key: &InstanceKey) -> Option<Instance> {
        store::instances::read(&self.pool, key).await.unwrap()
    }
}

/// Options for a database that nobody has used yet; it does not exist.
pub(crate) async fn unused(flavor: Flavor) -> BackendOptions {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let server = harness::backend(flavor).await.unwrap().server();
    BackendOptions {
        addresses: vec![(server.host().to_owned(), server.port())],
        user: harness::ROOT.user.to_owned(),
        password: harness::ROOT.password.to_owned(),
        database: format!("store_{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        max_connections: 24,
        // Many tests share two cores.
        connect_timeout: Duration::from_secs(20),
        ..BackendOptions::default()
    }
}

/// Runs a test on both flavours.
pub(crate) async fn on_both(test: impl AsyncFn(&Db)) {
    for flavor in Flavor::ALL {
        let options = unused(flavor).await;
        let pool = Backend::connect(options.clone()).await.unwrap().pool().clone();
        store::schema::migrate(&pool).await.unwrap();
        let db = Db { flavor, options, pool };
        // Shown with a failure only.
        println!("on {flavor}, database {}", db.options.database);
        test(&db).await;
        db.sql(&format!("DROP DATABASE {}", db.options.database)).await;
        db.pool.close().await;
    }
}

pub(crate) fn key(host: &str) -> InstanceKey {
    InstanceKey::new(host, 3306)
}

pub(crate) fn primary(version: &str) -> ServerFacts {
    ServerFacts { version: version.to_owned(), server_id: 7, ..ServerFacts::default() }
}

pub(crate) fn replica_of(source: &str) -> ServerFacts {
    let replica = ReplicaFacts { source: key(source), auto_position: true, ..ReplicaFacts::default() };
    ServerFacts { replica: Some(replica), ..primary("8.0.36") }
}

pub(crate) fn seen(host: &str, observed_at: DbMicros, facts: ServerFacts) -> Observation {
    renamed(host, host, observed_at, facts)
}

pub(crate) fn renamed(asked: &str, resolved: &str, observed_at: DbMicros, facts: ServerFacts) -> Observation {
    let answer = Answer::Facts { key: key(resolved), facts: Box::new(facts) };
    Observation { asked: key(asked), observed_at, latency_micros: 900, answer }
}

pub(crate) fn failed(host: &str, observed_at: DbMicros, kind: FailureKind) -> Observation {
    let answer = Answer::Failed(ProbeFailure { kind, message: format!("cannot reach {host}") });
    Observation { asked: key(host), observed_at, latency_micros: 0, answer }
}

/// Statements this session sent so far.
pub(crate) async fn questions(conn: &mut MySqlConnection) -> i64 {
    let row = sqlx::query("SHOW SESSION STATUS LIKE 'Questions'").fetch_one(conn).await.unwrap();
    sqlx::Row::get_unchecked::<String, _>(&row, 1).parse().unwrap()
}
