//! What the worker's tasks share, and the execution of one job. Knows nothing of apalis.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use sqlx::MySqlPool;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::claim::{Claimed, Seen, Want};
use crate::claims::choose;
use crate::finish::{Finish, Verdict};
use crate::slots::Slots;
use crate::worker::{Held, Identity, LiveWorker, Serving};
use crate::{Attempt, Concurrency, JobError, Queue, Registry};

/// Largest output kept for those who await it; a job with more to say stores it in a table of its own.
const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// Why a job's token was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Operator,
    /// The worker stops, or no longer trusts its claims: the job is for others, this run does not count.
    Stopping,
}

pub(crate) struct Engine<C> {
    pub(crate) pool: MySqlPool,
    pub(crate) me: Identity,
    pub(crate) slots: Slots,
    /// A slot became free that somebody was waiting for.
    pub(crate) wake: Notify,
    /// Drops all running jobs and releases their claims.
    pub(crate) drop_all: CancellationToken,
    registry: Registry<C>,
    ctx: Arc<C>,
    finishes: mpsc::Sender<Finish>,
    running: Mutex<HashMap<(u64, u64), Running>>,
    serving: Mutex<Serving>,
    trusted: AtomicBool,
    starved: AtomicBool,
}

struct Running {
    cancelled: CancellationToken,
    reason: Option<Reason>,
}

impl<C> fmt::Debug for Engine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("me", &self.me).field("slots", &self.slots).finish_non_exhaustive()
    }
}

impl<C: Send + Sync + 'static> Engine<C> {
    pub(crate) fn new(
        pool: MySqlPool,
        me: Identity,
        concurrency: Concurrency,
        registry: Registry<C>,
        ctx: Arc<C>,
        finishes: mpsc::Sender<Finish>,
    ) -> Self {
        Self {
            slots: Slots::new(concurrency),
            wake: Notify::new(),
            drop_all: CancellationToken::new(),
            running: Mutex::default(),
            serving: Mutex::new(Serving::new(me.datacenters.clone())),
            trusted: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            pool,
            me,
            registry,
            ctx,
            finishes,
        }
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    /// A heartbeat went through.
    pub(crate) fn heard(&self, live: &[LiveWorker], asked_at: Instant) {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).update(live, asked_at);
        if !self.trusted.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Others may take us for dead by now.
    pub(crate) fn distrust(&self) {
        self.trusted.store(false, Ordering::Release);
        tracing::warn!(
            running = self.slots.in_use(),
            "heartbeat not renewed in time: cancelling jobs, claiming no more for now"
        );
        self.cancel_all(Reason::Stopping);
    }

    /// What to claim of what was seen.
    pub(crate) fn wants(&self, seen: Vec<Seen>) -> Vec<Want> {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (wants, _, starved) =
            choose(seen, |datacenter| serving.serves(datacenter, now), |queue| self.slots.free(queue));
        self.starved.store(starved, Ordering::Release);
        wants
    }

    /// Takes slots for claimed jobs and enters them as running.
    pub(crate) fn admit(&self, jobs: Vec<Claimed>) -> Vec<Claimed> {
        let mut running = self.running();
        for job in &jobs {
            self.slots.take(job.lane.queue);
            running.insert((job.id, job.claim_token), Running { cancelled: CancellationToken::new(), reason: None });
            if self.slots.free(job.lane.queue) == 0 {
                self.starved.store(true, Ordering::Release);
            }
        }
        jobs
    }

    pub(crate) fn cancel(&self, claim: (u64, u64), reason: Reason) {
        if let Some(running) = self.running().get_mut(&claim) {
            running.reason.get_or_insert(reason);
            running.cancelled.cancel();
        }
    }

    pub(crate) fn cancel_all(&self, reason: Reason) {
        for running in self.running().values_mut() {
            running.reason.get_or_insert(reason);
            running.cancelled.cancel();
        }
    }

    /// Gives back what the database says we hold and nothing here works on, if the heartbeat before found the same: the answer
    /// to a claim's commit was lost. Returns what to compare the next heartbeat with.
    ///
    /// A job that has just ended looks the same, but its result is before the release in the finisher's queue, and wins.
    pub(crate) fn release_strays(&self, before: &HashSet<(u64, u64)>, claims: &[Held]) -> HashSet<(u64, u64)> {
        let running = self.running();
        let strays = claims.iter().map(|held| held.claim).filter(|claim| !running.contains_key(claim));
        let (old, new): (HashSet<_>, HashSet<_>) = strays.partition(|claim| before.contains(claim));
        for (id, claim_token) in &old {
            tracing::warn!(job.id = id, "holding a job nobody works on, giving it back");
            let release = Finish { id: *id, claim_token: *claim_token, verdict: Verdict::Release };
            // When there is no room, a later heartbeat tries again.
            self.finishes.try_send(release).ok();
        }
        new
    }

    pub(crate) async fn release_running(&self) {
        let claims: Vec<(u64, u64)> = self.running().keys().copied().collect();
        for (id, claim_token) in claims {
            self.finish(Finish { id, claim_token, verdict: Verdict::Release }).await;
        }
    }

    pub(crate) async fn finish(&self, finish: Finish) {
        let id = finish.id;
        if self.finishes.send(finish).await.is_err() {
            tracing::warn!(job.id = id, "a job ended after the worker; its claim will run out");
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(u64, u64), Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self, job: &Claimed) -> Option<Reason> {
        self.running().get(&(job.id, job.claim_token)).and_then(|running| running.reason)
    }
}

/// Gives the slot back whatever happens to the job's future.
struct Slot<C: Send + Sync + 'static> {
    engine: Arc<Engine<C>>,
    claim: (u64, u64),
    queue: Queue,
}

