//! Metrics in the text format of Prometheus: counters and histograms of this process, and gauges about the fleet that
//! are computed when somebody asks, at most once per second.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::analysis::{Code, Handler};
use domain::instance::DbMicros;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use store::instances::CheckTimes;
use tokio::sync::Mutex;

use super::site::Site;
use crate::actions::{Error, Scope, jobs, leadership, nodes};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long one computation serves everybody who asks.
const FRESH: Duration = Duration::from_secs(1);
/// Scrapers give up after ten seconds by default: answer with what there is before.
const DEADLINE: Duration = Duration::from_secs(5);
/// Upper bounds of poll ages in seconds: around the default interval, then what alerts are set on.
const POLL_AGE_BUCKETS: [u32; 10] = [1, 2, 5, 7, 10, 15, 30, 60, 300, 3600];
/// Upper bounds of durations in seconds: from one round trip to the longest job.
const DURATION_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
const NO_LABEL: &str = "";

/// The fleet's gauges as of a moment ago.
#[derive(Debug, Default)]
pub(super) struct Scraped {
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

/// Installs the recorder of this process's counters and histograms. Once per process.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)?
        .install_recorder()
}

pub(super) async fn scrape(State(site): State<Arc<Site>>) -> Response {
    let mut body = String::new();
    if let Some(handle) = &site.options.metrics {
        handle.run_upkeep();
        body.push_str(&handle.render());
    }
    body.push_str(&fleet(&site).await);
    (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

async fn fleet(site: &Site) -> Arc<str> {
    let mut last = site.scraped.last.lock().await;
    if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return Arc::clone(text);
    }
    let mut page = Page::default();
    let up = match tokio::time::timeout(DEADLINE, fill(site, &mut page)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(error = %error.chain(), "cannot compute the fleet's metrics");
            false
        }
        Err(_) => false,
    };
    page.gauge("orchestrator_backend_up", "The backend database answered this scrape.", [(NO_LABEL, f64::from(up))]);
    leading(site, &mut page);
    let text: Arc<str> = page.0.into();
    *last = Some((Instant::now(), Arc::clone(&text)));
    text
}

fn leading(site: &Site, page: &mut Page) {
    let leads = f64::from(site.leading().is_some());
    page.gauge("orchestrator_leader", "This node leads.", [(NO_LABEL, leads)]);
}

async fn fill(site: &Site, page: &mut Page) -> Result<(), Error> {
    let scope = site.scope("metrics");
    let times = store::instances::check_times(&scope.pool).await?;
    let now = store::database_now(&scope.pool).await?;
    poll_ages(page, &times, now);
    states(page, &times);
    let lanes = jobs::lanes(&scope).await?;
    let series = |value: fn(&queue::Depth) -> f64| -> Vec<(String, f64)> {
        lanes.iter().map(|lane| (label("lane", &lane.lane), value(lane))).collect()
    };
    let count = "orchestrator_jobs_";
    page.gauge(&format!("{count}waiting"), "Jobs ready to be claimed.", series(|lane| lane.ready as f64));
    page.gauge(&format!("{count}running"), "Jobs that run.", series(|lane| lane.claimed as f64));
    page.gauge(&format!("{count}scheduled"), "Jobs for later.", series(|lane| lane.scheduled as f64));
    page.gauge(&format!("{count}failed"), "Jobs parked as failed.", series(|lane| lane.failed as f64));
    let oldest = series(|lane| lane.oldest_seconds);
    page.gauge("orchestrator_oldest_waiting_job_seconds", "Age of the oldest waiting job.", oldest);
    let lease = leadership::current(&scope).await?;
    page.gauge("orchestrator_lease_term", "Number of the newest term.", [(NO_LABEL, lease.term as f64)]);
    let held = f64::from(lease.is_live && !lease.holder.is_empty());
    page.gauge("orchestrator_lease_held", "Some node leads.", [(NO_LABEL, held)]);
    let nodes = nodes::list(&scope).await?;
    let live = |role: &str| {
        let count = nodes.iter().filter(|node| node.is_live() && node.registration.role == role).count();
        (label("role", role), count as f64)
    };
    page.gauge("orchestrator_nodes", "Live nodes.", ["service", "worker", "service+worker"].map(live));
    recoveries(&scope, page).await
}

/// What is wrong by the leader's last analyses, and what is being done about it.
async fn recoveries(scope: &Scope, page: &mut Page) -> Result<(), Error> {
    let mut problems: BTreeMap<String, f64> = BTreeMap::new();
    for one in store::analyses::troubles(&scope.pool).await? {
        let acts = Code::parse(&one.code).map_or("nothing", |code| acts(code.handler()));
        let labels = [label("cluster", &one.cluster_name), label("code", &one.code), label("acts", acts)].join(",");
        *problems.entry(labels).or_default() += 1.0;
    }
    let help = "Sources with a problem and without downtime, by the leader's last analysis.";
    page.gauge("orchestrator_problems", help, problems);
    let open = store::recoveries::open(&scope.pool).await?.len();
    page.gauge("orchestrator_recoveries_open", "Recoveries under way.", [(NO_LABEL, open as f64)]);
    let blocked = store::recoveries::blocked(&scope.pool, None).await?.len();
    page.gauge(
        "orchestrator_recoveries_blocked",
        "Failures whose recovery an earlier one blocks.",
        [(NO_LABEL, blocked as f64)],
    );
    let disabled = f64::from(store::recovery_switch::is_disabled(&scope.pool).await?);
    page.gauge("orchestrator_recoveries_disabled", "Recoveries are disabled everywhere.", [(NO_LABEL, disabled)]);
    Ok(())
}

