//! The arithmetic of a lease: how long a process may believe that it leads.
//!
//! The lease is a row in the backend and expires by the backend's clock. The holder never compares that clock with its own;
//! it counts on its own *monotonic* clock from the moment *before* it sent the statement that took or renewed the lease:
//!
//! ```text
//!   holder     asked_at                                      trusted_until
//!              |-- send --.                  .-- answer       |<- margin ->|
//!              |           \                /                 |            |
//!   backend    |            NOW(6) ---------------------------------- ttl ------------> expires_at
//!              '------------------------------- ttl -------------------------->'
//!                                            others may take the lease only after expires_at
//! ```
//!
//! The backend sets `expires_at = NOW(6) + ttl` after `asked_at`, so the row outlives `asked_at + ttl`, and the holder stops
//! `margin` earlier still.
//!
//! ```text
//!            take or renew answered "yes"
//!   idle ------------------------------------> trusted --- renew_due --> trusted, asking again
//!    ^                                            |                          |
//!    |   now >= trusted_until, or answered "no"   |                          | "yes": a new window from the new asked_at
//!    '--------------------------------------------+--------------------------' error or no answer: the old window stays
//! ```
//!
//! Failure cases:
//! - *Slow reply.* Counting starts before sending, so time on the wire shortens the window; an answer that arrives after
//!   the window's end gives a window that is already over.
//! - *Lost reply.* The backend may have renewed, we do not know: the old window stands, and we stop in time.
//! - *Replies out of order.* [`TrustWindow::later`] keeps the one that ends last, which is right as each of them was granted.
//! - *Pause of the process* (scheduler, swap, stopped container). The clock runs on, and the next [`TrustWindow::may_act`]
//!   says no. What was started before the pause is not undone by this: hence [`TrustWindow::may_begin`], which asks for
//!   room for the whole action, and hence fencing tokens, on which safety rests. The lease is thrift.
//! - *Jump of the wall clock*, here or between processes: not used. A jump of the backend's own clock can end a lease early
//!   and give two leaders for a while; that too must be harmless.
//! - *Suspend of the machine.* Linux's monotonic clock stands still meanwhile, and the window wrongly seems to go on. No
//!   margin covers this; the fencing tokens do.
//! - *Clocks of different speed.* The margin covers `margin / ttl`, thousands of times more than real clocks differ by.
//!
//! All moments here are offsets from one arbitrary local anchor, such as the start of the process. Pure: no clock is read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The three durations of a lease, checked against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedTerms")]
pub struct LeaseTerms {
    ttl: Duration,
    renew_every: Duration,
    margin: Duration,
}

/// Terms under which a holder would lose its lease by design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    #[error(
        "renewing every {renew_every:?} leaves no time for a reply: it must be shorter than ttl {ttl:?} minus margin {margin:?}"
    )]
    RenewTooRare { ttl: Duration, renew_every: Duration, margin: Duration },
    #[error("the margin of a lease must not be zero")]
    NoMargin,
    #[error("a lease must be renewed at intervals longer than zero")]
    RenewAlways,
}

#[derive(Deserialize)]
struct UncheckedTerms {
    ttl: Duration,
    renew_every: Duration,
    margin: Duration,
}

impl TryFrom<UncheckedTerms> for LeaseTerms {
    type Error = TermsError;

    fn try_from(terms: UncheckedTerms) -> Result<Self, TermsError> {
        Self::new(terms.ttl, terms.renew_every, terms.margin)
    }
}

impl LeaseTerms {
    pub fn new(ttl: Duration, renew_every: Duration, margin: Duration) -> Result<Self, TermsError> {
        if margin.is_zero() {
            return Err(TermsError::NoMargin);
        }
        if renew_every.is_zero() {
            return Err(TermsError::RenewAlways);
        }
        if renew_every >= ttl.saturating_sub(margin) {
            return Err(TermsError::RenewTooRare { ttl, renew_every, margin });
        }
        Ok(Self { ttl, renew_every, margin })
    }

    /// How long the backend keeps the lease for us.
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    pub const fn renew_every(&self) -> Duration {
        self.renew_every
    }

    pub const fn margin(&self) -> Duration {
        self.margin
    }

    /// The window that a "yes" opens, for a statement sent just after `asked_at` was read.
    pub const fn window(&self, asked_at: Duration) -> TrustWindow {
        TrustWindow { asked_at, ttl: self.ttl, margin: self.margin }
    }

    /// When to stop believing in a lease asked for at `asked_at`.
    pub const fn trusted_until(&self, asked_at: Duration) -> Duration {
        self.window(asked_at).trusted_until()
    }

    /// Time to ask again. A `now` before the window began comes from another anchor or a broken clock: ask at once.
    pub fn renew_due(&self, window: &TrustWindow, now: Duration) -> bool {
        now.checked_sub(window.asked_at).is_none_or(|age| age >= self.renew_every)
    }
}

/// A granted lease as its holder sees it. Moments are offsets from the holder's anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustWindow {
    /// The local monotonic clock, read before the granted statement was sent.
    pub asked_at: Duration,
    pub ttl: Duration,
    pub margin: Duration,
}

impl TrustWindow {
    /// The first moment at which the holder must not act any more.
    pub const fn trusted_until(&self) -> Duration {
        self.asked_at.saturating_add(self.ttl.saturating_sub(self.margin))
    }

