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
    add(&mut parts, &started, concurrency, started.descriptor_limit);
    parts.run(&signals).await?;
    tracing::info!("stopped");
    Ok(Answer::nothing())
}

/// Adds a worker to a process, which may open so many files.
pub(super) fn add(parts: &mut Parts, started: &Started, concurrency: usize, descriptor_limit: Option<u64>) {
    let options =
        WorkerOptions { datacenters: started.handles.identity.datacenters.clone(), concurrency, descriptor_limit };
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::{Environment, Loader, Settings};

    use super::*;
    use crate::arguments::parse;
    use crate::session::Me;

    fn base(line: &str, settings: &str) -> Base {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Base {
            flags: parse(&words).expect("readable"),
            words: Vec::new(),
            loader: Arc::new(Loader::search(Vec::new(), Environment::empty())),
            loaded: Settings::from_json(settings).expect("settings"),
            me: Me { user: "dba".to_owned(), hostname: "db1".to_owned() },
            interrupt: crate::session::Interrupt::Signals,
        }
    }

    #[test]
    fn flags_win_over_the_configuration() {
        let settings = r#"{"WorkerDatacenters": ["dc9"], "WorkerConcurrency": 7}"#;
        assert_eq!(datacenters(&base("worker", "{}")), Vec::<String>::new());
        assert_eq!(datacenters(&base("worker", settings)), ["dc9"]);
        assert_eq!(datacenters(&base("worker -datacenter a --datacenter=b,a", settings)), ["a", "b"]);
        assert_eq!(concurrency(&base("worker", settings)).expect("a number"), 7);
        assert_eq!(concurrency(&base("worker --concurrency 3", settings)).expect("a number"), 3);
        for bad in ["0", "-1", "many"] {
            assert!(concurrency(&base(&format!("worker --concurrency {bad}"), settings)).is_err(), "{bad}");
        }
    }
}
