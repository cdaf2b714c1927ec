//! Rows, targets, and how they are printed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::explain::Kind;
use crate::measure::{Processes, Window};
use crate::options::{Case, Options};
use scenario::proc;

/// Backend counters that explain its cost; given per 1,000 probes in the JSON.
const COUNTERS: [&str; 20] = [
    "Questions",
    "Com_select",
    "Com_update",
    "Com_insert",
    "Com_delete",
    "Com_begin",
    "Com_commit",
    "Com_rollback",
    "Com_set_option",
    "Com_stmt_prepare",
    "Com_stmt_execute",
    "Connections",
    "Handler_read_rnd_next",
    "Handler_read_key",
    "Handler_update",
    "Innodb_rows_read",
    "Innodb_rows_updated",
    "Innodb_os_log_written",
    "Bytes_received",
    "Bytes_sent",
];

/// One combination, measured. "Per 1,000" means per 1,000 probes that a living server answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    instances: usize,
    workers: usize,
    dead_share: f64,
    /// Known instances that were not killed.
    living: usize,
    discovery_seconds: f64,
    measured_seconds: f64,
    probes: u64,
    failed_tries: i64,
    probes_per_second: f64,
    own_cpu_ms_per_1000: f64,
    service_cpu_ms_per_1000: f64,
    workers_cpu_ms_per_1000: f64,
    backend_cpu_ms_per_1000: f64,
    simulator_cpu_ms_per_1000: f64,
    backend_statements_per_1000: f64,
    backend_counters_per_1000: BTreeMap<String, f64>,
    round_trips_per_probe: f64,
    queries_per_probe: f64,
    new_connections_per_probe: f64,
    open_connections: u64,
    age_p50_seconds: f64,
    age_p99_seconds: f64,
    age_max_seconds: f64,
    /// p99 against the same fleet with nobody dead.
    age_p99_ratio: Option<f64>,
    service_mb: f64,
    workers_mb: Vec<f64>,
    own_mb: f64,
    unknown_statements: u64,
    unknown: Vec<Value>,
    machine_busy_percent: f64,
    /// Busy with anything but what is measured and this driver.
    others_busy_percent: f64,
    pub(crate) statement_kinds: Vec<Kind>,
}

impl Row {
    pub(crate) fn new(case: Case, discovery: Duration, living: usize, processes: &Processes, window: &Window) -> Self {
        let (before, after) = (&window.before, &window.after);
        let probes = (window.probes as f64).max(1.0);
        let per_1000 = |value: f64| value * 1000.0 / probes;
        let service = after.service_ms - before.service_ms;
        let workers = after.workers_ms - before.workers_ms;
        let backend = after.backend_ms - before.backend_ms;
        let simulator = after.simulator_ms - before.simulator_ms;
        let busy = after.machine_busy_ms - before.machine_busy_ms;
        let possible = (after.machine_possible_ms - before.machine_possible_ms).max(1.0);
        let ours = service + workers + backend + simulator + after.driver_ms - before.driver_ms;
        let connected = after.simulator.new_connections - before.simulator.new_connections;
        let service_mb = proc::resident_mb(processes.service);
        let workers_mb: Vec<f64> = processes.workers.iter().map(|pid| proc::resident_mb(*pid)).collect();
        Self {
            instances: case.instances,
            workers: case.workers,
            dead_share: case.dead,
            living,
            discovery_seconds: discovery.as_secs_f64(),
            measured_seconds: window.seconds(),
            probes: window.probes,
            failed_tries: window.failed,
            probes_per_second: window.probes as f64 / window.seconds(),
            own_cpu_ms_per_1000: per_1000(service + workers),
            service_cpu_ms_per_1000: per_1000(service),
            workers_cpu_ms_per_1000: per_1000(workers),
            backend_cpu_ms_per_1000: per_1000(backend),
            simulator_cpu_ms_per_1000: per_1000(simulator),
            backend_statements_per_1000: per_1000(window.statements()),
            backend_counters_per_1000: COUNTERS
                .iter()
                .map(|&name| (name.to_owned(), per_1000(window.backend_growth(name))))
                .collect(),
            round_trips_per_probe: (after.simulator.round_trips - before.simulator.round_trips) as f64 / probes,
            queries_per_probe: (after.simulator.queries - before.simulator.queries) as f64 / probes,
            // Each failed try is a connection to a dead server; the target is about the living.
            new_connections_per_probe: (connected as f64 - window.failed.max(0) as f64).max(0.0) / probes,
            open_connections: after.simulator.open_connections,
            age_p50_seconds: window.age(0.5),
            age_p99_seconds: window.age(0.99),
            age_max_seconds: window.age(1.0),
            age_p99_ratio: None,
            own_mb: service_mb + workers_mb.iter().sum::<f64>(),
            service_mb,
            workers_mb,
            unknown_statements: after.simulator.unknown_statements,
            unknown: after.simulator.unknown.clone(),
            machine_busy_percent: busy * 100.0 / possible,
            others_busy_percent: ((busy - ours) * 100.0 / possible).max(0.0),
            statement_kinds: Vec::new(),
        }
    }

    /// Finds the row of the same fleet with nobody dead.
    pub(crate) fn compare(&mut self, earlier: &[Row]) {
        let same = |row: &&Row| row.instances == self.instances && row.workers == self.workers && row.dead_share == 0.0;
        if self.dead_share > 0.0 {
            self.age_p99_ratio = earlier.iter().find(same).map(|row| self.age_p99_seconds / row.age_p99_seconds);
        }
    }

    fn name(&self) -> String {
        format!("{} / {} / {:.0} %", self.instances, self.workers, self.dead_share * 100.0)
    }

