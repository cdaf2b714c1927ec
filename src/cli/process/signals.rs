//! Signals: two stages of stopping, and reload.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What signals ask for.
#[derive(Debug)]
pub(super) struct Signals {
    /// First SIGTERM or SIGINT: finish and go.
    pub(super) stop: CancellationToken,
    /// Second one: go.
    pub(super) abort: CancellationToken,
    /// SIGHUP. Taken by whoever reloads; until then the signal is ignored, instead of ending the process.
    pub(super) hangups: Option<Signal>,
    /// Name of the first signal to stop.
    pub(super) cause: Arc<OnceLock<&'static str>>,
}

impl Signals {
    /// Takes over the signals of this process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let (on_stop, on_abort) = (stop.clone(), abort.clone());
        let cause = Arc::new(OnceLock::new());
        let told = Arc::clone(&cause);
        tokio::spawn(async move {
            let mut asked = false;
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if asked {
                    tracing::warn!(signal = name, "stopping at once");
                    on_abort.cancel();
                    return;
                }
                asked = true;
                told.get_or_init(|| name);
                tracing::info!(signal = name, "stopping: finishing what was begun; a second signal stops at once");
                on_stop.cancel();
            }
        });
        Ok(Self { stop, abort, hangups: Some(hangups), cause })
    }
}
