//! The worker runtime: apalis runs what our engine claimed. The only module that names apalis.
//!
//! apalis gets its work from a channel. Claims, heartbeats, retries and results stay with the engine: apalis's own fetch strategies
//! lose wake-ups when a fetch outlasts the interval, and a fetch error ends its stream; a channel knows neither. When the
//! channel closes, apalis finishes what is in flight and returns: that is the first stage of a drain.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use apalis::prelude::{Backend, Task, TaskBuilder, WorkerBuilder, WorkerContext};
use apalis_core::backend::BackendConfig;
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::task::task_id::{RandomId, TaskId};
use tokio::sync::mpsc;
use tower::layer::util::Identity;

/// One claimed job, ready to be polled. Handles its own errors.
pub(crate) struct Work {
    /// Unique among everything that runs in this process.
    pub(crate) name: String,
    pub(crate) future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs work, at most `concurrency` at once, until the channel is closed and all of it has ended.
pub(crate) async fn run(name: &str, concurrency: usize, work: mpsc::Receiver<Work>) -> Result<(), String> {
    use apalis::prelude::WorkerBuilderExt;
    WorkerBuilder::new(name)
        .backend(ClaimedWork { work })
        .concurrency(concurrency)
        .build(perform)
        .run()
        .await
        .map_err(|error| error.to_string())
}

/// Each job in a task of its own: apalis polls all its futures in one.
async fn perform(work: Work) {
    if let Err(error) = tokio::spawn(work.future).await {
        tracing::error!(%error, "a job's wrapper ended abnormally, its claim will run out");
    }
}

/// The channel as an apalis backend.
struct ClaimedWork {
    work: mpsc::Receiver<Work>,
}

impl Backend for ClaimedWork {
    type Task = Task<Work>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Task<Work>, Infallible>>> {
        self.work.poll_recv(cx).map(|work| {
            let Some(work) = work else {
                // The end of its backend alone does not end an apalis worker: it would wait for somebody to stop it.
                worker.stop().ok();
                return None;
            };
            let id = TaskId::from_string(work.name.clone());
            Some(Ok(TaskBuilder::new(work).task_id(id).build()))
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for ClaimedWork {
    type Args = Work;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
