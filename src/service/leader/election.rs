//! Who leads: the lease in the backend, and the local trust in it.
//!
//! ```text
//!            take: expired, term+1                 renew every second
//!  Follower ───────────────────────▶ Leader(term) ───────────────────┐
//!     ▲                                  │  ▲────────────────────────┘
//!     │ not ours any more, or            │
//!     └──── trust window over ◀──────────┘ shutdown: release, then Follower
//! ```
//!
//! Failure cases. *Crash*: the lease expires by itself, another takes it. *Freeze*: on waking, the trust window has passed
//! on the monotonic clock (which goes on while a process is stopped), so the process acts no more; a statement already
//! under way is refused by its fence. *Slow backend*: trust counts from before the statement was sent. *Backend away*:
//! renewals fail, trust ends, everyone waits; whoever comes first afterwards begins a new term. *Two that both believe*:
//! impossible for longer than the margin, and harmless because every act is fenced by holder and term.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::term::{LeaseTerms, TrustWindow};
use store::leases::{self, Taken};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Handles;

/// How often a follower looks whether the lease is free, and how often a leader whose renewal failed tries again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A lease statement that takes longer than this is as good as lost.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(1);

/// Leadership as this process may believe it.
#[derive(Debug, Clone)]
pub struct Term {
    /// Token of this node.
    pub holder: Arc<str>,
    /// Number of the term.
    pub number: u64,
    anchor: Instant,
    trust: watch::Receiver<TrustWindow>,
}

impl Term {
    /// May this process still act as leader? Local knowledge only; every act is fenced in the backend besides.
    pub fn may_act(&self) -> bool {
        self.trust.borrow().may_act(self.anchor.elapsed())
    }
}

/// Runs the election until `shutdown`; announces each term on `announce` and `None` when it is over.
pub async fn run(handles: Arc<Handles>, announce: watch::Sender<Option<Term>>, shutdown: CancellationToken) {
    let anchor = Instant::now();
    let mut reporter = crate::outage::Reporter::new("leader election");
    while !shutdown.is_cancelled() {
        let terms = lease_terms(&handles);
        let asked_at = anchor.elapsed();
        match bounded(leases::take(&handles.pool, &handles.identity.token, &handles.identity.name, terms.ttl())).await {
            Ok(Taken::Won { term }) => {
                reporter.worked();
                tracing::info!(lease.term = term, "this node leads");
                lead(&handles, &announce, Held { anchor, asked_at, number: term, terms }, &shutdown).await;
                announce.send_replace(None);
                tracing::info!(lease.term = term, "this node leads no more");
            }
            // Ours already: taken by hand for this node, or trust ended here before the lease did there.
            Ok(Taken::Held(lease)) if lease.holder == handles.identity.token => {
                let token = &handles.identity.token;
                if bounded(leases::renew(&handles.pool, token, lease.term, terms.ttl())).await.is_ok() {
                    tracing::info!(lease.term = lease.term, "this node leads");
                    lead(&handles, &announce, Held { anchor, asked_at, number: lease.term, terms }, &shutdown).await;
                    announce.send_replace(None);
                    tracing::info!(lease.term = lease.term, "this node leads no more");
                }
            }
            Ok(Taken::Held(_)) => reporter.worked(),
            Err(error) => reporter.failed(&crate::chain(&error)),
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

struct Held {
    anchor: Instant,
    asked_at: Duration,
    number: u64,
    terms: LeaseTerms,
}

/// Announces the term and renews it until it is lost or the process stops.
async fn lead(handles: &Handles, announce: &watch::Sender<Option<Term>>, held: Held, shutdown: &CancellationToken) {
    let Held { anchor, asked_at, number, terms } = held;
    let mut window = terms.window(asked_at);
    let (trust, trusted) = watch::channel(window);
    let holder: Arc<str> = handles.identity.token.as_str().into();
    announce.send_replace(Some(Term { holder, number, anchor, trust: trusted }));
    let mut pause = terms.renew_every();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => {
                if let Err(error) = bounded(leases::release(&handles.pool, &handles.identity.token, number)).await {
                    tracing::warn!(lease.term = number, error = %error, "could not release the lease: it expires by itself");
                }
                return;
            }
            () = tokio::time::sleep(pause) => {}
        }
        let asked_at = anchor.elapsed();
        if !window.may_act(asked_at) {
            tracing::warn!(
                lease.term = number,
                "trust in the lease is over: renewals failed or the process was stopped"
            );
            return;
        }
        match bounded(leases::renew(&handles.pool, &handles.identity.token, number, terms.ttl())).await {
            Ok(()) => {
                window = terms.window(asked_at);
                trust.send_replace(window);
                pause = terms.renew_every();
            }
            Err(store::Error::NotLeader { .. }) => {
                tracing::warn!(lease.term = number, "the lease is not ours any more");
                return;
            }
            Err(error) => {
                tracing::warn!(lease.term = number, error = %error, "could not renew the lease");
                pause = LOOK_EVERY.min(terms.renew_every());
            }
        }
    }
}

/// A third of the lease between renewals, so that two may be lost; a sixth as margin for the last statement under way.
fn lease_terms(handles: &Handles) -> LeaseTerms {
    let ttl = Duration::from_secs(handles.config.get().settings.worker.leader_lease_seconds.max(1));
    LeaseTerms::new(ttl, ttl / 3, ttl / 6).expect("a third is shorter than five sixths")
}

async fn bounded<T>(work: impl Future<Output = Result<T, store::Error>>) -> Result<T, store::Error> {
    let late = store::Error::Timeout { doing: "keep the lease", seconds: STATEMENT_DEADLINE.as_secs() };
    tokio::time::timeout(STATEMENT_DEADLINE, work).await.unwrap_or(Err(late))
}
