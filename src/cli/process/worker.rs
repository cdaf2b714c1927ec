//! `orchestrator worker`: a process that only runs jobs.

use std::sync::Arc;

use anyhow::bail;
use service::{Identity, WorkerOptions};

use super::{Parts, Signals, Started, start};
use crate::answer::Answer;
use crate::session::Base;

/// Runs a worker until a signal.
pub(crate) async fn worker(base: &Base) -> anyhow::Result<Answer> {
    let mut signals = Signals::listen()?;
    let settings = &base.settings().worker;
    let mut identity = Identity::new(base.me.hostname.clone(), &settings.node_name, "worker");
    identity.datacenters = datacenters(base);
    let concurrency = concurrency(base)?;
    let Some(started) = start(base, identity, &signals).await? else { return Ok(Answer::nothing()) };
    let mut parts = Parts::new(base, &started, &mut signals)?;
    add(&mut parts, &started, concurrency);
    parts.run(&signals).await?;
    tracing::info!("stopped");
    Ok(Answer::nothing())
}

/// Adds a worker to a process.
pub(super) fn add(parts: &mut Parts, started: &Started, concurrency: usize) {
    let options = WorkerOptions {
        datacenters: started.handles.identity.datacenters.clone(),
        concurrency,
        descriptor_limit: started.descriptor_limit,
    };
    tracing::info!(
        node.name = started.handles.identity.name,
        datacenters = if options.datacenters.is_empty() { "all".to_owned() } else { options.datacenters.join(",") },
        concurrency,
        "working"
    );
    let work = service::run_worker(Arc::clone(&started.handles), options, parts.stop.clone());
    parts.add("the worker", async move { Ok(work.await?) });
}

/// Datacenters whose lanes are served: flags first, then `WorkerDatacenters`; empty means all.
pub(super) fn datacenters(base: &Base) -> Vec<String> {
    let given: Vec<String> = base.flags.all("datacenter");
    let named: Vec<&str> = if given.is_empty() {
        base.settings().worker.datacenters.iter().map(String::as_str).collect()
    } else {
        given.iter().flat_map(|list| list.split(',')).collect()
    };
    let mut datacenters: Vec<String> = Vec::new();
    for name in named.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
        if !datacenters.iter().any(|known| known == name) {
            datacenters.push(name.to_owned());
        }
    }
    datacenters
}

/// Jobs at once: the flag, else `WorkerConcurrency`.
pub(super) fn concurrency(base: &Base) -> anyhow::Result<usize> {
    let count = base.flags.number("concurrency").map_err(anyhow::Error::msg)?;
    match count.unwrap_or(base.settings().worker.concurrency) {
        0 => bail!("--concurrency must be at least 1"),
        count => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
    }
}
