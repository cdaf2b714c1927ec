//! Joins what the probe jobs of this process learn at about the same time into one write.
//!
//! Jobs that were claimed together end within moments of each other, and what costs the backend is the statement, not the
//! row. The first to come waits until all jobs under way have come, or for a moment, and writes for all; the others wait
//! for its answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::instance::Observation;
use queue::JobError;
use tokio::sync::{Notify, oneshot};

/// Longest wait for company: little against the time a probe takes that does not answer.
const WINDOW: Duration = Duration::from_millis(50);
/// Observations that are written without waiting for more.
const ENOUGH: usize = 1000;

/// What waits to be written, and how many jobs may still bring more.
#[derive(Debug, Default)]
pub struct Recorder {
    waiting: Mutex<Waiting>,
    enough: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    under_way: usize,
    observations: Vec<Observation>,
    answers: Vec<oneshot::Sender<Answer>>,
}

/// Errors are for all parts of a write, so this is their text and whether to try again.
type Answer = Result<(), (bool, String)>;

/// One job that will bring observations, or end without.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    recorder: &'a Recorder,
    is_counted: bool,
}

impl Recorder {
    /// Announces a job.
    pub(crate) fn expect(&self) -> Part<'_> {
        self.lock().under_way += 1;
        Part { recorder: self, is_counted: true }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part<'_> {
    /// Hands over what the job learned; returns when it is written. `write` is called by one job for all.
    pub(crate) async fn record(
        mut self,
        observations: Vec<Observation>,
        write: impl AsyncFnOnce(Vec<Observation>) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let (sender, answer) = oneshot::channel();
        let is_first = {
            let mut waiting = self.recorder.lock();
            waiting.observations.extend(observations);
            waiting.answers.push(sender);
            waiting.answers.len() == 1
        };
        self.leave();
        if is_first {
            self.write_for_all(write).await;
        }
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((true, error))) => Err(JobError::retry(error)),
            Ok(Err((false, error))) => Err(JobError::give_up(error)),
            Err(_) => Err(JobError::retry("the job that was to record these answers ended before it did")),
        }
    }

    async fn write_for_all(&self, write: impl AsyncFnOnce(Vec<Observation>) -> Result<(), JobError>) {
        // Whoever comes after this is over begins anew, also when it is over because this job was dropped.
        let turn = Turn { recorder: self.recorder, is_over: false };
        tokio::time::timeout(WINDOW, async {
            while !self.recorder.lock().is_enough() {
                self.recorder.enough.notified().await;
            }
        })
        .await
        .ok();
        let (observations, answers) = turn.take();
        let written = write(observations).await.map_err(|error| (error.is_retryable(), error.to_string()));
        for answer in answers {
            // Who is not there any more needs no answer.
            answer.send(written.clone()).ok();
        }
    }

    /// This job brings no more.
    fn leave(&mut self) {
        if std::mem::take(&mut self.is_counted) {
            self.recorder.lock().under_way -= 1;
            self.recorder.enough.notify_one();
        }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Waiting {
    fn is_enough(&self) -> bool {
        self.under_way == 0 || self.observations.len() >= ENOUGH
    }
}

/// The turn to write: takes what waits, at the latest when dropped.
struct Turn<'a> {
    recorder: &'a Recorder,
    is_over: bool,
}

impl Turn<'_> {
    fn take(mut self) -> (Vec<Observation>, Vec<oneshot::Sender<Answer>>) {
        self.end()
    }

    fn end(&mut self) -> (Vec<Observation>, Vec<oneshot::Sender<Answer>>) {
        self.is_over = true;
        let mut waiting = self.recorder.lock();
        (std::mem::take(&mut waiting.observations), std::mem::take(&mut waiting.answers))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use domain::instance::{Answer, InstanceKey};
    use tokio::time::Instant;

    use super::*;

    fn observation(port: u16) -> Observation {
        Observation {
            asked: InstanceKey::new("a".to_owned(), port),
            observed_at: 1,
            latency_micros: 1,
            answer: Answer::Filtered { filter: String::new() },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_that_end_together_are_written_together_and_no_later_than_the_last() {
        let (recorder, writes) = (Arc::new(Recorder::default()), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let jobs = [5, 20, 30].map(|milliseconds| {
            let (recorder, writes) = (Arc::clone(&recorder), Arc::clone(&writes));
            async move {
                let part = recorder.expect();
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                let write = async |all: Vec<Observation>| {
                    assert_eq!(all.len(), 3);
                    writes.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                part.record(vec![observation(1)], write).await
            }
        });
        assert!(futures::future::join_all(jobs).await.iter().all(Result::is_ok));
        assert_eq!(writes.load(Ordering::Relaxed), 1);
        assert_eq!(began.elapsed(), Duration::from_millis(30));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_a_job_that_hangs_and_a_failure_is_told_to_all() {
        let recorder = Recorder::default();
        let _hangs = recorder.expect();
        let began = Instant::now();
        let fail = async |_: Vec<Observation>| Err(JobError::give_up("no"));
        let (one, other) = tokio::join!(
            recorder.expect().record(vec![observation(1)], fail),
            recorder.expect().record(vec![observation(2)], fail)
        );
        assert_eq!(began.elapsed(), WINDOW);
        assert!(!one.unwrap_err().is_retryable());
        assert_eq!(other.unwrap_err().to_string(), "no");
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_is_dropped_leaves_nobody_waiting() {
        let recorder = Recorder::default();
        let hang = async |_: Vec<Observation>| std::future::pending().await;
        let parts = (recorder.expect(), recorder.expect());
        let first = tokio::time::timeout(Duration::from_secs(1), parts.0.record(vec![observation(1)], hang));
        let second = parts.1.record(vec![observation(2)], async |_| Ok(()));
        let (dropped, answer) = tokio::join!(first, second);
        assert!(dropped.is_err());
        assert!(answer.unwrap_err().is_retryable());
        let later = recorder.expect().record(vec![observation(3)], async |all: Vec<Observation>| {
            assert_eq!(all.len(), 1);
            Ok(())
        });
        assert!(later.await.is_ok());
    }
}
