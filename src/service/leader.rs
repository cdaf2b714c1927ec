//! The elected service: holds the lease and runs the duties.
//!
//! A duty takes no input, looks at the whole state, is idempotent, and runs on a timer. Two leaders at once are harmless:
//! every act is fenced by the term, unique keys stop double work.

pub mod duties;
pub mod election;
mod inventory;

use std::sync::Arc;
use std::time::Duration;

use domain::instance::DbMicros;
use sqlx::{MySql, Transaction};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use election::Term;
pub use inventory::Inventory;

use crate::Handles;
use crate::outage::Reporter;

/// A tick that takes longer is abandoned and tried again at the next. Short, because a connection to a backend that fell
/// silent is not noticed before, and meanwhile nobody schedules probes.
const TICK_DEADLINE: Duration = Duration::from_secs(10);
/// When a term ends, ticks under way get this long to end by themselves: a statement cut off in the middle costs a
/// connection. What they still write is fenced.
const LAST_TICK: Duration = Duration::from_secs(1);
/// Before duties begin again after one of them panicked: it may do so at once.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What every duty is given.
#[derive(Debug)]
pub struct Leading {
    /// Backend, settings, identity.
    pub handles: Arc<Handles>,
    /// The term it acts in.
    pub term: Term,
    /// The leader's copy of the fleet.
    pub inventory: Mutex<Inventory>,
    /// What the queue needs, as of the last look; nothing before the first.
    pub upkeep: watch::Sender<queue::Upkeep>,
}

/// Why a tick did nothing or not all of its work.
#[derive(Debug, thiserror::Error)]
pub enum DutyError {
    /// Somebody else leads: the term is over.
    #[error("the lease of term {term} is not ours any more")]
    NotLeader {
        /// The term that is over.
        term: u64,
    },
    /// The backend refused or did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The queue refused or did not answer.
    #[error(transparent)]
    Queue(#[from] queue::Error),
    /// The backend refused or did not answer.
    #[error(transparent)]
    Open(#[from] jobs::recover::OpenError),
    /// The backend refused or did not answer.
    #[error("the backend does not answer")]
    Backend(#[from] sqlx::Error),
}

/// One recurring thing the leader does.
pub trait Duty: Send + 'static {
    /// Its name in logs and metrics.
    const NAME: &'static str;

    /// Time between two ticks.
    fn every(&self, leading: &Leading) -> Duration;

    /// Returns when there is a reason to tick before the time. Never more than a wake-up: the tick takes no input.
    fn woken(&mut self, _: &Leading) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// One tick.
    fn tick(&mut self, leading: &Leading) -> impl Future<Output = Result<(), DutyError>> + Send;
}

impl Leading {
    /// The database's time. The local estimate is kept by the process; the very first look may come before it is there.
    pub async fn now(&self) -> Result<DbMicros, DutyError> {
        let clock = &self.handles.clock;
        if !clock.is_set() {
            clock.ask(&mut *self.handles.connection("read the backend's clock").await?).await?;
        }
        Ok(clock.now_micros())
    }

    /// A transaction whose first statement proves that this term still holds. Nothing the leader does to the backend
    /// happens outside one.
    pub async fn fenced(&self) -> Result<Transaction<'static, MySql>, DutyError> {
        let term = self.term.number;
        if !self.term.may_act() {
            return Err(DutyError::NotLeader { term });
        }
        let mut transaction = self.handles.pool.begin().await?;
        match store::leases::fence(&mut transaction, &self.term.holder, term).await {
            Ok(()) => Ok(transaction),
            Err(store::Error::NotLeader { .. }) => Err(DutyError::NotLeader { term }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes part in elections until `shutdown`, and runs the duties while this node leads.
pub async fn run(handles: Arc<Handles>, shutdown: CancellationToken) {
    let (announce, mut announced) = watch::channel(None::<Term>);
    let elections = tokio::spawn(election::run(Arc::clone(&handles), announce, shutdown.clone()));
    loop {
        let term = announced.borrow_and_update().clone();
        handles.leadership.send_replace(term.as_ref().map(|term| term.number));
        let changed = match term {
            None => announced.changed().await,
            Some(term) => serve(&handles, &term, &mut announced).await,
        };
        if changed.is_err() {
            break;
        }
    }
    handles.leadership.send_replace(None);
    elections.await.ok();
}

/// Runs the duties until the term is over. A duty never ends by itself; one that panicked would be missed until the next
/// term, which may be far: all begin again.
async fn serve(
    handles: &Arc<Handles>,
    term: &Term,
    announced: &mut watch::Receiver<Option<Term>>,
) -> Result<(), watch::error::RecvError> {
    loop {
        let stop = CancellationToken::new();
        let mut duties = start(handles, term.clone(), &stop);
        let changed = tokio::select! {
            changed = announced.changed() => Some(changed),
            _ = duties.join_next() => None,
        };
        stop.cancel();
        if changed.is_some() {
            // At once: others may lead before the last ticks have ended.
            handles.leadership.send_replace(None);
        }
        while duties.join_next().await.is_some() {}
        if let Some(changed) = changed {
            return changed;
        }
        tracing::error!(
            lease.term = term.number,
            "a duty of the leader stopped, which is a bug; starting all duties again"
        );
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

fn start(handles: &Arc<Handles>, term: Term, stop: &CancellationToken) -> JoinSet<()> {
    let leading = Arc::new(Leading {
        handles: Arc::clone(handles),
        term,
        inventory: Mutex::new(Inventory::default()),
        upkeep: watch::Sender::new(queue::Upkeep::default()),
    });
    let mut set = JoinSet::new();
    duties::start_all(&mut set, &leading, stop);
    set
}

/// Ticks one duty until `stop`.
pub(crate) async fn keep(mut duty: impl Duty, leading: Arc<Leading>, stop: CancellationToken) {
    let mut reporter = Reporter::new(duty_name(&duty));
    while !stop.is_cancelled() {
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(TICK_DEADLINE, duty.tick(&leading)) => outcome,
            () = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_TICK).await;
            } => break,
        };
        match outcome {
            Ok(Ok(())) => reporter.worked(),
            Ok(Err(DutyError::NotLeader { term })) => tracing::debug!(lease.term = term, "a duty found the term over"),
            Ok(Err(error)) => reporter.failed(&crate::chain(&error)),
            Err(_) => reporter.failed(&"the tick took too long"),
        }
        let every = duty.every(&leading);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(every) => {}
            () = duty.woken(&leading) => {}
        }
    }
}

fn duty_name<D: Duty>(_: &D) -> &'static str {
    D::NAME
}
