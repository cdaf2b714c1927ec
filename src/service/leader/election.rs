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
//! impossible for longer than the margin, and harmless because every act is fenced by holder and term. *Pool exhausted*:
//! the lease has a connection of its own, so that a flood of requests cannot take leadership away. *Backend silent*: a
//! statement that was given up leaves its connection out of step; it is closed, and the next try begins with a new one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::term::{LeaseTerms, TrustWindow};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use store::leases::{self, Taken};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Handles;

/// How often a follower looks whether the lease is free.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Pause of a leader whose renewal failed: short, because the trust window runs out.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// A renewal that takes longer than this is as good as lost, however long the lease.
const LONGEST_STATEMENT: Duration = Duration::from_secs(1);
/// Connecting, and the transactions of taking and releasing: some ten round trips.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(2);

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
    let mut line = Line { pool: &handles.pool, conn: None };
    let (token, name) = (handles.identity.token.as_str(), handles.identity.name.as_str());
    while !shutdown.is_cancelled() {
        let terms = lease_terms(&handles);
        let asked_at = anchor.elapsed();
        let number = match line.take(token, name, &terms).await {
            Ok(Taken::Won { term }) => {
                reporter.worked();
                Some(term)
            }
            // Ours already: taken by hand for this node, or trust ended here before the lease did there.
            Ok(Taken::Held(lease)) => {
                reporter.worked();
                let ours = lease.holder == token && line.renew(token, lease.term, &terms).await.is_ok();
                ours.then_some(lease.term)
            }
            Err(error) => {
                reporter.failed(&crate::chain(&error));
                None
            }
        };
        if let Some(number) = number {
            tracing::info!(lease.term = number, "this node leads");
            lead(&handles, &mut line, &announce, Held { anchor, asked_at, number, terms }, &shutdown).await;
            announce.send_replace(None);
            tracing::info!(lease.term = number, "this node leads no more");
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
async fn lead(
    handles: &Handles,
    line: &mut Line<'_>,
    announce: &watch::Sender<Option<Term>>,
    held: Held,
    shutdown: &CancellationToken,
) {
    let Held { anchor, asked_at, number, terms } = held;
    let token = handles.identity.token.as_str();
    let mut window = terms.window(asked_at);
    let (trust, trusted) = watch::channel(window);
    announce.send_replace(Some(Term { holder: token.into(), number, anchor, trust: trusted }));
    let mut pause = terms.renew_every();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => {
                if let Err(error) = line.release(token, number).await {
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
        // Not beyond the end of trust: by then this node must have said that it leads no more.
        let renewal = within(window.remaining(asked_at), line.renew(token, number, &terms)).await;
        match renewal {
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
                pause = RETRY_AFTER;
            }
        }
    }
}

/// A third of the lease between renewals; a sixth as margin for the last statement under way.
fn lease_terms(handles: &Handles) -> LeaseTerms {
    let ttl = Duration::from_secs(handles.config.get().settings.worker.leader_lease_seconds.max(1));
    LeaseTerms::new(ttl, ttl / 3, ttl / 6).expect("a third is shorter than five sixths")
}

/// A fifth of the lease: two renewals may be lost within the half that is left of the trust window when one is due.
fn statement_limit(terms: &LeaseTerms) -> Duration {
    (terms.ttl() / 5).min(LONGEST_STATEMENT)
}

/// The lease's own connection to the backend, made when needed. Whatever goes wrong, it is closed: the next try goes to
/// where the backend is then.
struct Line<'a> {
    /// Says where the backend is now.
    pool: &'a MySqlPool,
    conn: Option<MySqlConnection>,
}

impl Line<'_> {
    async fn take(&mut self, token: &str, name: &str, terms: &LeaseTerms) -> Result<Taken, store::Error> {
        let mut conn = self.open().await?;
        let taken = within(LONGEST_EXCHANGE, leases::take(&mut conn, token, name, terms.ttl())).await?;
        self.conn = Some(conn);
        Ok(taken)
    }

    async fn renew(&mut self, token: &str, term: u64, terms: &LeaseTerms) -> Result<(), store::Error> {
        let mut conn = self.open().await?;
        within(statement_limit(terms), leases::renew(&mut conn, token, term, terms.ttl())).await?;
        self.conn = Some(conn);
        Ok(())
    }

    async fn release(&mut self, token: &str, term: u64) -> Result<(), store::Error> {
        let mut conn = self.open().await?;
        within(LONGEST_EXCHANGE, leases::release(&mut conn, token, term)).await
    }

    async fn open(&mut self) -> Result<MySqlConnection, store::Error> {
        match self.conn.take() {
            Some(conn) => Ok(conn),
            None => within(LONGEST_EXCHANGE, self.connect()).await,
        }
    }

    async fn connect(&self) -> Result<MySqlConnection, store::Error> {
        let unavailable = |cause| store::Error::Unavailable { doing: DOING, cause };
        let mut conn = self.pool.connect_options().connect().await.map_err(unavailable)?;
        queue::session_setup(&mut conn).await.map_err(unavailable)?;
        Ok(conn)
    }
}

const DOING: &str = "keep the lease";

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, store::Error>>) -> Result<T, store::Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(store::Error::deadline(DOING, limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_renewals_may_be_lost() {
        for seconds in [1, 3, 5, 30] {
            let ttl = Duration::from_secs(seconds);
            let terms = LeaseTerms::new(ttl, ttl / 3, ttl / 6).expect("terms");
            // A lease of one second is for tests: it outlives one lost renewal.
            let lost = if seconds == 1 { 1 } else { 2 };
            let last_try = terms.renew_every() + (statement_limit(&terms) + RETRY_AFTER) * lost;
            let window = terms.window(Duration::ZERO);
            assert!(window.may_act(last_try), "{seconds} s: {last_try:?}");
        }
    }
}
