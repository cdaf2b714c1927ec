//! What people ask for, by HTTP or on the command line: reading the fleet and changing what is recorded about it.
//!
//! What this is: one file per family, each a handful of functions over a [`Scope`]. What it is not: output formats (the
//! caller's), authorisation (the caller's), changes to managed servers (jobs do those), work of the leader.
//!
//! Invariants: every change is recorded in the audit with the actor's name, in the same transaction where it is one;
//! nothing here opens a connection to a managed server, but for the bare TCP check of [`hostnames::resolve`].

pub mod analysis;
pub mod audit;
pub mod candidates;
pub mod clusters;
pub mod discovery;
pub mod downtime;
pub mod duration;
pub mod explain;
pub mod hostnames;
pub mod inspections;
pub mod instances;
pub mod jobs;
pub mod leadership;
pub mod maintenance;
pub mod names;
pub mod nodes;
pub mod operations;
pub mod pools;
pub mod recoveries;
pub mod replication;
pub mod snapshots;
pub mod tags;
pub mod tokens;
pub mod topology;

mod error;
mod submission;

use std::sync::Arc;

use ::jobs::Configuration;
use domain::health::Judgement;
use domain::instance::InstanceKey;
use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlConnection, MySqlPool, Transaction};

pub use error::Error;

/// On whose behalf, on which backend, under which settings.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The backend.
    pub pool: MySqlPool,
    /// Settings in force when the request came.
    pub config: Arc<Configuration>,
    /// Who asks: `user@host` on the command line, the user of the API. For records.
    pub actor: String,
}

impl Scope {
    /// A scope for one request or command.
    pub fn new(pool: MySqlPool, config: Arc<Configuration>, actor: impl Into<String>) -> Self {
        Self { pool, config, actor: actor.into() }
    }

    /// The moment and the thresholds by which instances are judged, on the database's clock.
    pub async fn judgement(&self) -> Result<Judgement, Error> {
        let now = store::database_now(&self.pool).await?;
        Ok(crate::judgement(&self.config.settings, now))
    }

    /// What turns instances into records of the API.
    pub async fn view(&self) -> Result<api::View, Error> {
        let query = &self.config.settings.discovery.replication_credentials_query;
        Ok(api::View { judgement: self.judgement().await?, credentials_query_configured: !query.is_empty() })
    }

    pub(crate) async fn connection(&self) -> Result<PoolConnection<MySql>, Error> {
        self.pool.acquire().await.map_err(Error::unreachable)
    }

    /// For a change and its record: both are kept, or neither.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, MySql>, Error> {
        self.pool.begin().await.map_err(Error::unreachable)
    }

    /// Records what was done in the transaction, and keeps it.
    pub(crate) async fn commit_as(&self, mut tx: Transaction<'static, MySql>, what: &Record<'_>) -> Result<(), Error> {
        self.record(&mut tx, what).await?;
        tx.commit().await.map_err(Error::unreachable)
    }

    /// Records what was done.
    pub(crate) async fn record(&self, conn: &mut MySqlConnection, what: &Record<'_>) -> Result<(), Error> {
        audit::write(self, conn, what).await
    }
}

/// One thing done, for the audit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Record<'a> {
    /// What: `forget`, `begin-downtime`, ...
    pub(crate) kind: &'a str,
    /// Instance concerned.
    pub(crate) key: Option<&'a InstanceKey>,
    /// Cluster concerned.
    pub(crate) cluster: &'a str,
    /// Details.
    pub(crate) message: &'a str,
}
