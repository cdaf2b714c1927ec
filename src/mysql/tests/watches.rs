//! What watches cost while nothing happens. Alone in its process, so that nothing else moves the figures; the simulated
//! servers are in it, so that the processor time is theirs and ours.

use std::sync::Arc;
use std::time::Duration;

use domain::instance::{Answer, InstanceKey};
use mysql::{ConnectSettings, ProbeSettings, Prober, Secret};
use simulator::{Fleet, FleetSpec};
use tokio::task::JoinSet;

const WATCHES: usize = 200;
const PING: Duration = Duration::from_secs(1);
const SECONDS: u64 = 5;
/// Of one processor, in a debug build on a busy machine.
const MOST_CPU: f64 = 0.15;
const MOST_BYTES: usize = 8_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_watches_cost_little() {
    let spec = FleetSpec { servers: WATCHES, mariadb_share: 0.5, ..FleetSpec::default() };
    let fleet = Fleet::new(spec).expect("a fleet");
    let connect = ConnectSettings {
        user: "orchestrator".to_owned(),
        password: Secret::new("secret"),
        ..ConnectSettings::default()
    };
    let prober = Arc::new(Prober::new(ProbeSettings { connect, ..ProbeSettings::default() }, Arc::new(|| 0)));
    let keys: Vec<_> = fleet.addresses().iter().map(|at| InstanceKey::new(at.ip().to_string(), at.port())).collect();
    for _ in 0..2 {
        for key in &keys {
            let observation = prober.probe(key).await;
            assert!(matches!(observation.answer, Answer::Facts { .. }), "{observation:?}");
        }
    }
    let resident = resident_bytes();
    let mut watches = JoinSet::new();
    for key in keys {
        let prober = Arc::clone(&prober);
        watches.spawn(async move { prober.watch(&key, Some(PING)).await });
    }
    // All have pinged once.
    tokio::time::sleep(PING + PING / 2).await;
    let (before, pinged) = (cpu_seconds(), fleet.stats().pings);
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let (cpu, pings) = (cpu_seconds() - before, fleet.stats().pings - pinged);
    let share = cpu / SECONDS as f64;
    let bytes = resident_bytes().saturating_sub(resident) / WATCHES;
    println!(
        "{WATCHES} watches, {pings} pings in {SECONDS} s: {:.1} % of a processor, {:.0} us per ping, both sides; {bytes} bytes each",
        share * 100.0,
        cpu * 1e6 / pings.max(1) as f64
    );
    assert!(watches.try_join_next().is_none(), "nothing was noticed");
    assert!(pings >= WATCHES as u64 * (SECONDS - 1), "{pings}");
    assert!(share < MOST_CPU, "{share}");
    assert!(bytes < MOST_BYTES, "{bytes}");
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name of the process is in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}