    /// The row alone, for the terminal.
    pub(crate) fn line(&self) -> String {
        let unknown = match self.unknown.first() {
            Some(text) => format!(", e.g. {text}"),
            None => String::new(),
        };
        format!(
            "{}: {:.0} probes/s, per 1,000: own {:.0} ms (service {:.0}, workers {:.0}), backend {:.0} ms, \
             {:.1} statements; per probe: {:.2} round trips, {:.3} new connections; age p50 {:.1} p99 {:.1} max {:.1} s; \
             {:.0} MB; {} failed tries; {} unknown statements{unknown}; machine {:.0} % busy ({:.0} % with others)",
            self.name(),
            self.probes_per_second,
            self.own_cpu_ms_per_1000,
            self.service_cpu_ms_per_1000,
            self.workers_cpu_ms_per_1000,
            self.backend_cpu_ms_per_1000,
            self.backend_statements_per_1000,
            self.round_trips_per_probe,
            self.new_connections_per_probe,
            self.age_p50_seconds,
            self.age_p99_seconds,
            self.age_max_seconds,
            self.own_mb,
            self.failed_tries,
            self.unknown_statements,
            self.machine_busy_percent,
            self.others_busy_percent,
        )
    }
}

/// All rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| Instances / workers / dead | Probes/s | Own CPU ms (service + workers) | Backend CPU ms | Simulator CPU ms \
         | Statements | Round trips | New connections | Age p50 / p99 / max s | Resident MB (service + workers) | Machine busy (others) |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let workers_mb: Vec<String> = row.workers_mb.iter().map(|mb| format!("{mb:.0}")).collect();
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} ({:.0} + {:.0}) | {:.0} | {:.0} | {:.1} | {:.2} | {:.3} | {:.1} / {:.1} / {:.1} \
             | {:.0} ({:.0} + {}) | {:.0} % ({:.0} %) |",
            row.name(),
            row.probes_per_second,
            row.own_cpu_ms_per_1000,
            row.service_cpu_ms_per_1000,
            row.workers_cpu_ms_per_1000,
            row.backend_cpu_ms_per_1000,
            row.simulator_cpu_ms_per_1000,
            row.backend_statements_per_1000,
            row.round_trips_per_probe,
            row.new_connections_per_probe,
            row.age_p50_seconds,
            row.age_p99_seconds,
            row.age_max_seconds,
            row.own_mb,
            row.service_mb,
            workers_mb.join(" + "),
            row.machine_busy_percent,
            row.others_busy_percent,
        );
    }
    text
}

/// Something we want to reach: at most this much.
struct Target {
    name: &'static str,
    most: f64,
    /// `None`: says nothing about this row.
    value: fn(&Row) -> Option<f64>,
}

const TARGETS: [Target; 9] = [
    Target { name: "round trips per probe <= 2", most: 2.0, value: |row| Some(row.round_trips_per_probe) },
    Target { name: "new connections per probe <= 0.02", most: 0.02, value: |row| Some(row.new_connections_per_probe) },
    Target { name: "statements per 1,000 <= 40", most: 40.0, value: |row| Some(row.backend_statements_per_1000) },
    Target { name: "own CPU ms per 1,000 <= 180", most: 180.0, value: |row| Some(row.own_cpu_ms_per_1000) },
    Target { name: "backend CPU ms per 1,000 <= 280", most: 280.0, value: |row| Some(row.backend_cpu_ms_per_1000) },
    Target {
        name: "p99 age s <= 10",
        most: 10.0,
        value: |row| (row.instances <= 10_000).then_some(row.age_p99_seconds),
    },
    Target { name: "p99 age, dead against none <= 1.2", most: 1.2, value: |row| row.age_p99_ratio },
    Target { name: "resident MB <= 100", most: 100.0, value: |row| (row.instances <= 5_000).then_some(row.own_mb) },
    Target { name: "unknown statements = 0", most: 0.0, value: |row| Some(row.unknown_statements as f64) },
];

/// Every target against every row: the share of the limit that is used, and whether it is kept.
pub(crate) fn targets(rows: &[Row]) -> String {
    let mut text = String::from("| Target |");
    for row in rows {
        let _ = write!(text, " {} |", row.name());
    }
    let _ = write!(text, "\n|---|{}\n", "---|".repeat(rows.len()));
    for target in &TARGETS {
        let _ = write!(text, "| {} |", target.name);
        for row in rows {
            let _ = match (target.value)(row) {
                Some(value) => write!(text, " {} |", verdict(value, target.most)),
                None => write!(text, " |"),
            };
        }
        text.push('\n');
    }
    text
}

fn verdict(value: f64, most: f64) -> String {
    let word = if value <= most { "ok" } else { "MISSED" };
    if most == 0.0 { format!("{word} ({value:.0})") } else { format!("{word} ({:.2} of it)", value / most) }
}

/// Everything, for machines.
pub(crate) fn json(options: &Options, rows: &[Row]) -> Result<String> {
    let settings: BTreeMap<&String, &Value> = options.settings.iter().map(|(key, value)| (key, value)).collect();
    let document = json!({
        "backend": options.backend.word(),
        "poll_seconds": options.poll,
        "death": options.death,
        "busy_share": options.busy_share,
        "latency": options.latency,
        "settings": settings,
        "backend_variables": scenario::backend::variables(options.backend, options.explain, &options.variables),
        "rows": rows,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_may_be_reached_but_not_passed() {
        assert_eq!(verdict(2.0, 2.0), "ok (1.00 of it)");
        assert_eq!(verdict(3.0, 2.0), "MISSED (1.50 of it)");
        assert_eq!(verdict(0.0, 0.0), "ok (0)");
        assert_eq!(verdict(4.0, 0.0), "MISSED (4)");
    }
}
