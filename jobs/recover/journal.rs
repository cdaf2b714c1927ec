//! The timeline of a recovery, written beside the work: whoever promotes does not wait for the story to be told.

use serde_json::Value;
use sqlx::MySqlPool;
use store::recoveries::NewEvent;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Lines that wait to be written: far more than a recovery has.
const MOST: usize = 1_024;

/// What a line of the timeline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Something seen that decides.
    Fact,
    /// What is to be done.
    Plan,
    /// Who takes over, and who does not.
    Choice,
    Hook,
    Error,
}

impl Line {
    const fn name(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::Plan => "plan",
            Self::Choice => "choice",
            Self::Hook => "hook",
            Self::Error => "error",
        }
    }
}

struct Entry {
    line: Line,
    text: String,
    data: Option<Value>,
}

/// Writes lines in the order in which they are handed in. What is not written when it is dropped is written soon after.
pub(crate) struct Journal {
    recovery: u64,
    lines: mpsc::Sender<Entry>,
    writer: JoinHandle<()>,
}

impl Journal {
    /// The timeline of this recovery, told by this worker in this run of its operation.
    pub(crate) fn open(pool: &MySqlPool, recovery: u64, run: u32, worker: &str) -> Self {
        let (lines, mut waiting) = mpsc::channel::<Entry>(MOST);
        let (pool, worker) = (pool.clone(), worker.to_owned());
        let writer = tokio::spawn(async move {
            while let Some(Entry { line, text, data }) = waiting.recv().await {
                let told = NewEvent { run, worker: &worker, kind: line.name(), text: &text, data: data.as_ref() };
                if let Err(error) = store::recoveries::event(&pool, recovery, &told).await {
                    tracing::warn!(recovery.id = recovery, text, %error, "a line of the timeline was not written");
                }
            }
        });
        Self { recovery, lines, writer }
    }

    /// One line.
    pub(crate) fn note(&self, line: Line, text: impl Into<String>) {
        self.put(line, text.into(), None);
    }

    /// One line with what programs read.
    pub(crate) fn note_with(&self, line: Line, text: impl Into<String>, data: &impl serde::Serialize) {
        self.put(line, text.into(), serde_json::to_value(data).ok());
    }

    fn put(&self, line: Line, text: String, data: Option<Value>) {
        match line {
            Line::Error => tracing::warn!(recovery.id = self.recovery, "{text}"),
            _ => tracing::info!(recovery.id = self.recovery, line = line.name(), "{text}"),
        }
        if self.lines.try_send(Entry { line, text, data }).is_err() {
            tracing::warn!(recovery.id = self.recovery, "the backend is slow: a line of the timeline is left out");
        }
    }

    /// Waits until all lines are written.
    pub(crate) async fn close(self) {
        drop(self.lines);
        self.writer.await.ok();
    }
}
