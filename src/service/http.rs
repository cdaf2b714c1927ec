//! The HTTP side of a service: the compatibility API under `/api`, the REST API under `/api/v2`, health checks, metrics,
//! and the first page.
//!
//! ```text
//! listener ─ places ─ panics ─ room, time ─ gzip ─ headers ─ client certificate ─ authentication ─ origin ─┬─ /api/v2/...   v2/
//! (listen,  (connections)     (guard)               (guard)  (certificate)        (auth)          (origin) ├─ /api/...      legacy/
//!  tls)                                                                                                    └─ /, /health, /metrics
//! ```
//! A handler extracts, makes one call of [`crate::actions`] and shows the answer. Routes of the compatibility API are
//! rows of tables, because its matching rules (the first registered pattern wins, on the decoded path) are its own.
//!
//! Invariants: a request that was begun is done to its end, whatever its client does; whatever changes something passes the write check, the origin check, and is not done by HEAD; nothing
//! that people or servers wrote becomes markup.
//!
//! To add a resource: a file in `v2/` with a function per method, and a line in `v2::router`.

mod auth;
mod certificate;
mod connections;
mod groups;
mod guard;
mod health;
mod legacy;
mod listen;
mod metrics;
mod origin;
mod page;
mod reply;
mod site;
mod tls;
mod v2;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get};
use futures::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

use connections::Places;
use guard::UnderWay;
pub use listen::Bound;
pub use metrics::install as install_metrics;
use site::Site;

use crate::Handles;

/// Reads the configuration again: with a further file, if one is named.
pub type Reload = Arc<dyn Fn(Option<String>) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Connections that are let in beyond the most at once, for a short answer.
pub const SPARE_CONNECTIONS: usize = connections::SPARE;

/// What the API needs besides [`Handles`].
#[derive(Clone, Default)]
pub struct Options {
    /// What `reload-configuration` calls; without it that endpoint answers an error.
    pub reload: Option<Reload>,
    /// Where counters and histograms are rendered from; without it `/metrics` shows the fleet's gauges only.
    pub metrics: Option<PrometheusHandle>,
    /// `host:port` of the backend, for people.
    pub backend_address: String,
    /// Configuration files in force, for people.
    pub config_files: Vec<String>,
    /// Most clients at once, if the process can have fewer than `HTTPMaxConnections`.
    pub max_connections: Option<usize>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("reload", &self.reload.is_some())
            .field("metrics", &self.metrics.is_some())
            .field("backend_address", &self.backend_address)
            .field("config_files", &self.config_files)
            .field("max_connections", &self.max_connections)
            .finish()
    }
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one: correct `ListenAddress`.
    #[error("cannot read ListenAddress {0:?}: write host:port or :port")]
    Address(String),
    /// Somebody else listens there, or we may not.
    #[error("cannot listen on {at}")]
    Listen {
        /// Address or socket path.
        at: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A certificate or key cannot be used: correct the file.
    #[error("cannot use {what} {}: {reason}", .file.display())]
    Tls {
        /// What the file should be.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The listener stopped working.
    #[error("cannot accept connections on {at}")]
    Serve {
        /// Address or socket path.
        at: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// Serves the API until `shutdown`, then finishes what is under way.
pub async fn run(handles: Arc<Handles>, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let bound = Bound::new(&handles.config.get().settings)?;
    serve(bound, handles, options, shutdown).await
}

/// The same on a listener that is bound already: for those who must know the port first.
pub async fn serve(
    bound: Bound,
    handles: Arc<Handles>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let limit = max_connections(&handles, &options);
    let (under_way, places) = (UnderWay::new(limit), Places::new(limit));
    let (too_late, _wait) = listen::too_late(&shutdown);
    bound.serve(routes(handles, options, under_way.clone()), places, shutdown).await?;
    // Those whose clients hung up have no connection any more that is waited for.
    tokio::select! {
        () = under_way.finish() => {}
        () = too_late.cancelled() => tracing::warn!("requests were under way for too long and are given up"),
    }
    Ok(())
}

fn max_connections(handles: &Handles, options: &Options) -> usize {
    let configured = usize::try_from(handles.config.get().settings.http.http_max_connections).unwrap_or(usize::MAX);
    options.max_connections.map_or(configured, |possible| possible.min(configured))
}

/// All routes with everything around them.
pub fn router(handles: Arc<Handles>, options: Options) -> Router {
    let under_way = UnderWay::new(max_connections(&handles, &options));
    routes(handles, options, under_way)
}

fn routes(handles: Arc<Handles>, options: Options, under_way: UnderWay) -> Router {
    let site = Arc::new(Site::new(handles, options));
    let prefix = site.prefix.clone();
    let pages = Router::new()
        .route("/", any(page::index))
        .route("/web/app.js", get(page::script))
        .route("/web/app.css", get(page::style))
        .route("/web/access-token", get(page::access_token))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/leader", get(health::leader))
        .route("/metrics", get(metrics::scrape))
        .nest("/api/v2", v2::router())
        .route("/api/{*rest}", any(legacy::dispatch))
        .fallback(page::not_found);
    let mut outer = if prefix.is_empty() {
        pages
    } else {
        // `nest` does not match the bare prefix with a slash at its end.
        let index = format!("{prefix}/");
        Router::new().route(&index, any(page::index)).nest(&prefix, pages).fallback(page::not_found)
    };
    if let Some(endpoint) = site.literal_status_endpoint() {
        outer = outer.route(endpoint, any(legacy::status));
    }
    outer
        .layer(from_fn_with_state(Arc::clone(&site), origin::check))
        .layer(from_fn_with_state(Arc::clone(&site), auth::authenticate))
        .layer(from_fn_with_state(Arc::clone(&site), certificate::check))
        .layer(CompressionLayer::new().gzip(true))
        .layer(from_fn(guard::headers))
        .layer(from_fn_with_state((Arc::clone(&site), under_way), guard::finish))
        .layer(from_fn(guard::catch_panics))
        .layer(from_fn_with_state(Arc::clone(&site), guard::admit))
        .with_state(site)
}
