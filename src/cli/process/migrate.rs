//! The backend's schema: brought up to date at start, or by hand.

use std::time::Duration;

use anyhow::bail;
use serde_json::json;
use store::schema::{self, Report, SchemaState};
use store::{Backend, Error};

use crate::answer::Answer;
use crate::session::Base;

/// Pause after the backend went away in the middle.
const PAUSE: Duration = Duration::from_secs(2);
/// Connections of `orchestrator migrate`.
const CONNECTIONS: u32 = 2;

/// What service and worker do before anything else. Waits through outages of the backend.
pub(super) async fn at_start(base: &Base, backend: &Backend) -> anyhow::Result<()> {
    let settings = &base.settings().backend;
    let update = base.flags.is_on("enable-database-update") || !settings.skip_database_update;
    loop {
        let done = if update && !settings.panic_if_different_database_deploy {
            schema::migrate(backend.pool()).await.map(|report| say(&report))
        } else {
            match schema::check(backend.pool()).await {
                Ok(SchemaState::Current) => Ok(()),
                // An empty database is nobody's: the original fills it, too.
                Ok(SchemaState::Behind(_)) if update && is_empty(backend).await => {
                    schema::migrate(backend.pool()).await.map(|report| say(&report))
                }
                Ok(other) => {
                    let key = if update { "PanicIfDifferentDatabaseDeploy" } else { "SkipOrchestratorDatabaseUpdate" };
                    bail!("{other} ({key} forbids to do it now)")
                }
                Err(error) => Err(error),
            }
        };
        match done {
            Err(error) if error.is_retryable() => {
                tracing::warn!(error = error.chain(), "cannot migrate the schema now; trying on");
                backend.report_failure();
                backend.look().await;
                tokio::time::sleep(PAUSE).await;
            }
            other => return Ok(other?),
        }
    }
}

async fn is_empty(backend: &Backend) -> bool {
    let tables = backend
        .run("look into the backend's schema", async |conn| {
            let rows = sqlx::query("SHOW TABLES").fetch_all(conn).await;
            rows.map(|rows| rows.len()).map_err(|cause| Error::Unavailable { doing: "list tables", cause })
        })
        .await;
    matches!(tables, Ok(0))
}

fn say(report: &Report) {
    if report.applied.is_empty() {
        tracing::debug!(version = report.version, "the schema is current");
    } else {
        tracing::info!(version = report.version, applied = report.applied.len(), "migrated the schema");
    }
}

/// `orchestrator migrate`.
pub(crate) async fn migrate(base: &Base) -> anyhow::Result<Answer> {
    let report = run(base).await?;
    let text = match report.applied.len() {
        0 => format!("The schema is current: version {}", report.version),
        1 => format!("Applied 1 migration; the schema is now version {}", report.version),
        count => format!("Applied {count} migrations; the schema is now version {}", report.version),
    };
    Ok(Answer::line_as(text, json!({ "applied": report.applied, "version": report.version })))
}

/// `orchestrator redeploy-internal-db`: the same under its old name, in its old words.
pub(crate) async fn redeploy(base: &Base) -> anyhow::Result<Answer> {
    let report = run(base).await?;
    Ok(Answer::line_as("Redeployed internal db", json!({ "applied": report.applied, "version": report.version })))
}

async fn run(base: &Base) -> anyhow::Result<Report> {
    base.refuse_incomplete()?;
    let backend = Backend::connect(base.backend_options(CONNECTIONS)).await?;
    let done = if base.flags.is_on("repair") {
        schema::repair(backend.pool()).await
    } else {
        schema::migrate(backend.pool()).await
    };
    Ok(done?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::{Environment, Loader, Settings};
    use harness::{Flavor, ROOT};

    use super::*;
    use crate::arguments::parse;
    use crate::session::Me;

    /// What happens at the start on a new, empty schema, with these settings.
    async fn starts(line: &str, more: &str) -> Result<SchemaState, String> {
        let server = harness::backend(Flavor::MySql).await.expect("a backend");
        let schema = server.schema().await.expect("a schema");
        let port = server.server().port();
        let settings = format!(
            r#"{{"MySQLOrchestratorHost": "127.0.0.1", "MySQLOrchestratorPort": {port}, "MySQLOrchestratorUser": "{}",
                "MySQLOrchestratorDatabase": "{}" {more}}}"#,
            ROOT.user, schema.name
        );
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let base = Base {
            flags: parse(&words).expect("readable"),
            words: Vec::new(),
            loader: Arc::new(Loader::search(Vec::new(), Environment::empty())),
            loaded: Settings::from_json(&settings).expect("settings"),
            me: Me { user: "dba".to_owned(), hostname: "db1".to_owned() },
            interrupt: crate::session::Interrupt::Signals,
        };
        let backend = Backend::connect(base.backend_options(CONNECTIONS)).await.expect("a connection");
        at_start(&base, &backend).await.map_err(|error| error.to_string())?;
        Ok(schema::check(backend.pool()).await.expect("the state"))
    }

    #[tokio::test]
    async fn the_settings_decide_who_may_change_the_schema() {
        assert_eq!(starts("http", "").await, Ok(SchemaState::Current));
        let skipped = starts("http", r#", "SkipOrchestratorDatabaseUpdate": true"#).await.expect_err("refused");
        assert!(
            skipped.contains("SkipOrchestratorDatabaseUpdate") && skipped.contains("orchestrator migrate"),
            "{skipped}"
        );
        let forced = starts("http --enable-database-update", r#", "SkipOrchestratorDatabaseUpdate": true"#).await;
        assert_eq!(forced, Ok(SchemaState::Current));
        // Nobody's schema is filled even by who must not change another's.
        assert_eq!(starts("http", r#", "PanicIfDifferentDatabaseDeploy": true"#).await, Ok(SchemaState::Current));
    }
}
