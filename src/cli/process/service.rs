//! `orchestrator http`: the service, with a built-in worker unless told otherwise.

use std::sync::Arc;

use service::{Identity, http, leader};

use super::limits::divide;
use super::reload::record_shutdown;
use super::worker::{add as add_worker, concurrency, datacenters};
use super::{Parts, Signals, start};
use crate::answer::Answer;
use crate::session::Base;

/// Runs the service until a signal.
pub(crate) async fn serve(base: &Base) -> anyhow::Result<Answer> {
    let mut signals = Signals::listen()?;
    let metrics = http::install_metrics()?;
    // `--discovery=false`: answer requests, and do nothing else.
    let active = base.flags.switch("discovery").unwrap_or(true);
    let with_worker = active && !base.flags.is_on("no-worker");
    let role = if with_worker { "service+worker" } else { "service" };
    let settings = base.settings();
    let mut identity = Identity::new(base.me.hostname.clone(), &settings.worker.node_name, role);
    identity.address = listen_address(base);
    if with_worker {
        identity.datacenters = datacenters(base);
    }
    let concurrency = concurrency(base)?;
    let Some(started) = start(base, identity, &signals).await? else { return Ok(Answer::nothing()) };
    // Before anything else begins: an address in use must not cost the fleet a leader for a moment.
    let bound = http::Bound::new(settings)?;
    let mut parts = Parts::new(base, &started, &mut signals)?;
    if active {
        let lead = leader::run(Arc::clone(&started.handles), parts.stop.clone());
        parts.add("the leader election", async move {
            lead.await;
            Ok(())
        });
    }
    let shares = divide(started.descriptor_limit, settings.http.http_max_connections);
    if with_worker {
        add_worker(&mut parts, &started, concurrency, shares.worker);
    }
    let (host, port) = started.backend.address();
    let options = http::Options {
        reload: Some(parts.reloader.for_the_api()),
        metrics: Some(metrics),
        backend_address: format!("{host}:{port}"),
        max_connections: Some(shares.clients),
        config_files: base.loaded.files.iter().map(|file| file.display().to_string()).collect(),
    };
    let serve = http::serve(bound, Arc::clone(&started.handles), options, parts.stop.clone());
    parts.add("the HTTP listener", async move { Ok(serve.await?) });
    let ended = parts.run(&signals).await;
    if let Some(signal) = signals.cause.get() {
        record_shutdown(&started.handles, signal).await;
    }
    ended?;
    tracing::info!("stopped");
    Ok(Answer::nothing())
}

/// Where the API listens, for the registry of nodes.
fn listen_address(base: &Base) -> String {
    let http = &base.settings().http;
    if !http.listen_socket.is_empty() {
        return format!("unix:{}", http.listen_socket);
    }
    match http.listen_address.strip_prefix(':') {
        Some(port) => format!("{}:{port}", base.me.hostname),
        None => http.listen_address.clone(),
    }
}
