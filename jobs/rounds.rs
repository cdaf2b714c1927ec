//! Asks the servers of a suspicion again and again, until it is settled: what one of them lost, the others notice a moment
//! later, and who is to decide must see fresh facts of all of them.
//!
//! A round asks all side by side and records together what came; who is slow to answer is recorded with a later round, so
//! that one hanging server does not hide what the others say. Each record rings for the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::instance::{Answer, FailureKind, InstanceKey, Observation, ThreadState};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use queue::JobError;
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::context::Configuration;
use crate::{Context, probing};

/// From one round to the next: a replica's receiver notices within milliseconds that its source was killed, and a cluster of
/// ten is asked within ten.
const EVERY: Duration = Duration::from_millis(120);
/// What is not settled within a second rarely is soon (the source hangs, and receivers wait for it).
const PATIENT_AFTER: Duration = Duration::from_secs(1);
const PATIENT_EVERY: Duration = Duration::from_millis(400);
/// A round is recorded when nobody answered for this long, or when it has lasted the other.
const GATHER: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(100);

/// How the rounds ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// All of them live.
    Alive,
    /// Some are gone, and no receiver runs that reads from one of those.
    Lost,
    /// Time is up: some do not answer, and others still hear them, or do not answer either.
    Open,
}

/// What the rounds did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) rounds: u32,
    pub(crate) probes: u32,
}

/// What is known of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It shows no sign of life.
    Gone,
    /// It lives, and reads from that source now.
    Hears(InstanceKey),
    /// It lives.
    Lives,
}

/// Asks `keys` until what they say is settled and recorded, for `limit` at most. An error is the backend's: what was learned
/// last could not be written.
pub(crate) async fn ask(ctx: &Context, keys: &BTreeSet<InstanceKey>, limit: Duration) -> Result<Report, JobError> {
    let (began, config) = (Instant::now(), ctx.config.get());
    let mut under_way = FuturesUnordered::new();
    let mut waiting: BTreeSet<&InstanceKey> = BTreeSet::new();
    let mut states = BTreeMap::new();
    let mut report = Report { verdict: Verdict::Open, rounds: 0, probes: 0 };
    loop {
        let round = Instant::now();
        report.rounds += 1;
        for key in keys {
            if waiting.insert(key) {
                report.probes += 1;
                under_way.push(probing::probe_one(ctx, key));
            }
        }
        let mut answers = gather(&mut under_way, round + LONGEST).await;
        for answer in &answers {
            waiting.remove(&answer.asked);
        }
        let recorded = record(ctx, &config, &mut answers).await;
        if recorded.is_ok() {
            states.extend(answers.iter().filter_map(|answer| Some((answer.asked.clone(), state(answer)?))));
        }
        if let Some(verdict) = judge(keys, &states) {
            return Ok(Report { verdict, ..report });
        }
        let every = if began.elapsed() < PATIENT_AFTER { EVERY } else { PATIENT_EVERY };
        // Half of the time at least goes to others: a cluster of hundreds takes long to ask.
        let next = round + every.max(round.elapsed() * 2);
        if next >= began + limit {
            return recorded.map(|()| report);
        }
        sleep_until(next).await;
    }
}

/// What comes until everybody has answered, nobody has for a moment, or the round is over.
async fn gather<F: Future<Output = Observation>>(
    under_way: &mut FuturesUnordered<F>,
    until: Instant,
) -> Vec<Observation> {
    let mut answers = Vec::new();
    let mut patience = until;
    while let Ok(Some(answer)) = timeout_at(patience, under_way.next()).await {
        answers.push(answer);
        patience = until.min(Instant::now() + GATHER);
    }
    answers
}

async fn record(ctx: &Context, config: &Configuration, answers: &mut Vec<Observation>) -> Result<(), JobError> {
    probing::count(answers);
    answers.retain(|answer| !is_local(answer));
    if answers.is_empty() {
        return Ok(());
    }
    probing::record_extra(ctx, config, answers).await?;
    ctx.news.ring();
    Ok(())
}

/// Says nothing about the server, and is never recorded.
fn is_local(observation: &Observation) -> bool {
    matches!(&observation.answer, Answer::Failed(failure) if failure.kind == FailureKind::Local)
}

fn state(observation: &Observation) -> Option<State> {
    Some(match &observation.answer {
        Answer::Failed(failure) if failure.kind == FailureKind::Local => return None,
        Answer::Failed(failure) if failure.kind.is_sign_of_life() => State::Lives,
        Answer::Failed(_) => State::Gone,
        Answer::Filtered { .. } => State::Lives,
        Answer::Facts { facts, .. } => match facts.source() {
            Some(source) if facts.threads().0 == ThreadState::Running => State::Hears(source.clone()),
            Some(_) | None => State::Lives,
        },
    })
}

/// The verdict, once there is one.
fn judge(keys: &BTreeSet<InstanceKey>, states: &BTreeMap<InstanceKey, State>) -> Option<Verdict> {
    if keys.iter().any(|key| !states.contains_key(key)) {
        return None;
    }
    let is_gone = |key: &InstanceKey| states.get(key) == Some(&State::Gone);
    if !keys.iter().any(is_gone) {
        return Some(Verdict::Alive);
    }
    let is_heard = states.values().any(|state| matches!(state, State::Hears(source) if is_gone(source)));
    (!is_heard).then_some(Verdict::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter per server and its state: `!` gone, `+` lives, `<x` hears `x`, `?` unknown.
    fn judged(text: &str) -> Option<Verdict> {
        let key = |name: &str| InstanceKey::new(name, 3306);
        let (mut keys, mut states) = (BTreeSet::new(), BTreeMap::new());
        for word in text.split(' ') {
            let (name, state) = word.split_at(1);
            keys.insert(key(name));
            let state = match state {
                "!" => State::Gone,
                "+" => State::Lives,
                "?" => continue,
                source => State::Hears(key(source.trim_start_matches('<'))),
            };
            states.insert(key(name), state);
        }
        judge(&keys, &states)
    }

    #[test]
    fn settled_is_what_nobody_contradicts() {
        assert_eq!(judged("a! b+ c+"), Some(Verdict::Lost));
        assert_eq!(judged("a! b<a c+"), None, "b still hears it");
        assert_eq!(judged("a! b! c+"), Some(Verdict::Lost), "who cannot be reached contradicts nothing");
        assert_eq!(judged("a! b<c c+"), Some(Verdict::Lost), "b has another source by now");
        assert_eq!(judged("a! b+ c?"), None, "c has not answered yet");
        assert_eq!(judged("a? b+ c+"), None);
        assert_eq!(judged("a+ b<a c<a"), Some(Verdict::Alive));
        assert_eq!(judged("a! b+ c<b"), Some(Verdict::Lost), "what is below a survivor is well");
    }
}
