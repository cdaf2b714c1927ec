//! The common part of probe jobs: ask many servers side by side, record what they said, follow what they mention.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::instance::{Answer, FailureKind, InstanceKey, Observation, ServerFacts};
use futures::StreamExt;
use queue::{Attempt, JobError, NewJob};
use serde::Serialize;

use crate::context::Configuration;
use crate::{Context, Discover, Target};

/// Probes of one job under way at once. A probe mostly waits for its server; this bounds the burst on the network.
const SIDE_BY_SIDE: usize = 64;

/// Time kept at the end of a job for writing down what was learned: a shard in which one probe hangs must not lose the
/// answers of the others with its own timeout.
const TO_RECORD: Duration = Duration::from_secs(2);

/// When a failed probe is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failures {
    /// As soon as it failed: the failure is news.
    RecordAtOnce,
    /// With the rest: the instance was known to be dead.
    RecordTogether,
}

/// What a probe job did; kept as its output when somebody awaits it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Servers that gave facts.
    pub answered: usize,
    /// Servers that did not.
    pub failed: usize,
    /// Servers left out by a discovery filter.
    pub filtered: usize,
    /// Servers whose probe did not end in time for the job, or that this process lacked the means to ask; the next slot
    /// probes them again.
    pub unfinished: usize,
}

/// Probes the targets and records the answers, within the `timeout` of the job.
pub(crate) async fn probe(
    ctx: &Context,
    targets: &[Target],
    failures: Failures,
    timeout: Duration,
    attempt: &Attempt,
) -> Result<Summary, JobError> {
    let until = tokio::time::Instant::now() + timeout.saturating_sub(TO_RECORD);
    // Apart, because the dead take their time.
    let part = match failures {
        Failures::RecordAtOnce => ctx.living.expect(),
        Failures::RecordTogether => ctx.dead.expect(),
    };
    let config = ctx.config.get();
    let probes = targets.iter().map(Target::key).map(|key| async move { probe_one(ctx, &key).await });
    let probes: Vec<_> = probes.collect();
    let mut answers = futures::stream::iter(probes).buffer_unordered(SIDE_BY_SIDE);
    let mut summary = Summary::default();
    let mut batch = Vec::with_capacity(targets.len());
    let mut left = targets.len();
    let mut unasked = 0;
    while let Ok(Some(observation)) = tokio::time::timeout_at(until, answers.next()).await {
        left -= 1;
        if attempt.cancelled.is_cancelled() {
            return Err(JobError::give_up("cancelled; the next slot probes these instances again"));
        }
        log(&config, failures, &observation);
        match &observation.answer {
            Answer::Facts { .. } => summary.answered += 1,
            Answer::Filtered { .. } => summary.filtered += 1,
            // Says nothing about the server: recorded, it would be the beginning of a needless failover.
            Answer::Failed(failure) if failure.kind == FailureKind::Local => {
                unasked += 1;
                if unasked == 1 {
                    let error = failure.message.as_str();
                    tracing::warn!(instance.key = %observation.asked, error, "a server could not be asked");
                }
                continue;
            }
            Answer::Failed(failure) => {
                summary.failed += 1;
                metrics::counter!("orchestrator_probes_total", "outcome" => failure.kind.name()).increment(1);
                if failures == Failures::RecordAtOnce {
                    let gone = (!failure.kind.is_sign_of_life()).then(|| observation.asked.clone());
                    record(ctx, &config, vec![observation]).await?;
                    ctx.news.ring();
                    if let Some(key) = gone {
                        ctx.watches.lost(&key);
                    }
                    continue;
                }
            }
        }
        batch.push(observation);
    }
    drop(answers);
    if unasked > 0 {
        metrics::counter!("orchestrator_probes_total", "outcome" => FailureKind::Local.name())
            .increment(unasked as u64);
    }
    summary.unfinished = left + unasked;
    if left > 0 {
        metrics::counter!("orchestrator_probes_total", "outcome" => "unfinished").increment(left as u64);
        tracing::warn!(unfinished = left, "probes took longer than their job may; the next slot tries again");
    }
    metrics::counter!("orchestrator_probes_total", "outcome" => "answered").increment(summary.answered as u64);
    if !batch.is_empty() {
        part.record(batch, async |all| record(ctx, &config, all).await).await?;
    }
    Ok(summary)
}

/// Counts what probes outside the ordinary jobs brought.
pub(crate) fn count(observations: &[Observation]) {
    for observation in observations {
        let outcome = match &observation.answer {
            Answer::Facts { .. } => "answered",
            Answer::Failed(failure) => failure.kind.name(),
            Answer::Filtered { .. } => continue,
        };
        metrics::counter!("orchestrator_probes_total", "outcome" => outcome).increment(1);
    }
}

/// Tells of servers that cannot be reached, return, or are left out, where the settings ask for it: a fleet has many.
fn log(config: &Configuration, failures: Failures, observation: &Observation) {
    let discovery = &config.settings.discovery;
    let (instance, was_dead) = (&observation.asked, failures == Failures::RecordTogether);
    match &observation.answer {
        Answer::Filtered { filter } if discovery.enable_discovery_filters_logs => {
            tracing::debug!(instance.key = %instance, %filter, "left out by a discovery filter");
        }
        Answer::Failed(failure) if discovery.dead_instance_discovery_logs_enabled => {
            let error = failure.message.as_str();
            tracing::debug!(instance.key = %instance, was_dead, error, "cannot be reached");
        }
        Answer::Facts { .. } if was_dead && discovery.dead_instance_discovery_logs_enabled => {
            tracing::debug!(instance.key = %instance, "can be reached again");
        }
        Answer::Filtered { .. } | Answer::Failed(_) | Answer::Facts { .. } => {}
    }
}

