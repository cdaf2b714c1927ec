//! A backend with a cluster of one primary and three replicas, and a way to run commands on it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use config::Environment;
use domain::instance::{
    Answer, BinlogCoordinates, InstanceKey, Observation, Placement, ReplicaFacts, ServerFacts, ThreadState,
};
use harness::{Flavor, ROOT};
use sqlx::MySqlPool;
use store::instances::{self, Written};
use tempfile::NamedTempFile;
use time::UtcOffset;
use tokio::sync::Notify;

use crate::run::{Surroundings, run};
use crate::session::{Interrupt, Me};

/// How one run ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) code: u8,
    pub(super) out: String,
    pub(super) err: String,
}

/// Runs with this configuration file, or with none.
pub(super) async fn run_with(config: Option<&str>, line: &[&str]) -> Ran {
    run_until(config, line, Interrupt::Signals).await
}

/// The same, and may be interrupted.
async fn run_until(config: Option<&str>, line: &[&str], interrupt: Interrupt) -> Ran {
    let mut arguments: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    if let Some(config) = config {
        arguments.insert(0, format!("--config={config}"));
    }
    let surroundings = Surroundings {
        environment: Environment::from(BTreeMap::new()),
        me: Me { user: "dba".to_owned(), hostname: "db1".to_owned() },
        offset: UtcOffset::UTC,
        logging: None,
        interrupt,
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&arguments, surroundings, &mut out, &mut err).await;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code, out: text(out), err: text(err) }
}

/// A backend of its own for one test.
pub(super) struct Site {
    pub(super) pool: MySqlPool,
    config: NamedTempFile,
}

impl Site {
    /// An empty database that nobody migrated.
    pub(super) async fn bare(flavor: Flavor) -> Self {
        // The seeded checks stay recent for as long as any test takes.
        Self::configured(flavor, &serde_json::json!({ "InstancePollSeconds": 60 })).await
    }

    /// The same with these settings besides.
    pub(super) async fn configured(flavor: Flavor, more: &serde_json::Value) -> Self {
        let backend = harness::backend(flavor).await.expect("a backend");
        let schema = backend.schema().await.expect("a schema");
        let pool = schema.pool(2).await.expect("a pool");
        let mut config = NamedTempFile::new().expect("temporary file");
        let mut settings = serde_json::json!({
            "MySQLOrchestratorHost": "127.0.0.1",
            "MySQLOrchestratorPort": backend.server().port(),
            "MySQLOrchestratorDatabase": schema.name,
            "MySQLOrchestratorUser": ROOT.user,
            "MySQLOrchestratorPassword": ROOT.password,
            "HostnameResolveMethod": "none",
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        write!(config, "{settings}").expect("write the configuration");
        Self { pool, config }
    }

    /// The settings of this site.
    pub(super) fn settings(&self) -> config::Settings {
        let text = std::fs::read_to_string(self.config.path()).expect("the configuration");
        (*config::Settings::from_json(&text).expect("settings").settings).clone()
    }

    /// A migrated database with the cluster db1 > db2, db3 > db4.
    pub(super) async fn seeded(flavor: Flavor) -> Self {
        let site = Self::bare(flavor).await;
        site.ok("migrate").await;
        site.seed().await;
        site
    }

    /// Runs a command line, split at blanks.
    pub(super) async fn run(&self, line: &str) -> Ran {
        self.run_words(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    pub(super) async fn run_words(&self, words: &[&str]) -> Ran {
        run_with(self.config.path().to_str(), words).await
    }

    /// Runs a command line that is interrupted when told.
    pub(super) async fn run_interrupted(&self, line: &str, by: Arc<Notify>) -> Ran {
        let words: Vec<&str> = line.split_whitespace().collect();
        run_until(self.config.path().to_str(), &words, Interrupt::By(by)).await
    }

    /// stdout of a command that must succeed, whatever it says on stderr.
    pub(super) async fn does(&self, line: &str) -> String {
        let ran = self.run(line).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.out
    }

    /// stdout of a command that must succeed in silence.
    pub(super) async fn ok(&self, line: &str) -> String {
        let ran = self.run(line).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}: {ran:?}");
        ran.out
    }

    /// The text of the FATAL line of a command that must fail with nothing on stdout.
    pub(super) async fn fails(&self, line: &str) -> String {
        let ran = self.run(line).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{line}: {}", ran.err);
        ran.err.split_once(" FATAL ").expect("a FATAL line").1.trim_end().to_owned()
    }

    /// What a statement counts in the backend.
    pub(super) async fn number(&self, statement: &str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.expect(statement)
    }

    async fn seed(&self) {
        let mut conn = self.pool.acquire().await.expect("a connection");
        let now = store::database_now(&mut *conn).await.expect("the time");
        let servers = [("db1", None), ("db2", Some("db1")), ("db3", Some("db1")), ("db4", Some("db3"))];
        let observations: Vec<Observation> = servers
            .iter()
            .zip(1..)
            .map(|((name, source), id)| {
                let replicas = servers.iter().filter(|(_, source)| *source == Some(name)).map(|(name, _)| key(name));
                Observation {
                    asked: key(name),
                    observed_at: now,
                    latency_micros: 1_500,
                    answer: Answer::Facts {
                        key: key(name),
                        facts: Box::new(ServerFacts { replicas: replicas.collect(), ..facts(id, *source) }),
                    },
                }
            })
            .collect();
        let report = instances::record(&self.pool, &Written::default(), &observations).await.expect("recorded");
        assert!(report.rejected.is_empty(), "{report:?}");
        let mut placements = Vec::new();
        for one in instances::read_all(&mut *conn).await.expect("read back").instances {
            let (depth, co) = (
                match one.key.hostname.as_str() {
                    "db1" => 0,
                    "db4" => 2,
                    _ => 1,
                },
                false,
            );
            placements.push((
                one.id,
                Placement {
                    cluster_name: "db1:3306".to_owned(),
                    replication_depth: depth,
                    is_co_primary: co,
                    ..Placement::default()
                },
            ));
        }
        instances::write_placements(&mut conn, &placements).await.expect("placed");
    }
}

pub(super) fn key(name: &str) -> InstanceKey {
    InstanceKey::new(name, 3306)
}

fn facts(id: u64, source: Option<&str>) -> ServerFacts {
    let mut facts = ServerFacts {
        server_id: id,
        server_uuid: format!("00000000-0000-0000-0000-{id:012}"),
        version: "8.0.36".to_owned(),
        version_comment: "MySQL Community Server - GPL".to_owned(),
        read_only: source.is_some(),
        binlog_format: "ROW".to_owned(),
        binlog_row_image: "FULL".to_owned(),
        log_bin: true,
        log_replica_updates: true,
        binlog: BinlogCoordinates { file: "bin.000001".to_owned(), position: 4 },
        data_center: if id == 4 { "dc2" } else { "dc1" }.to_owned(),
        replica: source.map(|source| ReplicaFacts {
            source: key(source),
            io_thread: ThreadState::Running,
            sql_thread: ThreadState::Running,
            auto_position: true,
            seconds_behind: Some(0),
            lag_seconds: Some(0),
            ..ReplicaFacts::default()
        }),
        ..ServerFacts::default()
    };
    facts.gtid.mode = "ON".to_owned();
    facts
}