    /// The holder may act at this moment. A `now` before `asked_at` is from another anchor or a broken clock: no.
    pub fn may_act(&self, now: Duration) -> bool {
        self.asked_at <= now && now < self.trusted_until()
    }

    /// The holder may begin something that takes at most `needs`: it would end within the window.
    pub fn may_begin(&self, now: Duration, needs: Duration) -> bool {
        self.may_act(now) && needs <= self.remaining(now)
    }

    /// How long the window stays open; zero when it is over or `now` makes no sense.
    pub fn remaining(&self, now: Duration) -> Duration {
        if self.may_act(now) { self.trusted_until().saturating_sub(now) } else { Duration::ZERO }
    }

    /// Of two granted windows of the same term, the one that lasts longer.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        if other.trusted_until() > self.trusted_until() { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn terms() -> LeaseTerms {
        LeaseTerms::new(ms(5000), ms(1000), ms(1000)).unwrap()
    }

    #[test]
    fn trust_ends_a_margin_before_the_lease() {
        let window = terms().window(ms(10_000));
        assert_eq!(terms().trusted_until(ms(10_000)), ms(14_000));
        assert!(window.may_act(ms(10_000)) && window.may_act(ms(13_999)));
        assert!(!window.may_act(ms(14_000)) && !window.may_act(ms(20_000)));
        assert_eq!((window.remaining(ms(13_000)), window.remaining(ms(14_000))), (ms(1000), ms(0)));
    }

    #[test]
    fn a_clock_that_went_backwards_is_not_trusted() {
        let window = terms().window(ms(10_000));
        assert!(!window.may_act(ms(9_999)));
        assert_eq!(window.remaining(ms(0)), ms(0));
        assert!(terms().renew_due(&window, ms(9_999)));
    }

    #[test]
    fn renewal_is_due_after_its_interval() {
        let window = terms().window(ms(10_000));
        assert!(!terms().renew_due(&window, ms(10_999)));
        assert!(terms().renew_due(&window, ms(11_000)));
        assert!(terms().renew_due(&window, ms(99_000)));
    }

    #[test]
    fn a_slow_reply_shortens_the_window_and_a_late_one_gives_none() {
        // Asked at 10 s, answered at 13.9 s and at 15 s: only the moment of asking counts.
        let window = terms().window(ms(10_000));
        assert_eq!(window.remaining(ms(13_900)), ms(100));
        assert!(!window.may_act(ms(15_000)));
    }

    #[test]
    fn an_action_must_fit_into_the_window() {
        let window = terms().window(ms(10_000));
        assert!(window.may_begin(ms(12_000), ms(2000)));
        assert!(!window.may_begin(ms(12_001), ms(2000)));
        assert!(!window.may_begin(ms(14_000), ms(0)));
    }

    #[test]
    fn replies_out_of_order_do_not_shorten_trust() {
        let (old, new) = (terms().window(ms(1000)), terms().window(ms(2000)));
        assert_eq!((old.later(new), new.later(old)), (new, new));
    }

    #[test]
    fn terms_that_lose_the_lease_by_design_are_refused() {
        assert!(LeaseTerms::new(ms(5000), ms(3999), ms(1000)).is_ok());
        assert!(matches!(LeaseTerms::new(ms(5000), ms(4000), ms(1000)), Err(TermsError::RenewTooRare { .. })));
        assert!(matches!(LeaseTerms::new(ms(500), ms(100), ms(1000)), Err(TermsError::RenewTooRare { .. })));
        assert_eq!(LeaseTerms::new(ms(5000), ms(1000), ms(0)), Err(TermsError::NoMargin));
        assert_eq!(LeaseTerms::new(ms(5000), ms(0), ms(1000)), Err(TermsError::RenewAlways));
        let json = serde_json::to_string(&terms()).unwrap();
        assert_eq!(serde_json::from_str::<LeaseTerms>(&json).unwrap(), terms());
        assert!(
            serde_json::from_str::<LeaseTerms>(&json.replace("\"margin\":{\"secs\":1", "\"margin\":{\"secs\":5"))
                .is_err()
        );
    }

    #[test]
    fn extreme_durations_do_not_panic() {
        let window = LeaseTerms::new(Duration::MAX, ms(1), ms(1)).unwrap().window(Duration::MAX);
        assert_eq!(window.trusted_until(), Duration::MAX);
        assert!(!window.may_act(Duration::MAX));
    }

    proptest! {
        /// The lease row is granted at some moment between asking and answering; the next holder can take it only `ttl`
        /// later on a clock that runs at most 1 % faster than ours. We never act then, whatever the delays.
        #[test]
        fn two_holders_never_overlap(asked in 0..1_000_000u64, wire in 0..20_000u64, ttl in 100..60_000u64, look in 0..100_000u64) {
            let margin = ttl / 10 + 1;
            let terms = LeaseTerms::new(ms(ttl), ms(ttl / 4), ms(margin)).unwrap();
            let taken_by_other = asked + wire + ttl * 99 / 100;
            let now = asked + look;
            if terms.window(ms(asked)).may_act(ms(now)) {
                prop_assert!(now < taken_by_other);
            }
        }
    }
}
