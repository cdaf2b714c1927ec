//! The worker: four tasks around one engine.
//!
//! - *heartbeat* (a connection of its own): says "alive", reads who else lives, what is to be cancelled, and the clock;
//! - *claims*: peeks and claims for free slots, hands work to the runtime;
//! - *runtime* (apalis): runs it;
//! - *finisher*: writes the results.
//!
//! A worker that could not renew its heartbeat within [`crate::TRUST_WINDOW`] no longer trusts its claims: it cancels its jobs and
//! claims nothing until it is heard again. Results of jobs that ended well are kept and offered anyway; the claim token decides.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::MySqlPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::apalis_backend;
use crate::engine::{Engine, Reason};
use crate::error::chain;
use crate::link::Link;
use crate::worker::{HEARTBEAT, Identity, Mood, TRUST_WINDOW, beat, leave};
use crate::{Bell, Concurrency, DbClock, Error, Registry, claims, datacenter_name, finisher};

/// Time for cancelled jobs to end by themselves at the end of a drain, before they are dropped.
const CANCEL_GRACE: Duration = Duration::from_millis(500);
/// One heartbeat: two of them must fit into the trust window.
const BEAT_LIMIT: Duration = Duration::from_millis(1500);
/// Pause after a failed heartbeat: shorter than a heartbeat, to be heard again soon.
const BEAT_RETRY: Duration = Duration::from_millis(500);

/// How a worker works. `WorkerConfig::new` gives the defaults; the fields are free to change.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Unique per process run, at most 64 ASCII characters: a restarted worker is another worker.
    pub token: String,
    /// Host and pid or so, for people.
    pub name: String,
    /// Datacenters to serve; empty: all.
    pub datacenters: Vec<String>,
    pub concurrency: Concurrency,
    /// Longest pause between two looks at an idle queue; shorter just after there was work.
    pub poll_interval: Duration,
    /// How long running jobs may take to end after a shutdown request, before they are cancelled and released.
    pub drain_deadline: Duration,
    /// Set by this worker's heartbeats; share it with whoever needs the database's time.
    pub clock: Arc<DbClock>,
    /// Rung after a commit that enqueued what must not wait, it makes this worker look at the queue at once. Share it with
    /// whoever enqueues in this process; from other processes jobs are found by polling.
    pub bell: Bell,
}

impl WorkerConfig {
    pub fn new(name: &str) -> Self {
        Self {
            token: uuid::Uuid::new_v4().simple().to_string(),
            name: name.to_owned(),
            datacenters: Vec::new(),
            concurrency: Concurrency::split(32),
            poll_interval: Duration::from_millis(250),
            drain_deadline: Duration::from_secs(20),
            clock: Arc::default(),
            bell: Bell::default(),
        }
    }
}

/// A worker, before it runs.
#[derive(Debug)]
pub struct Runner<C: Send + Sync + 'static> {
    engine: Arc<Engine<C>>,
    results: mpsc::Receiver<crate::finish::Finish>,
    config: WorkerConfig,
}

impl<C: Send + Sync + 'static> Runner<C> {
    /// The pool says where the backend is; the worker makes three connections of its own and leaves the pool to the jobs.
    pub fn new(pool: MySqlPool, config: WorkerConfig, registry: Registry<C>, ctx: Arc<C>) -> Self {
        let me = Identity {
            token: config.token.clone(),
            name: config.name.chars().take(255).collect(),
            datacenters: config.datacenters.iter().map(|name| datacenter_name(name)).collect(),
            concurrency: u32::try_from(config.concurrency.total()).unwrap_or(u32::MAX),
        };
        let (finishes, results) = mpsc::channel(finisher::MAX_HELD);
        let engine = Arc::new(Engine::new(pool, me, config.concurrency.clone(), registry, ctx, finishes));
        Self { engine, results, config }
    }

    /// The token that worker hints name.
    pub fn token(&self) -> &str {
        &self.config.token
    }

    /// Works until `shutdown`, then drains. Outages of the backend, from the very start, are waited out. An error means a bug ended
    /// one of the tasks: the process should be restarted.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { engine, results, config } = self;
        let (stop_heart, stop_finisher) = (CancellationToken::new(), CancellationToken::new());
        let (work_sender, work) = mpsc::channel(config.concurrency.total().max(1));
        // Dropping this future ends everything at once, as the death of the process would.
        let _no_orphans = engine.drop_all.clone().drop_guard();
        let heart =
            spawn(heartbeats(Arc::clone(&engine), Arc::clone(&config.clock), shutdown.clone(), stop_heart.clone()));
        let finisher = spawn(finisher::run(Link::new(engine.pool.clone()), results, stop_finisher.clone()));
        let (name, slots) = (config.name.clone(), config.concurrency.total().max(1));
        let mut runtime = spawn(async move { apalis_backend::run(&name, slots, work).await });
        let claims =
            spawn(claims::run(Arc::clone(&engine), work_sender, config.poll_interval, config.bell, shutdown.clone()));

        // Returns at shutdown, or when the runtime is gone.
        let claims_ended = claims.await;
        tracing::info!(worker.token = config.token, running = engine.slots.in_use(), "worker drains");
        drain(&engine, &mut runtime, config.drain_deadline).await;
        let runtime_ended = if runtime.is_finished() { runtime.await } else { Ok(Ok(())) };
        stop_finisher.cancel();
        let unwritten = finisher.await;
        stop_heart.cancel();
        let heart_ended = heart.await;
        let goodbye =
            Link::new(engine.pool.clone()).run(BEAT_LIMIT, async |conn| leave(conn, &config.token).await).await;
        if let Err(error) = goodbye {
            tracing::warn!(error = chain(&error), "cannot sign off; the worker counts as dead in a few seconds");
        }
        if unwritten.as_ref().is_ok_and(|unwritten| *unwritten > 0) {
            tracing::warn!(
                unwritten = unwritten.unwrap_or(0),
                "job results could not be written; the jobs will be rescued"
            );
        } else if unwritten.is_err() {
            return Err(Error::Stopped { task: "finisher", cause: "it panicked".to_owned() });
        }
        for (task, ended) in [("claims", claims_ended), ("heartbeat", heart_ended)] {
            ended.map_err(|cause| Error::Stopped { task, cause: cause.to_string() })?;
        }
        let runtime_failed = |cause| Error::Stopped { task: "runtime", cause };
        runtime_ended.map_err(|cause| runtime_failed(cause.to_string()))?.map_err(runtime_failed)?;
        if shutdown.is_cancelled() { Ok(()) } else { Err(runtime_failed("it ended without being asked to".to_owned())) }
    }
}

fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

/// Second half of a drain: lets jobs finish, then cancels them, then drops them and releases their claims.
async fn drain<C: Send + Sync + 'static, T>(
    engine: &Engine<C>,
    runtime: &mut AbortOnDropHandle<T>,
    deadline: Duration,
) {
    let ended = |limit, runtime: &mut AbortOnDropHandle<T>| {
        let began = Instant::now();
        // Polled, because awaiting the handle would take its result away from the caller.
        let abort = runtime.abort_handle();
        async move {
            while !abort.is_finished() && began.elapsed() < limit {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            abort.is_finished()
        }
    };
    if ended(deadline, runtime).await {
        return;
    }
    tracing::warn!(running = engine.slots.in_use(), "jobs outlast the drain, cancelling them");
    engine.cancel_all(Reason::Stopping);
    if ended(CANCEL_GRACE, runtime).await {
        return;
    }
    engine.drop_all.cancel();
    if !ended(CANCEL_GRACE, runtime).await {
        // They block a thread and cannot be dropped; others may have them, and what they still report is fenced.
        engine.release_running().await;
    }
}

/// Says "alive" until `stop`; from `shutdown` on it says that others should serve this worker's lanes.
async fn heartbeats<C: Send + Sync + 'static>(
    engine: Arc<Engine<C>>,
    clock: Arc<DbClock>,
    shutdown: CancellationToken,
    stop: CancellationToken,
) {
    let mut link = Link::new(engine.pool.clone());
    let mut failures = 0_u32;
    // Trusted from the first heartbeat on.
    let mut trusted_until = Instant::now();
    let mut strays = HashSet::new();
    loop {
        let asked_at = Instant::now();
        let running = u32::try_from(engine.slots.in_use()).unwrap_or(u32::MAX);
        let mood = if shutdown.is_cancelled() { Mood::Draining } else { Mood::Working };
        let beating = link.run(BEAT_LIMIT, async |conn| beat(conn, &engine.me, running, mood, &clock).await);
        let pause = match watching(&engine, trusted_until, beating).await {
            Ok(beat) => {
                if failures > 0 {
                    tracing::info!(failures, "heartbeat renewed");
                }
                failures = 0;
                trusted_until = asked_at + TRUST_WINDOW;
                engine.heard(&beat.live, asked_at);
                for held in beat.claims.iter().filter(|held| held.cancel_requested) {
                    engine.cancel(held.claim, Reason::Operator);
                }
                strays = engine.release_strays(&strays, &beat.claims);
                HEARTBEAT.saturating_sub(asked_at.elapsed())
            }
            Err(error) => {
                failures += 1;
                if failures == 1 || failures.is_multiple_of(60) {
                    tracing::warn!(
                        failures,
                        error = chain(&error),
                        "cannot renew the worker's heartbeat, trying again"
                    );
                }
                BEAT_RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = shutdown.cancelled(), if mood == Mood::Working => {}
            () = watching(&engine, trusted_until, tokio::time::sleep(pause)) => {}
        }
    }
}

/// Awaits something, and withdraws trust the moment it runs out meanwhile. Looks at the trust first: a process that was frozen
/// finds both over, and must stop its jobs before it counts as alive again.
async fn watching<C: Send + Sync + 'static, T>(
    engine: &Engine<C>,
    trusted_until: Instant,
    future: impl Future<Output = T>,
) -> T {
    tokio::pin!(future);
    tokio::select! {
        biased;
        () = tokio::time::sleep_until(trusted_until.into()), if engine.is_trusted() => engine.distrust(),
        result = &mut future => return result,
    }
    future.await
}
