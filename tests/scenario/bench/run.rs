//! One combination from nothing to its row: simulator, backend, service, workers, discovery, warm-up, deaths, measurement.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use scenario::Fleet;
use serde_json::{Map, Value, json};

use crate::explain;
use crate::fleet::Simulated;
use crate::measure::{self, Processes};
use crate::options::{Case, Options};
use crate::report::Row;
use scenario::backend::{self, Watcher};
use scenario::proc;

/// Descriptors that are not connections to managed servers; generous.
const SPARE_DESCRIPTORS: u64 = 300;
/// Poll intervals between the last discovery and the measurement.
const WARM_UP_INTERVALS: u32 = 3;
/// Poll intervals between the deaths and the measurement. With the default factor of 2 every dead server has been tried
/// four times by then (after 0, 1, 3 and 7 intervals) and is tried at most every eight intervals from then on.
const SETTLE_INTERVALS: u32 = 8;
/// Discovery must do at least this many servers per second, after a start of [`DISCOVERY_START`].
const SLOWEST_DISCOVERY: u64 = 10;
const DISCOVERY_START: Duration = Duration::from_secs(60);
/// Discovery that makes no progress for this long is over; what it missed is told.
const STALLED: Duration = Duration::from_secs(30);
/// So much of the fleet must be known then, else there is nothing to compare with the targets.
const GOOD_ENOUGH_PERCENT: i64 = 95;

/// Measures one combination.
pub(crate) async fn combination(options: &Options, case: Case) -> Result<Row> {
    check_descriptors(case)?;
    let mut simulated = Simulated::start(options, case).await?;
    let settings = settings(options, simulated.seeds().await?);
    let mut fleet = Fleet::new(options.backend, settings).await?;
    for variable in backend::variables(options.backend, options.explain, &options.variables) {
        fleet.backend.execute(&format!("SET GLOBAL {variable}")).await?;
    }
    let mut watcher = Watcher::start(&fleet.backend).await?;
    let processes = start(&mut fleet, case).await?;
    let measured = measured(options, case, &processes, &mut watcher, &mut simulated).await;
    measured.with_context(|| format!("{}\n{}", fleet.log_tail("service"), fleet.log_tail("worker1")))
}

fn check_descriptors(case: Case) -> Result<()> {
    let needed = case.instances as u64 + SPARE_DESCRIPTORS;
    let limit = proc::descriptor_limit();
    if needed > limit {
        bail!("{needed} file descriptors are needed per process, {limit} are allowed: raise `ulimit -n`");
    }
    Ok(())
}

fn settings(options: &Options, seeds: Value) -> Value {
    let mut settings = Map::new();
    let base = json!({
        "InstancePollSeconds": options.poll,
        // The product's default; the fleets of the scenario tests shorten it.
        "DeadInstancePollSecondsMax": 300,
        "DiscoverySeeds": seeds,
    });
    settings.extend(base.as_object().cloned().unwrap_or_default());
    settings.extend(options.settings.iter().cloned());
    Value::Object(settings)
}

async fn start(fleet: &mut Fleet, case: Case) -> Result<Processes> {
    fleet.service("service", &["--no-worker"]).await?;
    let mut workers = Vec::with_capacity(case.workers);
    for number in 1..=case.workers {
        let name = format!("worker{number}");
        fleet.worker(&name, &[]).await?;
        workers.push(fleet.pid(&name)?);
    }
    Ok(Processes { service: fleet.pid("service")?, workers })
}

async fn measured(
    options: &Options,
    case: Case,
    processes: &Processes,
    watcher: &mut Watcher,
    simulated: &mut Simulated,
) -> Result<Row> {
    let log_start = if options.explain { Some(watcher.statement_log().await?) } else { None };
    let discovery = wait_known(case, simulated.clusters, watcher).await?;
    if let Some((path, from)) = log_start {
        let (_, to) = watcher.statement_log().await?;
        eprint!("   discovery, {}", explain::print(&explain::read(&path, from, to)?, case.instances as f64));
    }
    let interval = Duration::from_secs(options.poll);
    eprintln!("   all known and placed after {:.1} s; warming up", discovery.as_secs_f64());
    tokio::time::sleep(interval * WARM_UP_INTERVALS).await;
    let living = kill(options, case, interval, watcher, simulated).await?;
    let log_from = if options.explain { Some(watcher.statement_log().await?) } else { None };
    eprintln!("   measuring {} living instances for {} s", living.len(), options.seconds());
    let length = Duration::from_secs(options.seconds());
    let window = measure::window(length, &living, processes, watcher, simulated).await?;
    let mut row = Row::new(case, discovery, living.len(), processes, &window);
    if let Some((path, from)) = log_from {
        let (_, to) = watcher.statement_log().await?;
        row.statement_kinds = explain::read(&path, from, to)?;
        eprint!("   measurement, {}", explain::print(&row.statement_kinds, window.probes as f64));
    }
    Ok(row)
}

/// Waits until every server has answered and every cluster is recognised, or until that makes no progress any more; gives
/// how long it took.
async fn wait_known(case: Case, clusters: usize, watcher: &mut Watcher) -> Result<Duration> {
    let begun = Instant::now();
    let limit = DISCOVERY_START + Duration::from_secs(case.instances as u64 / SLOWEST_DISCOVERY);
    let (servers, clusters) = (i64::try_from(case.instances)?, i64::try_from(clusters)?);
    let (mut said, mut moved, mut most) = (Instant::now(), Instant::now(), 0);
    loop {
        let known = watcher.known().await?;
        if known.placed > most {
            (most, moved) = (known.placed, Instant::now());
        }
        if known.answered == servers && known.placed == servers && known.clusters == clusters {
            return Ok(begun.elapsed());
        }
        let progress = format!(
            "{} of {servers} known, {} answered, {} placed, {} of {clusters} clusters",
            known.rows, known.answered, known.placed, known.clusters
        );
        if moved.elapsed() > STALLED && known.placed * 100 >= servers * GOOD_ENOUGH_PERCENT {
            eprintln!("   WARNING: discovery came to rest early: {progress}; measuring what is known");
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > limit {
            bail!("discovery did not end within {limit:?}: {progress}");
        }
        if said.elapsed() > Duration::from_secs(5) {
            eprintln!("   {progress}");
            said = Instant::now();
        }
        tokio::time::sleep(backend::LOOK_EVERY).await;
    }
}

/// Kills the dead share and lets their back-off settle; gives the rows of the living.
async fn kill(
    options: &Options,
    case: Case,
    interval: Duration,
    watcher: &mut Watcher,
    simulated: &mut Simulated,
) -> Result<HashSet<u64>> {
    let ids = watcher.ids().await?;
    let mut living: HashSet<u64> = ids.values().copied().collect();
    if case.dead > 0.0 {
        let killed = simulated.kill_share(case.dead, &options.death).await?;
        for address in &killed {
            // A server that was never discovered is not missed.
            if let Some(id) = ids.get(address) {
                living.remove(id);
            }
        }
        let settle = interval * SETTLE_INTERVALS;
        eprintln!("   killed {} servers ({}); settling for {settle:?}", killed.len(), options.death);
        tokio::time::sleep(settle).await;
    }
    Ok(living)
}
