//! What cannot be argued with: lines that hooks wrote, servers that took writes, statements that servers received.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use harness::{ROOT, Server, TOPOLOGY};
use scenario::wait;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tokio::task::JoinSet;

/// Lists that run in a failover of a primary.
pub(crate) const LISTS: [&str; 4] =
    ["OnFailureDetectionProcesses", "PreFailoverProcesses", "PostMasterFailoverProcesses", "PostFailoverProcesses"];
/// Runs only if nobody takes over.
const NEVER: &str = "PostUnsuccessfulFailoverProcesses";
/// Long enough to be lost within.
const HOOK_SECONDS: f64 = 0.3;
/// Every server is asked something within this.
const LOGGED: Duration = Duration::from_secs(10);
/// Between two looks at who takes writes.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// A file to which every hook appends a line.
#[derive(Debug)]
pub(crate) struct Hooks {
    _dir: tempfile::TempDir,
    file: PathBuf,
}

impl Hooks {
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("orc-hooks-").tempdir()?;
        let file = dir.path().join("lines");
        std::fs::write(&file, "")?;
        Ok(Self { _dir: dir, file })
    }

    pub(crate) fn settings(&self) -> Value {
        let line = |list: &str| {
            let file = self.file.display();
            json!([format!("echo \"{list} $ORC_FAILED_PORT $ORC_FAILURE_TYPE\" >> {file}; sleep {HOOK_SECONDS}")])
        };
        LISTS
            .into_iter()
            .chain([NEVER])
            .map(|list| (list.to_owned(), line(list)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// How often each list has run for a failed server. (What else is found about it meanwhile has hooks of its own.)
    pub(crate) fn ran(&self, failed: u16, code: &str) -> Result<BTreeMap<String, usize>> {
        let text = std::fs::read_to_string(&self.file)?;
        let (mut ran, failure) = (BTreeMap::new(), format!("{failed} {code}"));
        for (list, of) in text.lines().filter_map(|line| line.split_once(' ')) {
            if of == failure {
                *ran.entry(list.to_owned()).or_insert(0) += 1;
            }
        }
        Ok(ran)
    }
}

/// Looks all the time at which servers take writes.
#[derive(Debug)]
pub(crate) struct Watch {
    open: Arc<Mutex<BTreeSet<String>>>,
    looking: JoinSet<()>,
}

impl Watch {
    pub(crate) fn over<'a>(servers: impl Iterator<Item = (&'a str, &'a Server)>) -> Self {
        let open = Arc::new(Mutex::new(BTreeSet::new()));
        let mut looking = JoinSet::new();
        for (name, server) in servers {
            let (name, options, open) = (name.to_owned(), server.connect_options(ROOT), Arc::clone(&open));
            looking.spawn(async move {
                let mut connection: Option<MySqlConnection> = None;
                loop {
                    if connection.is_none() {
                        connection = MySqlConnection::connect_with(&options).await.ok();
                    }
                    if let Some(found) = connection.as_mut() {
                        match sqlx::query_scalar::<_, i64>("SELECT @@GLOBAL.read_only").fetch_one(found).await {
                            Ok(0) => {
                                open.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
                            }
                            Ok(_) => {}
                            Err(_) => connection = None,
                        }
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            });
        }
        Self { open, looking }
    }

    /// Servers that took writes at any moment since.
    pub(crate) fn end(mut self) -> BTreeSet<String> {
        self.looking.abort_all();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Statements that a server receives from now on.
#[derive(Debug)]
pub(crate) struct Statements<'a> {
    server: &'a Server,
    since: String,
}

impl<'a> Statements<'a> {
    pub(crate) async fn record(server: &'a Server) -> Result<Self> {
        let since = server.value("NOW(6)").await?;
        server.execute("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON").await?;
        Ok(Self { server, since })
    }

    /// Those of ours that are more than questions.
    pub(crate) async fn changing(self) -> Result<Vec<String>> {
        let sql = "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
                   WHERE user_host LIKE CONCAT('%', ?, '%') AND command_type IN ('Query', 'Execute', 'Prepare') AND event_time >= ?";
        // Nothing at all would prove nothing.
        let said = wait::until("a question to a server is logged", LOGGED, || async {
            let mut connection = self.server.connect_root().await?;
            let asked = sqlx::query_scalar(sql).bind(TOPOLOGY.user).bind(&self.since);
            let said: Vec<String> = asked.fetch_all(&mut connection).await?;
            connection.close().await?;
            Ok((!said.is_empty()).then_some(said))
        });
        let said = said.await?;
        self.server.execute("SET GLOBAL general_log = OFF").await?;
        let statements = said.iter().flat_map(|text| text.split(';')).map(str::trim);
        Ok(statements.filter(|one| !is_question(one)).map(str::to_owned).collect())
    }
}

fn is_question(statement: &str) -> bool {
    let word = statement.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let own_session = statement.to_ascii_uppercase().starts_with("SET SESSION") || statement.starts_with("SET NAMES");
    matches!(word.as_str(), "" | "SELECT" | "SHOW") || own_session
}
