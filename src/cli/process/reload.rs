//! Reloading the configuration of a running process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::Loader;
use service::Handles;
use store::audit::{self, Entry};
use tokio::signal::unix::Signal;

use crate::session::Base;

/// For a record nobody waits for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the files of the start again.
#[derive(Debug)]
pub(super) struct Reloader {
    loader: Arc<Loader>,
    handles: Arc<Handles>,
    actor: String,
}

impl Reloader {
    pub(super) fn new(base: &Base, handles: &Arc<Handles>) -> Arc<Self> {
        Arc::new(Self {
            loader: Arc::clone(&base.loader),
            handles: Arc::clone(handles),
            actor: handles.identity.name.clone(),
        })
    }

    /// Reloads at every SIGHUP.
    pub(super) async fn follow(self: Arc<Self>, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            // What went wrong is in the log: there is nobody else to tell.
            let _ = self.reload(None, "Triggered via SIGHUP").await;
        }
    }

    /// What the API calls.
    pub(super) fn for_the_api(self: &Arc<Self>) -> service::http::Reload {
        let reloader = Arc::clone(self);
        Arc::new(move |extra| {
            let reloader = Arc::clone(&reloader);
            Box::pin(async move { reloader.reload(extra.as_deref(), "Triggered via API").await })
        })
    }

    /// Reads the files of the start again, and one more on top if it is named. A configuration that does not load
    /// changes nothing.
    async fn reload(&self, extra: Option<&str>, trigger: &str) -> Result<(), String> {
        let loaded = match self.loader.load_with(extra.map(Path::new)) {
            Ok(loaded) => loaded,
            Err(error) => {
                let error = crate::run::chain(&error.into());
                tracing::error!(error, "reload refused: the settings stay as they were");
                return Err(error);
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("configuration: {warning}");
        }
        let old = self.handles.config.get();
        let changed: Vec<&str> = old.settings.changed(&loaded.settings).iter().map(|key| key.name).collect();
        let restart = old.settings.restart_needed(&loaded.settings);
        self.handles.config.replace(config::Settings::clone(&loaded.settings));
        tracing::info!(changed = changed.join(","), "reloaded the configuration");
        if !restart.is_empty() {
            tracing::warn!(keys = restart.join(","), "these keys changed, but take effect at the next start only");
        }
        if let Err(error) = self.record(trigger).await {
            tracing::warn!(error = error.chain(), "cannot record the reload in the audit");
        }
        Ok(())
    }

    async fn record(&self, trigger: &str) -> Result<(), store::Error> {
        let mut conn = self.handles.connection("record a reload").await?;
        audit::write(&mut conn, &Entry::fleet("reload-configuration", &self.actor, trigger)).await
    }
}

/// Records that this service was told to stop; gives up soon, because a service stops without its backend, too.
pub(super) async fn record_shutdown(handles: &Handles, signal: &str) {
    let message = format!("Triggered via {signal}");
    let writing = async {
        let mut conn = handles.connection("record the shutdown").await?;
        audit::write(&mut conn, &Entry::fleet("shutdown", &handles.identity.name, &message)).await
    };
    if !matches!(tokio::time::timeout(PATIENCE, writing).await, Ok(Ok(()))) {
        tracing::warn!("could not record the shutdown in the audit");
    }
}
