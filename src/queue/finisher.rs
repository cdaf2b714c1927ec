//! Collects results of jobs for a few milliseconds and writes them together; holds them while the backend is away.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::{chain, is_conflict};
use crate::finish::{Finish, Verdict, write};
use crate::link::Link;

/// How long a result that somebody may await, or that others act upon, waits for company. Shorter than anyone notices, long
/// enough to halve the statements under load.
const WINDOW: Duration = Duration::from_millis(5);
/// The same for a job that ended well and whose result nobody awaits: its row only has to go. Longer than the jobs that
/// were claimed together take to end one after the other; if the worker dies meanwhile, they run again.
const QUIET_WINDOW: Duration = Duration::from_millis(100);
/// Results per write.
const MAX_BATCH: usize = 256;
/// Results held in memory during an outage; when full, jobs keep their slots and the worker claims no more.
pub(crate) const MAX_HELD: usize = 1024;
/// One write, all statements of it.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a failed write, doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Tries of a batch before its members are written one by one, should one of them be what the server refuses.
const TRIES_TOGETHER: u32 = 3;
/// Conflicts with other transactions that are answered by trying again at once.
const MAX_CONFLICTS: u32 = 20;
/// Tries of a single result that the server answers with an error (not an outage) before it is dropped; the claim then runs out
/// and the job is rescued. Minutes, because a read-only backend in the middle of its own fail-over answers with errors too.
const MAX_TRIES: u32 = 200;
/// After a stop, results are tried for that long; then their claims run out.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// Runs until `stop`, then writes what is left and returns how many results could not be written.
pub(crate) async fn run(mut link: Link, mut results: mpsc::Receiver<Finish>, stop: CancellationToken) -> usize {
    let mut give_up_at = None;
    loop {
        let first = tokio::select! {
            biased;
            result = results.recv() => result,
            () = stop.cancelled() => results.try_recv().ok(),
        };
        let Some(first) = first else { return 0 };
        let batch = gather(first, &mut results, &stop).await;
        let lost = write_all(&mut link, batch, &stop, &mut give_up_at).await;
        if lost > 0 {
            return lost + results.len();
        }
    }
}

/// The first result and those that come within its window.
async fn gather(first: Finish, results: &mut mpsc::Receiver<Finish>, stop: &CancellationToken) -> Vec<Finish> {
    let until = |finish: &Finish| Instant::now() + if finish.verdict == Verdict::Done { QUIET_WINDOW } else { WINDOW };
    let mut until_when = until(&first);
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH {
        let next = tokio::select! {
            biased;
            result = results.recv() => result,
            () = stop.cancelled() => None,
            () = tokio::time::sleep_until(until_when.into()) => None,
        };
        let Some(next) = next else { break };
        until_when = until_when.min(until(&next));
        batch.push(next);
    }
    batch
}

/// Writes the batch, however long it takes; gives up only some time after a stop. Returns how many were left.
async fn write_all(
    link: &mut Link,
    mut batch: Vec<Finish>,
    stop: &CancellationToken,
    give_up_at: &mut Option<Instant>,
) -> usize {
    let (mut tries, mut conflicts, mut pause) = (0, 0, FIRST_PAUSE);
    loop {
        let together = if tries < TRIES_TOGETHER { batch.len() } else { 1 };
        match link.run(WRITE_LIMIT, async |conn| write(conn, &batch[..together]).await).await {
            Ok(fenced) => {
                if fenced > 0 {
                    metrics::counter!("queue_fenced_finishes_total").increment(fenced);
                    tracing::warn!(
                        fenced,
                        "jobs had been given to others before they ended here; their results changed nothing"
                    );
                }
                batch.drain(..together);
                if batch.is_empty() {
                    return 0;
                }
                continue;
            }
            Err(error) if is_conflict(&error) && conflicts < MAX_CONFLICTS => {
                conflicts += 1;
                continue;
            }
            Err(error) => {
                tries += 1;
                let refused = matches!(error, sqlx::Error::Database(_));
                if tries == 1 || tries.is_multiple_of(20) {
                    tracing::warn!(
                        tries,
                        held = batch.len(),
                        error = chain(&error),
                        "cannot write job results, trying again"
                    );
                }
                if refused && together == 1 && tries >= MAX_TRIES {
                    let dropped = batch.remove(0);
                    tracing::error!(
                        job.id = dropped.id,
                        error = chain(&error),
                        "a job's result cannot be written, dropping it"
                    );
                    tries = TRIES_TOGETHER;
                    if batch.is_empty() {
                        return 0;
                    }
                }
            }
        }
        if stop.is_cancelled() {
            let deadline = *give_up_at.get_or_insert_with(|| Instant::now() + FLUSH_LIMIT);
            if Instant::now() >= deadline {
                return batch.len();
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(if stop.is_cancelled() { FIRST_PAUSE * 4 } else { LONGEST_PAUSE });
    }
}