/// One probe, when there is room for it.
pub(crate) async fn probe_one(ctx: &Context, key: &InstanceKey) -> Observation {
    // Nobody closes the semaphore; without a permit the probe would still be right, only less careful.
    let _permit = ctx.under_way.acquire().await.ok();
    ctx.prober.probe(key).await
}

/// Records observations, and asks for the discovery of servers they mention that nobody knows.
pub(crate) async fn record(
    ctx: &Context,
    config: &Configuration,
    mut observations: Vec<Observation>,
) -> Result<(), JobError> {
    resolve(ctx, config, &mut observations).await;
    let report = store::instances::record(&ctx.pool, &ctx.written, &observations).await.map_err(JobError::retry)?;
    conclude(ctx, config, &observations, &report).await
}

/// As [`record`], of probes on top of the regular ones: their failures do not put off the next regular try. The names in the
/// observations are those we know the servers by afterwards.
pub(crate) async fn record_extra(
    ctx: &Context,
    config: &Configuration,
    observations: &mut [Observation],
) -> Result<(), JobError> {
    resolve(ctx, config, observations).await;
    let report =
        store::instances::record_extra(&ctx.pool, &ctx.written, observations).await.map_err(JobError::retry)?;
    conclude(ctx, config, observations, &report).await
}

/// Replaces the names that servers use by those that we know them by.
async fn resolve(ctx: &Context, config: &Configuration, observations: &mut [Observation]) {
    for observation in observations {
        let asked = observation.asked.clone();
        if let Answer::Facts { key, facts } = &mut observation.answer {
            if *key != asked {
                let minutes = config.settings.hostnames.expiry_hostname_resolves_minutes.max(1);
                ctx.names.learn(&asked.hostname, &key.hostname, Duration::from_secs(minutes * 60));
            }
            ctx.names.resolve_facts(&ctx.pool, config, facts).await;
        }
    }
}

/// What follows from what was recorded.
async fn conclude(
    ctx: &Context,
    config: &Configuration,
    observations: &[Observation],
    report: &store::instances::RecordReport,
) -> Result<(), JobError> {
    for (key, reason) in &report.rejected {
        // Said each time: such a server looks unprobed from then on, and nothing else tells why.
        tracing::warn!(instance.key = %key, reason, "cannot record what a server said");
    }
    ctx.watches.see(observations);
    follow(ctx, config, observations, &report.changed).await?;
    register_rules(ctx, observations).await
}

/// New neighbours become due at once: the topology crawls itself from a single seed. Only instances whose facts changed
/// can mention somebody new.
async fn follow(
    ctx: &Context,
    config: &Configuration,
    observations: &[Observation],
    changed: &BTreeSet<InstanceKey>,
) -> Result<(), JobError> {
    let mut mentioned = BTreeSet::new();
    let mut lane = String::new();
    for observation in observations {
        if let Answer::Facts { key, facts } = &observation.answer
            && changed.contains(key)
        {
            lane.clone_from(&facts.data_center);
            mentioned.extend(neighbours(config, facts).into_iter().filter(|neighbour| neighbour != key));
        }
    }
    let mentioned: Vec<InstanceKey> = mentioned.into_iter().collect();
    if mentioned.is_empty() {
        return Ok(());
    }
    let unknown = store::instances::unknown_of(&ctx.pool, &mentioned).await.map_err(JobError::retry)?;
    let jobs: Result<Vec<NewJob>, queue::Error> = unknown
        .iter()
        .map(|key| Ok(NewJob::of(&Discover::new(key))?.datacenter(&lane).submitted_by("discovery")))
        .collect();
    queue::submit(&ctx.pool, &jobs.map_err(JobError::give_up)?).await.map_err(JobError::retry)?;
    Ok(())
}

/// Whom a server mentions, less the filtered.
pub fn neighbours(config: &Configuration, facts: &ServerFacts) -> Vec<InstanceKey> {
    let patterns = &config.patterns;
    let ignored = |key: &InstanceKey| patterns.discovery_ignore.matches(&key.hostname, key.port);
    let members = facts.group.iter().flat_map(|group| group.members.iter());
    let below = facts.replicas.iter().chain(members);
    let below = below.filter(|key| !patterns.discovery_ignore_replicas.matches(&key.hostname, key.port));
    let above = facts
        .source()
        .into_iter()
        .filter(|key| key.is_valid() && !patterns.discovery_ignore_masters.matches(&key.hostname, key.port));
    below.chain(above).filter(|key| !ignored(key)).cloned().collect()
}

/// Registers the promotion rules that servers declare, often enough that they do not expire.
async fn register_rules(ctx: &Context, observations: &[Observation]) -> Result<(), JobError> {
    for observation in observations {
        let Answer::Facts { key, facts } = &observation.answer else { continue };
        let Ok(rule) = domain::promotion::PromotionRule::parse_registrable(&facts.detected_promotion_rule) else {
            continue;
        };
        if ctx.rules.is_due(key, rule) {
            store::candidates::register(&ctx.pool, key, rule).await.map_err(JobError::retry)?;
        }
    }
    Ok(())
}
