//! The ledger in the backend: a row per step, written in the transaction that proves every lock of the operation ours.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::{BinlogCoordinates, InstanceKey};
use domain::plan::Step;
use sqlx::MySqlPool;
use store::maintenance::FencingToken;
use store::operations::{NewStep, Run};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::ledger::{Grant, Ledger, LedgerError, Place, StepId};
use crate::{LOCK_MARGIN, SEND_WINDOW};

/// Longest wait for the backend: the answer to a fence that takes longer is worth nothing.
const BACKEND_LIMIT: Duration = Duration::from_secs(3);
/// Locks are prolonged by so much more than a step needs, so that the steps after it need not.
const AHEAD: Duration = Duration::from_secs(30);
/// Tries to record how a step ended: unlike a fence this may be late, and the next fence fails anyway if it is lost.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// The ledger of one run of one operation.
#[derive(Debug)]
pub struct StoreLedger {
    pool: MySqlPool,
    run: Run,
    worker: String,
    tokens: BTreeMap<InstanceKey, FencingToken>,
    /// All of them, sorted.
    fence: Vec<FencingToken>,
    /// All of them are in force until then, unless somebody ends one.
    kept_until: Mutex<Option<Instant>>,
}

impl StoreLedger {
    /// The ledger of this run under these locks.
    pub fn new(pool: MySqlPool, run: Run, worker: &str, tokens: BTreeMap<InstanceKey, FencingToken>) -> Self {
        let mut fence: Vec<FencingToken> = tokens.values().copied().collect();
        fence.sort_unstable();
        Self { pool, run, worker: worker.to_owned(), tokens, fence, kept_until: Mutex::new(None) }
    }

    /// Sees to it that all locks are in force for so long. Most steps find them kept by an earlier one: prolonging locks
    /// their rows, and branches would wait for each other.
    async fn keep(&self, hold: Duration) -> Result<(), LedgerError> {
        let mut kept_until = self.kept_until.lock().await;
        let asked_at = Instant::now();
        if kept_until.is_some_and(|until| until >= asked_at + hold) {
            return Ok(());
        }
        let prolonged = store::operations::keep_locks(&self.pool, &self.fence, hold + AHEAD);
        match timeout(BACKEND_LIMIT, prolonged).await {
            Ok(Ok(true)) => {
                *kept_until = Some(asked_at + hold + AHEAD);
                Ok(())
            }
            Ok(Ok(false)) => Err(lost()),
            Ok(Err(error)) => Err(LedgerError::Away(error.chain())),
            Err(_) => Err(LedgerError::Away("no answer from the backend".to_owned())),
        }
    }

    async fn end(&self, id: StepId, error: Option<&str>) -> Result<(), LedgerError> {
        let mut last = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                sleep(PAUSE).await;
            }
            match timeout(BACKEND_LIMIT, store::operations::end_step(&self.pool, id.0, error)).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => {
                    return Err(LedgerError::Fenced("the step was closed by another worker".to_owned()));
                }
                Ok(Err(error)) => last = error.chain(),
                Err(_) => "no answer from the backend".clone_into(&mut last),
            }
        }
        Err(LedgerError::Away(last))
    }
}

fn lost() -> LedgerError {
    LedgerError::Fenced("one of its locks was ended or taken over".to_owned())
}

impl Ledger for StoreLedger {
    async fn begin(&self, place: Place, step: &Step) -> Result<Grant, LedgerError> {
        let Some(token) = self.tokens.get(&step.on) else {
            return Err(LedgerError::Fenced(format!("{} is not locked by this operation", step.on)));
        };
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let new = NewStep {
            part: place.part.name(),
            branch: number(place.part.branch()),
            sequence: number(place.sequence),
            step,
            token: *token,
            worker: &self.worker,
        };
        self.keep(Duration::from_secs(u64::from(step.limit_seconds)) + LOCK_MARGIN).await?;
        // Before asking: the backend's deadline is then later than ours, whatever the network does.
        let until = Instant::now() + SEND_WINDOW;
        let asked = store::operations::begin_step(&self.pool, self.run, &self.fence, &new, SEND_WINDOW);
        match timeout(BACKEND_LIMIT, asked).await {
            Ok(Ok(Some(id))) => Ok(Grant { id: StepId(id), until }),
            Ok(Ok(None)) => Err(lost()),
            Ok(Err(error)) => Err(LedgerError::Away(error.chain())),
            Err(_) => Err(LedgerError::Away("no answer from the backend".to_owned())),
        }
    }

    async fn done(&self, id: StepId) -> Result<(), LedgerError> {
        self.end(id, None).await
    }

    async fn failed(&self, id: StepId, error: &str) -> Result<(), LedgerError> {
        self.end(id, Some(error)).await
    }

    async fn equivalent(&self, one: (&InstanceKey, &BinlogCoordinates), other: (&InstanceKey, &BinlogCoordinates)) {
        let recorded = timeout(BACKEND_LIMIT, store::equivalences::record(&self.pool, one, other)).await;
        let error = match recorded {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.chain(),
            Err(_) => "no answer from the backend".to_owned(),
        };
        tracing::warn!(operation.id = self.run.operation, error, "an equivalence of positions was not recorded");
    }
}