impl<C: Send + Sync + 'static> Drop for Slot<C> {
    fn drop(&mut self) {
        self.engine.running().remove(&self.claim);
        self.engine.slots.give_back(self.queue);
        // Without backlog the next regular look is soon enough, and one look per finished job would be a waste.
        if self.engine.starved.load(Ordering::Acquire) {
            self.engine.wake.notify_one();
        }
    }
}

/// Runs one claimed job and hands its result to the finisher.
pub(crate) async fn execute<C: Send + Sync + 'static>(engine: Arc<Engine<C>>, job: Claimed, claimed_at: Instant) {
    let slot = Slot { engine: Arc::clone(&engine), claim: (job.id, job.claim_token), queue: job.lane.queue };
    let span = tracing::info_span!("job", job.kind = job.kind, job.id = job.id, job.attempt = job.attempts + 1);
    let ending = run_bounded(&engine, &job).instrument(span.clone()).await;
    let verdict = judge(&engine, &job, ending);
    let word = span.in_scope(|| log(&verdict));
    let kind = if engine.registry.get(&job.kind).is_some() { job.kind.clone() } else { "unknown".to_owned() };
    metrics::histogram!("queue_job_seconds", "kind" => kind.clone()).record(claimed_at.elapsed().as_secs_f64());
    metrics::counter!("queue_jobs_total", "kind" => kind, "outcome" => word).increment(1);
    engine.finish(Finish { id: job.id, claim_token: job.claim_token, verdict }).await;
    drop(slot);
}

/// How a run ended.
enum Ending {
    Returned(Result<serde_json::Value, JobError>),
    TimedOut,
    Panicked(String),
    /// The worker stopped before the job did.
    Dropped,
    /// There is nothing to run: unknown kind or corrupt payload.
    Unrunnable(String),
}

async fn run_bounded<C: Send + Sync + 'static>(engine: &Arc<Engine<C>>, job: &Claimed) -> Ending {
    let Some(kind) = engine.registry.get(&job.kind) else {
        return Ending::Unrunnable(format!("worker {} has no code for jobs of kind {}", engine.me.name, job.kind));
    };
    let cancelled = engine.running().get(&(job.id, job.claim_token)).map(|running| running.cancelled.clone());
    let attempt = Attempt {
        job_id: job.id,
        number: job.attempts + 1,
        max_attempts: job.max_attempts,
        rescues: job.rescues,
        cancelled: cancelled.unwrap_or_default(),
        submitted_by: job.submitted_by.clone(),
        enqueued_term: job.enqueued_term,
        worker: engine.me.name.clone(),
    };
    let ctx = Arc::clone(&engine.ctx);
    let work = async {
        match kind.start(&job.payload, ctx, attempt) {
            Ok(future) => Ending::Returned(future.await),
            Err(error) => Ending::Unrunnable(format!("cannot read the payload of a {} job: {error}", job.kind)),
        }
    };
    tokio::select! {
        biased;
        () = engine.drop_all.cancelled() => Ending::Dropped,
        ended = tokio::time::timeout(job.timeout, AssertUnwindSafe(work).catch_unwind()) => match ended {
            Ok(Ok(ending)) => ending,
            Ok(Err(panic)) => Ending::Panicked(panic_text(&*panic)),
            Err(_) => Ending::TimedOut,
        },
    }
}

fn judge<C: Send + Sync + 'static>(engine: &Engine<C>, job: &Claimed, ending: Ending) -> Verdict {
    let reason = engine.reason(job);
    let (error, retry) = match ending {
        Ending::Returned(Ok(_)) if !job.wants_outcome => return Verdict::Done,
        Ending::Returned(Ok(value)) => {
            let output = value.to_string();
            if output.len() <= MAX_OUTPUT_BYTES {
                return Verdict::DoneWith(output);
            }
            let note = serde_json::json!({ "too_long": true, "bytes": output.len() });
            return Verdict::DoneWith(note.to_string());
        }
        Ending::Dropped => return Verdict::Release,
        Ending::Unrunnable(error) => return Verdict::Park { error },
        Ending::Returned(Err(error)) => (error.to_string(), error.is_retryable()),
        Ending::TimedOut => (format!("timed out after {} ms", job.timeout.as_millis()), true),
        Ending::Panicked(text) => (format!("panicked: {text}"), true),
    };
    match reason {
        Some(Reason::Operator) => Verdict::Cancelled,
        Some(Reason::Stopping) => Verdict::Release,
        None => {
            let failures = job.attempts + 1;
            match engine.registry.get(&job.kind) {
                Some(kind) if retry && failures < job.max_attempts => {
                    Verdict::Retry { delay: kind.backoff.delay(failures), error }
                }
                _ => Verdict::Park { error },
            }
        }
    }
}

fn log(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done | Verdict::DoneWith(_) => {
            tracing::debug!("job done");
            "done"
        }
        Verdict::Cancelled => {
            tracing::info!("job cancelled");
            "cancelled"
        }
        Verdict::Retry { delay, error } => {
            tracing::info!(delay_seconds = delay.as_secs_f64(), error, "job failed, will try again");
            "retried"
        }
        Verdict::Park { error } => {
            tracing::warn!(error, "job failed for good");
            "failed"
        }
        Verdict::Release => {
            tracing::info!("job released to other workers");
            "released"
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a text".to_owned())
}