/// Whether a recovery, a notice, or nothing follows.
fn acts(handler: Handler) -> &'static str {
    match handler {
        Handler::DeadPrimary
        | Handler::DeadCoPrimary
        | Handler::DeadIntermediate
        | Handler::DeadGroupMember
        | Handler::NonWriteable
        | Handler::SemiSync => "recovery",
        Handler::NotifyOnly => "notice",
        Handler::Nothing => "nothing",
    }
}

/// How long ago each instance was last checked.
fn poll_ages(page: &mut Page, times: &[CheckTimes], now: DbMicros) {
    let ages: Vec<f64> =
        times.iter().filter_map(|one| one.last_checked_at).map(|at| (now - at).max(0) as f64 / 1e6).collect();
    page.head("orchestrator_poll_age_seconds", "Time since the last check of each instance.", "histogram");
    for bound in POLL_AGE_BUCKETS {
        let below = ages.iter().filter(|age| **age <= f64::from(bound)).count();
        page.line("orchestrator_poll_age_seconds_bucket", &label("le", &bound.to_string()), below as f64);
    }
    page.line("orchestrator_poll_age_seconds_bucket", &label("le", "+Inf"), ages.len() as f64);
    page.line("orchestrator_poll_age_seconds_sum", NO_LABEL, ages.iter().sum());
    page.line("orchestrator_poll_age_seconds_count", NO_LABEL, ages.len() as f64);
    let greatest = ages.iter().copied().fold(0.0, f64::max);
    page.gauge("orchestrator_poll_age_max_seconds", "Time since the longest neglected check.", [(NO_LABEL, greatest)]);
}

fn states(page: &mut Page, times: &[CheckTimes]) {
    let (mut ok, mut failing, mut unseen) = (0_u32, 0_u32, 0_u32);
    for one in times {
        match (one.last_checked_at, one.last_seen_at) {
            (Some(checked), Some(seen)) if checked <= seen => ok += 1,
            (_, Some(_)) => failing += 1,
            (_, None) => unseen += 1,
        }
    }
    let series = [("ok", ok), ("failing", failing), ("never_seen", unseen)];
    let series = series.map(|(state, count)| (label("state", state), f64::from(count)));
    page.gauge("orchestrator_instances", "Known instances by the outcome of their last check.", series);
}

/// A page of metrics as text.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn gauge<L: AsRef<str>>(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (L, f64)>) {
        self.head(name, help, "gauge");
        for (labels, value) in series {
            self.line(name, labels.as_ref(), value);
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: f64) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// `name="value"` with what must be escaped.
fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_about_figures_that_there_are() {
        let rules = include_str!("../../../ops/alerts/orchestrator.rules.yml");
        let name = regex::Regex::new(r"\borchestrator_[a-z_]+").expect("pattern");
        let source = include_str!("metrics.rs");
        let mut names: Vec<&str> = name.find_iter(rules).map(|found| found.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            assert!(source.contains(&format!("\"{name}\"")), "nobody writes {name}");
        }
    }

    #[test]
    fn poll_ages_are_cumulative_and_labels_are_escaped() {
        let at = |checked: Option<i64>, seen: Option<i64>| CheckTimes {
            id: 1,
            last_attempted_at: None,
            last_checked_at: checked,
            last_seen_at: seen,
        };
        let now = 100_000_000;
        let times = [
            at(Some(99_500_000), Some(99_500_000)),
            at(Some(96_000_000), Some(96_000_000)),
            at(Some(90_000_000), Some(50_000_000)),
            at(None, None),
        ];
        let mut page = Page::default();
        poll_ages(&mut page, &times, now);
        states(&mut page, &times);
        page.gauge("x", "y", [(label("lane", "a\"b\\\n"), 1.5)]);
        for line in [
            "orchestrator_poll_age_seconds_bucket{le=\"1\"} 1",
            "orchestrator_poll_age_seconds_bucket{le=\"5\"} 2",
            "orchestrator_poll_age_seconds_bucket{le=\"10\"} 3",
            "orchestrator_poll_age_seconds_bucket{le=\"+Inf\"} 3",
            "orchestrator_poll_age_seconds_count 3",
            "orchestrator_poll_age_seconds_sum 14.5",
            "orchestrator_poll_age_max_seconds 10",
            "orchestrator_instances{state=\"ok\"} 2",
            "orchestrator_instances{state=\"failing\"} 1",
            "orchestrator_instances{state=\"never_seen\"} 1",
            "x{lane=\"a\\\"b\\\\\\n\"} 1.5",
        ] {
            assert!(page.0.lines().any(|found| found == line), "{line} in\n{}", page.0);
        }
    }
}
