//! The claim loop: looks for work when there are free slots, sooner when there was some a moment ago.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::apalis_backend::Work;
use crate::claim::{Claimed, MAX_CLAIM, Seen, Want, claim, peek};
use crate::engine::{Engine, execute};
use crate::error::{chain, is_conflict};
use crate::link::Link;
use crate::{Bell, Queue};

/// Pause after a claim of jobs that come in bursts; doubles up to the configured interval while nothing comes. Each look
/// costs the backend a statement: routine work, which comes on a timer, shortens no pause.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// After a slot became free, others usually follow: one claim for all of them.
const GATHER: Duration = Duration::from_millis(2);
/// Peek and claim together.
const CLAIM_LIMIT: Duration = Duration::from_secs(5);
/// Longest pause while the backend is away.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);

/// Runs until `stop`, or until nobody takes work any more.
pub(crate) async fn run<C: Send + Sync + 'static>(
    engine: Arc<Engine<C>>,
    work: mpsc::Sender<Work>,
    poll_interval: Duration,
    bell: Bell,
    stop: CancellationToken,
) {
    let mut link = Link::new(engine.pool.clone());
    let mut pause = SHORTEST_PAUSE;
    let mut failures = 0_u32;
    while !stop.is_cancelled() && !work.is_closed() {
        if engine.is_trusted() && engine.slots.any_free() {
            match look(&engine, &mut link).await {
                Ok(jobs) => {
                    failures = 0;
                    pause = if jobs.iter().all(|job| job.lane.queue.is_routine()) {
                        (pause * 2).min(poll_interval)
                    } else {
                        SHORTEST_PAUSE.min(poll_interval)
                    };
                    for job in jobs {
                        // Never waits: there is room for as many as there are slots.
                        if work.send(wrap(&engine, job)).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    failures += 1;
                    if failures == 1 || failures.is_multiple_of(60) {
                        tracing::warn!(failures, error = chain(&error), "cannot claim jobs, trying again");
                    }
                    pause = (pause * 2).clamp(SHORTEST_PAUSE, OUTAGE_PAUSE);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = bell.rung() => {}
            () = engine.wake.notified() => tokio::time::sleep(GATHER).await,
        }
    }
}

/// One look at the queue, and one claim if it is worth it.
async fn look<C: Send + Sync + 'static>(engine: &Engine<C>, link: &mut Link) -> sqlx::Result<Vec<Claimed>> {
    let me = engine.me.token.as_str();
    let seen = link.run(CLAIM_LIMIT, async |conn| peek(conn, me).await).await?;
    let wants = engine.wants(seen);
    if wants.is_empty() {
        return Ok(Vec::new());
    }
    let (claim_token, began) = (rand::random(), Instant::now());
    let claimed = link.run(CLAIM_LIMIT, async |conn| claim(conn, me, claim_token, &wants).await).await;
    match claimed {
        Ok(jobs) => {
            let jobs = engine.admit(jobs);
            metrics::histogram!("queue_claim_batch").record(jobs.len() as f64);
            metrics::histogram!("queue_claim_seconds").record(began.elapsed().as_secs_f64());
            Ok(jobs)
        }
        Err(error) if is_conflict(&error) => {
            // Certainly not committed. With an enqueuer of the same keys; look again at the next turn.
            tracing::debug!(%error, "a claim met a conflict");
            engine.wake.notify_one();
            Ok(Vec::new())
        }
        // Perhaps committed, the answer lost: then a heartbeat finds the stray rows.
        Err(error) => Err(error),
    }
}

/// What to claim from the lanes seen: ours, in order of urgency, as many as there are free slots. The flag says that slots are
/// the limit, so that a freed one is worth another look at once.
pub(crate) fn choose(
    mut seen: Vec<Seen>,
    serves: impl Fn(&str) -> bool,
    free: impl Fn(Queue) -> usize,
) -> (Vec<Want>, BTreeMap<Queue, usize>, bool) {
    seen.retain(|seen| (seen.hinted || seen.open) && serves(&seen.lane.datacenter));
    seen.sort_by(|a, b| a.lane.cmp(&b.lane));
    let mut starved = false;
    let mut lanes_of: BTreeMap<Queue, usize> = BTreeMap::new();
    for seen in &seen {
        *lanes_of.entry(seen.lane.queue).or_default() += 1;
    }
    let mut budget: BTreeMap<Queue, usize> = BTreeMap::new();
    let mut room = MAX_CLAIM;
    let mut wants = Vec::new();
    for seen in seen {
        let queue = seen.lane.queue;
        let left = budget.entry(queue).or_insert_with(|| free(queue));
        let lanes_left = lanes_of.get_mut(&queue).map_or(1, |lanes| std::mem::replace(lanes, *lanes - 1));
        // An even share of what is left, rounded up, so that one datacenter's flood leaves room for the others'.
        let limit = left.div_ceil(lanes_left).min(room);
        if limit == 0 {
            starved = true;
            continue;
        }
        *left -= limit;
        room -= limit;
        wants.push(Want { seen, limit });
    }
    (wants, budget, starved)
}

fn wrap<C: Send + Sync + 'static>(engine: &Arc<Engine<C>>, job: Claimed) -> Work {
    let engine = Arc::clone(engine);
    let claimed_at = Instant::now();
    Work {
        // A job can be here twice: once as a zombie whose claim was rescued.
        name: format!("{}-{}", job.id, job.claim_token),
        future: Box::pin(execute(engine, job, claimed_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lane;

    fn seen(queue: Queue, datacenter: &str) -> Seen {
        Seen { lane: Lane::new(queue, datacenter), hinted: false, open: true }
    }

    #[test]
    fn the_urgent_comes_first_and_lanes_share_a_queue_evenly() {
        let all = vec![seen(Queue::Probes, "dc2"), seen(Queue::Probes, "dc1"), seen(Queue::Recovery, "dc1")];
        let (wants, _, starved) = choose(all, |_| true, |queue| if queue == Queue::Probes { 5 } else { 1 });
        let plan: Vec<_> = wants.iter().map(|want| (want.seen.lane.to_string(), want.limit)).collect();
        assert_eq!(plan, [("recovery/dc1".to_owned(), 1), ("probes/dc1".to_owned(), 3), ("probes/dc2".to_owned(), 2)]);
        assert!(!starved);
    }

    #[test]
    fn nothing_is_claimed_without_a_slot_or_from_a_lane_of_others() {
        let all = vec![seen(Queue::Probes, "dc1"), seen(Queue::Cleanup, "dc2")];
        let (wants, _, starved) = choose(all, |datacenter| datacenter == "dc1", |_| 0);
        assert!(wants.is_empty() && starved);
    }
}
