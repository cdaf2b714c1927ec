//! Carries out operations in this process, with the job that workers use: no process, no queue, no command line between.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use config::Settings;
use domain::instance::InstanceKey;
use domain::plan::Request;
use harness::{REPLICATION, Server, TOPOLOGY};
use jobs::{Context, Discover, Operate, SharedSettings};
use mysql::{ConnectSettings, HostnameMethod, ProbeSettings, ProbeStats};
use operations::OperationOutcome;
use queue::{Attempt, DbClock, Job, JobError};
use sqlx::MySqlPool;
use sqlx::mysql::MySqlConnectOptions;
use store::operations::{NewOperation, Operation, StepRow};

/// What a worker is made of, less the worker.
#[derive(Debug)]
pub struct Executor {
    ctx: Arc<Context>,
}

/// All that one worker has, connections included: they go with it.
pub async fn worker_context(backend: MySqlConnectOptions, settings: Settings) -> Result<Arc<Context>> {
    let pool = queue::pool_options().max_connections(16).connect_with(queue::connect_options(backend)).await?;
    let clock = Arc::new(DbClock::new());
    clock.ask(&mut *pool.acquire().await?).await?;
    let probing = ProbeSettings {
        connect: ConnectSettings {
            user: TOPOLOGY.user.to_owned(),
            password: mysql::Secret::new(TOPOLOGY.password),
            ..ConnectSettings::default()
        },
        hostname_method: HostnameMethod::Given,
        has_credentials_query: !settings.discovery.replication_credentials_query.is_empty(),
        ..ProbeSettings::default()
    };
    Ok(Arc::new(Context::new(pool, clock, SharedSettings::new(settings), probing, 64)))
}

impl Executor {
    /// With this backend, whose schema is there; `change` the settings that are not the defaults.
    pub async fn new(backend: MySqlConnectOptions, change: impl FnOnce(&mut Settings)) -> Result<Self> {
        let mut settings = Settings::default();
        settings.discovery.replication_credentials_query = credentials_query();
        change(&mut settings);
        Ok(Self { ctx: worker_context(backend, settings).await? })
    }

    /// Gets to know a server. On a machine that is busy starting others, the first login may miss its deadline.
    pub async fn discover(&self, server: &Server) -> Result<()> {
        let told = async || Discover::by_person(&key(server)).run(Arc::clone(&self.ctx), Attempt::detached()).await;
        for _ in 0..2 {
            if told().await.is_ok() {
                return Ok(());
            }
        }
        told().await?;
        Ok(())
    }

    /// Carries out what is asked for; its number.
    pub async fn operate(&self, request: &Request, dry_run: bool) -> Result<(u64, Result<OperationOutcome, JobError>)> {
        let new = NewOperation { request, dry_run, cluster_name: "", actor: "scenario" };
        let id = store::operations::create(&mut *self.ctx.pool.acquire().await?, &new).await?;
        let attempt = Attempt { worker: "in-process".to_owned(), ..Attempt::detached() };
        let ended = Operate::new(id).run(Arc::clone(&self.ctx), attempt).await;
        Ok((id, ended.and_then(|value| serde_json::from_value(value).map_err(JobError::give_up))))
    }

    /// An operation as it is recorded.
    pub async fn operation(&self, id: u64) -> Result<Operation> {
        store::operations::read(&self.ctx.pool, id).await?.context("no such operation")
    }

    /// Its steps, in the order in which they began.
    pub async fn steps(&self, id: u64) -> Result<Vec<StepRow>> {
        Ok(store::operations::steps(&self.ctx.pool, id).await?)
    }

    /// What was asked of servers so far.
    pub fn probe_stats(&self) -> ProbeStats {
        self.ctx.prober.stats()
    }

    /// The backend.
    pub fn pool(&self) -> &MySqlPool {
        &self.ctx.pool
    }
}

/// The statement that tells replication's password: MariaDB shows it to nobody.
pub fn credentials_query() -> String {
    format!("SELECT '{}', '{}'", REPLICATION.user, REPLICATION.password)
}

/// The name of a server.
pub fn key(server: &Server) -> InstanceKey {
    InstanceKey::new(server.host(), server.port())
}
