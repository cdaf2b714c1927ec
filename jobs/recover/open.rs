//! Opening a recovery: its row, its operation and its job, in one transaction.

use domain::plan::Request;
use queue::NewJob;
use sqlx::mysql::MySqlConnection;
use store::operations::NewOperation;
use store::recoveries::{Created, NewRecovery};

use super::Recover;

/// Why a recovery could not be opened: the caller's transaction is to be dropped, and tried again if the cause may pass.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open a recovery")]
    Store(#[from] store::Error),
    #[error("cannot enqueue the job of a recovery")]
    Queue(#[from] queue::Error),
}

impl OpenError {
    /// The server ended the transaction because of a conflict with another: the same again may work.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Store(error) => error.is_conflict(),
            Self::Queue(error) => error.is_conflict(),
        }
    }
}

/// What was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It will be carried out.
    New { recovery: u64, operation: u64, job: u64 },
    /// This one of the same cluster, or of the same instance, is being carried out already: nothing was written.
    AlreadyOpen { recovery: u64 },
}

/// Opens a recovery in the caller's transaction: when that commits, a worker takes it up.
pub async fn open(conn: &mut MySqlConnection, new: &NewRecovery<'_>) -> Result<Opened, OpenError> {
    let recovery = match store::recoveries::create(conn, new).await? {
        Created::Open(recovery) => return Ok(Opened::AlreadyOpen { recovery }),
        Created::New(recovery) => recovery,
    };
    let request = Request::Recover { failed: new.failed.clone(), recovery };
    let actor = if new.actor.is_empty() { super::OWNER } else { new.actor };
    let asked = NewOperation { request: &request, dry_run: false, cluster_name: new.cluster_name, actor };
    let operation = store::operations::create(conn, &asked).await?;
    store::recoveries::set_operation(conn, recovery, operation).await?;
    // Workers near the servers; a lane without workers of its own is served by all.
    let failed = store::instances::read(&mut *conn, new.failed).await?;
    let lane = failed.map(|one| one.lane).unwrap_or_default();
    let mut job = NewJob::of(&Recover::new(recovery))?.datacenter(&lane).submitted_by(actor);
    if !new.actor.is_empty() {
        job = job.wants_outcome();
    }
    let enqueued = queue::enqueue(conn, &[job]).await?;
    let job = enqueued.first().map(|one| one.id()).unwrap_or_default();
    store::operations::set_job(conn, operation, job).await?;
    Ok(Opened::New { recovery, operation, job })
}
