//! The processes that stay: service and worker. Wiring, start-up, shutdown.
//!
//! ```text
//! start: signals ▸ backend (waits while it is away) ▸ schema ▸ tasks
//! first SIGTERM or SIGINT: leader releases its lease, worker stops claiming and drains, HTTP finishes its replies;
//!                          the node stays registered until that is done, then exit 0
//! second one: abort, exit 1; the rest of the fleet rescues what was left
//! SIGHUP: reload the configuration; a broken one changes nothing
//! ```

mod limits;
mod load;
mod migrate;
mod reload;
mod service;
mod signals;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use queue::DbClock;
use store::Backend;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use migrate::{migrate, redeploy};
pub(crate) use service::serve as http;
pub(crate) use worker::worker;

use crate::session::{Base, shared};
use ::service::{self as parts, Handles, Identity};
use signals::Signals;

/// How long signing off from the registry of nodes may take.
const SIGN_OFF: Duration = Duration::from_secs(3);
/// The local estimate of the database's clock is renewed this often.
const ASK_CLOCK_EVERY: Duration = Duration::from_secs(5);

/// A process that is connected and may begin its work.
struct Started {
    backend: Backend,
    handles: Arc<Handles>,
    descriptor_limit: Option<u64>,
}

/// Connects, migrates and puts together what the parts of the process share. `None`: told to stop meanwhile.
async fn start(base: &Base, identity: Identity, signals: &Signals) -> anyhow::Result<Option<Started>> {
    let problems: Vec<String> = base
        .settings()
        .check_backend()
        .into_iter()
        .chain(base.settings().check_files())
        .map(|p| p.to_string())
        .collect();
    if !problems.is_empty() {
        bail!("configuration: {}", problems.join("; "));
    }
    let descriptor_limit = limits::raise_descriptor_limit();
    let connections = u32::try_from(base.settings().backend.max_pool_connections.max(4)).unwrap_or(u32::MAX);
    let starting = async {
        let backend = Backend::connect_waiting(base.backend_options(connections)).await?;
        let (host, port) = backend.address();
        tracing::info!(backend.host = host, backend.port = port, "connected to the backend");
        migrate::at_start(base, &backend).await?;
        anyhow::Ok(backend)
    };
    let backend = tokio::select! {
        backend = starting => backend?,
        () = signals.stop.cancelled() => return Ok(None),
        () = signals.abort.cancelled() => return Ok(None),
    };
    let handles = Arc::new(Handles {
        pool: backend.pool().clone(),
        clock: Arc::new(DbClock::new()),
        config: shared(&base.loaded.settings),
        identity,
        leadership: watch::Sender::new(None),
        bells: ::service::Bells::default(),
    });
    limits::say_what_is_needed(&backend, descriptor_limit, connections).await;
    Ok(Some(Started { backend, handles, descriptor_limit }))
}

/// The parts of a process: those that end at the first signal, and those that stay until the others have ended.
struct Parts {
    works: JoinSet<anyhow::Result<()>>,
    stays: JoinSet<()>,
    stop: CancellationToken,
    last: CancellationToken,
    reloader: Arc<reload::Reloader>,
}

impl Parts {
    /// With what every process has: care for the backend, the database's clock, registration, reload.
    fn new(base: &Base, started: &Started, signals: &mut Signals) -> anyhow::Result<Self> {
        let (works, mut stays, last) = (JoinSet::new(), JoinSet::new(), CancellationToken::new());
        let backend = started.backend.clone();
        stays.spawn(until(last.clone(), async move { backend.tend().await }));
        stays.spawn(until(last.clone(), keep_clock(Arc::clone(&started.handles))));
        let heartbeat = parts::heartbeat(Arc::clone(&started.handles), load::as_json, last.clone());
        stays.spawn(heartbeat);
        let hangups = signals.hangups.take().context("the reload signal is taken already")?;
        let reloader = reload::Reloader::new(base, &started.handles);
        stays.spawn(until(last.clone(), Arc::clone(&reloader).follow(hangups)));
        Ok(Self { works, stays, stop: signals.stop.clone(), last, reloader })
    }

    /// Adds a part whose end before the stop signal is a failure of the process.
    fn add(&mut self, name: &'static str, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let stop = self.stop.clone();
        self.works.spawn(async move {
            let ended = part.await;
            if ended.is_ok() && !stop.is_cancelled() {
                bail!("{name} ended by itself");
            }
            ended.with_context(|| format!("{name} failed"))
        });
    }

    /// Runs until told to stop or until a part fails, then winds down.
    async fn run(mut self, signals: &Signals) -> anyhow::Result<()> {
        let mut failure = None;
        loop {
            let ended = tokio::select! {
                ended = self.works.join_next() => ended,
                () = signals.abort.cancelled() => bail!("stopped at once by a second signal; others take over what was left"),
            };
            let Some(ended) = ended else { break };
            if let Err(error) = ended.map_err(anyhow::Error::from).flatten() {
                tracing::error!(error = crate::run::chain(&error), "stopping this process");
                failure.get_or_insert(error);
                self.stop.cancel();
            }
        }
        self.last.cancel();
        tokio::select! {
            () = async { while self.stays.join_next().await.is_some() {} } => {}
            () = signals.abort.cancelled() => {}
            // Without a backend there is nothing to sign off from.
            () = tokio::time::sleep(SIGN_OFF) => {}
        }
        failure.map_or(Ok(()), Err)
    }
}

async fn until(token: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = token.cancelled() => {}
        () = work => {}
    }
}

/// Worker heartbeats read the clock too, but not every process has a worker.
async fn keep_clock(handles: Arc<Handles>) {
    loop {
        if let Ok(mut conn) = handles.connection("read the backend's clock").await
            && let Err(error) = handles.clock.ask(&mut conn).await
        {
            tracing::debug!(error = error.chain(), "cannot read the backend's clock");
        }
        tokio::time::sleep(ASK_CLOCK_EVERY).await;
    }
}
