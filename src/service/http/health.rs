//! Is this service fit to answer? For people, load balancers and supervisors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::clock::backend_text;
use api::legacy::{HealthStatus, NodeHealth};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use store::nodes::Node;
use store::schema::SchemaState;
use tokio::sync::Mutex;

use super::site::Site;
use crate::actions::{leadership, nodes};

/// How long one look at the backend serves everybody who asks.
const FRESH: Duration = Duration::from_secs(1);
/// A backend that does not answer within this time is not there: load balancers do not wait long.
const DEADLINE: Duration = Duration::from_secs(3);

/// The last look. A failed one stays failed: it is never served as healthy.
#[derive(Debug, Default)]
pub(super) struct HealthCache {
    last: Mutex<Option<(Instant, Health)>>,
}

/// What a look brought.
#[derive(Debug, Clone)]
pub(super) struct Health {
    /// The record to show.
    pub(super) status: HealthStatus,
    /// Why it is not healthy; empty: it is.
    pub(super) failure: String,
}

/// Health as of at most a second ago.
pub(super) async fn current(site: &Site) -> Health {
    let mut last = site.health.last.lock().await;
    if let Some((at, health)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        tracing::trace!(age_ms = at.elapsed().as_millis(), "health is answered from the last look");
        return health.clone();
    }
    let health = look(site).await;
    *last = Some((Instant::now(), health.clone()));
    health
}

async fn look(site: &Site) -> Health {
    let identity = &site.handles.identity;
    let mut status = HealthStatus {
        hostname: identity.hostname.clone(),
        token: identity.token.clone(),
        is_active_node: site.leading().is_some(),
        ..HealthStatus::default()
    };
    let failure = match tokio::time::timeout(DEADLINE, fill(site, &mut status)).await {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer from the backend database within {} s", DEADLINE.as_secs()),
    };
    status.healthy = failure.is_empty();
    if !status.healthy {
        status.error = Some(serde_json::json!({}));
    }
    Health { status, failure }
}

async fn fill(site: &Site, status: &mut HealthStatus) -> Result<(), crate::actions::Error> {
    let scope = site.scope("health");
    let lease = leadership::current(&scope).await?;
    let nodes = nodes::list(&scope).await?;
    if lease.is_live && !lease.holder.is_empty() {
        let holder = nodes.iter().find(|node| node.registration.token == lease.holder);
        status.active_node = NodeHealth {
            hostname: holder.map(|node| host_of(node).to_owned()).unwrap_or_default(),
            token: lease.holder.clone(),
            first_seen_active: backend_text(Some(lease.acquired_at)),
            ..NodeHealth::default()
        };
    }
    let services: Vec<NodeHealth> = nodes
        .iter()
        .filter(|node| node.is_live() && node.registration.role.contains("service"))
        .map(|node| NodeHealth {
            hostname: host_of(node).to_owned(),
            token: node.registration.token.clone(),
            app_version: node.registration.version.clone(),
            first_seen_active: backend_text(Some(node.started_at)),
            last_seen_active: backend_text(Some(node.heartbeat_at)),
            db_backend: site.options.backend_address.clone(),
            ..NodeHealth::default()
        })
        .collect();
    status.available_nodes = api::json::or_null(services);
    Ok(())
}

/// The name of a node without the process id that makes it unique.
fn host_of(node: &Node) -> &str {
    let name = node.registration.name.as_str();
    match name.rsplit_once(':') {
        Some((host, pid)) if pid == node.registration.pid.to_string() => host,
        _ => name,
    }
}

/// The process answers. Says nothing else, and is asked without authentication.
pub(super) async fn live() -> Response {
    text(StatusCode::OK, "ok\n")
}

/// The backend answers and its schema fits this program.
pub(super) async fn ready(State(site): State<Arc<Site>>) -> Response {
    match tokio::time::timeout(DEADLINE, store::schema::check(&site.handles.pool)).await {
        Ok(Ok(SchemaState::Current)) => text(StatusCode::OK, "ok\n"),
        Ok(Ok(state)) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{state}\n")),
        Ok(Err(error)) => {
            tracing::debug!(error = %error.chain(), "not ready");
            text(StatusCode::SERVICE_UNAVAILABLE, "the backend database does not answer\n")
        }
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the backend database does not answer\n"),
    }
}

/// This node leads.
pub(super) async fn leader(State(site): State<Arc<Site>>) -> Response {
    match site.leading() {
        Some(term) => text(StatusCode::OK, &format!("leading term {term}\n")),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "not the leader\n"),
    }
}

fn text(status: StatusCode, text: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, text.to_owned()).into_response()
}
